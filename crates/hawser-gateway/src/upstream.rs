//! One gateway session's connection to one backend: opened on first use, opened again when it died.
//!
//! What is known of it is behind a lock that is never held across an await; opening is behind a gate of its own, so that nobody
//! who merely looks waits for a backend that hangs.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hawser_backend::{Backend, BackendError, BackendSession, ClientHello};
use hawser_mcp::{Era, ListKind, Notification, RawJson, method, notification};

use crate::ask::outcome;
use crate::lists::{announces, has_capability};
use crate::session::Session;

/// Most subscriptions of one session to one backend.
const SUBSCRIPTIONS_MAX: usize = 256;
/// Longest wait for a new backend session to be told what the old one knew.
const REPLAY_LIMIT: Duration = Duration::from_secs(5);
/// Longest wait, when a session is opened, for what the server says unasked to be heard: some servers open that stream only when
/// they have something to say.
const HEARD_WITHIN: Duration = Duration::from_millis(500);
/// Pauses between attempts to reach a backend again that a listening client misses.
const RECOVERY_FIRST: Duration = Duration::from_secs(1);
const RECOVERY_LONGEST: Duration = Duration::from_mins(1);

/// The way to one backend.
#[derive(Debug)]
pub(crate) struct Upstream {
    backend: Backend,
    position: usize,
    state: Mutex<State>,
    opening: tokio::sync::Mutex<()>,
    wishes: tokio::sync::Mutex<()>,
    recovering: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    session: Option<BackendSession>,
    listening: bool,
    /// What a new backend session has to be told, since the client told the old one.
    log_level: Option<String>,
    subscriptions: BTreeSet<String>,
}

/// A session has as many subscriptions as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManySubscriptions;

impl Upstream {
    pub(crate) fn new(backend: Backend, position: usize, log_level: Option<&str>, listening: bool) -> Self {
        let state = State { listening, log_level: log_level.map(str::to_owned), ..State::default() };
        Self {
            backend,
            position,
            state: Mutex::new(state),
            opening: tokio::sync::Mutex::default(),
            wishes: tokio::sync::Mutex::default(),
            recovering: AtomicBool::new(false),
        }
    }

    /// Its position among the endpoint's backends.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    pub(crate) const fn backend(&self) -> &Backend {
        &self.backend
    }

    /// The open session, if there is one.
    pub(crate) fn opened(&self) -> Option<BackendSession> {
        self.lock().session.clone().filter(BackendSession::is_open)
    }

    /// The open session, or a new one that has been told all that the client told the last.
    pub(crate) async fn open(&self, owner: &Arc<Session>) -> Result<BackendSession, BackendError> {
        if let Some(session) = self.opened() {
            return Ok(session);
        }
        let closed = || BackendError::Closed { backend: self.backend.name().clone() };
        tokio::select! {
            biased;
            () = owner.ended().cancelled() => Err(closed()),
            opened = self.open_gated(owner) => opened,
        }
    }

    async fn open_gated(&self, owner: &Arc<Session>) -> Result<BackendSession, BackendError> {
        let _gate = self.opening.lock().await;
        if let Some(session) = self.opened() {
            return Ok(session);
        }
        let hello = ClientHello {
            revision: owner.revision(),
            capabilities: owner.client_capabilities().clone(),
            client_info: owner.client_info().clone(),
        };
        let (session, unsolicited) = match self.backend.open(&hello).await {
            // A child that nobody uses makes way: its session opens it again when it is needed.
            Err(BackendError::TooManyChildren { .. }) if owner.free_a_child().await => {
                self.backend.open(&hello).await?
            }
            opened => opened?,
        };
        // Held before anything else is awaited: who gives up now must not leave a session behind that nobody knows.
        let lost = self.lock().session.replace(session.clone()).is_some();
        if self.backend.is_stdio() {
            owner.note_child();
        }
        let missed = lost || self.recovering.load(Ordering::Acquire);
        owner.work().lists.reopened(self.position, missed);
        owner.endpoint().profiles().heard(self.position, session.server());
        crate::unsolicited::forward(Weak::clone(owner.weak()), self.position, session.downgrade(), unsolicited);
        // A task of its own, so that it ends even if the caller goes away; there is one per opening, not per call.
        let replay = tokio::spawn(replay(Weak::clone(owner.weak()), self.position, session.clone()));
        let _ = tokio::time::timeout(REPLAY_LIMIT, replay).await;
        // Lists are kept on the word of who announces their changes, so that must be heard.
        let capabilities = &session.server().capabilities;
        if self.lock().listening || ListKind::ALL.into_iter().any(|kind| announces(capabilities, kind)) {
            session.listen();
            // What the first call changes must not be told before anybody hears it.
            let heard = session.hears(notification::TOOLS_LIST_CHANGED);
            let _ = tokio::time::timeout(HEARD_WITHIN, heard).await;
        }
        if missed {
            owner.work().listeners.tell_all_of(self.position);
        }
        Ok(session)
    }

    /// From now on what the backend says unasked is wanted.
    pub(crate) fn listen(&self) {
        let session = {
            let mut state = self.lock();
            state.listening = true;
            state.session.clone()
        };
        if let Some(session) = session {
            session.listen();
        }
    }

    /// Passed by who tells the backend what the client told another node.
    pub(crate) const fn wishes_gate(&self) -> &tokio::sync::Mutex<()> {
        &self.wishes
    }

    /// The log level that sessions opened later are told.
    pub(crate) fn set_log_level(&self, level: &str) {
        self.lock().log_level = Some(level.to_owned());
    }

    /// Remembers a resource subscription for sessions opened later.
    pub(crate) fn note_subscription(&self, uri: &str) -> Result<(), TooManySubscriptions> {
        let mut state = self.lock();
        if state.subscriptions.len() >= SUBSCRIPTIONS_MAX && !state.subscriptions.contains(uri) {
            return Err(TooManySubscriptions);
        }
        state.subscriptions.insert(uri.to_owned());
        Ok(())
    }

    /// Forgets a resource subscription.
    pub(crate) fn forget_subscription(&self, uri: &str) {
        self.lock().subscriptions.remove(uri);
    }

    /// Whether the session is subscribed to this resource here.
    pub(crate) fn is_subscribed_to(&self, uri: &str) -> bool {
        self.lock().subscriptions.contains(uri)
    }

    /// The resources that the client is subscribed to here.
    pub(crate) fn subscriptions(&self) -> Vec<String> {
        self.lock().subscriptions.iter().cloned().collect()
    }

    /// Takes over what a record kept.
    pub(crate) fn restore_subscriptions(&self, subscriptions: Vec<String>) {
        self.lock().subscriptions = subscriptions.into_iter().take(SUBSCRIPTIONS_MAX).collect();
    }

    /// What a new backend session has to be told.
    fn wishes(&self) -> (Option<String>, Vec<String>) {
        let state = self.lock();
        (state.log_level.clone(), state.subscriptions.iter().cloned().collect())
    }

    /// Whether it is as good as a new one.
    pub(crate) fn is_unused(&self) -> bool {
        let state = self.lock();
        state.session.is_none() && state.subscriptions.is_empty() && !self.recovering.load(Ordering::Acquire)
    }

    /// Whether the client waits for changes of resources here.
    pub(crate) fn has_subscriptions(&self) -> bool {
        !self.lock().subscriptions.is_empty()
    }

    /// Whether the backend session ended by itself: one that was given up on purpose is not held any more.
    pub(crate) fn was_lost(&self) -> bool {
        self.lock().session.as_ref().is_some_and(|session| !session.is_open())
    }

    /// The lists of which the backend announces changes, or did when it was heard last.
    pub(crate) fn announced(&self) -> Vec<ListKind> {
        let Some(session) = self.lock().session.clone() else { return Vec::new() };
        let capabilities = &session.server().capabilities;
        ListKind::ALL.into_iter().filter(|kind| announces(capabilities, *kind)).collect()
    }

    /// Whether it is being reached again; the client is told then.
    pub(crate) fn is_coming_back(&self) -> bool {
        self.recovering.load(Ordering::Acquire)
    }

    /// Whether a client waits for what this backend says unasked.
    fn is_missed(&self, owner: &Session) -> bool {
        let work = owner.work();
        let state = self.lock();
        let heard = work.outbox.has_stream() || !work.listeners.is_empty();
        !state.subscriptions.is_empty() || (state.listening && heard)
    }

    /// Reaches the backend again in the background, and tells the client that lists may have changed. For a client that
    /// listens: it would never learn that the backend is back.
    pub(crate) fn recover(&self, owner: &Arc<Session>) {
        if !self.is_missed(owner) || self.recovering.swap(true, Ordering::AcqRel) {
            return;
        }
        let (weak, position, ended) = (Weak::clone(owner.weak()), self.position, owner.ended().clone());
        tokio::spawn(async move {
            let attempts = recover(&weak, position);
            tokio::select! {
                () = ended.cancelled() => {}
                () = attempts => {}
            }
            if let Some(owner) = weak.upgrade()
                && let Some(upstream) = owner.upstream(position)
            {
                upstream.recovering.store(false, Ordering::Release);
            }
        });
    }

    /// Whether a child process runs for this session.
    pub(crate) fn holds_a_child(&self) -> bool {
        self.backend.is_stdio() && self.opened().is_some()
    }

    /// Gives up the backend session if nothing is going on in it.
    pub(crate) fn give_up_if_idle(&self, owner: &Session) -> Option<BackendSession> {
        let work = owner.work();
        let mut state = self.lock();
        if work.in_flight.is_busy_at(self.position)
            || work.pending.waits_for(self.position)
            || work.parked.waits_for(self.position)
            || work.listeners.wait_for(self.position)
        {
            return None;
        }
        state.session.take()
    }

    /// Ends the backend session.
    pub(crate) async fn close(&self) {
        let session = self.lock().session.take();
        if let Some(session) = session {
            session.close().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells a new backend session what the client told the old one. A backend that does not take it still serves everything else.
async fn replay(owner: Weak<Session>, position: usize, session: BackendSession) {
    let Some(alive) = owner.upgrade() else { return };
    // Between two modern sides there is nothing to tell: every request says all of it.
    if alive.pool_key().is_some() && session.era() == Era::Modern {
        return;
    }
    let Some((log_level, subscriptions)) = alive.upstream(position).map(|upstream| upstream.wishes()) else { return };
    drop(alive);
    let capabilities = &session.server().capabilities;
    let mut told = Vec::new();
    if let Some(level) = log_level.filter(|_| has_capability(capabilities, "logging")) {
        told.push((method::LOGGING_SET_LEVEL, serde_json::json!({ "level": level })));
    }
    if has_capability(capabilities, "resources") {
        told.extend(
            subscriptions.into_iter().map(|uri| (method::RESOURCES_SUBSCRIBE, serde_json::json!({ "uri": uri }))),
        );
    }
    for (method, params) in told {
        if let Ok(exchange) = session.request(method, RawJson::from_serialize(&params).ok()).await {
            let _ = outcome(exchange, Some((&owner, position, &session))).await;
        }
    }
}

async fn recover(weak: &Weak<Session>, position: usize) {
    let mut pause = RECOVERY_FIRST;
    loop {
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECOVERY_LONGEST);
        let Some(owner) = weak.upgrade() else { return };
        let Some(upstream) = owner.upstream(position) else { return };
        if !upstream.is_missed(&owner) {
            return;
        }
        if upstream.open(&owner).await.is_ok() {
            if owner.is_pooled() {
                // Its listeners were told when the backend was opened.
                return;
            }
            owner.work().lists.reopened(position, true);
            for changed in [
                notification::TOOLS_LIST_CHANGED,
                notification::PROMPTS_LIST_CHANGED,
                notification::RESOURCES_LIST_CHANGED,
            ] {
                owner.work().outbox.send_or_keep(changed, &Notification::new(changed, None).to_bytes());
            }
            return;
        }
    }
}
