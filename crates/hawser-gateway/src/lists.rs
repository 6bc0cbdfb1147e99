//! `tools/list` and its siblings: every backend's pages, merged, paged again under sealed cursors.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hawser_backend::BackendError;
use hawser_catalog::{ResourceIndex, Source, merge};
use hawser_mcp::{ErrorObject, ListKind, ListPage, Outcome, RawJson, code, write_list};
use tokio::time::Instant;
use tracing::{debug, warn};

use crate::ask::ask;
use crate::session::Session;
use crate::upstream::Upstream;

/// Most pages read of one backend's list.
const PAGES_MAX: usize = 256;
/// Most entries read of one backend's list.
const ENTRIES_MAX: usize = 50_000;

/// Most bytes of one backend's list.
const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Longest wait for one backend's list: one that hangs must not keep the others' from the client.
const PATIENCE: Duration = Duration::from_secs(10);
/// The way to resources that nobody lists is looked up anew at most this often.
const INDEX_AGAIN: Duration = Duration::from_secs(5);

/// What a session knows of its backends' lists.
#[derive(Debug, Default)]
pub(crate) struct SessionLists {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    merged: HashMap<ListKind, (u64, Arc<Vec<RawJson>>)>,
    /// The last good answer of each backend, so that a list does not flap while one is away.
    known: HashMap<(usize, ListKind), Arc<Vec<RawJson>>>,
    resources: Option<Arc<ResourceIndex>>,
    indexed_at: Option<Instant>,
}

/// A merged list, and which one it is.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) generation: u64,
    pub(crate) entries: Arc<Vec<RawJson>>,
}

impl SessionLists {
    /// The merged list of this generation, if it is still the current one. Generations are drawn at random, so that a cursor
    /// from before a restart does not fit by chance.
    pub(crate) fn current(&self, kind: ListKind, generation: u64) -> Option<Arc<Vec<RawJson>>> {
        let state = self.lock();
        state.merged.get(&kind).filter(|(current, _)| *current == generation).map(|(_, entries)| Arc::clone(entries))
    }

    /// A backend's resources changed: the way to them is looked up anew.
    pub(crate) fn forget_resources(&self) {
        self.lock().resources = None;
    }

    fn known(&self, backend: usize, kind: ListKind) -> Option<Arc<Vec<RawJson>>> {
        self.lock().known.get(&(backend, kind)).cloned()
    }

    fn learn(&self, backend: usize, kind: ListKind, entries: &Arc<Vec<RawJson>>) {
        self.lock().known.insert((backend, kind), Arc::clone(entries));
    }

    fn publish(&self, kind: ListKind, entries: Vec<RawJson>) -> Listed {
        let mut state = self.lock();
        // The same list keeps its generation: pages of it that are being turned elsewhere stay valid.
        if let Some((generation, known)) = state.merged.get(&kind)
            && **known == entries
        {
            return Listed { generation: *generation, entries: Arc::clone(known) };
        }
        let listed = Listed { generation: fresh_generation(), entries: Arc::new(entries) };
        state.merged.insert(kind, (listed.generation, Arc::clone(&listed.entries)));
        listed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not a secret, only unlikely to repeat: the hasher's per-process random keys over a counter will do.
fn fresh_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Asks every backend for its list and merges the answers. A backend that fails contributes what it last said; only if none
/// has anything to say is that an error.
pub(crate) async fn refresh(session: &Arc<Session>, kind: ListKind) -> Result<Listed, ErrorObject> {
    let shares = shares(session, kind).await?;
    let sources: Vec<_> =
        shares.iter().map(|(backend, entries)| Source { backend: *backend, entries: entries.as_slice() }).collect();
    let merged = merge(session.endpoint().router(), kind, &sources);
    for warning in &merged.warnings {
        debug!(endpoint = session.endpoint().name(), %warning, "while merging {}", kind.method());
    }
    Ok(session.lists.publish(kind, merged.entries))
}

/// Each backend's entries.
async fn shares(session: &Arc<Session>, kind: ListKind) -> Result<Vec<(usize, Arc<Vec<RawJson>>)>, ErrorObject> {
    let asked = session.upstreams().iter().map(|upstream| async move {
        let backend = upstream.position();
        let answer = match tokio::time::timeout(PATIENCE, read_all(session, upstream, kind)).await {
            Ok(answer) => answer.map(Arc::new),
            Err(_) => Err(BackendError::TimedOut { backend: upstream.backend().name().clone(), after: PATIENCE }),
        };
        match &answer {
            Ok(entries) => session.lists.learn(backend, kind, entries),
            // A listening client is told when the backend is back.
            Err(_) => upstream.recover(session),
        }
        (backend, answer)
    });
    let mut shares = Vec::new();
    let mut failed = None;
    let mut any = false;
    for (backend, answer) in futures_util::future::join_all(asked).await {
        match answer {
            Ok(entries) => {
                any = true;
                shares.push((backend, entries));
            }
            Err(error) => {
                warn!(endpoint = session.endpoint().name(), %error, "a backend does not answer {}", kind.method());
                match session.lists.known(backend, kind) {
                    Some(entries) => {
                        any = true;
                        shares.push((backend, entries));
                    }
                    None => failed = Some(error),
                }
            }
        }
    }
    match failed {
        Some(error) if !any => Err(ErrorObject::new(code::INTERNAL_ERROR, error.client_message())),
        _ => Ok(shares),
    }
}

/// All pages of one backend's list; none if the backend does not have that capability.
async fn read_all(session: &Arc<Session>, upstream: &Upstream, kind: ListKind) -> Result<Vec<RawJson>, BackendError> {
    if !has_capability(&upstream.open(session).await?.server().capabilities, kind.capability()) {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
    let mut bytes = 0;
    let mut cursor: Option<String> = None;
    for _ in 0..PAGES_MAX {
        let params =
            cursor.as_ref().and_then(|cursor| RawJson::from_serialize(&serde_json::json!({ "cursor": cursor })).ok());
        let page = match ask(session, upstream, kind.method(), params).await? {
            Outcome::Result(result) => ListPage::read(kind, &result)
                .map_err(|error| broken(upstream, format!("{}: {error}", kind.method())))?,
            // Declared but not offered, as some servers do for templates.
            Outcome::Error(error) if is_method_not_found(&error) => return Ok(entries),
            Outcome::Error(_) => {
                return Err(broken(upstream, format!("{} was answered with an error", kind.method())));
            }
        };
        bytes += page.entries.iter().map(|entry| entry.bytes().len()).sum::<usize>();
        entries.extend(page.entries);
        if entries.len() > ENTRIES_MAX || bytes > BYTES_MAX {
            let reason = format!("{} has over {ENTRIES_MAX} entries or {BYTES_MAX} bytes", kind.method());
            return Err(broken(upstream, reason));
        }
        match page.next_cursor {
            None => return Ok(entries),
            next if next == cursor => {
                return Err(broken(upstream, format!("{} repeats a cursor", kind.method())));
            }
            next => cursor = next,
        }
    }
    Err(broken(upstream, format!("{} has over {PAGES_MAX} pages", kind.method())))
}

fn broken(upstream: &Upstream, reason: String) -> BackendError {
    BackendError::Protocol { backend: upstream.backend().name().clone(), reason }
}

/// The page that starts at `offset`, and where the next one does.
pub(crate) fn page(entries: &[RawJson], offset: usize, length: usize) -> (&[RawJson], Option<usize>) {
    let end = offset.saturating_add(length).min(entries.len());
    let page = entries.get(offset..end).unwrap_or_default();
    (page, (end < entries.len()).then_some(end))
}

/// A page as the result of its list method.
pub(crate) fn write_page(kind: ListKind, page: &[RawJson], next_cursor: Option<&str>) -> RawJson {
    write_list(kind, page.iter(), next_cursor)
}

/// The backends that may know a resource, the likeliest first.
pub(crate) async fn route_resource(session: &Arc<Session>, uri: &str) -> Vec<usize> {
    if let [only] = session.upstreams() {
        return vec![only.position()];
    }
    let (known, fresh) = {
        let state = session.lists.lock();
        let fresh = state.indexed_at.is_some_and(|at| at.elapsed() < INDEX_AGAIN) && state.resources.is_some();
        (state.resources.clone(), fresh)
    };
    if let Some(backend) = known.and_then(|index| index.route(uri)) {
        return vec![backend];
    }
    if !fresh && let Some(backend) = index_resources(session).await.route(uri) {
        return vec![backend];
    }
    offering_resources(session).await
}

async fn offering_resources(session: &Arc<Session>) -> Vec<usize> {
    let asked = session.upstreams().iter().map(|upstream| async move {
        let opened = tokio::time::timeout(PATIENCE, upstream.open(session)).await.ok()?.ok()?;
        has_capability(&opened.server().capabilities, "resources").then_some(upstream.position())
    });
    futures_util::future::join_all(asked).await.into_iter().flatten().collect()
}

async fn index_resources(session: &Arc<Session>) -> Arc<ResourceIndex> {
    let (resources, templates) =
        tokio::join!(shares(session, ListKind::Resources), shares(session, ListKind::ResourceTemplates));
    let (resources, templates) = (resources.unwrap_or_default(), templates.unwrap_or_default());
    let index = Arc::new(ResourceIndex::build(
        resources.iter().map(|(backend, entries)| (*backend, entries.as_slice())),
        templates.iter().map(|(backend, entries)| (*backend, entries.as_slice())),
    ));
    let mut state = session.lists.lock();
    state.resources = Some(Arc::clone(&index));
    state.indexed_at = Some(Instant::now());
    index
}

/// Whether a server declared a capability.
pub(crate) fn has_capability(capabilities: &RawJson, name: &str) -> bool {
    hawser_mcp::Members::read(capabilities, &[])
        .ok()
        .and_then(|members| members.get(name))
        .is_some_and(|value| value.is_object())
}

fn is_method_not_found(error: &RawJson) -> bool {
    #[derive(serde::Deserialize)]
    struct Code {
        code: i64,
    }
    error.read::<Code>().is_ok_and(|error| error.code == i64::from(code::METHOD_NOT_FOUND))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pages_give_every_entry_once(entries in 0_u64..50, length in 1_usize..20) {
            let entries: Vec<_> = (0..entries).map(RawJson::number).collect();
            let mut seen = Vec::new();
            let mut offset = Some(0);
            while let Some(at) = offset {
                let (page, next) = page(&entries, at, length);
                seen.extend_from_slice(page);
                offset = next;
            }
            prop_assert_eq!(seen, entries);
        }
    }
}
