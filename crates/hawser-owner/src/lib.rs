//! Who owns what the gateway hands out.
//!
//! Every identifier that the gateway mints and a client later brings back (a *handle*: session id, event id, cursor, …)
//! belongs to the principal it was minted for: issuer and subject, never the bytes of the access token that happened to
//! be presented (RFC 6749 section 6 makes those bytes change while the session goes on). This crate is that rule and
//! nothing else:
//!
//! - [`Principal`]: who a credential proved, compared byte for byte;
//! - [`KeyRing`]: the keys that seal handles, name owners in the store and protect secrets at rest;
//! - [`KeyRing::mint`] and [`KeyRing::open`]: handles as authenticated encryption, so that opening needs no store;
//! - [`Proven`] and [`Owned`]: the two steps of admission. Code that acts on a session takes an [`Owned`], and only this
//!   crate can make one.
//!
//! No I/O, no async, no clock: time ([`Timestamp`]) and randomness ([`Entropy`]) come in as arguments.

mod entropy;
mod handle;
mod key_ring;
#[cfg(doctest)]
mod not_without_proof;
mod owned;
mod principal;
mod time;

pub use entropy::{Entropy, EntropyError, SystemEntropy};
pub use handle::{Binding, EndpointId, HANDLE_CHARS_MAX, HandleKind, Payload, SealError};
pub use key_ring::{
    KeyId, KeyRing, KeyRingDocument, KeyRingError, KeyState, Renewal, RingChange, RingKeyDocument, SealedRow,
    SealedRowError, StepError,
};
pub use owned::{Owned, Proven, Refusal, Refused, Standing};
pub use principal::{Issuer, LocalOwner, OwnerDigest, Principal, PrincipalError, PrincipalKind, Subject, Tenant};
pub use time::{Clock, Timestamp};
