//! One backend's whole list of one kind, and for how long it is good.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{CacheScope, Freshness, ListKind, RawJson, Revision};
use tokio::time::Instant;

use super::contents::Content;

/// Longest time that a list is kept on the word of its backend.
const STATED_MAX: Duration = Duration::from_hours(1);
/// How long the list of a backend is good that would have told of a change.
const HEARD_MAX: Duration = Duration::from_mins(5);
/// How long one is good that cannot be known to be the last.
const UNHEARD_MAX: Duration = Duration::from_secs(30);

/// Whether everything that a backend announced since then has been heard.
pub(crate) type Heard = Arc<dyn Fn(Instant) -> bool + Send + Sync>;

/// What a list's age is measured by.
#[derive(Clone)]
pub(crate) enum Lifetime {
    /// By what the backend states on each page (2026-07-28, Caching); the strictest of all pages.
    Stated(Freshness),
    /// The session era states nothing. What is announced decides, where the backend announces changes at all.
    Announced(Option<Heard>),
    /// There is no such list: the backend does not have the capability.
    Absent(Heard),
}

impl Lifetime {
    fn good_for(&self, since: Instant) -> Duration {
        match self {
            Self::Stated(freshness) => Duration::from_millis(freshness.ttl_ms).min(STATED_MAX),
            Self::Announced(Some(heard)) | Self::Absent(heard) if heard(since) => HEARD_MAX,
            Self::Announced(_) | Self::Absent(_) => UNHEARD_MAX,
        }
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stated(freshness) => f.debug_tuple("Stated").field(freshness).finish(),
            Self::Announced(heard) => f.debug_tuple("Announced").field(&heard.is_some()).finish(),
            Self::Absent(_) => f.write_str("Absent"),
        }
    }
}

/// A list as it was read from its backend.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) entries: Vec<RawJson>,
    /// What the backend's session speaks.
    pub(crate) revision: Revision,
    /// Whether calls of its tools need headers that are made of the tools' annotations (2026-07-28, Request Metadata).
    pub(crate) makes_headers: bool,
    pub(crate) lifetime: Lifetime,
    /// When the first page was asked for.
    pub(crate) asked_at: Instant,
}

/// A list that is kept.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) kind: ListKind,
    pub(crate) content: Arc<Content>,
    pub(crate) revision: Revision,
    pub(crate) makes_headers: bool,
    /// How many changes had been announced when it was asked for.
    pub(super) as_of: u64,
    lifetime: Lifetime,
    asked_at: Instant,
}

impl Part {
    /// A list to keep.
    pub(super) fn new(kind: ListKind, fetched: Fetched, content: Arc<Content>, as_of: u64) -> Self {
        let Fetched { revision, makes_headers, lifetime, asked_at, .. } = fetched;
        Self { kind, content, revision, makes_headers, as_of, lifetime, asked_at }
    }

    /// The number of its content.
    pub(crate) fn id(&self) -> u64 {
        self.content.id
    }

    pub(crate) fn age(&self) -> Duration {
        self.asked_at.elapsed()
    }

    pub(crate) fn is_fresh(&self) -> bool {
        self.age() < self.lifetime.good_for(self.asked_at)
    }

    /// Whether it may be given to whoever asks.
    pub(crate) fn is_public(&self) -> bool {
        matches!(self.lifetime, Lifetime::Stated(Freshness { scope: CacheScope::Public, .. }))
    }

    /// What it tells a client of its freshness; nothing if there is no such list.
    pub(crate) fn freshness(&self) -> Option<Freshness> {
        match &self.lifetime {
            Lifetime::Stated(stated) => {
                let left = self.lifetime.good_for(self.asked_at).saturating_sub(self.age());
                let ttl_ms = u64::try_from(left.as_millis()).unwrap_or(stated.ttl_ms);
                Some(Freshness { ttl_ms, scope: stated.scope })
            }
            // "Absent: not to be kept" is all that can be passed on of a server that states nothing.
            Lifetime::Announced(_) => Some(Freshness::NONE),
            Lifetime::Absent(_) => None,
        }
    }

    /// The first entry of this name (or URI).
    pub(crate) fn find(&self, name: &str) -> Option<&RawJson> {
        self.content.find(self.kind, name)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;

    pub(crate) fn raw(text: &str) -> RawJson {
        RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    pub(crate) fn stated(ttl_ms: u64, scope: CacheScope) -> Lifetime {
        Lifetime::Stated(Freshness { ttl_ms, scope })
    }

    pub(crate) fn fetched(names: &[&str], lifetime: Lifetime) -> Fetched {
        Fetched {
            entries: names.iter().map(|name| raw(&format!(r#"{{"name":"{name}"}}"#))).collect(),
            revision: Revision::LATEST,
            makes_headers: false,
            lifetime,
            asked_at: Instant::now(),
        }
    }

    fn part(names: &[&str], lifetime: Lifetime) -> Part {
        let fetched = fetched(names, lifetime);
        let content = Content::new(1, ListKind::Tools, &fetched.entries);
        Part::new(ListKind::Tools, fetched, Arc::new(content), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_good_for_as_long_as_its_backend_states_and_at_most_an_hour() {
        let minute = part(&[], stated(60_000, CacheScope::Public));
        let never = part(&[], stated(0, CacheScope::Public));
        let ever = part(&[], stated(u64::MAX, CacheScope::Private));
        assert!(minute.is_fresh() && !never.is_fresh() && ever.is_fresh());
        assert_eq!(ever.freshness(), Some(Freshness { ttl_ms: 3_600_000, scope: CacheScope::Private }));
        tokio::time::advance(Duration::from_secs(59)).await;
        assert!(minute.is_fresh());
        assert_eq!(minute.freshness().unwrap().ttl_ms, 1000);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!minute.is_fresh());
        assert_eq!(minute.freshness().unwrap().ttl_ms, 0);
        tokio::time::advance(STATED_MAX).await;
        assert!(!ever.is_fresh());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_counts_only_of_who_would_have_spoken() {
        let heard: Heard = Arc::new(|_| true);
        let deaf: Heard = Arc::new(|_| false);
        let announced = part(&[], Lifetime::Announced(Some(heard)));
        let missed = part(&[], Lifetime::Announced(Some(deaf)));
        let mute = part(&[], Lifetime::Announced(None));
        tokio::time::advance(UNHEARD_MAX).await;
        assert!(announced.is_fresh() && !missed.is_fresh() && !mute.is_fresh());
        assert_eq!(announced.freshness(), Some(Freshness::NONE), "the client is told nothing it could rely on");
        tokio::time::advance(HEARD_MAX).await;
        assert!(!announced.is_fresh());
    }

    #[tokio::test]
    async fn an_entry_is_found_by_name_the_first_of_equals() {
        let part = part(&["a", "b", "a"], Lifetime::Announced(None));
        assert_eq!(part.find("b").unwrap().as_str(), r#"{"name":"b"}"#);
        assert_eq!(part.find("a"), part.content.entries.first());
        assert_eq!(part.find("c"), None);
    }
}
