//! The authorization server as browsers, clients and the resource server see it: HTTP in, HTTP out, on a clock that the
//! tests move.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic here is a failed test")]

mod answer;
mod authorization;
mod browser;
mod discovery;
mod login;
mod logout;
mod outage;
mod refresh;
mod registration;
mod revocation;
mod signing_keys;
mod test_store;
mod token;
mod world;
