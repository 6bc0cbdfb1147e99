//! The resource server as its users see it: real issuers on loopback, real keys, requests in and answers out.
//! Test names carry the ids of the requirement checklist (RS*).

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests fail by panicking")]

mod fetching;
mod issuers;
mod keys;
mod local;
mod metadata;
mod mutation;
mod principals;
mod requests;
mod signing;
mod silence;
mod traps;
mod verdicts;
mod world;
