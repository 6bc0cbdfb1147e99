//! One backend's whole list of one kind, and for how long it is good.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hawser_mcp::{CacheScope, Freshness, ListKind, ListPage, Members, RawJson, Revision, write_list};
use tokio::time::Instant;

/// Longest time that a list is kept on the word of its backend.
const STATED_MAX: Duration = Duration::from_hours(1);
/// How long the list of a backend is good that would have told of a change.
const HEARD_MAX: Duration = Duration::from_mins(5);
/// How long one is good that cannot be known to be the last.
const UNHEARD_MAX: Duration = Duration::from_secs(30);
/// What an entry takes beside its text, in bytes: an estimate for the bounds.
pub(super) const ENTRY_OVERHEAD: usize = 64;

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
    /// The same number, the same content; never used again.
    pub(crate) id: u64,
    pub(crate) kind: ListKind,
    pub(crate) content: Arc<Content>,
    pub(crate) revision: Revision,
    pub(crate) makes_headers: bool,
    /// How many changes had been announced when it was asked for.
    pub(super) as_of: u64,
    lifetime: Lifetime,
    asked_at: Instant,
}

/// The entries of a list, which outlive a renewal that brings the same.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) entries: Vec<RawJson>,
    pub(crate) bytes: usize,
    positions: OnceLock<HashMap<String, usize>>,
}

impl Content {
    /// Takes the entries out of the messages that they came in, so that they keep no more than themselves.
    fn new(kind: ListKind, entries: &[RawJson]) -> Self {
        let text = write_list(kind, entries.iter(), None);
        let bytes = text.bytes().len() + entries.len() * ENTRY_OVERHEAD;
        // What was just written can be read.
        let entries = ListPage::read(kind, &text).map(|page| page.entries).unwrap_or_default();
        Self { entries, bytes, positions: OnceLock::new() }
    }

    /// Whether these are the same entries, be it in another order: some servers list what they have as it comes.
    fn is_of(&self, entries: &[RawJson]) -> bool {
        let sorted = |entries: &[RawJson]| {
            let mut sorted: Vec<_> = entries.iter().map(|entry| entry.bytes().clone()).collect();
            sorted.sort_unstable();
            sorted
        };
        self.entries == entries || (self.entries.len() == entries.len() && sorted(&self.entries) == sorted(entries))
    }
}

impl Part {
    /// A list to keep. Where it is the one that was known before, in whatever order, that one stays.
    pub(super) fn new(kind: ListKind, fetched: Fetched, known: Option<&Self>, id: u64, as_of: u64) -> Self {
        let same = known.filter(|known| {
            (known.kind, known.revision, known.makes_headers) == (kind, fetched.revision, fetched.makes_headers)
                && known.content.is_of(&fetched.entries)
        });
        Self {
            id: same.map_or(id, |known| known.id),
            kind,
            content: same
                .map_or_else(|| Arc::new(Content::new(kind, &fetched.entries)), |known| Arc::clone(&known.content)),
            revision: fetched.revision,
            makes_headers: fetched.makes_headers,
            as_of,
            lifetime: fetched.lifetime,
            asked_at: fetched.asked_at,
        }
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
        let positions = self.content.positions.get_or_init(|| {
            let mut positions = HashMap::with_capacity(self.content.entries.len());
            for (position, entry) in self.content.entries.iter().enumerate() {
                let key = self.kind.entry_key();
                if let Some(name) = Members::read(entry, &[key]).ok().and_then(|members| members.string(key)) {
                    positions.entry(name).or_insert(position);
                }
            }
            positions
        });
        self.content.entries.get(*positions.get(name)?)
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

    fn part(names: &[&str], lifetime: Lifetime, known: Option<&Part>) -> Part {
        Part::new(ListKind::Tools, fetched(names, lifetime), known, known.map_or(0, |known| known.id + 1), 0)
    }

    #[tokio::test(start_paused = true)]
    async fn a_list_is_good_for_as_long_as_its_backend_states_and_at_most_an_hour() {
        let minute = part(&[], stated(60_000, CacheScope::Public), None);
        let never = part(&[], stated(0, CacheScope::Public), None);
        let ever = part(&[], stated(u64::MAX, CacheScope::Private), None);
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
        let announced = part(&[], Lifetime::Announced(Some(heard)), None);
        let missed = part(&[], Lifetime::Announced(Some(deaf)), None);
        let mute = part(&[], Lifetime::Announced(None), None);
        tokio::time::advance(UNHEARD_MAX).await;
        assert!(announced.is_fresh() && !missed.is_fresh() && !mute.is_fresh());
        assert_eq!(announced.freshness(), Some(Freshness::NONE), "the client is told nothing it could rely on");
        tokio::time::advance(HEARD_MAX).await;
        assert!(!announced.is_fresh());
    }

    #[tokio::test]
    async fn the_same_entries_in_another_order_are_the_same_list() {
        let lifetime = || Lifetime::Announced(None);
        let first = part(&["a", "b"], lifetime(), None);
        let shuffled = part(&["b", "a"], lifetime(), Some(&first));
        assert_eq!(shuffled.id, first.id);
        assert_eq!(shuffled.content.entries, first.content.entries);
        let other = part(&["b", "a", "a"], lifetime(), Some(&shuffled));
        assert_ne!(other.id, first.id);
    }

    #[test]
    fn what_is_kept_does_not_keep_the_message_it_came_in() {
        let message = Bytes::from_static(br#"{"tools":[{"name":"a"},{"name":"a","second":1}],"filler":"much"}"#);
        let message = Bytes::copy_from_slice(&message);
        let page = ListPage::read(ListKind::Tools, &RawJson::parse(&message).unwrap()).unwrap();
        let content = Content::new(ListKind::Tools, &page.entries);
        drop(page);
        assert!(message.is_unique());
        assert_eq!(content.entries.len(), 2);
    }

    #[tokio::test]
    async fn an_entry_is_found_by_name_the_first_of_equals() {
        let part = part(&["a", "b", "a"], Lifetime::Announced(None), None);
        assert_eq!(part.find("b").unwrap().as_str(), r#"{"name":"b"}"#);
        assert_eq!(part.find("a"), part.content.entries.first());
        assert_eq!(part.find("c"), None);
    }
}
