//! Calls at legacy backends that wait for the input of a modern client.
//!
//! A legacy server asks in the middle of a call; a modern client is told `input_required` and comes back with a new request
//! (MCP 2026-07-28, Multi Round-Trip Requests). Between the two the call itself is kept here, unread: the backend waits, no
//! task runs. Whoever takes it out has it alone, so an answer can be given once only. A call that nobody comes back for is
//! cancelled at its backend; it is never run again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hawser_backend::{BackendName, BackendSession, Exchange, ExchangeItem};
use hawser_mcp::{RawJson, Request, RequestId};
use tokio::time::Instant;

use crate::credential::{Credential, Revocation};
use crate::pending::decline;

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

/// The parked calls of one session.
#[derive(Debug)]
pub(crate) struct ParkedCalls {
    state: Mutex<State>,
    max: usize,
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    waiting: HashMap<u64, (Instant, ParkedCall)>,
}

/// Why a parked call cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotParked {
    /// Answered already, given up, or lost.
    Gone,
    /// It waits for another client of the same principal.
    OtherClient,
}

impl ParkedCalls {
    pub(crate) fn new(max: usize, patience: Duration) -> Self {
        Self { state: Mutex::default(), max, patience }
    }

    /// How long a call waits.
    pub(crate) const fn patience(&self) -> Duration {
        self.patience
    }

    /// Parks a call; gives the number it is taken out by. Where there is no room the call that has waited longest is given up:
    /// clients need not come back, and those that do not must not keep others out. If none has waited for long, the new call
    /// comes back.
    pub(crate) fn park(&self, call: ParkedCall) -> Result<u64, Box<ParkedCall>> {
        self.expire();
        self.make_room();
        let mut state = self.lock();
        if state.waiting.len() >= self.max {
            return Err(Box::new(call));
        }
        state.last += 1;
        let number = state.last;
        state.waiting.insert(number, (Instant::now() + self.patience, call));
        Ok(number)
    }

    fn make_room(&self) {
        let given_up = {
            let mut state = self.lock();
            let waiting = state.waiting.iter().map(|(number, (until, _))| (*number, *until));
            longest_waiting(waiting, self.max, Instant::now() + self.patience)
                .and_then(|number| state.waiting.remove(&number))
        };
        if let Some((_, call)) = given_up {
            call.running.give_up("others wait for input");
        }
    }

    /// Takes a call out, once.
    pub(crate) fn take(&self, number: u64, client_id: Option<&str>) -> Result<ParkedCall, NotParked> {
        let mut state = self.lock();
        match state.waiting.get(&number) {
            None => Err(NotParked::Gone),
            Some((_, call)) if call.credential.client_id.as_deref() != client_id => Err(NotParked::OtherClient),
            Some(_) => {
                let (until, mut call) = state.waiting.remove(&number).ok_or(NotParked::Gone)?;
                call.running.waited(self.patience.saturating_sub(until.duration_since(Instant::now())));
                Ok(call)
            }
        }
    }

    /// Adds a question that a backend asks outside of any call, if exactly one of its calls waits here: it is put with the next
    /// round. Tells whether it was taken.
    pub(crate) fn ask_along(&self, backend: usize, from: &BackendSession, request: &Request) -> bool {
        let mut state = self.lock();
        let mut calls = state.waiting.values_mut().filter(|(_, call)| call.running.backend == backend);
        match (calls.next(), calls.next()) {
            (Some((_, call)), None) => call.running.from.same_as(from) && call.running.ask(request.clone()),
            _ => false,
        }
    }

    /// Gives up what has waited for too long, and drops what belongs to backend sessions that are over.
    pub(crate) fn expire(&self) {
        let now = Instant::now();
        self.give_up("the client did not answer in time", |(until, call)| {
            *until <= now || !call.running.from.is_open()
        });
    }

    /// Gives up the calls of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        self.give_up("the credential was revoked", |(_, call)| call.credential.is_hit_by(revocation));
    }

    /// Gives up everything.
    pub(crate) fn clear(&self) {
        self.give_up("the session has ended", |_| true);
    }

    fn give_up(&self, reason: &'static str, which: impl Fn(&(Instant, ParkedCall)) -> bool) {
        let given_up: Vec<_> = {
            let mut state = self.lock();
            let over: Vec<u64> =
                state.waiting.iter().filter(|(_, entry)| which(entry)).map(|(number, _)| *number).collect();
            over.iter().filter_map(|number| state.waiting.remove(number)).collect()
        };
        for (_, call) in given_up {
            call.running.give_up(reason);
        }
    }

    /// Whether a call waits for the client in the middle of its work at a backend.
    pub(crate) fn waits_for(&self, backend: usize) -> bool {
        self.lock().waiting.values().any(|(_, call)| call.running.backend == backend)
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().waiting.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of the calls that wait, by number and until when, the one that makes way for another that would wait until `new`: where
/// there is no room, the one that has waited longest, if it has waited for long.
fn longest_waiting(waiting: impl ExactSizeIterator<Item = (u64, Instant)>, max: usize, new: Instant) -> Option<u64> {
    if waiting.len() < max {
        return None;
    }
    let longest = waiting.min_by_key(|(_, until)| *until);
    longest.filter(|(_, until)| *until + AT_LEAST <= new).map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_waited_for_long_makes_way_and_only_where_there_is_no_room() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let waiting = || [(7, at(130)), (8, at(100)), (9, at(110))].into_iter();
        assert_eq!(longest_waiting(waiting(), 4, at(500)), None, "there is room");
        assert_eq!(longest_waiting(waiting(), 3, at(159)), None, "59 s");
        assert_eq!(longest_waiting(waiting(), 3, at(160)), Some(8));
        assert_eq!(longest_waiting(std::iter::empty(), 0, at(500)), None);
    }
}
