//! When signing keys come and go, as pure functions over the set and explicit time.
//!
//! A key is published, then signs, then is retired, then is gone. It signs only after it was published for as long as anybody
//! may keep an older set, and it is published until the last token that it signed has expired. Nodes agree by
//! compare-and-set on the set, and their clocks may differ by [`SKEW`].

use std::time::Duration;

use hawser_owner::Timestamp;
use serde::{Deserialize, Serialize};

/// How long anybody may keep the published set: what its `Cache-Control` says.
pub(crate) const PUBLISHED_MAX_AGE: Duration = Duration::from_mins(5);
/// How long a new key is published before it signs: long enough for the published set's age, and for verifiers that keep sets
/// longer than they are told.
const PUBLISHED_FOR: Duration = Duration::from_hours(1);
/// How far the clocks of two nodes may be apart.
pub(crate) const SKEW: Duration = Duration::from_mins(5);
/// A node signs with no set that it read longer ago than this.
pub(crate) const STALE: Duration = Duration::from_mins(1);
/// Most keys that a set may hold.
pub(crate) const KEYS_MAX: usize = 64;
/// Most ids of removed keys that are remembered.
const REMOVED_MAX: usize = 64;

/// Where a signing key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SigningKeyState {
    /// In the published set, does not sign yet.
    Published,
    /// Signs.
    Active,
    /// Does not sign any more, what it signed is still valid.
    Retired,
}

/// One key, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StoredKey {
    pub(crate) kid: String,
    pub(crate) state: SigningKeyState,
    pub(crate) created: Timestamp,
    /// Since when it is in this state. A row that does not say is from before keys were replaced: its key is due.
    #[serde(default = "long_ago")]
    pub(crate) since: Timestamp,
    /// Longest life of a token that any node signs with it, in seconds.
    #[serde(default)]
    pub(crate) tokens: u64,
    /// PKCS#8, sealed under the key ring for this row and key id.
    pub(crate) sealed: String,
}

const fn long_ago() -> Timestamp {
    Timestamp::from_seconds(0)
}

/// All keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeySet {
    pub(crate) keys: Vec<StoredKey>,
    /// Keys that were removed before their time: they are not to come back from the memory of a node.
    #[serde(default)]
    pub(crate) removed: Vec<String>,
}

/// What is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// How long a key signs.
    pub(crate) lifetime: Duration,
    /// The longest life of a token.
    pub(crate) tokens: Duration,
}

impl SigningKeyState {
    /// Its name, as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl StoredKey {
    fn enter(&mut self, state: SigningKeyState, now: Timestamp) {
        self.state = state;
        self.since = now;
    }

    /// When the last token that it may have signed has expired on every clock: a node may have signed with it until it
    /// learned that it was retired.
    fn ends(&self) -> Timestamp {
        self.since.plus(Duration::from_secs(self.tokens)).plus(STALE).plus(SKEW)
    }
}

impl KeySet {
    pub(crate) fn active(&self) -> Option<&StoredKey> {
        self.find(SigningKeyState::Active)
    }

    fn find(&self, state: SigningKeyState) -> Option<&StoredKey> {
        self.keys.iter().find(|key| key.state == state)
    }

    pub(crate) fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid == kid)
    }

    /// The set after the next thing that is due, `None` if nothing is. `fresh` makes a key.
    pub(crate) fn step<E>(
        &self,
        now: Timestamp,
        policy: &Policy,
        fresh: impl FnOnce(SigningKeyState) -> Result<StoredKey, E>,
    ) -> Result<Option<Self>, E> {
        let mut next = self.clone();
        let tokens = policy.tokens.as_secs();
        let published = self.find(SigningKeyState::Published);
        let Some(active) = self.active() else {
            // The first key of all, or the active one was removed.
            match published.map(|key| key.kid.clone()) {
                Some(kid) => next.activate(&kid, now),
                None => next.keys.push(fresh(SigningKeyState::Active)?),
            }
            return Ok(Some(next));
        };
        if self.keys.iter().any(|key| key.state == SigningKeyState::Retired && key.ends() <= now) {
            next.keys.retain(|key| key.state != SigningKeyState::Retired || now < key.ends());
            return Ok(Some(next));
        }
        if self.keys.iter().any(|key| key.state != SigningKeyState::Retired && key.tokens < tokens) {
            for key in &mut next.keys {
                key.tokens = key.tokens.max(tokens);
            }
            return Ok(Some(next));
        }
        match published {
            Some(key) if key.since.plus(PUBLISHED_FOR) <= now => next.activate(&key.kid.clone(), now),
            None if active.since.plus(policy.lifetime) <= now.plus(PUBLISHED_FOR) => {
                next.keys.push(fresh(SigningKeyState::Published)?);
            }
            _ => return Ok(None),
        }
        Ok(Some(next))
    }

    fn activate(&mut self, kid: &str, now: Timestamp) {
        for key in &mut self.keys {
            if key.kid == kid {
                key.enter(SigningKeyState::Active, now);
            } else if key.state == SigningKeyState::Active {
                key.enter(SigningKeyState::Retired, now);
            }
        }
    }

    /// The set with a next key published, which signs when it has been for long enough; `None` if there is one already.
    pub(crate) fn rotated<E>(
        &self,
        fresh: impl FnOnce(SigningKeyState) -> Result<StoredKey, E>,
    ) -> Result<Option<Self>, E> {
        if self.find(SigningKeyState::Published).is_some() {
            return Ok(None);
        }
        let mut next = self.clone();
        next.keys.push(fresh(SigningKeyState::Published)?);
        Ok(Some(next))
    }

    /// The set without a key that must not be trusted any more; `None` if it is not there and known to be removed. What signs
    /// in its place is the next [`step`](Self::step)'s to say.
    pub(crate) fn without(&self, kid: &str) -> Option<Self> {
        if !self.has(kid) && self.removed.iter().any(|removed| removed == kid) {
            return None;
        }
        let mut next = self.clone();
        next.keys.retain(|key| key.kid != kid);
        next.removed.retain(|removed| removed != kid);
        next.removed.push(kid.to_owned());
        if next.removed.len() > REMOVED_MAX {
            next.removed.remove(0);
        }
        Some(next)
    }

    /// The set with what a node remembers and the store has lost (it was flushed, and perhaps begun anew): keys whose tokens
    /// may still be good come back, and removed ones go again. `None` if nothing was lost.
    pub(crate) fn completed(&self, remembered: &Self, now: Timestamp) -> Option<Self> {
        let mut next = self.clone();
        for kid in &remembered.removed {
            if self.has(kid) || !self.removed.contains(kid) {
                next = next.without(kid).unwrap_or(next);
            }
        }
        for key in &remembered.keys {
            if next.has(&key.kid) || next.removed.contains(&key.kid) {
                continue;
            }
            let mut key = key.clone();
            match key.state {
                // The other clock may be ahead: what it let go of in time is not brought back.
                SigningKeyState::Retired if key.ends() <= now.plus(SKEW).plus(SKEW) => continue,
                SigningKeyState::Retired => {}
                SigningKeyState::Active if next.active().is_none() => {}
                // Never used, and no other node is about to use it.
                SigningKeyState::Published => continue,
                SigningKeyState::Active => key.enter(SigningKeyState::Retired, now),
            }
            next.keys.push(key);
        }
        (next != *self).then_some(next)
    }
}

#[cfg(test)]
#[path = "schedule_tests.rs"]
mod tests;
