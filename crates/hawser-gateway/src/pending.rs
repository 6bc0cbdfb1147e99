//! Requests of backends that wait for the client's answer.
//!
//! The id that the client sees is the gateway's, unique in the session; an answer counts only for a request that was put to
//! this session, and only from the client it was put to. What nobody answers is declined after a while, so that a backend does
//! not wait for ever and the places come back.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hawser_backend::BackendSession;
use hawser_mcp::{ErrorObject, RawJson, RequestId, Response, code};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// One request that a backend put to the client.
#[derive(Debug)]
pub(crate) struct PendingRequest {
    /// Position of the backend.
    pub(crate) backend: usize,
    /// Where the answer goes.
    pub(crate) session: BackendSession,
    /// The backend's own id.
    pub(crate) own_id: RequestId,
    /// The client that the request was put to.
    pub(crate) client_id: Option<String>,
    /// The backend's progress token, raw, if it asked for progress.
    pub(crate) progress_token: Option<RawJson>,
    /// The GET stream that carried it, if one did: cancelled when that is gone.
    pub(crate) carried_by: Option<CancellationToken>,
}

/// The pending requests of one session.
#[derive(Debug)]
pub(crate) struct PendingRequests {
    state: Mutex<State>,
    max: usize,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, (Instant, PendingRequest)>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPending {
    /// It was put to this session once and is no longer waited for: the answer is late.
    Late,
    /// Never put to this session.
    Unknown,
    /// It waits for another client of the same principal.
    OtherClient,
}

impl PendingRequest {
    /// Tells the backend that there will be no answer.
    fn decline(self) {
        decline(&self.session, self.own_id);
    }
}

/// Tells a backend that its request cannot be put to the client, or was not answered.
pub(crate) fn decline(to: &BackendSession, own_id: RequestId) {
    let error = ErrorObject::new(code::INTERNAL_ERROR, "the client does not answer");
    to.respond_in_background(Response::error(Some(own_id), &error));
}

impl PendingRequests {
    pub(crate) fn new(max: usize, patience: Duration) -> Self {
        Self { state: Mutex::default(), max, patience }
    }

    /// Registers a request; gives the number under which the client will answer, `None` if too many wait.
    pub(crate) fn put(&self, request: PendingRequest) -> Option<u64> {
        self.expire();
        self.make_room();
        let mut state = self.lock();
        if state.waiting.len() >= self.max {
            return None;
        }
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, (Instant::now() + self.patience, request));
        Some(number)
    }

    /// Takes the request that a client's answer belongs to.
    pub(crate) fn take(&self, id: &RequestId, client_id: Option<&str>) -> Result<PendingRequest, NotPending> {
        let number = id.as_number().ok_or(NotPending::Unknown)?;
        let mut state = self.lock();
        match state.waiting.get(&number) {
            None if number >= 1 && number <= state.last => Err(NotPending::Late),
            None => Err(NotPending::Unknown),
            Some((_, waiting)) if waiting.client_id.as_deref() != client_id => Err(NotPending::OtherClient),
            Some(_) => state.waiting.remove(&number).map(|(_, waiting)| waiting).ok_or(NotPending::Unknown),
        }
    }

    /// Gives up a request that its backend withdrew.
    pub(crate) fn forget(&self, number: u64) {
        self.lock().waiting.remove(&number);
    }

    /// Gives up a request that nobody will answer any more, and says so to its backend.
    pub(crate) fn decline(&self, number: u64) {
        let waiting = self.lock().waiting.remove(&number);
        if let Some((_, waiting)) = waiting {
            waiting.decline();
        }
    }

    /// Declines what has waited for too long, and drops what belongs to backend sessions that are over.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        let mut expired = Vec::new();
        {
            let mut state = self.lock();
            state.waiting.retain(|_, (_, waiting)| waiting.session.is_open());
            let over: Vec<u64> =
                state.waiting.iter().filter(|(_, (until, _))| *until <= now).map(|(number, _)| *number).collect();
            expired.extend(over.iter().filter_map(|number| state.waiting.remove(number)));
        }
        for (_, waiting) in expired {
            waiting.decline();
        }
    }

    /// Where places are short, gives up what went out on streams that are gone: it may never have been read.
    fn make_room(&self) {
        let gone: Vec<u64> = {
            let state = self.lock();
            if state.waiting.len() < self.max {
                return;
            }
            let lost =
                |waiting: &PendingRequest| waiting.carried_by.as_ref().is_some_and(CancellationToken::is_cancelled);
            state.waiting.iter().filter(|(_, (_, waiting))| lost(waiting)).map(|(number, _)| *number).collect()
        };
        for number in gone {
            self.decline(number);
        }
    }

    /// The number of a backend's request, by the backend's own id.
    pub(crate) fn number_of(&self, from: &BackendSession, own_id: &RequestId) -> Option<u64> {
        let state = self.lock();
        let found =
            state.waiting.iter().find(|(_, (_, waiting))| waiting.own_id == *own_id && waiting.session.same_as(from));
        found.map(|(number, _)| *number)
    }

    /// Whether a backend waits for an answer.
    pub(crate) fn waits_for(&self, backend: usize) -> bool {
        self.lock().waiting.values().any(|(_, waiting)| waiting.backend == backend)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    /// The backend that waits for progress under this number from this client, and its own token.
    pub(crate) fn progress_target(&self, number: u64, client_id: Option<&str>) -> Option<(BackendSession, RawJson)> {
        let state = self.lock();
        let (_, waiting) = state.waiting.get(&number)?;
        if waiting.client_id.as_deref() != client_id {
            return None;
        }
        Some((waiting.session.clone(), waiting.progress_token.clone()?))
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&self) {
        self.lock().waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
