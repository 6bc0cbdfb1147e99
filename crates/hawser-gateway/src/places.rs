//! How many sessions there may be in memory: counted before anything is awaited, so that nobody slips in between.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hawser_owner::OwnerDigest;

/// The bytes of an owner's digest, to count by.
pub(crate) type Owner = [u8; OwnerDigest::BYTES];

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
    per_owner: HashMap<Owner, usize>,
}

/// One session's place; free again when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    owner: Option<Owner>,
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

    /// Takes a place for an owner; `None` for anonymous callers, who are many and share no limit but the total.
    pub(crate) fn take(self: &Arc<Self>, owner: Option<OwnerDigest>) -> Result<Place, Full> {
        let owner = owner.map(|owner| *owner.as_bytes());
        let mut taken = self.lock();
        if let Some(owner) = &owner
            && taken.per_owner.get(owner).is_some_and(|count| *count >= self.per_owner)
        {
            return Err(Full::Owner);
        }
        if taken.all >= self.total {
            return Err(Full::Total);
        }
        taken.all += 1;
        if let Some(owner) = owner {
            *taken.per_owner.entry(owner).or_default() += 1;
        }
        Ok(Place { places: Arc::clone(self), owner })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Whose it is; `None` for anonymous callers.
    pub(crate) const fn owner(&self) -> Option<Owner> {
        self.owner
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.all = taken.all.saturating_sub(1);
        if let Some(owner) = &self.owner
            && let Some(count) = taken.per_owner.get_mut(owner)
        {
            *count = count.saturating_sub(1);
            if *count == 0 {
                taken.per_owner.remove(owner);
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_owner::{Issuer, KeyRing, KeyRingDocument, Principal, Subject, SystemEntropy};

    use super::*;

    #[test]
    fn places_are_counted_per_owner_and_in_total_and_come_back() {
        let ring = KeyRing::try_from(&KeyRingDocument::generate(&SystemEntropy::new()).unwrap()).unwrap();
        let owner = |name: &str| {
            let principal = Principal::user(Issuer::new("https://i").unwrap(), None, Subject::new(name).unwrap());
            Some(ring.owner_digest(&principal).1)
        };
        let places = Places::new(2, 3);
        let first = places.take(owner("alice")).unwrap();
        let _second = places.take(owner("alice")).unwrap();
        assert_eq!(places.take(owner("alice")).unwrap_err(), Full::Owner);
        let _third = places.take(None).unwrap();
        assert_eq!(places.take(owner("bob")).unwrap_err(), Full::Total);
        assert_eq!(places.take(None).unwrap_err(), Full::Total);
        drop(first);
        assert!(places.take(owner("alice")).is_ok());
    }
}
