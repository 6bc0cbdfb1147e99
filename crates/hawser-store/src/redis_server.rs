//! Rows at a server that speaks the Redis protocol (Valkey or Redis), which any number of nodes share.
//!
//! Every operation is one round trip about one row, on a connection that all share. Each ends within two seconds, and at once
//! as long as the server is known to be down; connections are made again in the background alone. Nothing is sent twice that
//! may have been done, so what is lost on the way is an error, whose effect is not known.

mod cluster;
mod failure;
mod link;
mod options;
mod route;
mod scan;
mod scripts;
mod sentinels;
mod server;
mod slots;
mod stream;
mod subscriptions;
mod url;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::Value;
use tokio::time::Instant;

use self::failure::Failure;
use self::route::Route;
use self::scripts::{Lifetime, Order};
use self::server::Manner;
use self::subscriptions::Subscriptions;
pub use self::url::RedisUrlError;
use crate::key::Key;
use crate::port::{Store, StoreError, Unavailable, VALUE_BYTES_MAX, check_message, check_value};
use crate::scan::{ScanCursor, ScanPage, page_limit};
use crate::subscription::Subscription;
pub use options::{RedisOptions, RedisOptionsError};

/// The longest that an operation takes.
const OPERATION_MAX: Duration = Duration::from_secs(2);

/// Why a store at a server cannot be used from the beginning.
#[derive(Debug, thiserror::Error)]
pub enum OpenRedisError {
    /// Waiting does not help: a wrong password, a server that is too old, a certificate that is not trusted.
    #[error("the store at {at} cannot be used: {reason}")]
    Refused {
        /// Where, without passwords.
        at: String,
        /// What is the matter.
        reason: String,
    },
    /// It did not come within the time.
    #[error("the store at {at} is not there: {reason}")]
    Unreachable {
        /// Where, without passwords.
        at: String,
        /// What is the matter.
        reason: String,
    },
}

/// A store at a server, a primary that Sentinels watch, or a cluster.
pub struct RedisStore {
    at: String,
    prefix: Box<str>,
    route: Arc<Route>,
    subscriptions: Subscriptions,
}

impl RedisStore {
    /// Connects, and tries for as long as `within` if the server is not there yet.
    pub async fn open(options: RedisOptions, within: Duration) -> Result<Self, OpenRedisError> {
        let store = Self::start(options);
        store.ready(within).await?;
        Ok(store)
    }

    /// Begins to connect. Until the server is there, every operation finds the store unavailable. Must be called in a runtime.
    pub fn start(options: RedisOptions) -> Self {
        let at = options.to_string();
        let RedisOptions { url, prefix, tls } = options;
        let manner = Manner { tls, credentials: url.credentials, database: url.database };
        let route = Arc::new(Route::start(url.place, manner.clone()));
        let subscriptions = Subscriptions::start(Arc::clone(&route), manner, prefix.clone());
        Self { at, prefix, route, subscriptions }
    }

    /// Waits until the server is there, as long as `within`. Afterwards it is still looked for.
    pub async fn ready(&self, within: Duration) -> Result<(), OpenRedisError> {
        let Err(Failure { reason, lasting }) = self.route.ready(within).await else { return Ok(()) };
        let at = self.at.clone();
        Err(if lasting { OpenRedisError::Refused { at, reason } } else { OpenRedisError::Unreachable { at, reason } })
    }

    async fn send(&self, order: Order) -> Result<Value, StoreError> {
        Ok(self.route.send(&order, Instant::now() + OPERATION_MAX).await.map_err(Unavailable::from)?)
    }

    /// The row's name at the server.
    fn name(&self, key: &Key) -> Vec<u8> {
        [self.prefix.as_bytes(), key.as_str().as_bytes()].concat()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("at", &self.at).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        value(self.send(Order::get(self.name(key))).await?)
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        check_value(key, &value, VALUE_BYTES_MAX)?;
        self.send(Order::put(self.name(key), &value, Lifetime::of(ttl))).await.map(drop)
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        if let Some(new) = &new {
            check_value(key, new, VALUE_BYTES_MAX)?;
        }
        let (name, lifetime) = (self.name(key), Lifetime::of(ttl));
        let order = match (expected, &new) {
            (Some(expected), new) => Order::replace(name, expected, new.as_deref(), lifetime),
            (None, Some(new)) => Order::put_if_absent(name, new, lifetime),
            (None, None) => Order::exists(name),
        };
        // `EXISTS` counts what is there, a script what it did, and `SET … NX` says nothing where it did nothing.
        match (expected, self.send(order).await?) {
            (None, Value::Int(there)) => Ok(there == 0),
            (Some(_), Value::Int(done)) => Ok(done == 1),
            (None, Value::Okay) => Ok(true),
            (None, Value::Nil) => Ok(false),
            _ => Err(strange()),
        }
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.send(Order::delete(self.name(key))).await.map(drop)
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        value(self.send(Order::take(self.name(key))).await?)
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        match self.send(Order::increment(self.name(key), Lifetime::of(Some(ttl)))).await? {
            Value::BulkString(sum) => {
                std::str::from_utf8(&sum).ok().and_then(|sum| sum.parse().ok()).ok_or_else(strange)
            }
            Value::Nil => Err(StoreError::NotACounter { key: key.clone() }),
            _ => Err(strange()),
        }
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        let deadline = Instant::now() + OPERATION_MAX;
        scan::page(&self.route, &self.prefix, family, after, page_limit(limit), deadline).await
    }

    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
        check_message(channel, &message)?;
        let name = [self.prefix.as_bytes(), channel.as_bytes()].concat();
        let deadline = Instant::now() + OPERATION_MAX;
        Ok(self.route.publish(&name, &message, deadline).await.map_err(Unavailable::from)?)
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        self.subscriptions.subscribe(channel, Instant::now() + OPERATION_MAX).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}

/// A row's value. What is larger than a row can be is none of ours.
fn value(answer: Value) -> Result<Option<Bytes>, StoreError> {
    match answer {
        Value::Nil => Ok(None),
        Value::BulkString(value) if value.len() <= VALUE_BYTES_MAX => Ok(Some(value.into())),
        _ => Err(strange()),
    }
}

fn strange() -> StoreError {
    Unavailable { reason: "the server's answer is not understood".to_owned() }.into()
}
