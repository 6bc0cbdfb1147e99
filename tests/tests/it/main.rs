//! Black-box tests: the real binary, over real HTTP, with clients, servers and issuers that nobody here wrote.
//!
//! Run them with `cargo xtask test`, or in parts: `cargo xtask real-parts`, `cargo build --workspace`, then
//! `cargo nextest run --package hawser-tests`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "in a test, what fails to unwrap is the failure to report"
)]

mod across_nodes;
mod administration;
mod answers;
mod bad_backends;
mod bad_requests;
mod bad_stdio;
mod clients_of_both_eras;
mod configuration;
mod conformance;
mod crowd;
mod demo;
mod drain;
mod elicitation;
mod endurance;
mod eras;
mod external_issuers;
mod handles;
mod hearsay;
mod inspector;
mod keys;
mod large_results;
mod listen;
mod listen_backends;
mod lists;
mod logout;
mod modern_edge;
mod nodes;
mod nodes_apart;
mod outage;
mod ownership;
mod parked_calls;
mod polled;
mod proxy;
mod request_headers;
mod restart;
mod resumption;
mod revisions;
mod round_trips;
mod schemas;
mod sdk_clients;
mod stdio;
mod store_server;
mod tasks;
mod trace;
