//! Requests of backends that wait for the client's answer.
//!
//! The id that the client sees is the gateway's, unique in the session; an answer counts only for a request that was put to
//! this session, and only from the client it was put to. What nobody answers is declined after a while, so that a backend does
//! not wait for ever and the places come back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hawser_backend::BackendSession;
use hawser_mcp::{ErrorObject, RawJson, RequestId, Response, code};
use tokio_util::sync::CancellationToken;

use crate::relay::NodeName;
use crate::waiting::{NotTaken, Waiting};

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
    /// The node that it was passed on to, if it was.
    pub(crate) passed_on: OnceLock<PassedOn>,
}

/// A question that is put to the client by another node, where that listens.
#[derive(Debug)]
pub(crate) struct PassedOn {
    node: NodeName,
    /// What the client is to read.
    message: Bytes,
    /// That node has said that it put it.
    put: AtomicBool,
}

/// A question that should have been put elsewhere.
#[derive(Debug)]
pub(crate) struct NotPut {
    /// Position of the backend that asks.
    pub(crate) backend: usize,
    /// Whom it asks.
    pub(crate) client_id: Option<String>,
    /// What the client is to read.
    pub(crate) message: Bytes,
}

/// The pending requests of one session.
#[derive(Debug)]
pub(crate) struct PendingRequests(Waiting<PendingRequest>);

/// Why an answer is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotPending {
    /// It was put to this session once and is no longer waited for: the answer is late.
    Late,
    /// Never put to this session.
    Unknown,
    /// It waits for another client of the same principal.
    OtherClient,
    /// Another node put it.
    Elsewhere(NodeName),
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
    /// None that wait yet; numbers come after the last that was given.
    pub(crate) const fn new(last: u64, max: usize, patience: Duration) -> Self {
        Self(Waiting::new(last, max, patience))
    }

    /// The last number that was given.
    pub(crate) fn last_number(&self) -> u64 {
        self.0.last_number()
    }

    /// Registers a request; gives the number under which the client will answer, `None` if too many wait.
    pub(crate) fn put(&self, request: PendingRequest) -> Option<u64> {
        self.expire();
        self.make_room();
        self.0.put(request).ok()
    }

    /// Takes the request that a client's answer belongs to.
    pub(crate) fn take(&self, number: u64, client_id: Option<&str>) -> Result<PendingRequest, NotPending> {
        match self.0.take_if(number, |waiting| waiting.client_id.as_deref() == client_id) {
            Ok((waiting, _)) => Ok(waiting),
            Err(NotTaken::Gone) => Err(NotPending::Late),
            Err(NotTaken::Unknown) => Err(NotPending::Unknown),
            Err(NotTaken::Withheld) => Err(NotPending::OtherClient),
        }
    }

    /// Gives up a request that its backend withdrew.
    pub(crate) fn forget(&self, number: u64) {
        drop(self.0.take(number));
    }

    /// Gives up a request that nobody will answer any more, and says so to its backend.
    pub(crate) fn decline(&self, number: u64) {
        if let Some(waiting) = self.0.take(number) {
            waiting.decline();
        }
    }

    /// Notes that another node is to put a request.
    pub(crate) fn note_passed_on(&self, number: u64, node: NodeName, message: Bytes) {
        let passed_on = PassedOn { node, message, put: AtomicBool::new(false) };
        self.0.look(number, |waiting| waiting.passed_on.set(passed_on).ok());
    }

    /// Notes that a node has put a request that was passed on to it.
    pub(crate) fn note_put(&self, number: u64, by: NodeName) {
        self.0.look(number, |waiting| {
            let passed_on = waiting.passed_on.get().filter(|passed_on| passed_on.node == by)?;
            passed_on.put.store(true, Ordering::Release);
            Some(())
        });
    }

    /// A request that was passed on and that nobody has put, once: who asks puts it or gives it up.
    pub(crate) fn not_put(&self, number: u64) -> Option<NotPut> {
        self.0.look(number, |waiting| {
            let passed_on = waiting.passed_on.get()?;
            let (backend, client_id) = (waiting.backend, waiting.client_id.clone());
            let news = !passed_on.put.swap(true, Ordering::AcqRel);
            news.then(|| NotPut { backend, client_id, message: passed_on.message.clone() })
        })
    }

    /// The nodes that have put requests of these to the client.
    pub(crate) fn put_by(&self) -> Vec<NodeName> {
        self.0.of_all(|waiting| waiting.passed_on.get().map(|passed_on| passed_on.node))
    }

    /// Declines what was put by a node that has ended, and the client's stream with it.
    pub(crate) fn lose(&self, node: NodeName) {
        let lost =
            |waiting: &PendingRequest, _| waiting.passed_on.get().is_some_and(|passed_on| passed_on.node == node);
        self.0.take_all(lost).into_iter().for_each(PendingRequest::decline);
    }

    /// Declines what has waited for too long, and drops what belongs to backend sessions that are over.
    pub(crate) fn expire(&self) {
        drop(self.0.take_all(|waiting, _| !waiting.session.is_open()));
        self.0.take_all(|_, over| over).into_iter().for_each(PendingRequest::decline);
    }

    /// Where places are short, gives up what went out on streams that are gone: it may never have been read.
    fn make_room(&self) {
        if self.0.is_full() {
            let lost =
                |waiting: &PendingRequest, _| waiting.carried_by.as_ref().is_some_and(CancellationToken::is_cancelled);
            self.0.take_all(lost).into_iter().for_each(PendingRequest::decline);
        }
    }

    /// The number of a backend's request, by the backend's own id.
    pub(crate) fn number_of(&self, from: &BackendSession, own_id: &RequestId) -> Option<u64> {
        self.0.find(|waiting| waiting.own_id == *own_id && waiting.session.same_as(from))
    }

    /// Whether a backend waits for an answer.
    pub(crate) fn waits_for(&self, backend: usize) -> bool {
        self.0.find(|waiting| waiting.backend == backend).is_some()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The backend that waits for progress under this number from this client, and its own token.
    pub(crate) fn progress_target(&self, number: u64, client_id: Option<&str>) -> Option<(BackendSession, RawJson)> {
        self.0.look(number, |waiting| {
            let token = waiting.progress_token.clone().filter(|_| waiting.client_id.as_deref() == client_id)?;
            Some((waiting.session.clone(), token))
        })
    }

    /// Drops everything that waits.
    pub(crate) fn clear(&self) {
        drop(self.0.take_all(|_, _| true));
    }
}
