//! Backends as their users meet them: real HTTP on loopback, real child processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod adapter;
mod answers;
mod child;
mod child_eras;
mod crowds;
mod eras;
mod failures;
mod hostile;
mod modern;
mod modern_server;
mod modern_stdio;
mod once;
mod scripted;
mod sessions;
mod sse;
mod sse_server;
mod stdio;
mod stdio_failures;
mod streams;
mod subscriptions;
