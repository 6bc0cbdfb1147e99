//! Properties of the readers and writers, over arbitrary bytes and over everything that is well-formed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod frames;
mod headers;
mod json;
mod lines;
mod listen;
mod members;
mod meta;
mod responses;
mod revisions;
mod rounds;
mod streams;
mod tasks;
mod trace_context;
mod translate_errors;
mod translate_lists;
mod translate_questions;
mod translate_results;
