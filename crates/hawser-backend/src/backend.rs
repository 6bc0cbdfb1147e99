//! One configured MCP server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hawser_mcp::{RawJson, Revision};
use http::HeaderMap;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::circuit::Circuit;
use crate::config::{BackendConfig, ChildLimit, ConfigError, Transport};
use crate::era::Eras;
use crate::error::BackendError;
use crate::hello::{ClientHello, initialize};
#[cfg(feature = "in-process")]
use crate::in_process::Dial;
use crate::jitter::jitter;
use crate::known::Known;
use crate::link::Link;
use crate::modern::{Modern, Shared};
use crate::name::BackendName;
use crate::open::open;
use crate::queue::queue;
use crate::session::{BackendSession, SessionCore};
use crate::sse::{NoSse, SseLink};
use crate::state::SessionState;
use crate::stdio::{ChildCommand, StdioLink};
use crate::streamable::{HttpClient, HttpLink};
use crate::unsolicited::Unsolicited;

/// Most unsolicited messages that wait for a reader.
const UNSOLICITED_MAX: usize = 256;

/// One configured MCP server. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backend(Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Arc<BackendConfig>,
    /// What the server speaks.
    pub(crate) known: Arc<Known>,
    modern: Arc<Shared>,
    reach: Reach,
    circuit: Mutex<Circuit>,
    since: Instant,
}

/// How the server is reached, made once.
#[derive(Debug)]
enum Reach {
    Http {
        client: Arc<HttpClient>,
        /// What it offered the last time was HTTP+SSE.
        sse: AtomicBool,
    },
    Sse(Arc<HttpClient>),
    Stdio(ChildCommand),
}

impl Backend {
    /// Checks the configuration and makes the client; connects to nothing yet.
    pub fn new(config: BackendConfig, children: ChildLimit) -> Result<Self, ConfigError> {
        Self::over(config, children, HttpClient::new)
    }

    /// A server of this process, whose address is made up.
    #[cfg(feature = "in-process")]
    pub fn in_process(config: BackendConfig, dial: &Arc<dyn Dial>) -> Result<Self, ConfigError> {
        let client = |config: &_, url: &_, headers: &_| HttpClient::in_process(config, url, headers, Arc::clone(dial));
        Self::over(config, ChildLimit::new(0), client)
    }

    fn over(
        config: BackendConfig,
        children: ChildLimit,
        client: impl Fn(&BackendConfig, &Url, &HeaderMap) -> Result<HttpClient, ConfigError>,
    ) -> Result<Self, ConfigError> {
        config.check()?;
        let reach = match &config.transport {
            Transport::Http { url, headers } => {
                Reach::Http { client: Arc::new(client(&config, url, headers)?), sse: AtomicBool::new(false) }
            }
            Transport::Sse { url, headers } => Reach::Sse(Arc::new(client(&config, url, headers)?)),
            Transport::Stdio { command, env, cwd } => {
                Reach::Stdio(ChildCommand::new(command.clone(), env.clone(), cwd.clone(), children))
            }
        };
        let known = match reach {
            Reach::Http { .. } | Reach::Stdio(_) => Known::nothing(),
            // This transport is older than the stateless era.
            Reach::Sse(_) => Known::for_good(Eras::LEGACY_ONLY),
        };
        let inner = Inner {
            config: Arc::new(config),
            known: Arc::new(known),
            modern: Arc::default(),
            reach,
            circuit: Mutex::default(),
            since: Instant::now(),
        };
        Ok(Self(Arc::new(inner)))
    }

    /// What it is called.
    pub fn name(&self) -> &BackendName {
        &self.0.config.name
    }

    /// Largest message of it that is held.
    pub fn message_bytes_max(&self) -> usize {
        self.0.config.message_bytes_max
    }

    /// Whether every session with it is a child process.
    pub fn is_stdio(&self) -> bool {
        self.0.is_stdio()
    }

    /// Opens a session: connects or starts the child, and speaks the client's era if the server does, otherwise the other
    /// one. In the session era that is `initialize` and `notifications/initialized`; in the stateless era nothing need be
    /// sent, if it is known what the server is. A backend that failed repeatedly is left alone for a while; then this fails
    /// at once with [`BackendError::Resting`]. Takes at most `connect_timeout` and `request_timeout` together, whatever the
    /// server says meanwhile.
    pub async fn open(&self, client: &ClientHello) -> Result<(BackendSession, Unsolicited), BackendError> {
        let attempt = Attempt::start(&self.0)?;
        let config = &self.0.config;
        let after = config.connect_timeout.saturating_add(config.request_timeout);
        let opened = timeout(after, self.connect(client))
            .await
            .unwrap_or_else(|_| Err(BackendError::TimedOut { backend: config.name.clone(), after }));
        attempt.finish(opened.as_ref().err());
        opened
    }

    async fn connect(&self, client: &ClientHello) -> Result<(BackendSession, Unsolicited), BackendError> {
        match &self.0.reach {
            Reach::Http { client: http, sse } => self.connect_http(http, sse, client).await,
            Reach::Sse(http) => self.connect_sse(http, client).await.map_err(NoSse::into_error),
            Reach::Stdio(_) => open(&self.0, client).await,
        }
    }

    /// Streamable HTTP first. If the server refuses `initialize` in one of the ways that a server of the first revision does,
    /// a GET shows whether it is one (2025-11-25, Transports, Backwards Compatibility).
    async fn connect_http(
        &self,
        http: &Arc<HttpClient>,
        sse: &AtomicBool,
        client: &ClientHello,
    ) -> Result<(BackendSession, Unsolicited), BackendError> {
        if sse.load(Ordering::Relaxed) {
            match self.connect_sse(http, client).await {
                Err(NoSse::NotOffered(_)) => sse.store(false, Ordering::Relaxed),
                opened => return opened.map_err(NoSse::into_error),
            }
        }
        let refused = match open(&self.0, client).await {
            Err(refused @ BackendError::Refused { status: 400 | 404 | 405, .. }) => refused,
            opened => return opened,
        };
        match self.connect_sse(http, client).await {
            Err(NoSse::NotOffered(_)) => Err(refused),
            opened => {
                sse.store(opened.is_ok(), Ordering::Relaxed);
                opened.map_err(NoSse::into_error)
            }
        }
    }

    async fn connect_sse(
        &self,
        http: &Arc<HttpClient>,
        client: &ClientHello,
    ) -> Result<(BackendSession, Unsolicited), NoSse> {
        let (state, unsolicited) = self.0.state();
        let link = SseLink::connect(&self.0.config, http, Arc::clone(&state)).await?;
        let core = self.0.core(Link::Sse(link), state);
        let server = initialize(&core, client).await.map_err(NoSse::Failed)?;
        Ok((BackendSession::new(core, server), unsolicited))
    }
}

impl Inner {
    pub(crate) const fn is_stdio(&self) -> bool {
        matches!(self.reach, Reach::Stdio(_))
    }

    /// What a session of the stateless era says of its client.
    pub(crate) fn modern(&self, client: &ClientHello, revision: Revision, capabilities: &RawJson) -> Modern {
        Modern::new(client, revision, capabilities, !self.is_stdio(), Arc::clone(&self.modern))
    }

    /// A link on which no word has been said yet.
    pub(crate) fn way(&self) -> Result<(Arc<SessionCore>, Unsolicited), BackendError> {
        let (state, unsolicited) = self.state();
        let link = match &self.reach {
            Reach::Http { client, .. } | Reach::Sse(client) => {
                let link = HttpLink::new(Arc::clone(&self.config), Arc::clone(client), Arc::clone(&state));
                Link::Http(Arc::new(link))
            }
            Reach::Stdio(command) => {
                Link::Stdio(StdioLink::start(Arc::clone(&self.config), command, Arc::clone(&state))?)
            }
        };
        Ok((self.core(link, state), unsolicited))
    }

    fn core(&self, link: Link, state: Arc<SessionState>) -> Arc<SessionCore> {
        Arc::new(SessionCore::new(Arc::clone(&self.config), link, state, Arc::clone(&self.known)))
    }

    /// What the parts of a new session will share.
    fn state(&self) -> (Arc<SessionState>, Unsolicited) {
        let config = &self.config;
        let (sender, receiver) = queue(UNSOLICITED_MAX, config.message_bytes_max);
        let state = Arc::new(SessionState::new(config.name.clone(), sender));
        let unsolicited = Unsolicited::new(receiver, Arc::clone(&state));
        (state, unsolicited)
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn circuit<T>(&self, act: impl FnOnce(&mut Circuit) -> T) -> T {
        act(&mut self.circuit.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One attempt to open, which tells the circuit how it went even if it is dropped half-way.
struct Attempt<'a> {
    backend: &'a Inner,
    finished: bool,
}

impl<'a> Attempt<'a> {
    fn start(backend: &'a Inner) -> Result<Self, BackendError> {
        match backend.circuit(|circuit| circuit.admit(backend.now())) {
            Ok(()) => Ok(Self { backend, finished: false }),
            Err(rest) => Err(BackendError::Resting {
                backend: backend.config.name.clone(),
                retry_in: rest.retry_in,
                last: rest.last,
            }),
        }
    }

    fn finish(mut self, error: Option<&BackendError>) {
        self.finished = true;
        let now = self.backend.now();
        self.backend.circuit(|circuit| match error {
            None => circuit.succeeded(),
            Some(error) if error.is_the_backends_state() => circuit.failed(now, error.to_string(), jitter()),
            // One client's failure must not close the door to the others.
            Some(_) => circuit.given_up(now),
        });
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if !self.finished {
            let now = self.backend.now();
            self.backend.circuit(|circuit| circuit.given_up(now));
        }
    }
}
