//! The client's requests that are being worked on, by the id the client gave them.

use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hawser_backend::BackendSession;
use hawser_mcp::{Request, RequestId};

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

/// Why a request is not worked on any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Its session has ended on this node.
    SessionEnded,
    /// The client no longer wants the answer, or its credential was revoked.
    Cancelled,
}

/// What a request in flight has to heed.
#[derive(Debug)]
pub(crate) enum News {
    Over(Over),
    Attached(Attached),
}

/// The requests of one session in flight.
#[derive(Debug)]
pub(crate) struct InFlight {
    table: Arc<Mutex<Table>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Table {
    running: HashMap<RequestId, Arc<Running>>,
    last_number: u64,
    /// The session has ended: so has whatever starts now.
    ended: bool,
}

#[derive(Debug)]
struct Running {
    id: RequestId,
    /// The newest has the highest.
    number: u64,
    credential: Credential,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    backend: Option<usize>,
    /// Whether questions of the backend can be put with it.
    takes_questions: bool,
    session_ended: bool,
    cancelled: bool,
    reason: Option<String>,
    attached: VecDeque<Attached>,
    attached_bytes: usize,
    /// Who works on it, and wants to hear what there is to heed.
    watcher: Option<Waker>,
}

/// One request in flight; ends when dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    running: Arc<Running>,
    table: Arc<Mutex<Table>>,
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
        Self { table: Arc::default(), max }
    }

    /// Starts a request.
    pub(crate) fn start(&self, id: &RequestId, credential: &Credential) -> Result<Flight, NotStarted> {
        let mut table = lock(&self.table);
        if table.running.contains_key(id) {
            return Err(NotStarted::IdInUse);
        }
        if table.running.len() >= self.max {
            return Err(NotStarted::TooMany);
        }
        table.last_number += 1;
        let state = State { session_ended: table.ended, ..State::default() };
        let running = Arc::new(Running {
            id: id.clone(),
            number: table.last_number,
            credential: credential.clone(),
            state: Mutex::new(state),
        });
        table.running.insert(id.clone(), Arc::clone(&running));
        drop(table);
        Ok(Flight { running, table: Arc::clone(&self.table) })
    }

    /// The client no longer wants the answer. Unknown ids are ignored (MCP, Cancellation); tells whether it is known.
    pub(crate) fn cancel(&self, id: &RequestId, reason: Option<String>) -> bool {
        let Some(running) = lock(&self.table).running.get(id).cloned() else { return false };
        running.cancel(reason);
        true
    }

    /// The session has ended: everything in flight is over, and whatever starts later.
    pub(crate) fn end(&self) {
        let mut table = lock(&self.table);
        table.ended = true;
        let running: Vec<_> = table.running.values().cloned().collect();
        drop(table);
        for running in oldest_first(running) {
            running.change(|state| state.session_ended = true);
        }
    }

    /// Gives a message to the newest call on a backend that still takes one. It may depend on which client will read it;
    /// nothing is sent if there is none to make.
    pub(crate) fn attach(&self, backend: usize, make: impl FnOnce(Option<&str>) -> Option<Attached>) -> bool {
        let table = lock(&self.table);
        let calls = table.newest_first(|state| state.backend == Some(backend));
        let Some(call) = calls.into_iter().find(|call| call.state().has_room()) else { return false };
        // No call gets anything but here and in `ask_along`, under the lock of the table, so the room is still there.
        let Some(message) = make(call.credential.client_id()) else { return false };
        call.change(|state| state.attach(message));
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
        let table = lock(&self.table);
        let calls = table.newest_first(|state| state.backend == Some(backend) && state.takes_questions);
        if only_to_one && calls.len() > 1 {
            return false;
        }
        let Some(call) = calls.into_iter().find(|call| call.state().has_room()) else { return false };
        call.change(|state| state.attach(Attached::Question(from.clone(), question.clone())));
        true
    }

    /// Ends the calls of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        let hit = |running: &&Arc<Running>| running.credential.is_hit_by(revocation);
        let running: Vec<_> = lock(&self.table).running.values().filter(hit).cloned().collect();
        for running in oldest_first(running) {
            running.cancel(Some("the credential was revoked".to_owned()));
        }
    }

    /// Whether a call is in flight at a backend, or may yet get there.
    pub(crate) fn is_busy_at(&self, backend: usize) -> bool {
        lock(&self.table).running.values().any(|running| running.state().backend.is_none_or(|at| at == backend))
    }

    /// How many are in flight.
    pub(crate) fn len(&self) -> usize {
        lock(&self.table).running.len()
    }

    /// Whether nothing is in flight.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.table).running.is_empty()
    }
}

impl Table {
    fn newest_first(&self, of: impl Fn(&State) -> bool) -> Vec<&Running> {
        let found = self.running.values().map(Arc::as_ref).filter(|running| of(&running.state()));
        let mut found: Vec<_> = found.collect();
        found.sort_by_key(|running| std::cmp::Reverse(running.number));
        found
    }
}

/// In the order in which they began, so that the same is told in the same order whenever it happens.
fn oldest_first(mut running: Vec<Arc<Running>>) -> Vec<Arc<Running>> {
    running.sort_by_key(|running| running.number);
    running
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something that whoever works on it has to hear.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state();
        change(&mut state);
        let watcher = state.watcher.take();
        drop(state);
        if let Some(watcher) = watcher {
            watcher.wake();
        }
    }

    fn cancel(&self, reason: Option<String>) {
        self.change(|state| {
            state.cancelled = true;
            // The first reason stands; a second cancellation changes nothing.
            state.reason = state.reason.take().or(reason);
        });
    }
}

impl State {
    fn over(&self) -> Option<Over> {
        match (self.session_ended, self.cancelled) {
            (true, _) => Some(Over::SessionEnded),
            (false, true) => Some(Over::Cancelled),
            (false, false) => None,
        }
    }

    fn has_room(&self) -> bool {
        self.attached.len() < ATTACHED_MAX && self.attached_bytes < ATTACHED_BYTES_MAX
    }

    fn attach(&mut self, attached: Attached) {
        self.attached_bytes += attached.bytes();
        self.attached.push_back(attached);
    }

    fn take_attached(&mut self) -> Option<Attached> {
        let attached = self.attached.pop_front()?;
        self.attached_bytes -= attached.bytes();
        Some(attached)
    }

    fn watch<T>(&mut self, context: &Context<'_>) -> Poll<T> {
        if !self.watcher.as_ref().is_some_and(|watcher| watcher.will_wake(context.waker())) {
            self.watcher = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

impl Flight {
    /// Notes which backend works on it.
    pub(crate) fn at_backend(&self, backend: usize) {
        self.running.state().backend = Some(backend);
    }

    /// From now on questions of the backend that come outside of exchanges can be put with it: [`Flight::news`] is awaited.
    pub(crate) fn take_questions(&self) {
        self.running.state().takes_questions = true;
    }

    /// Waits until it is over. Only one at a time may wait for this or for [`Flight::news`].
    pub(crate) async fn over(&mut self) -> Over {
        poll_fn(|context| {
            let mut state = self.running.state();
            match state.over() {
                Some(over) => Poll::Ready(over),
                None => state.watch(context),
            }
        })
        .await
    }

    /// The next thing to heed. Cancel safe.
    pub(crate) async fn news(&mut self) -> News {
        poll_fn(|context| {
            let mut state = self.running.state();
            if let Some(over) = state.over() {
                return Poll::Ready(News::Over(over));
            }
            match state.take_attached() {
                Some(attached) => Poll::Ready(News::Attached(attached)),
                None => state.watch(context),
            }
        })
        .await
    }

    /// Nothing is attached from now on; `false` if something was already, and has to be taken.
    pub(crate) fn takes_nothing_more(&self) -> bool {
        // Whoever attaches something holds this for as long as it takes.
        let _table = lock(&self.table);
        let mut state = self.running.state();
        let nothing = state.attached.is_empty();
        if nothing {
            // What comes from a backend is for the calls that are at it.
            state.backend = None;
        }
        nothing
    }

    /// The id that it was started under.
    pub(crate) fn id(&self) -> &RequestId {
        &self.running.id
    }

    /// Why it was cancelled, if somebody said so.
    pub(crate) fn reason(&self) -> Option<String> {
        self.running.state().reason.clone()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        lock(&self.table).running.remove(&self.running.id);
        // Nothing is attached any more. What came too late to be put is declined, or its backend would wait for ever.
        let left = std::mem::take(&mut self.running.state().attached);
        for attached in left {
            if let Attached::Question(from, question) = attached {
                decline(&from, question.id);
            }
        }
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt as _;
    use tokio::time::timeout;

    use super::*;

    #[test]
    fn an_id_is_in_flight_once_and_free_again_afterwards() {
        let in_flight = InFlight::new(2);
        let id = RequestId::number(1);
        let mut flight = in_flight.start(&id, &Credential::default()).unwrap();
        assert_eq!(in_flight.start(&id, &Credential::default()).unwrap_err(), NotStarted::IdInUse);
        let _other = in_flight.start(&RequestId::string("1"), &Credential::default()).unwrap();
        assert_eq!(in_flight.start(&RequestId::number(2), &Credential::default()).unwrap_err(), NotStarted::TooMany);
        in_flight.cancel(&RequestId::number(9), None);
        assert_eq!(flight.over().now_or_never(), None);
        in_flight.cancel(&id, Some("enough".to_owned()));
        in_flight.cancel(&id, Some("really".to_owned()));
        assert_eq!(flight.reason().as_deref(), Some("enough"));
        assert_eq!(flight.over().now_or_never(), Some(Over::Cancelled));
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
        let got: Vec<_> = flights.iter_mut().map(|flight| flight.news().now_or_never().is_some()).collect();
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
        let news = flight.news().await;
        assert!(matches!(news, News::Attached(Attached::Message(message)) if message == large));
        assert!(in_flight.attach(7, |_| Some(Attached::Message(Bytes::from_static(b"m")))));
    }

    #[tokio::test]
    async fn attached_messages_are_bounded_in_number() {
        let in_flight = InFlight::new(1);
        let flight = in_flight.start(&RequestId::number(1), &Credential::default()).unwrap();
        flight.at_backend(7);
        let attach = || in_flight.attach(7, |_| Some(Attached::Message(Bytes::from_static(b"m"))));
        assert!((0..ATTACHED_MAX).all(|_| attach()));
        assert!(!attach());
    }

    #[tokio::test]
    async fn who_waits_is_woken_by_whatever_there_is_to_heed() {
        let in_flight = InFlight::new(3);
        let credential = Credential::for_tests("g", "t");
        let ways: [fn(&InFlight); 3] = [
            |in_flight| assert!(in_flight.cancel(&RequestId::number(1), None)),
            |in_flight| in_flight.revoke(&Revocation { grant: "g", token_id: None }),
            |in_flight| assert!(in_flight.attach(7, |_| Some(Attached::Message(Bytes::from_static(b"m"))))),
        ];
        for heed in ways {
            let mut flight = in_flight.start(&RequestId::number(1), &credential).unwrap();
            flight.at_backend(7);
            let waiting = timeout(Duration::from_secs(10), flight.news());
            let (news, ()) = tokio::join!(biased; waiting, async { heed(&in_flight) });
            assert!(news.is_ok());
        }
    }

    #[tokio::test]
    async fn the_end_of_the_session_ends_what_runs_and_what_starts_too_late() {
        let in_flight = InFlight::new(2);
        let mut running = in_flight.start(&RequestId::number(1), &Credential::default()).unwrap();
        let waiting = timeout(Duration::from_secs(10), running.over());
        let (over, ()) = tokio::join!(biased; waiting, async { in_flight.end() });
        assert_eq!(over.unwrap(), Over::SessionEnded);
        in_flight.cancel(&RequestId::number(1), None);
        assert_eq!(running.over().await, Over::SessionEnded, "what ended the session is told");
        let mut late = in_flight.start(&RequestId::number(2), &Credential::default()).unwrap();
        assert_eq!(late.over().now_or_never(), Some(Over::SessionEnded));
    }
}
