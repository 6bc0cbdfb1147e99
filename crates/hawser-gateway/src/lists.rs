//! `tools/list` and its siblings: every backend's pages, merged, paged again under sealed cursors.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hawser_backend::BackendError;
use hawser_catalog::{ResourceIndex, Source, merge};
use hawser_mcp::{ErrorObject, ListKind, ListPage, Outcome, RawJson, code, write_list};
use tracing::{debug, warn};

use crate::ask::ask;
use crate::session::Session;
use crate::upstream::Upstream;

/// Most pages read of one backend's list.
const PAGES_MAX: usize = 256;
/// Most entries read of one backend's list.
const ENTRIES_MAX: usize = 50_000;

/// What a session knows of its backends' lists.
#[derive(Debug, Default)]
pub(crate) struct SessionLists {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    merged: HashMap<ListKind, (u64, Arc<Vec<RawJson>>)>,
    /// The last good answer of each backend, so that a list does not flap while one is away.
    known: HashMap<(usize, ListKind), Arc<Vec<RawJson>>>,
    resources: Option<Arc<ResourceIndex>>,
}

/// A merged list, and which one it is.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) generation: u64,
    pub(crate) entries: Arc<Vec<RawJson>>,
}

impl SessionLists {
    /// The merged list of this generation, if it is still the current one.
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
        state.generation += 1;
        let listed = Listed { generation: state.generation, entries: Arc::new(entries) };
        state.merged.insert(kind, (listed.generation, Arc::clone(&listed.entries)));
        listed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
    let asked = (0..session.upstreams().len()).map(|backend| async move {
        let answer = read_all(session, backend, kind).await.map(Arc::new);
        if let Ok(entries) = &answer {
            session.lists.learn(backend, kind, entries);
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
async fn read_all(session: &Arc<Session>, backend: usize, kind: ListKind) -> Result<Vec<RawJson>, BackendError> {
    let Some(upstream) = session.upstream(backend) else {
        return Ok(Vec::new());
    };
    if !has_capability(&upstream.open(session).await?.server().capabilities, kind.capability()) {
        return Ok(Vec::new());
    }
    let mut entries = Vec::new();
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
        entries.extend(page.entries);
        if entries.len() > ENTRIES_MAX {
            return Err(broken(upstream, format!("{} has over {ENTRIES_MAX} entries", kind.method())));
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
    let offering = offering_resources(session).await;
    if offering.len() <= 1 {
        return offering;
    }
    let known = session.lists.lock().resources.clone();
    if let Some(backend) = known.and_then(|index| index.route(uri)) {
        return vec![backend];
    }
    match index_resources(session).await.route(uri) {
        Some(backend) => vec![backend],
        None => offering,
    }
}

async fn offering_resources(session: &Arc<Session>) -> Vec<usize> {
    let asked = session.upstreams().iter().enumerate().map(|(position, upstream)| async move {
        let opened = upstream.open(session).await.ok()?;
        has_capability(&opened.server().capabilities, "resources").then_some(position)
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
    session.lists.lock().resources = Some(Arc::clone(&index));
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
