//! Nodes that share a store, in one process.

mod answers;
mod letters;
mod lost;
mod world;
