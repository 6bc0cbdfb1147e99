//! How much may be remembered of streams, and how much work may go on unread: counted per owner and for the node, so that one
//! caller cannot take what all share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::config::ReplayLimits;
use hawser_owner::LocalOwner;

/// What the sessions of a node share.
#[derive(Debug)]
pub(crate) struct Allowance {
    limits: ReplayLimits,
    node: Used,
    /// Of all that nobody can be told apart by: they may take half, so that who can be told apart has the other.
    anonymous: Used,
    owners: Mutex<HashMap<LocalOwner, Weak<Used>>>,
}

/// What is used of it.
#[derive(Debug, Default)]
struct Used {
    bytes: AtomicUsize,
    unread: AtomicUsize,
}

/// One session's part.
#[derive(Debug)]
pub(crate) struct Share {
    all: Arc<Allowance>,
    owner: Option<(LocalOwner, Arc<Used>)>,
    unread: AtomicUsize,
}

/// Room for one call that nobody reads; free again when dropped.
#[derive(Debug)]
pub(crate) struct UnreadPlace(Arc<Share>);

impl Allowance {
    pub(crate) fn new(limits: ReplayLimits) -> Arc<Self> {
        Arc::new(Self { limits, node: Used::default(), anonymous: Used::default(), owners: Mutex::default() })
    }

    /// The part of one session; `None` for anonymous callers, who are many and together have half of what the node has.
    pub(crate) fn share(self: &Arc<Self>, owner: Option<LocalOwner>) -> Arc<Share> {
        let owner = owner.map(|owner| {
            let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
            let found = owners.get(&owner).and_then(Weak::upgrade);
            let used = found.unwrap_or_else(|| {
                let used = Arc::<Used>::default();
                owners.insert(owner, Arc::downgrade(&used));
                used
            });
            (owner, used)
        });
        Arc::new(Share { all: Arc::clone(self), owner, unread: AtomicUsize::new(0) })
    }
}

impl Share {
    pub(crate) fn limits(&self) -> &ReplayLimits {
        &self.all.limits
    }

    /// Whether so many bytes more would be too many, for the owner or the node.
    pub(crate) fn is_exceeded_by(&self, bytes: usize) -> bool {
        let limits = &self.all.limits;
        let over = |used: &Used, max: usize| used.bytes.load(Ordering::Relaxed).saturating_add(bytes) > max;
        let of_owner = if self.owner.is_some() { limits.owner_bytes } else { limits.bytes / 2 };
        over(self.used(), of_owner) || over(&self.all.node, limits.bytes)
    }

    pub(crate) fn add(&self, bytes: usize) {
        for used in self.counters() {
            used.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    pub(crate) fn subtract(&self, bytes: usize) {
        for used in self.counters() {
            used.bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// Room for one more call that goes on without a reader, if the session, its owner and the node have any.
    pub(crate) fn take_unread(self: &Arc<Self>) -> Option<UnreadPlace> {
        let limits = &self.all.limits;
        let of_owner = if self.owner.is_some() { limits.owner_unread } else { limits.unread / 2 };
        let counted = [
            (&self.unread, limits.session_unread),
            (&self.used().unread, of_owner),
            (&self.all.node.unread, limits.unread),
        ];
        let mut taken: Vec<&AtomicUsize> = Vec::with_capacity(counted.len());
        for (count, max) in counted {
            if count.fetch_add(1, Ordering::Relaxed) >= max {
                for count in taken.into_iter().chain([count]) {
                    count.fetch_sub(1, Ordering::Relaxed);
                }
                return None;
            }
            taken.push(count);
        }
        Some(UnreadPlace(Arc::clone(self)))
    }

    /// What its owner uses.
    fn used(&self) -> &Used {
        self.owner.as_ref().map_or(&self.all.anonymous, |(_, used)| used)
    }

    fn counters(&self) -> [&Used; 2] {
        [self.used(), &self.all.node]
    }
}

impl Drop for UnreadPlace {
    fn drop(&mut self) {
        self.0.unread.fetch_sub(1, Ordering::Relaxed);
        for used in self.0.counters() {
            used.unread.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Some((owner, used)) = self.owner.take() else { return };
        let mut owners = self.all.owners.lock().unwrap_or_else(PoisonError::into_inner);
        // Under the lock nobody else can get hold of it: the last of an owner's sessions takes the entry along.
        if Arc::strong_count(&used) == 1 {
            owners.remove(&owner);
        }
        drop(used);
        drop(owners);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::places::tests::owner;

    #[test]
    fn an_owner_runs_out_before_the_node_does_and_what_is_given_back_counts() {
        let limits = ReplayLimits { owner_bytes: 10, bytes: 15, ..ReplayLimits::default() };
        let all = Allowance::new(limits);
        let (alice, bob) = (Some(owner("alice")), Some(owner("bob")));
        let shares = [all.share(alice), all.share(alice), all.share(bob)];
        shares[0].add(8);
        assert!(shares[1].is_exceeded_by(3), "both sessions are alice's");
        assert!(!shares[2].is_exceeded_by(7) && shares[2].is_exceeded_by(8), "the node has seven left");
        shares[0].subtract(8);
        assert!(!shares[1].is_exceeded_by(10));
        drop(shares);
        assert!(all.owners.lock().unwrap().is_empty(), "owners without sessions are forgotten");
    }

    #[test]
    fn whom_nobody_can_tell_apart_do_not_take_all() {
        let limits = ReplayLimits { session_unread: 9, unread: 4, bytes: 20, ..ReplayLimits::default() };
        let all = Allowance::new(limits);
        let (one, other, alice) = (all.share(None), all.share(None), all.share(Some(owner("alice"))));
        let _places: Vec<_> = [&one, &other].into_iter().map(|share| share.take_unread().unwrap()).collect();
        assert!(one.take_unread().is_none() && alice.take_unread().is_some());
        one.add(10);
        assert!(other.is_exceeded_by(1) && !alice.is_exceeded_by(10) && alice.is_exceeded_by(11));
    }

    #[test]
    fn unread_work_is_counted_for_session_owner_and_node() {
        let limits = ReplayLimits { session_unread: 1, owner_unread: 2, unread: 3, ..ReplayLimits::default() };
        let all = Allowance::new(limits);
        let alice = Some(owner("alice"));
        let shares: Vec<_> = (0..3).map(|_| all.share(alice)).collect();
        let others: Vec<_> = (0..2).map(|_| all.share(Some(owner("bob")))).collect();
        let first = shares[0].take_unread().unwrap();
        assert!(shares[0].take_unread().is_none(), "the session has one");
        let _second = shares[1].take_unread().unwrap();
        assert!(shares[2].take_unread().is_none(), "the owner has two");
        let _third = others[0].take_unread().unwrap();
        assert!(others[1].take_unread().is_none(), "the node has three");
        drop(first);
        assert!(shares[2].take_unread().is_some(), "a refusal took nothing");
    }
}
