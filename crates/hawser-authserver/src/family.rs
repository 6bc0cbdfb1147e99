//! A family of refresh tokens converges on one head.
//!
//! A family is the chain of refresh tokens of one grant; its newest generation is the head. Clients retry lost answers and
//! run in several processes that share one credential, so a generation that was just replaced is not yet a theft. The
//! rules (OAuth 2.1 section 4.3.1 asks for the detection, not for the way):
//!
//! - the head rotates to the next generation;
//! - a generation that was rotated away at most the grace period ago answers with the same head, never with a fork;
//! - so does the generation before the head while the head is unseen (nobody presented it, no access token that came with
//!   it was used): the answer was lost, however long ago;
//! - anything older is reuse, and ends the family.
//!
//! What stays open: a thief who always refreshes within the grace period of the client is not seen; hence a short one.
//!
//! This module is the decision alone: no I/O, no clock, no tokens.

use std::time::Duration;

use hawser_owner::Timestamp;
use serde::{Deserialize, Serialize};

/// Generations remembered for the grace period. A head that would rotate out of this memory is kept instead, so that
/// a burst of refreshes cannot turn honest stragglers into thieves.
const ROTATIONS_MAX: usize = 64;

/// The first generation of a family.
pub(crate) const FIRST_GENERATION: u64 = 1;

/// What is stored about a family.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Family {
    /// The newest generation.
    pub(crate) head: u64,
    /// When it became the head.
    pub(crate) head_since: Timestamp,
    /// Whether it, or an access token that was issued with it, ever came back.
    pub(crate) head_seen: bool,
    /// When the generations before the head were rotated away, newest first, as far as the grace period reaches.
    pub(crate) rotations: Vec<Timestamp>,
    /// Ends then unless refreshed before.
    pub(crate) idle_expires: Timestamp,
    /// Ends then; never moved.
    pub(crate) absolute_expires: Timestamp,
    /// Ended for good.
    pub(crate) revoked: bool,
}

/// When the head rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// Each time it is presented: public clients.
    EveryUse,
    /// Only late in its lifetime: clients that authenticate, for whom a stolen token alone is worth nothing.
    LateInLife,
}

/// The administrator's and the client's part of the decision.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    pub(crate) grace: Duration,
    pub(crate) idle: Duration,
    pub(crate) rotation: Rotation,
}

/// Why the head is answered without a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SameHead {
    /// The head itself was presented, and it is not time to rotate.
    Kept,
    /// A generation within its grace period was presented.
    Grace,
    /// The generation before an unseen head was presented.
    LostResponse,
}

/// What a presented generation leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Decision {
    /// The next generation becomes the head.
    Rotate,
    /// The head is answered as it is.
    SameHead(SameHead),
    /// A generation that nobody honest holds any more: the family ends.
    Reuse,
    /// The family is past its idle or absolute end.
    Expired,
    /// The family was ended before.
    Revoked,
}

impl Family {
    /// A family whose first token is handed out now.
    pub(crate) fn start(now: Timestamp, idle: Duration, lifetime: Duration) -> Self {
        let absolute_expires = now.plus(lifetime);
        Self {
            head: FIRST_GENERATION,
            head_since: now,
            head_seen: false,
            rotations: Vec::new(),
            idle_expires: now.plus(idle).min(absolute_expires),
            absolute_expires,
            revoked: false,
        }
    }

    /// Judges a generation whose token was found to be genuine.
    pub(crate) fn decide(&self, presented: u64, now: Timestamp, policy: &Policy) -> Decision {
        if self.revoked {
            return Decision::Revoked;
        }
        if now >= self.idle_expires || now >= self.absolute_expires {
            return Decision::Expired;
        }
        let Some(behind) = self.head.checked_sub(presented) else {
            // Genuine, but newer than what is stored: the store was set back. Nothing about this family can be trusted.
            return Decision::Reuse;
        };
        let Some(before_head) = behind.checked_sub(1) else {
            return self.decide_head(now, policy);
        };
        if self.within_grace(before_head, now, policy.grace) {
            return Decision::SameHead(SameHead::Grace);
        }
        if before_head == 0 && !self.head_seen {
            return Decision::SameHead(SameHead::LostResponse);
        }
        Decision::Reuse
    }

    fn decide_head(&self, now: Timestamp, policy: &Policy) -> Decision {
        let rotate = match policy.rotation {
            Rotation::EveryUse => self.remembered(now, policy.grace).len() < ROTATIONS_MAX,
            Rotation::LateInLife => now.since(self.head_since) >= policy.idle / 10 * 7,
        };
        if rotate { Decision::Rotate } else { Decision::SameHead(SameHead::Kept) }
    }

    fn within_grace(&self, before_head: u64, now: Timestamp, grace: Duration) -> bool {
        let rotated = usize::try_from(before_head).ok().and_then(|index| self.rotations.get(index));
        !grace.is_zero() && rotated.is_some_and(|rotated| now.since(*rotated) <= grace)
    }

    /// The newest rotations up to the last one within the grace period.
    fn remembered(&self, now: Timestamp, grace: Duration) -> &[Timestamp] {
        let last = self.rotations.iter().rposition(|rotated| !grace.is_zero() && now.since(*rotated) <= grace);
        last.and_then(|last| self.rotations.get(..=last)).unwrap_or_default()
    }

    /// The family after a decision. A decision that changes nothing gives back an equal family.
    pub(crate) fn after(&self, decision: Decision, now: Timestamp, policy: &Policy) -> Self {
        let mut next = self.clone();
        match decision {
            Decision::Rotate => {
                next.rotations =
                    std::iter::once(now).chain(self.remembered(now, policy.grace).iter().copied()).collect();
                next.head = self.head.saturating_add(1);
                next.head_since = now;
                next.head_seen = false;
            }
            Decision::SameHead(SameHead::Kept) => next.head_seen = true,
            Decision::SameHead(SameHead::Grace | SameHead::LostResponse) => {}
            Decision::Reuse => next.revoked = true,
            Decision::Expired | Decision::Revoked => return next,
        }
        // Nodes' clocks may differ a little: an end is moved forward only.
        next.idle_expires = now.plus(policy.idle).max(self.idle_expires).min(self.absolute_expires);
        next
    }

    /// The family after an access token of a generation was accepted by the resource server.
    pub(crate) fn after_use_of(&self, generation: u64) -> Self {
        let mut next = self.clone();
        if generation == self.head {
            next.head_seen = true;
        }
        next
    }
}

#[cfg(test)]
#[path = "family_model.rs"]
mod model;
#[cfg(test)]
#[path = "family_tests.rs"]
mod tests;
