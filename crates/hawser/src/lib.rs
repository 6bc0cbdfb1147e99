//! The `hawser` command as a library: what the binary, its tests and its fuzz targets share.

mod admin;
pub mod cli;
pub mod config;
pub mod console;
pub mod demo;
pub mod example_server;
pub mod failure;
mod key_ring_file;
pub mod keys;
pub mod operate;
pub mod probe;
pub mod serve;
pub mod stdio;
pub mod telemetry;
pub mod user;
