//! Several nodes over one store, in one process: what ends ends everywhere, and what the store loses, holds up or does not
//! answer costs nobody a session.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failed test may panic")]

mod ended;
mod idle;
mod outage;
mod revoked;
mod world;
