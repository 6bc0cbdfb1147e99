//! Requests of backends that wait for the client's answer.
//!
//! The id that the client sees is the gateway's, unique in the session; an answer counts only for a request that was put to
//! this session, and only from the client it was put to.

use std::collections::HashMap;
use std::sync::Mutex;

use hawser_backend::BackendSession;
use hawser_mcp::RequestId;

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
    pub(crate) progress_token: Option<hawser_mcp::RawJson>,
}

/// The pending requests of one session.
#[derive(Debug)]
pub(crate) struct PendingRequests {
    state: Mutex<State>,
    max: usize,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    waiting: HashMap<u64, PendingRequest>,
}

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPending {
    /// No such request waits.
    Unknown,
    /// It waits for another client of the same principal.
    OtherClient,
}

impl PendingRequests {
    pub(crate) fn new(max: usize) -> Self {
        Self { state: Mutex::default(), max }
    }

    /// Registers a request; gives the number under which the client will answer, `None` if too many wait.
    pub(crate) fn put(&self, request: PendingRequest) -> Option<u64> {
        let mut state = self.lock();
        if state.waiting.len() >= self.max {
            return None;
        }
        state.next += 1;
        let number = state.next;
        state.waiting.insert(number, request);
        Some(number)
    }

    /// Takes the request that a client's answer belongs to.
    pub(crate) fn take(&self, id: &RequestId, client_id: Option<&str>) -> Result<PendingRequest, NotPending> {
        let number = id.as_number().ok_or(NotPending::Unknown)?;
        let mut state = self.lock();
        match state.waiting.get(&number) {
            None => Err(NotPending::Unknown),
            Some(waiting) if waiting.client_id.as_deref() != client_id => Err(NotPending::OtherClient),
            Some(_) => state.waiting.remove(&number).ok_or(NotPending::Unknown),
        }
    }

    /// Gives up a request (its backend withdrew it, or its stream is gone).
    pub(crate) fn forget(&self, number: u64) -> Option<PendingRequest> {
        self.lock().waiting.remove(&number)
    }

    /// The number of a backend's request, by the backend's own id.
    pub(crate) fn number_of(&self, backend: usize, own_id: &RequestId) -> Option<u64> {
        let state = self.lock();
        let found = state.waiting.iter().find(|(_, waiting)| waiting.backend == backend && waiting.own_id == *own_id);
        found.map(|(number, _)| *number)
    }

    /// The backend that waits for progress under this number, and its own token.
    pub(crate) fn progress_target(&self, number: u64) -> Option<(BackendSession, hawser_mcp::RawJson)> {
        let state = self.lock();
        let waiting = state.waiting.get(&number)?;
        Some((waiting.session.clone(), waiting.progress_token.clone()?))
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&self) {
        self.lock().waiting.clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
