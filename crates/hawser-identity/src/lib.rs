//! The resource server: credential in, principal out.
//!
//! An [`Authenticator`] takes the header fields of a request to a [`Resource`] and answers with an [`Authenticated`], the
//! proof that everything after it demands, or with an [`AuthenticateError`], which knows its own answer on the wire. It
//! verifies JWT access tokens (RFC 9068) of the embedded authorization server ([`LocalIssuer`]) and of configured external
//! issuers ([`ExternalIssuer`]), whose keys it fetches and caches, and it publishes the protected resource metadata
//! (RFC 9728) that tells clients where to get one.
//!
//! What a request asks for is not known here: which scopes an operation needs is the caller's to say
//! ([`Authenticated::require_scopes`]).

mod algorithm;
mod authenticated;
mod authenticator;
mod challenge;
mod claims;
mod config;
mod credential;
mod discovery;
mod fetch;
mod issuer_keys;
mod key_set;
mod key_source;
mod local;
mod logout;
mod members;
mod metadata;
mod reason;
mod resource;
mod scopes;
mod token;
mod verdicts;

pub use algorithm::{SignatureAlgorithm, UnknownAlgorithm};
pub use authenticated::Authenticated;
pub use authenticator::Authenticator;
pub use challenge::AuthenticateError;
pub use config::{ConfigError, ExternalIssuer, IdentityConfig, KeyCachePolicy, VerdictPolicy};
pub use fetch::{Fetch, FetchError, HttpFetcher, HttpFetcherError};
pub use local::{AcceptedToken, LocalIssuer, TokenStanding, Unavailable};
pub use logout::{Logout, LogoutError};
pub use reason::{InvalidReason, MalformedReason};
pub use resource::{Resource, ResourceError};
pub use scopes::{ScopeError, Scopes};
