//! How a store at a server is used.

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;
use thiserror::Error;

use super::stream::tls_config;
use super::url::{RedisUrl, RedisUrlError};

const PREFIX: &str = "hawser:";
const PREFIX_BYTES_MAX: usize = 64;

/// Where a store's server is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct RedisOptions {
    pub(super) url: RedisUrl,
    pub(super) prefix: Box<str>,
    pub(super) tls: Option<Arc<ClientConfig>>,
}

/// Options that cannot be used. Never holds a part of the address.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RedisOptionsError {
    /// The address.
    #[error(transparent)]
    Url(#[from] RedisUrlError),
    /// The prefix.
    #[error("a prefix has 1 to {PREFIX_BYTES_MAX} visible ASCII characters")]
    Prefix,
    /// The authorities to trust.
    #[error("{0}")]
    Ca(String),
    /// Authorities without TLS.
    #[error("there is nothing to check certificates for without TLS: use rediss://")]
    CaWithoutTls,
}

impl RedisOptions {
    /// A server, the primary that Sentinels name, or a cluster: `redis://user:password@host:6379/0`,
    /// `redis+sentinel://host:26379,host:26379/NAME/0`, `redis+cluster://host:6379,host:6379`; with `rediss` over TLS.
    /// `prefix` stands before the name of every row and channel (`hawser:` if none is given), `ca` holds the authorities (PEM)
    /// that are trusted instead of the machine's.
    pub fn new(url: &str, prefix: Option<&str>, ca: Option<&[u8]>) -> Result<Self, RedisOptionsError> {
        let url = RedisUrl::parse(url)?;
        let prefix = prefix.unwrap_or(PREFIX);
        let plain = !prefix.is_empty() && prefix.len() <= PREFIX_BYTES_MAX;
        if !plain || !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(RedisOptionsError::Prefix);
        }
        if ca.is_some() && !url.tls {
            return Err(RedisOptionsError::CaWithoutTls);
        }
        let tls = if url.tls { Some(tls_config(ca).map_err(RedisOptionsError::Ca)?) } else { None };
        Ok(Self { url, prefix: prefix.into(), tls })
    }

    /// Whether others could read and change what goes to the server: there is no TLS, and it leaves this machine.
    pub fn is_readable_on_the_way(&self) -> bool {
        self.tls.is_none() && !self.url.is_local()
    }
}

/// The address without passwords.
impl fmt::Display for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}
