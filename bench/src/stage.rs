//! What is put side by side: processes on loopback, each stopped by its id.

pub(crate) mod gateway;
pub(crate) mod issuer;
pub(crate) mod nginx;
pub(crate) mod peers;
pub(crate) mod process;
pub(crate) mod server;
pub(crate) mod valkey;
