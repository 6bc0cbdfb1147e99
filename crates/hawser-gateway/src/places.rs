//! How many sessions there may be in memory: counted before anything is awaited, so that nobody slips in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hawser_owner::LocalOwner;

/// The places of a node.
#[derive(Debug)]
pub(crate) struct Places {
    taken: Mutex<Taken>,
    per_owner: usize,
    total: usize,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    per_owner: HashMap<LocalOwner, usize>,
}

/// One session's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    owner: LocalOwner,
    counted: bool,
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
        if counted && taken.per_owner.get(&owner).is_some_and(|count| *count >= self.per_owner) {
            return Err(Full::Owner);
        }
        if taken.all >= self.total {
            return Err(Full::Total);
        }
        taken.all += 1;
        if counted {
            *taken.per_owner.entry(owner).or_default() += 1;
        }
        Ok(Place { places: Arc::clone(self), owner, counted })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
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
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        if self.counted
            && let Some(count) = taken.per_owner.get_mut(&self.owner)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.per_owner.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(crate) mod tests {
    use hawser_owner::{Issuer, KeyId, KeyRing, KeyRingDocument, KeyState, Principal, RingKeyDocument, Subject};

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
}
