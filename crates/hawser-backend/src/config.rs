//! What must be known to reach a backend.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::Limits;
use http::HeaderMap;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use url::Url;

use crate::name::BackendName;

/// Headers that the transport itself writes; a configured one would contradict it.
pub const HEADERS_RESERVED: [&str; 18] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// One backend.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// What it is called here.
    pub name: BackendName,
    /// Where it is.
    pub transport: Transport,
    /// Longest time without any message of an exchange.
    pub request_timeout: Duration,
    /// Longest time for a whole exchange, whatever it says meanwhile.
    pub request_timeout_max: Duration,
    /// Longest time for a connection, TLS included.
    pub connect_timeout: Duration,
    /// How long a server may take to say that it is modern, before it is spoken to as of old. A legacy one may stay silent.
    pub probe_timeout: Duration,
    /// Largest JSON body, server-sent event or line that is read.
    pub message_bytes_max: usize,
    /// Largest result that is passed on as it arrives, without being held; with 0 none is.
    pub streamed_bytes_max: u64,
    /// Depth and batch size of messages.
    pub limits: Limits,
}

/// How a backend is spoken to.
#[derive(Clone)]
pub enum Transport {
    /// Streamable HTTP, or HTTP+SSE if the server turns out to speak only that (2025-11-25, Transports, Backwards
    /// Compatibility).
    Http {
        /// The MCP endpoint.
        url: Url,
        /// Sent with every request to exactly this origin. All values are taken for secret.
        headers: HeaderMap,
    },
    /// HTTP+SSE, the transport of the first revision (2024-11-05).
    Sse {
        /// Where the stream is opened.
        url: Url,
        /// Sent with every request to exactly this origin. All values are taken for secret.
        headers: HeaderMap,
    },
    /// A child process.
    Stdio {
        /// Program and arguments.
        command: Vec<String>,
        /// Added to the few variables that a child inherits. Values are taken for secret.
        env: Vec<(String, String)>,
        /// Where it runs; the gateway's own directory if absent.
        cwd: Option<PathBuf>,
    },
}

/// Why a configuration cannot be used.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum ConfigError {
    /// The URL is not usable.
    #[error("backend `{backend}`: the URL {problem}")]
    Url {
        /// Which one.
        backend: BackendName,
        /// What is wrong.
        problem: &'static str,
    },
    /// A configured header belongs to the transport.
    #[error("backend `{backend}`: the header `{header}` is written by the transport and cannot be configured")]
    Header {
        /// Which one.
        backend: BackendName,
        /// The header.
        header: String,
    },
    /// No program.
    #[error("backend `{backend}`: the command is empty; name a program first")]
    Command {
        /// Which one.
        backend: BackendName,
    },
    /// A variable that no process can be given.
    #[error("backend `{backend}`: `{variable}` is not a usable environment variable")]
    Variable {
        /// Which one.
        backend: BackendName,
        /// The variable's name.
        variable: String,
    },
    /// A limit of zero would refuse everything.
    #[error("backend `{backend}`: `{limit}` must be more than zero")]
    Zero {
        /// Which one.
        backend: BackendName,
        /// The limit.
        limit: &'static str,
    },
    /// The TLS client cannot be set up on this machine.
    #[error("backend `{backend}`: TLS cannot be set up: {reason}")]
    Tls {
        /// Which one.
        backend: BackendName,
        /// What the TLS library said.
        reason: String,
    },
}

impl BackendConfig {
    /// A configuration with the default limits.
    pub fn new(name: BackendName, transport: Transport) -> Self {
        Self {
            name,
            transport,
            request_timeout: Duration::from_mins(1),
            request_timeout_max: Duration::from_mins(30),
            connect_timeout: Duration::from_secs(10),
            probe_timeout: Duration::from_secs(5),
            message_bytes_max: 16 * 1024 * 1024,
            streamed_bytes_max: 1024 * 1024 * 1024,
            limits: Limits::default(),
        }
    }

    /// Refuses what could never work, before anything is connected or started.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let backend = || self.name.clone();
        let zero = [
            ("request_timeout", self.request_timeout.is_zero()),
            ("request_timeout_max", self.request_timeout_max.is_zero()),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("probe_timeout", self.probe_timeout.is_zero()),
            ("message_bytes_max", self.message_bytes_max == 0),
        ];
        if let Some((limit, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::Zero { backend: backend(), limit });
        }
        match &self.transport {
            Transport::Http { url, headers } | Transport::Sse { url, headers } => {
                if let Some(problem) = url_problem(url) {
                    return Err(ConfigError::Url { backend: backend(), problem });
                }
                match headers.keys().find(|header| HEADERS_RESERVED.contains(&header.as_str())) {
                    Some(header) => Err(ConfigError::Header { backend: backend(), header: header.to_string() }),
                    None => Ok(()),
                }
            }
            Transport::Stdio { command, env, .. } => {
                if command.first().is_none_or(String::is_empty) {
                    return Err(ConfigError::Command { backend: backend() });
                }
                let unusable = |(name, value): &&(String, String)| {
                    name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
                };
                match env.iter().find(unusable) {
                    Some((variable, _)) => {
                        Err(ConfigError::Variable { backend: backend(), variable: variable.escape_debug().to_string() })
                    }
                    None => Ok(()),
                }
            }
        }
    }
}

fn url_problem(url: &Url) -> Option<&'static str> {
    if !matches!(url.scheme(), "http" | "https") {
        Some("must start with http:// or https://")
    } else if url.host_str().is_none_or(str::is_empty) {
        Some("has no host")
    } else if !url.username().is_empty() || url.password().is_some() {
        Some("must not hold a user name or password; use a header")
    } else if url.fragment().is_some() {
        Some("must not have a fragment")
    } else {
        None
    }
}

impl fmt::Debug for Transport {
    /// Path, query, header values and variables may hold secrets, so they are left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { url, headers } | Self::Sse { url, headers } => f
                .debug_struct(if matches!(self, Self::Sse { .. }) { "Sse" } else { "Http" })
                .field("origin", &url.origin().ascii_serialization())
                .field("headers", &headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>())
                .finish(),
            Self::Stdio { command, env, cwd } => f
                .debug_struct("Stdio")
                .field("program", &command.first())
                .field("env", &env.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>())
                .field("cwd", cwd)
                .finish_non_exhaustive(),
        }
    }
}

/// How many child processes all stdio backends together may run. Clones share the count.
#[derive(Clone, Debug)]
pub struct ChildLimit(Arc<Semaphore>);

impl ChildLimit {
    /// At most this many at a time.
    pub fn new(children_max: usize) -> Self {
        Self(Arc::new(Semaphore::new(children_max.min(Semaphore::MAX_PERMITS))))
    }

    /// A place for one more child, held until it is gone.
    pub(crate) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}
