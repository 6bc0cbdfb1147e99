//! Calls at legacy backends that wait for the input of a modern client.
//!
//! A legacy server asks in the middle of a call; a modern client is told `input_required` and comes back with a new request
//! (MCP 2026-07-28, Multi Round-Trip Requests). Between the two the call itself is kept here, unread: the backend waits, no
//! task runs. Whoever takes it out has it alone, so an answer can be given once only. A call that nobody comes back for is
//! cancelled at its backend; it is never run again.

use std::time::Duration;

use hawser_backend::{BackendError, BackendName, BackendSession, Exchange, ExchangeItem};
use hawser_mcp::{RawJson, Request, RequestId};

use crate::credential::{Credential, Revocation};
use crate::pending::decline;
use crate::places::{Full, Place};
use crate::waiting::{NotTaken, Waiting};

/// Most questions that one call may have waiting.
const QUESTIONS_MAX: usize = 32;

/// A call that waits is not given up for another one sooner than this.
const AT_LEAST: Duration = Duration::from_mins(1);

/// What a backend asked in the middle of a call.
#[derive(Debug)]
pub(crate) struct Question {
    /// The name under which the client answers.
    pub(crate) key: String,
    /// The backend's own id.
    pub(crate) own_id: RequestId,
    pub(crate) method: String,
    pub(crate) params: Option<RawJson>,
}

/// A call under way at a backend. If it is dropped before its answer came, the backend is told that nobody wants it any more.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) from: BackendSession,
    /// Position of the backend.
    pub(crate) backend: usize,
    name: BackendName,
    exchange: Option<Exchange>,
    questions: Vec<Question>,
    asked: u64,
    reason: &'static str,
}

impl Running {
    pub(crate) fn new(from: BackendSession, backend: usize, exchange: Exchange) -> Self {
        let (name, reason) = (exchange.backend().clone(), "the client has gone");
        Self { from, backend, name, exchange: Some(exchange), questions: Vec::new(), asked: 0, reason }
    }

    pub(crate) const fn name(&self) -> &BackendName {
        &self.name
    }

    /// The next thing the backend says. Cancel safe.
    pub(crate) async fn next(&mut self) -> ExchangeItem {
        let item = match &mut self.exchange {
            Some(exchange) => exchange.next().await,
            None => std::future::pending().await,
        };
        if matches!(item, ExchangeItem::Response(_) | ExchangeItem::Failed(_)) {
            self.exchange = None;
        }
        item
    }

    /// What there is after the end.
    pub(crate) fn closed(&self) -> BackendError {
        BackendError::Closed { backend: self.name.clone() }
    }

    /// Takes note of a question; `false` if there are too many.
    pub(crate) fn ask(&mut self, request: Request) -> bool {
        if self.questions.len() >= QUESTIONS_MAX {
            return false;
        }
        self.asked += 1;
        let key = format!("{}", self.asked);
        self.questions.push(Question { key, own_id: request.id, method: request.method, params: request.params });
        true
    }

    /// What waits for an answer.
    pub(crate) fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// Takes the question of this name: it is answered now.
    pub(crate) fn take_question(&mut self, key: &str) -> Option<Question> {
        let at = self.questions.iter().position(|question| question.key == key)?;
        Some(self.questions.remove(at))
    }

    /// The backend withdrew a question.
    pub(crate) fn withdraw(&mut self, own_id: &RequestId) {
        self.questions.retain(|question| question.own_id != *own_id);
    }

    /// For this long it was the client that let the backend wait.
    fn waited(&mut self, waited: Duration) {
        if let Some(exchange) = &mut self.exchange {
            exchange.extend(waited);
        }
    }

    /// Gives the call up, for this reason.
    pub(crate) fn give_up(mut self, reason: &'static str) {
        self.reason = reason;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for question in self.questions.drain(..) {
            decline(&self.from, question.own_id);
        }
        if let Some(exchange) = self.exchange.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let reason = self.reason;
            runtime.spawn(async move { exchange.cancel(Some(reason)).await });
        }
    }
}

/// A call that waits for its client.
#[derive(Debug)]
pub(crate) struct ParkedCall {
    pub(crate) running: Running,
    /// What it was opened with; only the same client may answer.
    pub(crate) credential: Credential,
}

/// A call that waits, and its place among all that do.
#[derive(Debug)]
struct Parked {
    call: ParkedCall,
    _place: Place,
}

/// The parked calls of one session.
#[derive(Debug)]
pub(crate) struct ParkedCalls(Waiting<Parked>);

/// Why a parked call cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotParked {
    /// Answered already, given up, or lost.
    Gone,
    /// It waits for another client of the same principal.
    OtherClient,
}

impl ParkedCalls {
    /// None that wait yet; numbers come after the last that was given.
    pub(crate) const fn new(last: u64, max: usize, patience: Duration) -> Self {
        Self(Waiting::new(last, max, patience))
    }

    /// The last number that was given.
    pub(crate) fn last_number(&self) -> u64 {
        self.0.last_number()
    }

    /// How long a call waits.
    pub(crate) const fn patience(&self) -> Duration {
        self.0.patience()
    }

    /// Parks a call in a place among those of all sessions; gives the number it is taken out by. Where there is no room the call
    /// that has waited longest is given up: clients need not come back, and those that do not must not keep others out. If none
    /// has waited for long, the new call comes back.
    pub(crate) fn park(
        &self,
        call: ParkedCall,
        place: impl Fn() -> Result<Place, Full>,
    ) -> Result<u64, Box<ParkedCall>> {
        self.expire();
        if self.0.is_full() {
            self.make_room();
        }
        let place = place().or_else(|_| {
            self.make_room();
            place()
        });
        match place {
            Ok(place) => self.0.put(Parked { call, _place: place }).map_err(|parked| Box::new(parked.call)),
            Err(_) => Err(Box::new(call)),
        }
    }

    fn make_room(&self) {
        if let Some(given_up) = self.0.take_longest(AT_LEAST) {
            given_up.call.running.give_up("others wait for input");
        }
    }

    /// Takes a call out, once.
    pub(crate) fn take(&self, number: u64, client_id: Option<&str>) -> Result<ParkedCall, NotParked> {
        match self.0.take_if(number, |parked| parked.call.credential.client_id() == client_id) {
            Ok((mut parked, waited)) => {
                parked.call.running.waited(waited);
                Ok(parked.call)
            }
            Err(NotTaken::Gone | NotTaken::Unknown) => Err(NotParked::Gone),
            Err(NotTaken::Withheld) => Err(NotParked::OtherClient),
        }
    }

    /// Adds a question that a backend asks outside of any call, if exactly one of its calls waits here: it is put with the next
    /// round. Tells whether it was taken.
    pub(crate) fn ask_along(&self, backend: usize, from: &BackendSession, request: &Request) -> bool {
        let ask = |parked: &mut Parked| {
            let running = &mut parked.call.running;
            running.from.same_as(from) && running.ask(request.clone())
        };
        self.0.change_only(|parked| parked.call.running.backend == backend, ask).unwrap_or(false)
    }

    /// Gives up what has waited for too long, and drops what belongs to backend sessions that are over.
    pub(crate) fn expire(&self) {
        self.give_up("the client did not answer in time", |call, over| over || !call.running.from.is_open());
    }

    /// Gives up the calls of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        self.give_up("the credential was revoked", |call, _| call.credential.is_hit_by(revocation));
    }

    /// Gives up everything.
    pub(crate) fn clear(&self) {
        self.give_up("the session has ended", |_, _| true);
    }

    fn give_up(&self, reason: &'static str, which: impl Fn(&ParkedCall, bool) -> bool) {
        for parked in self.0.take_all(|parked, over| which(&parked.call, over)) {
            parked.call.running.give_up(reason);
        }
    }

    /// Whether a call waits for the client in the middle of its work at a backend.
    pub(crate) fn waits_for(&self, backend: usize) -> bool {
        self.0.find(|parked| parked.call.running.backend == backend).is_some()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
#[path = "parked_model.rs"]
mod model;
