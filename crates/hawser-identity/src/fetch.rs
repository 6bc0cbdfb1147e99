//! Fetching what the administrator configured: issuers' metadata and keys.
//!
//! These URLs are trusted to be named, so private addresses are fine; what they answer is not. Nothing is followed
//! (redirects, environment proxies), everything is bounded (time, bytes), and TLS is demanded except on loopback. URLs that
//! clients supply need a stricter fetcher than this one.

use std::error::Error;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::ACCEPT;
use thiserror::Error;
use url::Url;

use crate::config::is_protected;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(8);
/// Longest cause that is quoted.
const CAUSE_CHARS_MAX: usize = 200;

/// Gets a configured document.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// The body of a 200 answer, of at most `bytes_max` bytes.
    async fn get(&self, url: &Url, bytes_max: usize) -> Result<Bytes, FetchError>;
}

/// A document could not be had.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum FetchError {
    /// Plain http to another machine.
    #[error("needs https, except on loopback")]
    Insecure,
    /// No answer: DNS, connection, TLS or timeout.
    #[error("no answer: {0}")]
    NoAnswer(String),
    /// An answer other than 200. Redirects are not followed.
    #[error("answered with status {0}")]
    Status(StatusCode),
    /// The body is longer than allowed.
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
}

/// Fetches over HTTP.
#[derive(Clone, Debug)]
pub struct HttpFetcher(reqwest::Client);

/// The HTTP client could not be set up, for instance because the system has no certificate store.
#[derive(Debug, Error)]
#[error("the HTTP client for issuers cannot be set up: {0}")]
pub struct HttpFetcherError(#[source] reqwest::Error);

impl HttpFetcher {
    /// A fetcher with its own connections.
    pub fn new() -> Result<Self, HttpFetcherError> {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .user_agent(concat!("hawser/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
            .map_err(HttpFetcherError)
    }
}

#[async_trait]
impl Fetch for HttpFetcher {
    async fn get(&self, url: &Url, bytes_max: usize) -> Result<Bytes, FetchError> {
        if !is_protected(url) {
            return Err(FetchError::Insecure);
        }
        let request = self.0.get(url.clone()).header(ACCEPT, "application/json");
        let mut response = request.send().await.map_err(|error| no_answer(&error))?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        if response.content_length().is_some_and(|length| length > bytes_max as u64) {
            return Err(FetchError::TooLong(bytes_max));
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if body.len() + chunk.len() > bytes_max {
                return Err(FetchError::TooLong(bytes_max));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// The kind of failure and its innermost cause ("connection refused", "invalid peer certificate"). The URL is the
/// caller's to name.
fn no_answer(error: &reqwest::Error) -> FetchError {
    let kind = if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else {
        "the exchange broke off"
    };
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    // Only a source is quoted: the outermost error names the URL.
    let cause = error.source().map(|_| format!(": {}", printable(innermost))).unwrap_or_default();
    FetchError::NoAnswer(format!("{kind}{cause}"))
}

/// A cause may quote the peer, for instance the names in its certificate.
fn printable(cause: &dyn Error) -> String {
    cause.to_string().chars().filter(|character| !character.is_control()).take(CAUSE_CHARS_MAX).collect()
}
