//! HTTP, bounded: every request has a deadline, every body a size, no redirect is followed unseen.
//!
//! The examination compares answers byte for byte, so this layer keeps the status, all header lines and the body as they
//! came, and says how the body ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

/// What one examination may spend.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From sending a request to the last byte of its answer.
    pub request: Duration,
    /// How long silence on an open stream counts as "nothing comes".
    pub window: Duration,
    /// Bytes kept of one body.
    pub body: usize,
    /// Everything together; what has not been examined by then is reported as such.
    pub total: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(15),
            window: Duration::from_millis(400),
            body: 2 * 1024 * 1024,
            total: Duration::from_mins(10),
        }
    }
}

/// Why no answer could be had. Says which address; never a token.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WireError {
    /// The HTTP client could not be set up.
    #[error("the HTTP client could not be set up: {0}")]
    Setup(String),
    /// An address that is not an absolute http or https URL.
    #[error("`{0}` is not an absolute http or https address")]
    Address(String),
    /// A header value with characters that HTTP does not allow.
    #[error("the value for the header `{0}` has characters that HTTP does not allow")]
    Header(&'static str),
    /// No answer in time.
    #[error("{address} gave no answer within {} s", .within.as_secs_f32())]
    Silent {
        /// Where to.
        address: String,
        /// The limit.
        within: Duration,
    },
    /// The connection failed.
    #[error("{address} could not be reached: {reason}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What the connection said.
        reason: String,
    },
}

/// How a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With its last byte.
    Complete,
    /// We stopped reading: a stream that was still open, or all that was wanted had come.
    Open,
    /// It exceeded the limit.
    TooLarge,
    /// The connection broke.
    Broken,
}

/// An answer as it came.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// All header lines.
    pub headers: HeaderMap,
    /// Body bytes, up to the limit.
    pub body: Vec<u8>,
    /// How the body ended.
    pub ending: Ending,
}

impl Answer {
    /// The media type, lower case, without parameters.
    pub fn media_type(&self) -> Option<String> {
        media_type(&self.headers)
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
}

/// The HTTP client of one examination. Cheap to clone; clones share the connection pool and the count.
#[derive(Debug, Clone)]
pub struct Wire {
    client: reqwest::Client,
    limits: Limits,
    sent: Arc<AtomicU64>,
}

impl Wire {
    /// A client for `target`. Loopback targets never go through a proxy from the environment.
    pub fn new(target: &Url, limits: Limits) -> Result<Self, WireError> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(limits.request)
            .user_agent(concat!("hawser-probe/", env!("CARGO_PKG_VERSION")));
        if is_loopback(target) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| WireError::Setup(innermost(&error)))?;
        Ok(Self { client, limits, sent: Arc::default() })
    }

    /// The limits this client keeps.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Requests sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// A request to fill; pass it to [`Wire::start`] or [`Wire::fetch`].
    pub fn request(&self, method: http::Method, url: &Url) -> reqwest::RequestBuilder {
        self.client.request(method, url.clone())
    }

    /// Sends and returns when the head of the answer is there.
    pub async fn start(&self, request: reqwest::RequestBuilder) -> Result<Incoming, WireError> {
        let request = request.build().map_err(|error| WireError::Setup(innermost(&error)))?;
        let address = printable(request.url());
        let deadline = Instant::now() + self.limits.request;
        self.sent.fetch_add(1, Ordering::Relaxed);
        match timeout_at(deadline, self.client.execute(request)).await {
            Err(_) => Err(WireError::Silent { address, within: self.limits.request }),
            Ok(Err(error)) => Err(WireError::Unreachable { address, reason: innermost(&error) }),
            Ok(Ok(response)) => Ok(Incoming {
                status: response.status(),
                headers: response.headers().clone(),
                response,
                body: Vec::new(),
                max: self.limits.body,
                deadline,
            }),
        }
    }

    /// Sends and reads the whole answer.
    pub async fn fetch(&self, request: reqwest::RequestBuilder) -> Result<Answer, WireError> {
        Ok(self.start(request).await?.read().await)
    }
}

/// An answer whose body is still coming.
#[derive(Debug)]
pub struct Incoming {
    /// Status.
    pub status: StatusCode,
    /// All header lines.
    pub headers: HeaderMap,
    response: reqwest::Response,
    body: Vec<u8>,
    max: usize,
    deadline: Instant,
}

/// What reading a bit more gave.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes.
    Data(Bytes),
    /// Nothing came until the moment given.
    Quiet,
    /// The body is over, and how.
    Over(Ending),
}

impl Incoming {
    /// Whether this is an event stream.
    pub fn is_event_stream(&self) -> bool {
        media_type(&self.headers).as_deref() == Some("text/event-stream")
    }

    /// The moment after which a single answer counts as late.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The next bytes, waiting until `until` at most.
    pub async fn chunk(&mut self, until: Instant) -> Chunk {
        match timeout_at(until, self.response.chunk()).await {
            Err(_) => Chunk::Quiet,
            Ok(Err(_)) => Chunk::Over(Ending::Broken),
            Ok(Ok(None)) => Chunk::Over(Ending::Complete),
            Ok(Ok(Some(data))) => {
                let room = self.max.saturating_sub(self.body.len());
                if data.len() > room {
                    return Chunk::Over(Ending::TooLarge);
                }
                self.body.extend_from_slice(&data);
                Chunk::Data(data)
            }
        }
    }

    /// Reads to the end, the deadline or the size limit.
    pub async fn read(mut self) -> Answer {
        loop {
            match self.chunk(self.deadline).await {
                Chunk::Data(_) => {}
                Chunk::Quiet => return self.stop(Ending::Open),
                Chunk::Over(ending) => return self.stop(ending),
            }
        }
    }

    /// Stops reading; what came so far is the answer.
    pub fn stop(self, ending: Ending) -> Answer {
        Answer { status: self.status, headers: self.headers, body: self.body, ending }
    }
}

/// Parses an absolute http or https address without user information.
pub fn web_address(text: &str) -> Result<Url, WireError> {
    let refused = || WireError::Address(text.chars().take(200).collect());
    let url = Url::parse(text).map_err(|_| refused())?;
    let web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if web && url.username().is_empty() && url.password().is_none() { Ok(url) } else { Err(refused()) }
}

/// Whether the host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

/// The address without query and fragment, where codes and states live.
pub(crate) fn printable(url: &Url) -> String {
    let mut bare = url.clone();
    bare.set_query(None);
    bare.set_fragment(None);
    bare.to_string()
}

/// The last cause is the one that says something; the chain above it repeats the URL, query included.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    if std::ptr::eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn only_plain_web_addresses_pass() {
        for good in ["http://127.0.0.1:8420/mcp", "https://mcp.example.com"] {
            assert!(web_address(good).is_ok(), "{good}");
        }
        for bad in ["mcp.example.com", "file:///etc/passwd", "http://u:p@host/", "javascript:alert(1)", ""] {
            assert!(web_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_in_errors_carry_no_query() {
        let url = web_address("https://as.example.com/cb?code=secret#f").unwrap();
        assert_eq!(printable(&url), "https://as.example.com/cb");
    }

    #[test]
    fn loopback_is_told_by_address_not_by_look() {
        let loopback = |text: &str| is_loopback(&web_address(text).unwrap());
        assert!(loopback("http://127.9.9.9/") && loopback("http://[::1]:1/") && loopback("http://localhost:3/"));
        assert!(!loopback("http://127.0.0.1.example.com/") && !loopback("http://10.0.0.1/"));
    }
}
