//! The client's requests that are being worked on, by the id the client gave them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use bytes::Bytes;
use hawser_backend::BackendSession;
use hawser_mcp::{Request, RequestId};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::credential::{Credential, Revocation};
use crate::pending::decline;

/// Messages that may wait to be attached to one call.
const ATTACHED_MAX: usize = 32;
/// Bytes of them after which no more are taken.
const ATTACHED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What joins a call from outside of its exchange with the backend.
#[derive(Debug)]
pub(crate) enum Attached {
    /// A message for the client, written already.
    Message(Bytes),
    /// A backend's request, for a call that puts questions in its own way.
    Question(BackendSession, Request),
}

impl Attached {
    /// What it counts for in memory.
    fn bytes(&self) -> usize {
        match self {
            Self::Message(message) => message.len(),
            Self::Question(_, request) => request.params.as_ref().map_or(0, |params| params.bytes().len()),
        }
    }
}

/// The requests of one session in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    running: Arc<Mutex<HashMap<RequestId, Running>>>,
    max: usize,
}

#[derive(Debug)]
struct Running {
    number: u64,
    backend: Option<usize>,
    /// Whether questions of the backend can be put with it.
    takes_questions: bool,
    cancelled: CancellationToken,
    reason: Arc<OnceLock<String>>,
    attach: mpsc::Sender<Attached>,
    attached_bytes: Arc<AtomicUsize>,
    credential: Credential,
}

/// One request in flight; ends when dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    id: RequestId,
    running: Arc<Mutex<HashMap<RequestId, Running>>>,
    cancelled: CancellationToken,
    reason: Arc<OnceLock<String>>,
    attached: mpsc::Receiver<Attached>,
    attached_bytes: Arc<AtomicUsize>,
}

/// A request cannot start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotStarted {
    /// The client uses this id for a request that still runs (MCP, Base Protocol, Requests).
    IdInUse,
    /// The session has as many requests in flight as it may.
    TooMany,
}

impl InFlight {
    pub(crate) fn new(max: usize) -> Self {
        Self { running: Arc::default(), max }
    }

    /// Starts a request.
    pub(crate) fn start(&self, id: &RequestId, credential: &Credential) -> Result<Flight, NotStarted> {
        let mut running = lock(&self.running);
        if running.contains_key(id) {
            return Err(NotStarted::IdInUse);
        }
        if running.len() >= self.max {
            return Err(NotStarted::TooMany);
        }
        let number = running.values().map(|one| one.number).max().map_or(0, |newest| newest + 1);
        let cancelled = CancellationToken::new();
        let (attach, attached) = mpsc::channel(ATTACHED_MAX);
        let attached_bytes = Arc::<AtomicUsize>::default();
        let reason = Arc::<OnceLock<String>>::default();
        let entry = Running {
            number,
            backend: None,
            takes_questions: false,
            cancelled: cancelled.clone(),
            reason: Arc::clone(&reason),
            attach,
            attached_bytes: Arc::clone(&attached_bytes),
            credential: credential.clone(),
        };
        running.insert(id.clone(), entry);
        drop(running);
        let running = Arc::clone(&self.running);
        Ok(Flight { id: id.clone(), running, cancelled, reason, attached, attached_bytes })
    }

    /// The client no longer wants the answer. Unknown ids are ignored (MCP, Cancellation); tells whether it is known.
    pub(crate) fn cancel(&self, id: &RequestId, reason: Option<String>) -> bool {
        let running = lock(&self.running);
        let Some(running) = running.get(id) else { return false };
        if let Some(reason) = reason {
            // The first reason stands; a second cancellation changes nothing.
            let _ = running.reason.set(reason);
        }
        running.cancelled.cancel();
        true
    }

    /// Gives a message to the newest call on a backend that still takes one. It may depend on which client will read it;
    /// nothing is sent if there is none to make.
    pub(crate) fn attach(&self, backend: usize, make: impl FnOnce(Option<&str>) -> Option<Attached>) -> bool {
        let running = lock(&self.running);
        let mut calls: Vec<_> = running.values().filter(|call| call.backend == Some(backend)).collect();
        calls.sort_by_key(|call| std::cmp::Reverse(call.number));
        let has_room = |call: &&Running| call.attached_bytes.load(Ordering::Relaxed) < ATTACHED_BYTES_MAX;
        let mut calls = calls.into_iter().filter(has_room);
        let Some((place, call)) = calls.find_map(|call| Some((call.attach.try_reserve().ok()?, call))) else {
            return false;
        };
        let Some(message) = make(call.credential.client_id.as_deref()) else { return false };
        call.attached_bytes.fetch_add(message.bytes(), Ordering::Relaxed);
        place.send(message);
        true
    }

    /// Gives a question to the newest call on a backend that takes questions; with `only_to_one`, only if there is just one such
    /// call. Tells whether one took it.
    pub(crate) fn ask_along(
        &self,
        backend: usize,
        only_to_one: bool,
        from: &BackendSession,
        question: &Request,
    ) -> bool {
        let running = lock(&self.running);
        let mut calls: Vec<_> =
            running.values().filter(|call| call.backend == Some(backend) && call.takes_questions).collect();
        if only_to_one && calls.len() > 1 {
            return false;
        }
        calls.sort_by_key(|call| std::cmp::Reverse(call.number));
        let has_room = |call: &&Running| call.attached_bytes.load(Ordering::Relaxed) < ATTACHED_BYTES_MAX;
        let found = calls.into_iter().filter(has_room).find_map(|call| Some((call.attach.try_reserve().ok()?, call)));
        let Some((place, call)) = found else { return false };
        let attached = Attached::Question(from.clone(), question.clone());
        call.attached_bytes.fetch_add(attached.bytes(), Ordering::Relaxed);
        place.send(attached);
        true
    }

    /// Ends the calls of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        for running in lock(&self.running).values().filter(|running| running.credential.is_hit_by(revocation)) {
            let _ = running.reason.set("the credential was revoked".to_owned());
            running.cancelled.cancel();
        }
    }

    /// Whether a call is in flight at a backend, or may yet get there.
    pub(crate) fn is_busy_at(&self, backend: usize) -> bool {
        lock(&self.running).values().any(|running| running.backend.is_none_or(|at| at == backend))
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        lock(&self.running).len()
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.running).is_empty()
    }
}

impl Flight {
    /// Notes which backend works on it.
    pub(crate) fn at_backend(&self, backend: usize) {
        if let Some(running) = lock(&self.running).get_mut(&self.id) {
            running.backend = Some(backend);
        }
    }

    /// From now on questions of the backend that come outside of exchanges can be put with it: [`Flight::attached`] is awaited.
    pub(crate) fn take_questions(&self) {
        if let Some(running) = lock(&self.running).get_mut(&self.id) {
            running.takes_questions = true;
        }
    }

    /// Tells when the client no longer wants the answer.
    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }

    /// Why, if the client said so.
    pub(crate) fn reason(&self) -> Option<&str> {
        self.reason.get().map(String::as_str)
    }

    /// The next message that was attached to this call. Pends while there is none.
    pub(crate) async fn attached(&mut self) -> Attached {
        match self.attached.recv().await {
            Some(message) => {
                self.attached_bytes.fetch_sub(message.bytes(), Ordering::Relaxed);
                message
            }
            // The sender lives in the map for as long as this flight does.
            None => std::future::pending().await,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.id);
        // Nothing is attached any more. What came too late to be put is declined, or its backend would wait for ever.
        while let Ok(attached) = self.attached.try_recv() {
            if let Attached::Question(from, question) = attached {
                decline(&from, question.id);
            }
        }
    }
}

fn lock(running: &Mutex<HashMap<RequestId, Running>>) -> std::sync::MutexGuard<'_, HashMap<RequestId, Running>> {
    running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_in_flight_once_and_free_again_afterwards() {
        let in_flight = InFlight::new(2);
        let id = RequestId::number(1);
        let flight = in_flight.start(&id, &Credential::default()).unwrap();
        assert_eq!(in_flight.start(&id, &Credential::default()).unwrap_err(), NotStarted::IdInUse);
        let _other = in_flight.start(&RequestId::string("1"), &Credential::default()).unwrap();
        assert_eq!(in_flight.start(&RequestId::number(2), &Credential::default()).unwrap_err(), NotStarted::TooMany);
        in_flight.cancel(&RequestId::number(9), None);
        assert!(!flight.cancelled().is_cancelled());
        in_flight.cancel(&id, Some("enough".to_owned()));
        assert_eq!(flight.reason(), Some("enough"));
        assert!(flight.cancelled().is_cancelled());
        drop(flight);
        assert!(in_flight.start(&id, &Credential::default()).is_ok());
    }

    #[test]
    fn a_message_is_attached_to_the_newest_call_on_its_backend() {
        let in_flight = InFlight::new(4);
        let mut flights: Vec<_> =
            (0..3).map(|n| in_flight.start(&RequestId::number(n), &Credential::default()).unwrap()).collect();
        for (flight, backend) in flights.iter().zip([7, 7, 8]) {
            flight.at_backend(backend);
        }
        assert!(in_flight.attach(7, |_| Some(Attached::Message(Bytes::from_static(b"m")))));
        assert!(!in_flight.attach(9, |_| Some(Attached::Message(Bytes::from_static(b"m")))));
        let got: Vec<_> = flights.iter_mut().map(|flight| flight.attached.try_recv().is_ok()).collect();
        assert_eq!(got, [false, true, false]);
    }

    #[tokio::test]
    async fn attached_messages_are_bounded_in_bytes_and_reading_makes_room() {
        let in_flight = InFlight::new(1);
        let mut flight = in_flight.start(&RequestId::number(1), &Credential::default()).unwrap();
        flight.at_backend(7);
        let large = Bytes::from(vec![b'x'; ATTACHED_BYTES_MAX]);
        assert!(in_flight.attach(7, |_| Some(Attached::Message(large.clone()))));
        assert!(!in_flight.attach(7, |_| Some(Attached::Message(Bytes::from_static(b"m")))));
        assert!(matches!(flight.attached().await, Attached::Message(message) if message == large));
        assert!(in_flight.attach(7, |_| Some(Attached::Message(Bytes::from_static(b"m")))));
    }
}
