//! Properties of the readers and writers, over arbitrary bytes and over everything that is well-formed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod frames;
mod json;
mod lines;
mod members;
mod streams;
