//! The embedded OAuth 2.1 authorization server.
//!
//! It logs people in, asks for their consent and issues access tokens for the gateway's MCP endpoints. It knows the key
//! ring (secrets at rest, audit digests) and the store, and nothing of MCP: a resource server asks it one question,
//! [`AuthServer::token_accepted`], and follows one journal, [`AuthServer::revocations`].
//!
//! - `authorize`, `login`, `consent`: the browser's part (OAuth 2.1 section 4.1, RFC 8707, RFC 9207, OpenID Connect Core);
//! - `registration`, `client`: dynamic client registration (RFC 7591);
//! - `token`, `grant`, `family`: codes, access tokens (RFC 9068) and refresh tokens that converge on one head;
//! - `logout`: OpenID Connect RP-Initiated Logout; it ends the grants that were made in a browser's login;
//! - `revocation`: RFC 7009; `metadata`: RFC 8414 and OpenID Connect Discovery.
//!
//! Decisions are pure functions over explicit time; everything that lasts is a versioned row in the store:
//!
//! | family | id | holds |
//! |---|---|---|
//! | `as-client` | digest of the client id | a registered client |
//! | `as-grant` | grant id | a grant: its code, its refresh token family |
//! | `as-denied` | digest of the `jti` | an access token that was revoked on its own |
//! | `as-login` | digest of the cookie | who is logged in in a browser |
//! | `as-consent` | digest of all that it was given for | a remembered consent |
//! | `as-keys` | `signing` | the signing keys, sealed |
//! | `as-registrations` | number of a time window | a counter |
//!
//! Codes, cookies and client secrets are stored as SHA-256, refresh and access tokens not at all. Signing keys and the keys
//! of refresh token families are sealed under the key ring: signing keys are sealed anew when their ring key is retired, and a
//! retired ring key must be kept for `refresh_lifetime` after it last sealed.
//!
//! Subjects are `user:NAME` for users with a password and `dev:NAME` for the development login, client ids are
//! `client-` and random characters: no client can be named like a user (OAuth 2.1 section 7.4), and a development login
//! never is the user of the same name.

mod access_token;
mod address;
mod audit;
mod authorize;
mod authorize_request;
mod browser_session;
mod client;
mod client_auth;
mod config;
mod consent;
mod consent_record;
mod cors;
mod family;
mod form;
mod grant;
mod id_token_hint;
mod keys;
mod login;
mod logout;
mod metadata;
mod pages;
mod password;
mod pending;
mod redirect_uri;
mod refresh_token;
mod registration;
mod resource;
mod revocation;
mod rows;
mod scope;
mod secret;
mod server;
mod throttle;
mod token;
mod token_error;

pub use address::ClientAddress;
pub use config::{
    AuthServerConfig, ConfigError, DevelopmentLogin, LocalUser, LoginMethods, RegistrationLimits, Resource,
};
pub use grant::GrantStanding;
pub use keys::{SigningKeyInfo, SigningKeyState, SigningKeysError};
pub use server::{AuthServer, OpenError};
