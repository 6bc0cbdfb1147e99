//! A bounded place to keep things that can be had again: what was used least recently makes way, first among what its own owner
//! keeps, then among everything.

use std::collections::HashMap;
use std::hash::Hash;

use hawser_owner::LocalOwner;

/// How much may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Of one owner.
    pub(crate) per_owner: Amount,
    /// Altogether.
    pub(crate) total: Amount,
}

/// A number of things and their size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) items: usize,
    pub(crate) bytes: usize,
}

impl Amount {
    const fn exceeds(self, bound: Self) -> bool {
        self.items > bound.items || self.bytes > bound.bytes
    }

    /// Room is made in one go and for some time, so that looking for what was not used does not happen at each insertion.
    const fn with_headroom(self) -> Self {
        Self { items: self.items - self.items / 8, bytes: self.bytes - self.bytes / 8 }
    }
}

/// The things that are kept.
#[derive(Debug)]
pub(crate) struct Shelf<K, V> {
    items: HashMap<K, Item<V>>,
    owners: HashMap<LocalOwner, Amount>,
    total: Amount,
    bounds: Bounds,
    /// Counts uses; a clock without time.
    uses: u64,
}

#[derive(Debug)]
struct Item<V> {
    value: V,
    bytes: usize,
    owner: LocalOwner,
    used: u64,
}

impl<K: Clone + Eq + Hash, V> Shelf<K, V> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { items: HashMap::new(), owners: HashMap::new(), total: Amount::default(), bounds, uses: 0 }
    }

    /// The thing kept under a key; it counts as used.
    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        let item = self.items.get_mut(key)?;
        self.uses += 1;
        item.used = self.uses;
        Some(&item.value)
    }

    /// Keeps a thing on behalf of an owner, in place of what was kept under the key. Something larger than an owner may keep
    /// altogether is not kept.
    pub(crate) fn insert(&mut self, key: K, value: V, bytes: usize, owner: LocalOwner) {
        self.remove(&key);
        let one = Amount { items: 1, bytes };
        if one.exceeds(self.bounds.per_owner) || one.exceeds(self.bounds.total) {
            return;
        }
        self.uses += 1;
        self.items.insert(key, Item { value, bytes, owner, used: self.uses });
        let share = self.owners.entry(owner).or_default();
        for amount in [share, &mut self.total] {
            amount.items += 1;
            amount.bytes += bytes;
        }
        self.make_room(owner);
    }

    /// Forgets what is kept under a key.
    pub(crate) fn remove(&mut self, key: &K) {
        let Some(item) = self.items.remove(key) else { return };
        for amount in self.owners.get_mut(&item.owner).into_iter().chain([&mut self.total]) {
            amount.items -= 1;
            amount.bytes -= item.bytes;
        }
        if self.owners.get(&item.owner).is_some_and(|share| share.items == 0) {
            self.owners.remove(&item.owner);
        }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Forgets all but these.
    pub(crate) fn retain(&mut self, these: impl Fn(&K) -> bool) {
        let others: Vec<_> = self.items.keys().filter(|key| !these(key)).cloned().collect();
        for key in others {
            self.remove(&key);
        }
    }

    fn make_room(&mut self, owner: LocalOwner) {
        if self.owners.get(&owner).is_some_and(|share| share.exceeds(self.bounds.per_owner)) {
            let bound = self.bounds.per_owner.with_headroom();
            self.evict(
                |item| item.owner == owner,
                |shelf| shelf.owners.get(&owner).is_some_and(|share| share.exceeds(bound)),
            );
        }
        if self.total.exceeds(self.bounds.total) {
            let bound = self.bounds.total.with_headroom();
            self.evict(|_| true, |shelf| shelf.total.exceeds(bound));
        }
    }

    /// Forgets the least recently used of some things, as long as there are too many. The newest of all stays.
    fn evict(&mut self, of: impl Fn(&Item<V>) -> bool, too_many: impl Fn(&Self) -> bool) {
        let mut oldest_first: Vec<_> = self
            .items
            .iter()
            .filter(|(_, item)| of(item) && item.used != self.uses)
            .map(|(key, item)| (item.used, key.clone()))
            .collect();
        oldest_first.sort_unstable_by_key(|(used, _)| *used);
        for (_, key) in oldest_first {
            if !too_many(self) {
                return;
            }
            self.remove(&key);
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::places::tests::owner;

    pub(crate) fn owners() -> Vec<LocalOwner> {
        ["a", "b", "c"].map(owner).to_vec()
    }

    const BOUNDS: Bounds =
        Bounds { per_owner: Amount { items: 8, bytes: 100 }, total: Amount { items: 16, bytes: 180 } };

    #[test]
    fn what_was_used_stays() {
        let owner = owners().remove(0);
        let mut shelf = Shelf::new(BOUNDS);
        for key in 0..8 {
            shelf.insert(key, key, 1, owner);
        }
        assert_eq!(shelf.get(&0), Some(&0));
        shelf.insert(8, 8, 1, owner);
        assert!(shelf.get(&0).is_some() && shelf.get(&8).is_some() && shelf.get(&1).is_none());
    }

    #[test]
    fn one_owner_does_not_crowd_out_another() {
        let owners = owners();
        let mut shelf = Shelf::new(BOUNDS);
        shelf.insert(1000, 0, 50, *owners.first().unwrap());
        for key in 0..100 {
            shelf.insert(key, key, 30, *owners.get(1).unwrap());
        }
        assert!(shelf.get(&1000).is_some());
    }

    #[test]
    fn what_is_too_large_is_not_kept_and_takes_its_predecessor_along() {
        let owner = owners().remove(0);
        let mut shelf = Shelf::new(BOUNDS);
        shelf.insert(1, "small", 1, owner);
        shelf.insert(1, "huge", 101, owner);
        assert_eq!(shelf.get(&1), None);
        assert_eq!(shelf.total, Amount::default());
        assert!(shelf.owners.is_empty());
    }

    proptest! {
        #[test]
        fn bounds_hold_and_the_books_balance(steps in proptest::collection::vec((0_u8..30, 0_usize..3, 0_usize..120, any::<bool>()), 0..200)) {
            let owners = owners();
            let mut shelf = Shelf::new(BOUNDS);
            for (key, owner, bytes, remove) in steps {
                if remove {
                    shelf.remove(&key);
                } else {
                    shelf.insert(key, (), bytes, *owners.get(owner).unwrap());
                    prop_assert_eq!(shelf.get(&key).is_some(), bytes <= 100, "the newest stays");
                }
                let sum = shelf.items.values().fold(Amount::default(), |sum, item| Amount { items: sum.items + 1, bytes: sum.bytes + item.bytes });
                prop_assert_eq!(shelf.total, sum);
                prop_assert!(!shelf.total.exceeds(BOUNDS.total));
                prop_assert!(shelf.owners.values().all(|share| !share.exceeds(BOUNDS.per_owner)));
                prop_assert_eq!(shelf.owners.values().map(|share| share.items).sum::<usize>(), sum.items);
            }
        }
    }
}
