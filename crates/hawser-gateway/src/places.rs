//! How many of something there may be: counted before anything is awaited, so that nobody slips in between. Sessions sit in
//! their places, so that one that is quiet can be found without looking at all of them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use hawser_owner::LocalOwner;
use slab::Slab;

use crate::session::Session;

/// Most sessions that are looked at to find a quiet one.
const LOOKED_AT_MAX: usize = 64;
/// Most places that are looked at for them: where one is needed, hardly any is empty.
const PROBED_MAX: usize = 1024;

/// The places of a node.
#[derive(Debug)]
pub(crate) struct Places {
    taken: Mutex<Taken>,
    per_owner: usize,
    total: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: Row<Seat>,
    /// Where each owner's sessions sit.
    per_owner: HashMap<LocalOwner, Row<usize>>,
}

/// Places in a row, and a hand that goes round, so that every one gets its turn to be looked at.
#[derive(Debug)]
struct Row<T> {
    seats: Slab<T>,
    hand: usize,
}

#[derive(Debug)]
struct Seat {
    who: Weak<Session>,
    /// Which place it is in the owner's row.
    of_owner: usize,
}

/// One place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    owner: LocalOwner,
    counted: bool,
    at: usize,
}

/// No place is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The owner has as many as one may have.
    Owner,
    /// All are taken.
    Total,
}

impl Places {
    pub(crate) fn new(per_owner: usize, total: usize) -> Arc<Self> {
        Arc::new(Self { taken: Mutex::default(), per_owner, total })
    }

    /// Takes a place for an owner. Not `counted` are anonymous callers, who are many and share no limit but the total.
    pub(crate) fn take(self: &Arc<Self>, owner: LocalOwner, counted: bool) -> Result<Place, Full> {
        let mut taken = self.lock();
        if counted && taken.per_owner.get(&owner).is_some_and(|row| row.seats.len() >= self.per_owner) {
            return Err(Full::Owner);
        }
        if taken.all.seats.len() >= self.total {
            return Err(Full::Total);
        }
        let at = taken.all.seats.vacant_key();
        let of_owner = counted.then(|| taken.per_owner.entry(owner).or_default().seats.insert(at));
        taken.all.seats.insert(Seat { who: Weak::new(), of_owner: of_owner.unwrap_or_default() });
        Ok(Place { places: Arc::clone(self), owner, counted, at })
    }

    /// Some of the sessions that sit here, others each time.
    pub(crate) fn some(&self) -> Vec<Arc<Session>> {
        let mut taken = self.lock();
        let seats = taken.all.some();
        seats.into_iter().filter_map(|at| taken.session(at)).collect()
    }

    /// Some of an owner's sessions, others each time.
    pub(crate) fn some_of(&self, owner: LocalOwner) -> Vec<Arc<Session>> {
        let mut taken = self.lock();
        let row = taken.per_owner.get_mut(&owner);
        let seats: Vec<usize> = row
            .map(|row| row.some().into_iter().filter_map(|at| row.seats.get(at).copied()).collect())
            .unwrap_or_default();
        seats.into_iter().filter_map(|at| taken.session(at)).collect()
    }

    /// All of an owner's sessions.
    pub(crate) fn of(&self, owner: LocalOwner) -> Vec<Arc<Session>> {
        let taken = self.lock();
        let seats = taken.per_owner.get(&owner).into_iter().flat_map(|row| row.seats.iter());
        seats.filter_map(|(_, at)| taken.session(*at)).collect()
    }

    /// The sessions in at most so many places, from this one on, and where the next ones are; `None` after the last.
    pub(crate) fn from(&self, start: usize, most: usize) -> (Vec<Arc<Session>>, Option<usize>) {
        let taken = self.lock();
        let end = start.saturating_add(most);
        let found = (start..end.min(taken.all.seats.capacity())).filter_map(|at| taken.session(at)).collect();
        (found, (end < taken.all.seats.capacity()).then_some(end))
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn session(&self, at: usize) -> Option<Arc<Session>> {
        self.all.seats.get(at)?.who.upgrade()
    }
}

impl<T> Row<T> {
    /// Some taken places, from the hand on.
    fn some(&mut self) -> Vec<usize> {
        let end = self.seats.capacity();
        let mut found = Vec::new();
        for _ in 0..end.min(PROBED_MAX) {
            self.hand = if self.hand + 1 < end { self.hand + 1 } else { 0 };
            if self.seats.contains(self.hand) {
                found.push(self.hand);
            }
            if found.len() >= LOOKED_AT_MAX {
                break;
            }
        }
        found
    }
}

impl<T> Default for Row<T> {
    fn default() -> Self {
        Self { seats: Slab::new(), hand: 0 }
    }
}

impl Place {
    /// Whose it is.
    pub(crate) const fn owner(&self) -> LocalOwner {
        self.owner
    }

    /// Whose it is; `None` for anonymous callers.
    pub(crate) fn counted_owner(&self) -> Option<LocalOwner> {
        self.counted.then_some(self.owner)
    }

    /// Notes who sits here.
    pub(crate) fn seat(&self, session: &Weak<Session>) {
        let mut taken = self.places.lock();
        if let Some(seat) = taken.all.seats.get_mut(self.at) {
            seat.who = Weak::clone(session);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        let Some(seat) = taken.all.seats.try_remove(self.at) else { return };
        if self.counted
            && let Some(row) = taken.per_owner.get_mut(&self.owner)
        {
            row.seats.try_remove(seat.of_owner);
            if row.seats.is_empty() {
                taken.per_owner.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) mod tests {
    use hawser_owner::{Issuer, KeyId, KeyRing, KeyRingDocument, KeyState, Principal, RingKeyDocument, Subject};
    use proptest::prelude::*;

    use super::*;

    fn ring() -> KeyRing {
        let secret = "A".repeat(43);
        let key = RingKeyDocument { id: KeyId(1), state: KeyState::Active, secret, created: None, since: None };
        KeyRing::try_from(&KeyRingDocument { keys: vec![key] }).unwrap()
    }

    /// The person of this name, the same one in every test.
    pub(crate) fn owner(name: &str) -> LocalOwner {
        let issuer = Issuer::new("https://issuer.example").unwrap();
        ring().local_owner(&Principal::user(issuer, None, Subject::new(name).unwrap()))
    }

    #[test]
    fn places_are_counted_per_owner_and_in_total_and_come_back() {
        let anybody = ring().local_owner(&Principal::anonymous());
        let places = Places::new(2, 3);
        let first = places.take(owner("alice"), true).unwrap();
        let _second = places.take(owner("alice"), true).unwrap();
        assert_eq!(places.take(owner("alice"), true).unwrap_err(), Full::Owner);
        let _third = places.take(anybody, false).unwrap();
        assert_eq!(places.take(owner("bob"), true).unwrap_err(), Full::Total);
        assert_eq!(places.take(anybody, false).unwrap_err(), Full::Total);
        drop(first);
        assert!(places.take(owner("alice"), true).is_ok());
    }

    #[test]
    fn every_place_gets_its_turn_however_many_there_are() {
        let mut row = Row::default();
        for at in 0..1000 {
            row.seats.insert(at);
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000_usize.div_ceil(LOOKED_AT_MAX) + 2 {
            let some = row.some();
            assert!(some.len() <= LOOKED_AT_MAX);
            seen.extend(some);
        }
        assert_eq!(seen.len(), 1000);
    }

    proptest! {
        #[test]
        fn the_books_balance(steps in proptest::collection::vec((0_usize..4, any::<bool>()), 0..200)) {
            let names = [ring().local_owner(&Principal::anonymous()), owner("alice"), owner("bob"), owner("carol")];
            let places = Places::new(5, 12);
            let mut held: Vec<Vec<Place>> = names.iter().map(|_| Vec::new()).collect();
            for (who, take) in steps {
                if take {
                    let of_owner = held[who].len();
                    let all: usize = held.iter().map(Vec::len).sum();
                    match places.take(names[who], who > 0) {
                        Ok(place) => held[who].push(place),
                        Err(Full::Owner) => prop_assert!(who > 0 && of_owner == 5),
                        Err(Full::Total) => prop_assert_eq!(all, 12),
                    }
                } else if !held[who].is_empty() {
                    held[who].remove(0);
                }
                prop_assert_eq!(places.lock().all.seats.len(), held.iter().map(Vec::len).sum::<usize>());
            }
            drop(held);
            let taken = places.lock();
            prop_assert!(taken.all.seats.is_empty() && taken.per_owner.is_empty());
        }
    }
}
