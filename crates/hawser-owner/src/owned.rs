//! The two steps of admission, as types.
//!
//! [`KeyRing::open`](crate::KeyRing::open) proves from the handle alone that the presenter owns it, and yields a
//! [`Proven`]. That is enough to look something up, not to act. [`Proven::admit`] weighs what the gateway knows of the
//! handle's standing and yields an [`Owned`], which is what every action demands. There is no other way to make one.

use crate::key_ring::KeyId;
use crate::principal::OwnerDigest;
use crate::time::Timestamp;

/// A handle whose seal, kind, endpoint, owner and time all hold. Its standing is not yet known.
#[derive(Debug)]
pub struct Proven<T> {
    pub(crate) payload: T,
    pub(crate) key: KeyId,
    pub(crate) owner: OwnerDigest,
    pub(crate) issued: Timestamp,
    pub(crate) expires: Timestamp,
}

/// Proof that the present request's principal owns `T`, and that `T` still stands.
#[derive(Debug)]
pub struct Owned<T> {
    value: T,
    key: KeyId,
    owner: OwnerDigest,
    expires: Timestamp,
}

/// What the gateway knows of a handle beyond its seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Last used at the given time; may idle for the given number of seconds.
    Live {
        /// When it was last used.
        last_used: Timestamp,
        /// Longest pause between two uses, in seconds.
        idle_seconds: u64,
    },
    /// Ended by its owner, by an administrator or by revocation.
    Terminated,
    /// The stored record is not of the current version: nobody's, and never claimed.
    ForeignRecord,
}

/// Why a handle was refused. For the audit log only: the client always gets the same answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Not the form of a handle.
    Malformed,
    /// Sealed under a key this gateway does not have.
    UnknownKey,
    /// The seal does not hold.
    Forged,
    /// A handle of another kind.
    WrongKind,
    /// A handle of another endpoint.
    WrongEndpoint,
    /// Somebody else's, including a token on an anonymous handle and no token on an owned one.
    NotOwner,
    /// Past its absolute lifetime.
    Expired,
    /// Unused for longer than allowed.
    Idle,
    /// Ended earlier.
    Terminated,
    /// Its record is of an older or foreign format.
    ForeignRecord,
    /// Bound to another client of the same principal (replayed streams, pending answers).
    OtherClient,
    /// Names nothing that exists.
    Unknown,
}

impl Refusal {
    /// The name used in audit events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::Forged => "forged",
            Self::WrongKind => "wrong_kind",
            Self::WrongEndpoint => "wrong_endpoint",
            Self::NotOwner => "not_owner",
            Self::Expired => "expired",
            Self::Idle => "idle",
            Self::Terminated => "terminated",
            Self::ForeignRecord => "foreign_record",
            Self::OtherClient => "other_client",
            Self::Unknown => "unknown",
        }
    }
}

/// A refusal with what the audit log may know: digests, never names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Refusal,
    /// Whose the handle is, if its seal held.
    pub owner: Option<OwnerDigest>,
    /// Who presented it.
    pub presented_by: OwnerDigest,
}

impl<T> Proven<T> {
    /// What to look up: enough to find the record, not to act on it.
    pub const fn claims(&self) -> &T {
        &self.payload
    }

    /// Whose it is.
    pub const fn owner(&self) -> OwnerDigest {
        self.owner
    }

    /// The key of the ring that it is sealed under, and that its owner's digest is made with.
    pub const fn owner_key(&self) -> KeyId {
        self.key
    }

    /// When it was minted.
    pub const fn issued(&self) -> Timestamp {
        self.issued
    }

    /// The end of its absolute lifetime.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Weighs the handle's standing. The only way to an [`Owned`] for something that existed before this request.
    pub fn admit(self, standing: Standing, now: Timestamp) -> Result<Owned<T>, Refused> {
        let reason = match standing {
            // It was not when the handle was opened; but finding out its standing may have taken a while.
            Standing::Live { .. } if now >= self.expires => Refusal::Expired,
            Standing::Live { last_used, idle_seconds } if now.since(last_used).as_secs() <= idle_seconds => {
                return Ok(Owned { value: self.payload, key: self.key, owner: self.owner, expires: self.expires });
            }
            Standing::Live { .. } => Refusal::Idle,
            Standing::Terminated => Refusal::Terminated,
            Standing::ForeignRecord => Refusal::ForeignRecord,
        };
        Err(Refused { reason, owner: Some(self.owner), presented_by: self.owner })
    }
}

impl<T> Owned<T> {
    /// For what was minted for this owner in this very request.
    pub(crate) const fn minted(value: T, (key, owner): (KeyId, OwnerDigest), expires: Timestamp) -> Self {
        Self { value, key, owner, expires }
    }

    /// The key of the ring that its owner's digest is made with.
    pub const fn owner_key(&self) -> KeyId {
        self.key
    }

    /// Whose it is.
    pub const fn owner(&self) -> OwnerDigest {
        self.owner
    }

    /// The end of its absolute lifetime.
    pub const fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Exchanges the claims for what they name, for instance the live session behind a session id.
    pub fn map<U>(self, find: impl FnOnce(T) -> U) -> Owned<U> {
        Owned { value: find(self.value), key: self.key, owner: self.owner, expires: self.expires }
    }
}

impl<T> std::ops::Deref for Owned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}
