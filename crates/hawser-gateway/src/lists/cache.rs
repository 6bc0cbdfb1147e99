//! What is known of the backends' lists, shared by all sessions of this node.
//!
//! A list belongs to whoever it was read for: to everyone if its backend says so, to one owner, or to one session where the
//! session era's servers vary their lists from session to session and this one has announced a change of its own. Beside that
//! it depends on what the client declared. A list that is not fresh any more stays as the last good one, for when its backend
//! fails.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hawser_backend::BackendError;
use hawser_catalog::ResourceIndex;
use hawser_mcp::{ListKind, Revision};
use hawser_owner::{EndpointId, LocalOwner};

use super::contents::{Content, ContentName, Contents};
use super::merged::MergedList;
use super::part::{Fetched, Part};
use super::shelf::{Amount, Bounds, Shelf};
use crate::claims::SessionKey;
use crate::hearsay::{self, Among};

/// Most lists kept of one owner, and their size in bytes. Merged lists count like those they are made of.
const OWNER_LISTS_MAX: usize = 4096;
const OWNER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most lists kept altogether, and their size in bytes.
const LISTS_MAX: usize = 65_536;
const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Announcements are counted in this many places; two that share one make each other's lists be read once more than needed.
const COUNTERS: usize = 4096;

/// Whom a list was read for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Audience {
    Everyone,
    Owner(LocalOwner),
    Session(SessionKey),
}

/// What a client declared, as far as a list may depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct View(pub(crate) [u8; 16]);

/// The list of one backend, as one session may see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) endpoint: EndpointId,
    pub(crate) backend: usize,
    pub(crate) kind: ListKind,
    pub(crate) view: View,
    pub(crate) owner: LocalOwner,
    /// The session, if this list is its own.
    pub(crate) session: Option<SessionKey>,
}

/// A list and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct PartKey {
    topic: Topic,
    view: View,
}

/// What an announced change concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Topic {
    endpoint: EndpointId,
    backend: usize,
    kind: ListKind,
    audience: Audience,
}

/// Positions of backends and the numbers of their lists: the same numbers, the same content.
pub(crate) type PartIds = Vec<(usize, u64)>;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Part(PartKey),
    /// Merged for clients of a revision.
    Merged(EndpointId, ListKind, Revision, PartIds),
    /// Of resources and templates.
    Index(EndpointId, PartIds, PartIds),
}

#[derive(Clone, Debug)]
enum Kept {
    Part(Arc<Part>),
    Merged(Arc<MergedList>),
    Index(Arc<ResourceIndex>),
}

/// The lists that this node knows.
#[derive(Debug)]
pub(crate) struct ListCache {
    state: Mutex<State>,
    /// How many changes were announced, by a hash of their topic.
    changes: Vec<AtomicU64>,
    hashes: RandomState,
    numbers: AtomicU64,
}

#[derive(Debug)]
struct State {
    kept: Shelf<Key, Kept>,
    contents: Contents,
    flights: HashMap<PartKey, Weak<Flight>>,
    /// The lists that were for everyone when they were read last, whatever their view.
    for_everyone: HashSet<Topic>,
}

/// A list that is being read; who else wants it waits for it.
#[derive(Debug, Default)]
struct Flight {
    last: tokio::sync::Mutex<Option<Result<Arc<Part>, BackendError>>>,
    landings: AtomicU64,
}

impl State {
    /// Drops what was made of contents that nobody is shown any more.
    fn forget_unused(&mut self) {
        let Some(used) = self.contents.in_use() else { return };
        let of_used = |parts: &PartIds| parts.iter().all(|(_, number)| used.contains(number));
        self.kept.retain(|key| match key {
            Key::Part(_) => true,
            Key::Merged(_, _, _, parts) => of_used(parts),
            Key::Index(_, resources, templates) => of_used(resources) && of_used(templates),
        });
    }
}

impl Place {
    fn topic(&self, audience: Audience) -> Topic {
        Topic { endpoint: self.endpoint, backend: self.backend, kind: self.kind, audience }
    }

    fn key(&self, audience: Audience) -> PartKey {
        PartKey { topic: self.topic(audience), view: self.view }
    }

    /// For whom a list is read that is not for everyone.
    fn private(&self) -> Audience {
        self.session.map_or(Audience::Owner(self.owner), Audience::Session)
    }

    /// Whose lists may be read here, the closest first.
    fn audiences(&self) -> impl Iterator<Item = Audience> {
        let everyone = self.session.is_none().then_some(Audience::Everyone);
        std::iter::once(self.private()).chain(everyone)
    }
}

impl Default for ListCache {
    fn default() -> Self {
        Self::with_bounds(Bounds {
            per_owner: Amount { items: OWNER_LISTS_MAX, bytes: OWNER_BYTES_MAX },
            total: Amount { items: LISTS_MAX, bytes: BYTES_MAX },
        })
    }
}

impl ListCache {
    pub(crate) fn with_bounds(bounds: Bounds) -> Self {
        Self {
            state: Mutex::new(State {
                kept: Shelf::new(bounds),
                contents: Contents::default(),
                flights: HashMap::new(),
                for_everyone: HashSet::new(),
            }),
            changes: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(),
            hashes: RandomState::new(),
            numbers: AtomicU64::new(1),
        }
    }

    /// The list, if it is fresh and at most so old.
    pub(crate) fn fresh(&self, place: &Place, max_age: Duration) -> Option<Arc<Part>> {
        self.unchanged(place).filter(|part| part.is_fresh() && part.age() <= max_age)
    }

    /// The list, however old, unless a change of it has been announced since.
    pub(crate) fn unchanged(&self, place: &Place) -> Option<Arc<Part>> {
        self.find(place, |part, topic| part.as_of == self.changes_of(topic))
    }

    /// The last good list. For a session whose list has just become its own that is the one it was given so far.
    pub(crate) fn known(&self, place: &Place) -> Option<Arc<Part>> {
        let shared = Place { session: None, ..*place };
        self.find(place, |_, _| true).or_else(|| self.find(&shared, |_, _| true))
    }

    /// The list that is allowed and was asked for last.
    fn find(&self, place: &Place, allowed: impl Fn(&Part, &Topic) -> bool) -> Option<Arc<Part>> {
        let mut state = self.lock();
        let found = place.audiences().filter_map(|audience| {
            let key = place.key(audience);
            let Kept::Part(part) = state.kept.get(&Key::Part(key))? else { return None };
            allowed(part, &key.topic).then(|| Arc::clone(part))
        });
        found.min_by_key(|part| part.age())
    }

    /// Reads the list, or waits for who does already. Whoever comes while it is being read gets the same, unless a change was
    /// announced meanwhile. If the reader gives up, the next one reads.
    pub(crate) async fn obtain<F>(&self, place: &Place, read: impl FnOnce() -> F) -> Result<Arc<Part>, BackendError>
    where
        F: Future<Output = Result<Fetched, BackendError>>,
    {
        let waiting = self.wait_for(place.key(place.private()));
        let landings = waiting.flight.landings.load(Ordering::Acquire);
        let mut last = waiting.flight.last.lock().await;
        if waiting.flight.landings.load(Ordering::Acquire) != landings
            && let Some(landed) = &*last
            && landed.as_ref().map_or(true, |part| self.is_unchanged(place, part))
        {
            return landed.clone();
        }
        let as_of = self.as_of(place);
        let outcome = read().await.map(|fetched| self.keep(place, fetched, as_of));
        *last = Some(outcome.clone());
        waiting.flight.landings.fetch_add(1, Ordering::Release);
        outcome
    }

    fn keep(&self, place: &Place, fetched: Fetched, (everyone, private): (u64, u64)) -> Arc<Part> {
        let content = self.content(place.kind, &fetched);
        let mut part = Part::new(place.kind, fetched, content, private);
        let (mine, everyones) = (place.key(place.private()), place.key(Audience::Everyone));
        let (key, other) = if part.is_public() && place.session.is_none() {
            part.as_of = everyone;
            (everyones, mine)
        } else {
            (mine, everyones)
        };
        let part = Arc::new(part);
        let is_for_everyone = part.is_public();
        let mut state = self.lock();
        // What was for everyone may have become private, or the other way about. A session that speaks for itself says nothing
        // of others.
        if place.session.is_none() {
            state.kept.remove(&Key::Part(other));
            if is_for_everyone {
                state.for_everyone.insert(everyones.topic);
            } else {
                state.for_everyone.remove(&everyones.topic);
            }
        }
        state.kept.insert(Key::Part(key), Kept::Part(Arc::clone(&part)), part.content.bytes, place.owner);
        state.forget_unused();
        part
    }

    /// What was read, as it is known already where anybody sees the same.
    fn content(&self, kind: ListKind, fetched: &Fetched) -> Arc<Content> {
        let name = ContentName::of(kind, fetched);
        let known = self.lock().contents.get(&name);
        known.unwrap_or_else(|| {
            // Not under the lock: if somebody else takes the same in meanwhile, that one counts.
            let number = self.numbers.fetch_add(1, Ordering::Relaxed);
            let content = Content::new(number, kind, &fetched.entries);
            self.lock().contents.put(name, content)
        })
    }

    /// A backend announced a change: every list that it may concern has to be read anew.
    pub(crate) fn changed(&self, place: &Place, session: SessionKey) {
        for audience in [Audience::Everyone, Audience::Owner(place.owner), Audience::Session(session)] {
            self.counter(&place.topic(audience)).fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Whether a backend's list is kept for everyone.
    pub(crate) fn is_for_everyone(&self, endpoint: EndpointId, (backend, kind): hearsay::Topic) -> bool {
        self.lock().for_everyone.contains(&Topic { endpoint, backend, kind, audience: Audience::Everyone })
    }

    /// Nobody here can know whether the list of these still is what it was.
    pub(crate) fn made_stale(&self, endpoint: EndpointId, among: Among, (backend, kind): hearsay::Topic) {
        let audience = match among {
            Among::Owner(owner) | Among::Anonymous(owner) => Audience::Owner(owner),
            Among::Everyone => Audience::Everyone,
        };
        self.counter(&Topic { endpoint, backend, kind, audience }).fetch_add(1, Ordering::AcqRel);
    }

    /// Forgets the list that was one session's own.
    pub(crate) fn forget(&self, place: &Place) {
        if place.session.is_some() {
            self.lock().kept.remove(&Key::Part(place.key(place.private())));
        }
    }

    /// The merged list that these are the parts of, made if it is not there.
    pub(crate) fn merged(
        &self,
        place: (EndpointId, LocalOwner),
        kind: ListKind,
        to: Revision,
        parts: PartIds,
        make: impl FnOnce() -> MergedList,
    ) -> Arc<MergedList> {
        let key = Key::Merged(place.0, kind, to, parts);
        if let Some(Kept::Merged(merged)) = self.lock().kept.get(&key) {
            return Arc::clone(merged);
        }
        // Not under the lock: two who make it at the same time make the same.
        let merged = Arc::new(make());
        self.lock().kept.insert(key, Kept::Merged(Arc::clone(&merged)), merged.bytes, place.1);
        merged
    }

    /// The way to resources that these lists tell, made if it is not there. It counts as large as the lists.
    pub(crate) fn index(
        &self,
        place: (EndpointId, LocalOwner),
        parts: (PartIds, PartIds),
        bytes: usize,
        make: impl FnOnce() -> ResourceIndex,
    ) -> Arc<ResourceIndex> {
        let key = Key::Index(place.0, parts.0, parts.1);
        if let Some(Kept::Index(index)) = self.lock().kept.get(&key) {
            return Arc::clone(index);
        }
        let index = Arc::new(make());
        self.lock().kept.insert(key, Kept::Index(Arc::clone(&index)), bytes, place.1);
        index
    }

    fn as_of(&self, place: &Place) -> (u64, u64) {
        let of = |audience| self.changes_of(&place.topic(audience));
        (of(Audience::Everyone), of(place.private()))
    }

    fn is_unchanged(&self, place: &Place, part: &Part) -> bool {
        let (everyone, private) = self.as_of(place);
        part.as_of == if part.is_public() && place.session.is_none() { everyone } else { private }
    }

    fn changes_of(&self, topic: &Topic) -> u64 {
        self.counter(topic).load(Ordering::Acquire)
    }

    fn counter(&self, topic: &Topic) -> &AtomicU64 {
        // The number of counters is a power of two and fits any integer; the index stays below it.
        let at = self.hashes.hash_one(topic) % COUNTERS as u64;
        &self.changes[usize::try_from(at).unwrap_or_default()]
    }

    fn wait_for(&self, key: PartKey) -> Waiting<'_> {
        let mut state = self.lock();
        let flight = state.flights.get(&key).and_then(Weak::upgrade).unwrap_or_default();
        state.flights.insert(key, Arc::downgrade(&flight));
        Waiting { cache: self, key, flight }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Consistent between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who reads a list or waits for it; the last one clears up.
struct Waiting<'a> {
    cache: &'a ListCache,
    key: PartKey,
    flight: Arc<Flight>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        drop(std::mem::take(&mut self.flight));
        if state.flights.get(&self.key).is_some_and(|flight| flight.strong_count() == 0) {
            state.flights.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests;
