//! Reading one backend's list: all its pages, within bounds.

use std::sync::Arc;

use hawser_backend::{BackendError, BackendSession};
use hawser_mcp::{Era, Freshness, ListKind, ListPage, Outcome, RawJson, code, freshness};
use tokio::time::Instant;

use super::part::{Fetched, Heard, Lifetime};
use super::{announces, has_capability};
use crate::ask::ask;
use crate::session::Session;
use crate::upstream::Upstream;

/// Most pages read of one backend's list.
const PAGES_MAX: usize = 256;
/// Most entries read of one backend's list.
const ENTRIES_MAX: usize = 50_000;
/// Most bytes of one backend's list.
const BYTES_MAX: usize = 32 * 1024 * 1024;

/// All pages of one backend's list; none if the backend does not have that capability.
pub(super) async fn read_all(
    session: &Arc<Session>,
    upstream: &Upstream,
    kind: ListKind,
) -> Result<Fetched, BackendError> {
    let opened = upstream.open(session).await?;
    let revision = opened.server().revision;
    let mut fetched = Fetched {
        entries: Vec::new(),
        revision,
        makes_headers: revision.era() == Era::Modern && !upstream.backend().is_stdio(),
        lifetime: Lifetime::Absent(heard(&opened)),
        asked_at: Instant::now(),
    };
    if !has_capability(&opened.server().capabilities, kind.capability()) {
        return Ok(fetched);
    }
    let mut pages = Pages::default();
    for _ in 0..PAGES_MAX {
        let params = pages.cursor.as_ref();
        let params = params.and_then(|cursor| RawJson::from_serialize(&serde_json::json!({ "cursor": cursor })).ok());
        match ask(session, upstream, kind.method(), params).await? {
            Outcome::Result(result) => {
                let more = pages.add(kind, &result);
                if !more.map_err(|reason| broken(upstream, format!("{} {reason}", kind.method())))? {
                    fetched.entries = pages.entries;
                    fetched.lifetime = lifetime(&opened, kind, pages.freshness);
                    return Ok(fetched);
                }
            }
            // Declared but not offered, as some servers do for templates.
            Outcome::Error(error) if is_method_not_found(&error) => {
                fetched.entries = pages.entries;
                return Ok(fetched);
            }
            Outcome::Error(_) => {
                return Err(broken(upstream, format!("{} was answered with an error", kind.method())));
            }
        }
    }
    Err(broken(upstream, format!("{} has over {PAGES_MAX} pages", kind.method())))
}

/// The pages read so far.
#[derive(Default)]
struct Pages {
    entries: Vec<RawJson>,
    bytes: usize,
    cursor: Option<String>,
    /// Of the strictest page.
    freshness: Option<Freshness>,
}

impl Pages {
    /// Adds a page and tells whether there is another one, or what is wrong with this one.
    fn add(&mut self, kind: ListKind, result: &RawJson) -> Result<bool, String> {
        let page = ListPage::read(kind, result).map_err(|error| format!("gave no list: {error}"))?;
        let stated = freshness(result).unwrap_or(Freshness::NONE);
        self.freshness = Some(self.freshness.map_or(stated, |so_far| so_far.and(stated)));
        self.bytes += page.entries.iter().map(|entry| entry.bytes().len()).sum::<usize>();
        self.entries.extend(page.entries);
        if self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            return Err(format!("has over {ENTRIES_MAX} entries or {BYTES_MAX} bytes"));
        }
        if page.next_cursor.is_some() && page.next_cursor == self.cursor {
            return Err("repeats a cursor".to_owned());
        }
        self.cursor = page.next_cursor;
        Ok(self.cursor.is_some())
    }
}

/// What the list's age is measured by.
fn lifetime(from: &BackendSession, kind: ListKind, stated: Option<Freshness>) -> Lifetime {
    if from.server().revision.era() == Era::Modern {
        return Lifetime::Stated(stated.unwrap_or(Freshness::NONE));
    }
    Lifetime::Announced(announces(&from.server().capabilities, kind).then(|| heard(from)))
}

fn heard(from: &BackendSession) -> Heard {
    let from = from.downgrade();
    Arc::new(move |since| from.upgrade().is_some_and(|from| from.has_heard_since(since)))
}

fn broken(upstream: &Upstream, reason: String) -> BackendError {
    BackendError::Protocol { backend: upstream.backend().name().clone(), reason }
}

fn is_method_not_found(error: &RawJson) -> bool {
    #[derive(serde::Deserialize)]
    struct Code {
        code: i64,
    }
    error.read::<Code>().is_ok_and(|error| error.code == i64::from(code::METHOD_NOT_FOUND))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_mcp::CacheScope;

    use super::super::part::tests::raw;
    use super::*;

    #[test]
    fn the_strictest_page_speaks_for_the_list() {
        let mut pages = Pages::default();
        let first = raw(r#"{"tools":[1],"nextCursor":"","ttlMs":60000,"cacheScope":"public"}"#);
        assert_eq!(pages.add(ListKind::Tools, &first), Ok(true));
        assert_eq!(pages.freshness, Some(Freshness { ttl_ms: 60_000, scope: CacheScope::Public }));
        let second = raw(r#"{"tools":[2],"nextCursor":"x","ttlMs":5,"cacheScope":"private"}"#);
        assert_eq!(pages.add(ListKind::Tools, &second), Ok(true));
        assert_eq!(pages.freshness, Some(Freshness { ttl_ms: 5, scope: CacheScope::Private }));
        assert_eq!(pages.add(ListKind::Tools, &raw(r#"{"tools":[3]}"#)), Ok(false));
        assert_eq!(pages.freshness, Some(Freshness::NONE), "a page that says nothing may not be kept");
        assert_eq!(pages.entries.len(), 3);
    }

    #[test]
    fn pages_that_do_not_end_or_are_none_are_refused() {
        let mut pages = Pages::default();
        let page = raw(r#"{"tools":[],"nextCursor":"again"}"#);
        assert_eq!(pages.add(ListKind::Tools, &page), Ok(true));
        assert!(pages.add(ListKind::Tools, &page).unwrap_err().contains("repeats a cursor"));
        assert!(Pages::default().add(ListKind::Tools, &raw(r#"{"prompts":[]}"#)).is_err());
        let many = raw(&format!(r#"{{"tools":[{}1]}}"#, "1,".repeat(ENTRIES_MAX)));
        assert!(Pages::default().add(ListKind::Tools, &many).unwrap_err().contains("entries"));
    }
}
