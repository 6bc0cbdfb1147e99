//! Ownership as its users know it: whose a handle is, who is let in, and what is refused.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod admission;
mod handles;
mod key_rings;
mod own;
mod principals;
mod rotation;
mod rows;
mod tampering;
mod time;
mod world;
