//! Deterministic simulation of several gateways over one shared store.
//!
//! The gateways are the real ones; the network, the store behind it, the clocks, the randomness and the clients are
//! simulated, and so are the servers behind the gateways, so that a run is a function of its seed. Three nodes serve a few owners
//! of both eras: they call tools, are asked in the middle, answer and come back at whatever node, take streams up again.
//! Strangers present what they stole, links and store fail, nodes and backends die and come back; the rules of [`facts`] and
//! [`calls`] must hold throughout. No socket is opened and no real time passes: the runtime's clock jumps to what is due next.
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a simulation that is wrong itself stops")]

pub mod answer;
pub mod backends;
pub mod calls;
pub mod client;
pub mod counts;
pub mod facts;
pub mod issuer;
pub mod network;
pub mod node;
pub mod random;
pub mod store;
pub mod time;
pub mod trace;
pub mod world;
