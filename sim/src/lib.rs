//! Deterministic simulation of several gateways over one shared store.
//!
//! The gateways are the real ones; the network, the store behind it, the clocks, the randomness and the clients are
//! simulated, so that a run is a function of its seed. Three nodes serve a few owners, strangers present what they stole,
//! links and store fail, nodes die and come back; after every step the rules of [`facts`] must hold. No socket is opened and
//! no real time passes: the runtime's clock jumps to what is due next.
#![allow(clippy::expect_used, clippy::missing_panics_doc, reason = "a simulation that is wrong itself stops")]

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
