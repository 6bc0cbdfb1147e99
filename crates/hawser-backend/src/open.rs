//! Opening a session in the era that client and server share, or failing that in the server's. What to try is decided in
//! `era.rs`; here it is done.

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{Era, RawJson, Revision};
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout};

use crate::backend::Inner;
use crate::discover::{Probe, discover, late};
use crate::era::{Eras, Opening, Seen, Spoken, Step};
use crate::error::BackendError;
use crate::exchange::Exchange;
use crate::hello::{ClientHello, ServerHello, initialize};
use crate::known::Discovery;
use crate::session::{BackendSession, SessionCore};
use crate::state::Ending;
use crate::unsolicited::Unsolicited;

/// A link that a session may come of.
type Way = (Arc<SessionCore>, Unsolicited);

/// Opens a session. The caller limits the time of it all.
pub(crate) async fn open(backend: &Inner, client: &ClientHello) -> Result<(BackendSession, Unsolicited), BackendError> {
    let since = Instant::now();
    let _probing = probing(backend, client, since).await?;
    let attempt = Attempt {
        backend,
        client,
        opening: Opening::new(client.revision.era(), backend.is_stdio(), backend.known.eras()),
        since,
        after: backend.config.connect_timeout.saturating_add(backend.config.request_timeout),
        way: None,
        discovery: None,
        silent: None,
        refusal: None,
    };
    let opened = attempt.run().await;
    if let Err(error) = &opened
        && error.is_the_backends_state()
    {
        backend.known.note_failed_opening(error, Instant::now());
    }
    opened
}

/// Who would have to find out what the server is waits for whoever is at it already, and then goes on together with all others
/// who waited: only as long as nothing is known at all, one goes ahead. What that one failed of, all fail of who waited for it.
async fn probing<'a>(
    backend: &'a Inner,
    client: &ClientHello,
    since: Instant,
) -> Result<Option<MutexGuard<'a, ()>>, BackendError> {
    let known = backend.known.eras();
    let known_enough = match client.revision.era() {
        Era::Legacy if known.legacy == Spoken::Yes => true,
        // A child says what it is whenever one is started.
        _ if backend.is_stdio() => known.modern != Spoken::Unknown,
        _ if known.modern == Spoken::No => known.legacy == Spoken::Yes,
        _ => known.modern == Spoken::Yes && backend.known.discovery(Instant::now()).is_some(),
    };
    if known_enough {
        return Ok(None);
    }
    if let Some(probing) = backend.known.probing_now() {
        return Ok(Some(probing));
    }
    let probing = backend.known.probing().await;
    if backend.known.eras() != Eras::default() {
        return Ok(None);
    }
    backend.known.failed_opening(since).map_or(Ok(Some(probing)), Err)
}

struct Attempt<'a> {
    backend: &'a Inner,
    client: &'a ClientHello,
    opening: Opening,
    since: Instant,
    after: Duration,
    way: Option<Way>,
    discovery: Option<Discovery>,
    /// A probe that was not answered in its short time.
    silent: Option<Box<Exchange>>,
    /// Why the server could not be opened so far: what it says to `initialize`, if it was asked.
    refusal: Option<BackendError>,
}

impl Attempt<'_> {
    async fn run(mut self) -> Result<(BackendSession, Unsolicited), BackendError> {
        loop {
            match self.opening.next() {
                Step::Discover { patient } => self.discover(patient).await?,
                Step::Initialize { patient } => {
                    if let Some(server) = self.initialize(patient).await? {
                        return self.opened(server).await;
                    }
                }
                Step::Open(Era::Modern) => return self.opened_modern().await,
                Step::Open(Era::Legacy) | Step::GiveUp => {
                    self.backend.known.forget();
                    let backend = || self.backend.config.name.clone();
                    return Err(self.refusal.unwrap_or_else(|| BackendError::Protocol {
                        backend: backend(),
                        reason: "it speaks neither era of the protocol".to_owned(),
                    }));
                }
            }
        }
    }

    async fn discover(&mut self, patient: bool) -> Result<(), BackendError> {
        if !self.backend.is_stdio()
            && let Some(server) = self.backend.known.discovered(self.since, Instant::now())
        {
            self.discovery = Some(server);
            self.opening.see(Seen::Discovered);
            return Ok(());
        }
        let core = self.core().await?;
        let modern = self.backend.modern(self.client, Revision::LATEST_MODERN, &RawJson::empty_object());
        let limit = if patient { self.after } else { self.backend.config.probe_timeout };
        match discover(&core, &modern, limit).await {
            Probe::Server(discovery) => {
                self.discovery = Some(*discovery);
                self.opening.see(Seen::Discovered);
            }
            Probe::NotModern(error) => self.not_modern(Seen::NotDiscovered, error),
            Probe::Unclear(error) => self.not_modern(Seen::Unclear, error),
            Probe::Silence(exchange) => {
                self.silent = Some(exchange);
                self.opening.see(Seen::Silence);
            }
            Probe::Refusal(error) | Probe::Broken(error) => return Err(self.in_words_of_the_transport(error)),
        }
        Ok(())
    }

    fn not_modern(&mut self, seen: Seen, error: BackendError) {
        self.refusal.get_or_insert(error);
        self.opening.see(seen);
    }

    /// The handshake of the session era; `None` if the server does not want it.
    async fn initialize(&mut self, patient: bool) -> Result<Option<ServerHello>, BackendError> {
        let core = self.core().await?;
        let limit = if patient { self.after } else { self.backend.config.probe_timeout };
        let shaken = timeout(limit, initialize(&core, self.client)).await;
        let error = match shaken {
            Ok(Ok(server)) => {
                self.opening.see(Seen::Initialized);
                return Ok(Some(server));
            }
            Ok(Err(error)) => error,
            Err(_) => BackendError::TimedOut { backend: self.backend.config.name.clone(), after: limit },
        };
        let refused = match &error {
            BackendError::Initialize { .. } | BackendError::Refused { status: 400 | 404 | 405, .. } => true,
            // It is there and modern, so this only means that it does not know the handshake.
            BackendError::TimedOut { .. } | BackendError::Lost { .. } | BackendError::Gone { .. } => !patient,
            _ => false,
        };
        if !refused {
            return Err(self.in_words_of_the_transport(error));
        }
        if !matches!(error, BackendError::Initialize { .. }) || !self.backend.is_stdio() {
            // The next step starts afresh.
            self.leave().await;
        }
        self.refusal = Some(error);
        self.opening.see(Seen::NotInitialized);
        Ok(None)
    }

    async fn opened(mut self, server: ServerHello) -> Result<(BackendSession, Unsolicited), BackendError> {
        let mut learnt = self.opening.learnt();
        // The probe was answered after all: it is just slow to start.
        let mut found = self.discovery.take();
        if let Some(exchange) = &mut self.silent
            && let Some(discovery) = late(exchange).await
        {
            learnt.modern = Spoken::Yes;
            found = Some(discovery);
        }
        self.backend.known.learn(learnt, found);
        let Some((core, unsolicited)) = self.way else {
            return Err(BackendError::Closed { backend: self.backend.config.name.clone() });
        };
        Ok((BackendSession::new(core, server), unsolicited))
    }

    async fn opened_modern(mut self) -> Result<(BackendSession, Unsolicited), BackendError> {
        let core = self.core().await?;
        self.backend.known.learn(self.opening.learnt(), self.discovery.clone());
        let (Some(discovery), Some((_, unsolicited))) = (self.discovery, self.way) else {
            return Err(BackendError::Closed { backend: self.backend.config.name.clone() });
        };
        let revision = discovery.server.revision;
        core.link.settle(revision);
        core.become_modern(self.backend.modern(self.client, revision, &discovery.server.capabilities));
        Ok((BackendSession::new(core, discovery.server), unsolicited))
    }

    /// The link to try the next thing on. Over HTTP each starts afresh; a child is the same one while it lives.
    async fn core(&mut self) -> Result<Arc<SessionCore>, BackendError> {
        match &self.way {
            Some((core, _)) if self.backend.is_stdio() && core.state.check_open().is_ok() => Ok(Arc::clone(core)),
            _ => {
                self.leave().await;
                let way = self.backend.way()?;
                let core = Arc::clone(&way.0);
                self.way = Some(way);
                Ok(core)
            }
        }
    }

    /// Gives up a link. A child holds its place until it is gone.
    async fn leave(&mut self) {
        let Some((core, _)) = self.way.take() else { return };
        if self.backend.is_stdio() {
            // Over HTTP it has a connection of its own, on which the answer may still come.
            self.silent = None;
            core.state.end(Ending::Closed);
            core.link.close().await;
        }
    }

    /// A child that ends before it answers has not started.
    fn in_words_of_the_transport(&self, error: BackendError) -> BackendError {
        match error {
            BackendError::Lost { backend, reason } | BackendError::Gone { backend, reason }
                if self.backend.is_stdio() =>
            {
                BackendError::Spawn { backend, reason }
            }
            error => error,
        }
    }
}
