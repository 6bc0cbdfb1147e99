//! `tools/list` and its siblings: every backend's pages, merged, paged again under sealed cursors.
//!
//! What the backends said is kept for all sessions of the node ([`cache`]), for as long as it may be ([`part`]); what is merged
//! of it as well ([`merged`]). A list costs its backend something only when it is not known or not good any more.

mod cache;
mod contents;
mod cursor;
mod fetch;
mod merged;
mod own;
mod part;
mod resources;
mod shelf;

use std::sync::Arc;
use std::time::Duration;

use hawser_backend::{Backend, BackendError};
use hawser_mcp::{ErrorObject, Freshness, ListKind, Members, Notification, RawJson, code, notification, write_list};
use tokio::time::Instant;
use tracing::warn;

pub(crate) use self::cache::{ListCache, View};
pub(crate) use self::cursor::Cursors;
pub(crate) use self::merged::ListDigest;
pub(crate) use self::own::SessionLists;
pub(crate) use self::resources::route_resource;

use self::merged::MergedList;
use self::part::Part;
use crate::dispatch::invalid;
use crate::session::Session;

/// Longest wait for one backend's list: one that hangs must not keep the others' from the client.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same of a backend that was waited for in vain not long ago: it is asked all the same, and may be back.
const PATIENCE_LOST: Duration = Duration::from_secs(1);
const LOST_FOR: Duration = Duration::from_mins(1);
/// A tool's annotations are taken from a list of at most this age, and one that it does not have is looked for in a newer one
/// at most so often.
const ANNOTATIONS_MAX: Duration = Duration::from_mins(5);
const TOOL_AGAIN: Duration = Duration::from_secs(5);

/// One page of a merged list.
#[derive(Debug)]
pub(crate) struct Page {
    /// The result of the list method, without what only one era has.
    pub(crate) result: RawJson,
    /// How long it may be kept, and for whom (2026-07-28, Caching).
    pub(crate) freshness: Freshness,
}

/// One backend's share of a list.
struct Share {
    backend: usize,
    part: Arc<Part>,
    /// Whether it is what the backend says now, not what it last said.
    current: bool,
}

struct Listed {
    list: Arc<MergedList>,
    freshness: Freshness,
}

/// The page that a client asks for.
pub(crate) async fn page(
    session: &Arc<Session>,
    kind: ListKind,
    params: Option<&RawJson>,
    cursors: &Cursors<'_>,
    length: usize,
) -> Result<Page, ErrorObject> {
    let invalid_cursor =
        || ErrorObject::new(code::INVALID_PARAMS, "this cursor is not valid (any more); start again without one");
    let cursor = match params {
        None => None,
        Some(params) => {
            let members = Members::read(params, &["cursor", "_meta"]).map_err(|error| invalid(&error))?;
            members.get("cursor").map(|cursor| cursor.as_string().ok_or_else(invalid_cursor)).transpose()?
        }
    };
    let (listed, offset) = match cursor {
        None => (listed(session, kind).await?, 0),
        Some(cursor) => {
            let (list, offset) = cursors.open(kind, &cursor).ok_or_else(invalid_cursor)?;
            (listed_as(session, kind, list).await?.ok_or_else(invalid_cursor)?, offset)
        }
    };
    let (page, next) = cut(&listed.list.entries, offset, length);
    let next = next.map(|offset| cursors.seal(kind, listed.list.digest, offset)).transpose()?;
    Ok(Page { result: write_list(kind, page.iter(), next.as_deref()), freshness: listed.freshness })
}

/// The merged list as it is now.
async fn listed(session: &Arc<Session>, kind: ListKind) -> Result<Listed, ErrorObject> {
    let shares = shares_at_most(session, kind, Duration::MAX).await?;
    Ok(merged(session, kind, &shares))
}

/// The merged list with this content, if it is known and no change of it was announced, or if it is still the current one.
async fn listed_as(session: &Arc<Session>, kind: ListKind, digest: ListDigest) -> Result<Option<Listed>, ErrorObject> {
    let known = merged(session, kind, &shares_known(session, kind));
    if known.list.digest == digest {
        return Ok(Some(known));
    }
    Ok(Some(listed(session, kind).await?).filter(|listed| listed.list.digest == digest))
}

fn merged(session: &Session, kind: ListKind, shares: &[Share]) -> Listed {
    let endpoint = session.endpoint();
    let ids = shares.iter().map(|share| (share.backend, share.part.id())).collect();
    let place = (endpoint.id(), session.local_owner());
    let to = session.revision();
    let list = endpoint.lists().merged(place, kind, to, ids, || {
        let parts: Vec<_> = shares.iter().map(|share| (share.backend, Arc::clone(&share.part))).collect();
        MergedList::of(endpoint.name(), endpoint.router(), kind, to, &parts)
    });
    let complete = shares.len() == session.endpoint().backends().len() && shares.iter().all(|share| share.current);
    Listed { list, freshness: together(shares.iter().filter_map(|share| share.part.freshness()), complete) }
}

/// How fresh a list is of which these are parts. One that is not what all backends say now is not to be kept.
fn together(parts: impl Iterator<Item = Freshness>, complete: bool) -> Freshness {
    let together = parts.reduce(Freshness::and).unwrap_or(Freshness::NONE);
    if complete { together } else { Freshness { ttl_ms: 0, ..together } }
}

/// Each backend's list as it is now, read if it is not known, not fresh, or older than it may be. A backend that fails
/// contributes what it last said; only if none has anything to say is that an error.
async fn shares_at_most(session: &Arc<Session>, kind: ListKind, max_age: Duration) -> Result<Vec<Share>, ErrorObject> {
    let backends = session.endpoint().backends().enumerate();
    let asked = backends.map(|(at, backend)| async move { (at, current(session, at, backend, kind, max_age).await) });
    let mut shares = Vec::new();
    let mut failed = None;
    for (backend, answer) in futures_util::future::join_all(asked).await {
        match answer {
            Ok(part) => shares.push(Share { backend, part, current: true }),
            Err(error) => {
                warn!(endpoint = session.endpoint().name(), %error, "a backend does not answer {}", kind.method());
                match session.endpoint().lists().known(&session.work().lists.place(backend, kind)) {
                    Some(part) => shares.push(Share { backend, part, current: false }),
                    None => failed = Some(error),
                }
            }
        }
    }
    match failed {
        Some(error) if shares.is_empty() => Err(ErrorObject::new(code::INTERNAL_ERROR, error.client_message())),
        _ => Ok(shares),
    }
}

/// What is known of each backend's list and not said to have changed, without asking anybody.
fn shares_known(session: &Session, kind: ListKind) -> Vec<Share> {
    let (cache, work) = (session.endpoint().lists(), session.work());
    let known = (0..session.endpoint().backends().len()).filter_map(|backend| {
        let part = cache.unchanged(&work.lists.place(backend, kind))?;
        Some(Share { backend, current: part.is_fresh(), part })
    });
    known.collect()
}

/// One backend's list as it is now.
async fn current(
    session: &Arc<Session>,
    at: usize,
    backend: &Backend,
    kind: ListKind,
    max_age: Duration,
) -> Result<Arc<Part>, BackendError> {
    let (cache, work) = (session.endpoint().lists(), session.work());
    let place = work.lists.place(at, kind);
    if let Some(part) = cache.fresh(&place, max_age) {
        return Ok(part);
    }
    let upstream = session.upstream(at).ok_or_else(|| BackendError::Closed { backend: backend.name().clone() })?;
    let obtained = cache.obtain(&place, || fetch::read_all(session, &upstream, kind));
    let patience = work.lists.patience(at, Instant::now());
    let answered = tokio::time::timeout(patience, obtained).await;
    work.lists.note_patience(at, patience, answered.is_ok(), Instant::now());
    let obtained =
        answered.unwrap_or_else(|_| Err(BackendError::TimedOut { backend: backend.name().clone(), after: patience }));
    if obtained.is_err() {
        // A listening client is told when the backend is back.
        upstream.recover(session);
    }
    obtained
}

/// A tool as its backend lists it, by the name that clients know it by. Read from the backend only if that one's list is not
/// known or does not have it.
pub(crate) async fn tool(session: &Arc<Session>, exposed: &str) -> Option<RawJson> {
    let to = session.endpoint().router().route(exposed)?;
    let backend = session.endpoint().backend(to.backend)?;
    let (cache, work) = (session.endpoint().lists(), session.work());
    let known = cache.unchanged(&work.lists.place(to.backend, ListKind::Tools));
    let known = known.filter(|part| part.is_fresh() || part.age() < ANNOTATIONS_MAX);
    if let Some(tool) = known.as_ref().and_then(|part| part.find(to.own_name)) {
        return Some(tool.clone());
    }
    let part = match known {
        Some(part) if part.age() < TOOL_AGAIN => part,
        _ => match current(session, to.backend, backend, ListKind::Tools, TOOL_AGAIN).await {
            Ok(part) => part,
            Err(error) => {
                warn!(endpoint = session.endpoint().name(), %error, "the tools of a backend are not known");
                cache.known(&work.lists.place(to.backend, ListKind::Tools))?
            }
        },
    };
    part.find(to.own_name).cloned()
}

/// Whether a server says that it announces changes of a list.
pub(crate) fn announces(capabilities: &RawJson, kind: ListKind) -> bool {
    let declared = Members::read(capabilities, &[]).ok().and_then(|members| members.get(kind.capability()));
    let flag = |declared: RawJson| Members::read(&declared, &[]).ok()?.get("listChanged");
    declared.and_then(flag).is_some_and(|flag| flag.as_str() == "true")
}

/// The lists that a notification says have changed.
pub(crate) fn changed_by(notification: &Notification) -> &'static [ListKind] {
    match notification.method.as_str() {
        notification::TOOLS_LIST_CHANGED => &[ListKind::Tools],
        notification::PROMPTS_LIST_CHANGED => &[ListKind::Prompts],
        notification::RESOURCES_LIST_CHANGED => &[ListKind::Resources, ListKind::ResourceTemplates],
        _ => &[],
    }
}

/// The page that starts at `offset`, and where the next one does.
fn cut(entries: &[RawJson], offset: usize, length: usize) -> (&[RawJson], Option<usize>) {
    let end = offset.saturating_add(length).min(entries.len());
    let page = entries.get(offset..end).unwrap_or_default();
    (page, (end < entries.len()).then_some(end))
}

/// Whether a server declared a capability.
pub(crate) fn has_capability(capabilities: &RawJson, name: &str) -> bool {
    Members::read(capabilities, &[]).ok().and_then(|members| members.get(name)).is_some_and(|value| value.is_object())
}

#[cfg(test)]
mod tests {
    use hawser_mcp::CacheScope;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_merged_list_is_as_fresh_as_its_stalest_part_and_as_private_as_its_most_private() {
        let public = Freshness { ttl_ms: 100, scope: CacheScope::Public };
        let private = Freshness { ttl_ms: 200, scope: CacheScope::Private };
        assert_eq!(together([public].into_iter(), true), public);
        let both = Freshness { ttl_ms: 100, scope: CacheScope::Private };
        assert_eq!(together([public, private].into_iter(), true), both);
        let stale = Freshness { ttl_ms: 0, scope: CacheScope::Public };
        assert_eq!(together([public].into_iter(), false), stale, "a backend's last good list");
        assert_eq!(together(std::iter::empty(), true), Freshness::NONE);
    }

    proptest! {
        #[test]
        fn pages_give_every_entry_once(entries in 0_u64..50, length in 1_usize..20) {
            let entries: Vec<_> = (0..entries).map(RawJson::number).collect();
            let mut seen = Vec::new();
            let mut offset = Some(0);
            while let Some(at) = offset {
                let (page, next) = cut(&entries, at, length);
                seen.extend_from_slice(page);
                offset = next;
            }
            prop_assert_eq!(seen, entries);
        }
    }
}
