//! What does not compile: acting without having been admitted.
//!
//! Each example fails for the one reason that it names; the last one compiles, so that the others cannot fail for want of an
//! import.
//!
//! An `Owned` written down instead of minted or admitted.
//!
//! ```compile_fail
//! use hawser_owner::{KeyRing, Owned, Principal, Timestamp};
//!
//! fn claim(ring: &KeyRing, victim: &Principal) -> Owned<String> {
//!     Owned {
//!         value: "session".to_owned(),
//!         key: ring.owner_digest(victim).0,
//!         owner: ring.owner_digest(victim).1,
//!         expires: Timestamp::from_seconds(u64::MAX),
//!     }
//! }
//! ```
//!
//! The constructor that only `KeyRing::mint` may use.
//!
//! ```compile_fail
//! use hawser_owner::{KeyRing, Owned, Principal, Timestamp};
//!
//! fn claim(ring: &KeyRing, victim: &Principal) -> Owned<String> {
//!     Owned::minted("session".to_owned(), ring.owner_digest(victim), Timestamp::from_seconds(u64::MAX))
//! }
//! ```
//!
//! A second `Owned` that outlives the request that was admitted.
//!
//! ```compile_fail
//! use hawser_owner::Owned;
//!
//! fn keep(owned: &Owned<String>) -> Owned<String> {
//!     Clone::clone(owned)
//! }
//! ```
//!
//! An `Owned` out of nothing.
//!
//! ```compile_fail
//! use hawser_owner::Owned;
//!
//! fn claim() -> Owned<String> {
//!     Default::default()
//! }
//! ```
//!
//! An owner's digest comes from a principal and a key, not from bytes that somebody sent.
//!
//! ```compile_fail
//! use hawser_owner::OwnerDigest;
//!
//! fn forge(bytes: [u8; 32]) -> OwnerDigest {
//!     OwnerDigest::from_bytes(bytes)
//! }
//! ```
//!
//! A `Proven` written down instead of opened.
//!
//! ```compile_fail
//! use hawser_owner::{KeyRing, Principal, Proven, Timestamp};
//!
//! fn claim(ring: &KeyRing, victim: &Principal) -> Proven<String> {
//!     Proven {
//!         payload: "session".to_owned(),
//!         key: ring.owner_digest(victim).0,
//!         owner: ring.owner_digest(victim).1,
//!         issued: Timestamp::from_seconds(0),
//!         expires: Timestamp::from_seconds(u64::MAX),
//!     }
//! }
//! ```
//!
//! A `Proven` has not been admitted: what it carries cannot be acted on.
//!
//! ```compile_fail
//! use hawser_owner::Proven;
//!
//! struct Session;
//!
//! impl Session {
//!     fn end_session(&self) {}
//! }
//!
//! fn act(proven: &Proven<Session>) {
//!     proven.end_session();
//! }
//! ```
//!
//! What demands an `Owned` does not take a `Proven`.
//!
//! ```compile_fail
//! use hawser_owner::{Owned, Proven};
//!
//! fn end(_session: Owned<String>) {}
//!
//! fn act(proven: Proven<String>) {
//!     end(proven);
//! }
//! ```
//!
//! What may be done: an opened handle is admitted, and then acted on.
//!
//! ```
//! use hawser_owner::{KeyRing, Owned, OwnerDigest, Principal, Proven, Refused, Standing, Timestamp};
//!
//! struct Session;
//!
//! impl Session {
//!     fn end_session(&self) {}
//! }
//!
//! fn end(owned: &Owned<Session>) {
//!     owned.end_session();
//! }
//!
//! fn act(proven: Proven<Session>, standing: Standing, now: Timestamp) -> Result<(), Refused> {
//!     let _owner: OwnerDigest = proven.owner();
//!     end(&proven.admit(standing, now)?);
//!     Ok(())
//! }
//!
//! fn digest(ring: &KeyRing, principal: &Principal) -> OwnerDigest {
//!     ring.owner_digest(principal).1
//! }
//! ```
