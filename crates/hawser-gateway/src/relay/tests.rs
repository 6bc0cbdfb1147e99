//! Nodes in one process that share a store: one in memory that misbehaves as it is told, and a real one.

mod answers;
mod letters;
mod lost;
mod valkey;
mod world;
