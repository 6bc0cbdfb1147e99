//! The one port for everything that outlives a request.
//!
//! Sessions' tombstones, grants, registered clients, signing keys: whatever must survive a restart or be seen by another
//! node goes through [`Store`]. The port is small on purpose (get, put with expiry, compare-and-set, delete, take,
//! increment, scan, publish/subscribe), so that one contract suite can hold every adapter to the same behaviour:
//!
//! - [`MemoryStore`]: for tests and throw-away gateways;
//! - [`RedbStore`]: one embedded file, the default; survives `kill -9`;
//! - [`RedisStore`]: a Valkey or Redis server, a primary watched by Sentinels, or a cluster; shared by any number of nodes.
//!
//! [`Journal`] is written once over the port: announcements that every node hears, whatever the channel loses.
//!
//! The store knows bytes. What they mean, and whose they are, is decided above.

mod channels;
#[cfg(test)]
mod clock;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod decision;
#[cfg(any(test, feature = "contract"))]
pub mod faulty;
mod journal;
mod key;
mod memory;
mod port;
mod redb_file;
mod redis_server;
mod row;
mod scan;
mod subscription;

pub use journal::{Follower, Journal, Told};
pub use key::{Key, KeyError};
pub use memory::MemoryStore;
pub use port::{Store, StoreError, Unavailable, VALUE_BYTES_MAX};
pub use redb_file::{OpenError, RedbOptions, RedbStore};
pub use redis_server::{OpenRedisError, RedisOptions, RedisOptionsError, RedisStore, RedisUrlError};
pub use row::WallClock;
pub use scan::{SCAN_ROWS_MAX, ScanCursor, ScanPage, UnknownCursor};
pub use subscription::{Delivery, Feed, Subscription};
