//! What was said on a session's streams, for as long as a client may ask for it again (MCP 2025-11-25, Transports, Resumability
//! and Redelivery).
//!
//! A stream is what one POST or one GET opened; connections come and go. Whoever reads a stream reads it from here, so that
//! being read for the first time and being read again are the same thing. Events are dropped oldest first, but never from under
//! a connected reader, unless its own stream alone is over its bound.

mod stream;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use self::stream::{Attached, Stream};
use crate::allowance::Share;
use crate::config::ReplayLimits;
use crate::credential::{Credential, Revocation};
use crate::reply::Driving;

/// The streams of one session.
#[derive(Debug)]
pub(crate) struct EventLog {
    share: Arc<Share>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By number, the oldest first.
    streams: BTreeMap<StreamNumber, Stream>,
    last_stream: u64,
    last_reader: u64,
    bytes: usize,
    events: usize,
    /// Only calls go on.
    leaving: bool,
    closed: bool,
}

/// Names a stream in its session, on this node.
pub(crate) type StreamNumber = u64;

/// What opened a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// A POST: it ends with the response.
    Call,
    /// A GET: what belongs to no call.
    Standing,
}

/// Reads one stream; the only one that does.
#[derive(Debug)]
pub(crate) struct Reader {
    log: Arc<EventLog>,
    stream: StreamNumber,
    number: u64,
}

/// Why a stream cannot be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotResumed {
    /// It has ended, and nothing came after the event that the client has.
    Complete,
    /// What came after that event is not kept any more.
    Gone,
}

/// How far a connected reader is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

impl EventLog {
    #[cfg(test)]
    pub(crate) fn new(share: Arc<Share>) -> Arc<Self> {
        Self::after(0, share)
    }

    /// A log whose streams are numbered after the last that the session had.
    pub(crate) fn after(last_stream: u64, share: Arc<Share>) -> Arc<Self> {
        Arc::new(Self { share, state: Mutex::new(State { last_stream, ..State::default() }) })
    }

    /// The last number that a stream got.
    pub(crate) fn last_stream(&self) -> u64 {
        self.lock().last_stream
    }

    /// Whether nothing is kept or read.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().streams.is_empty()
    }

    pub(crate) const fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// A new stream and its reader; `work` if the reader is to drive it.
    pub(crate) fn open(self: &Arc<Self>, kind: StreamKind, credential: &Credential, work: Option<Driving>) -> Reader {
        self.expire();
        let mut state = self.lock();
        if state.streams.len() >= self.limits().streams
            && let Some(oldest) =
                state.streams.iter().find(|(_, stream)| stream.over.is_some()).map(|(number, _)| *number)
        {
            self.remove(&mut state, oldest);
        }
        state.last_stream += 1;
        let stream = state.last_stream;
        state.streams.insert(stream, Stream::new(kind, work));
        let number = state.attach(stream, 1, credential);
        drop(state);
        Reader { log: Arc::clone(self), stream, number }
    }

    /// Reads a stream on after the event at `after`. A reader that is there already ends, and the work that it drove is handed
    /// over: it has to be driven on.
    pub(crate) fn resume(
        self: &Arc<Self>,
        stream: StreamNumber,
        after: u64,
        credential: &Credential,
    ) -> Result<(Reader, Option<Driving>), NotResumed> {
        self.expire();
        let mut state = self.lock();
        let found = state.streams.get_mut(&stream).ok_or(NotResumed::Gone)?;
        let at = after.checked_add(1).filter(|at| (found.first..=found.next()).contains(at)).ok_or(NotResumed::Gone)?;
        if found.kind == StreamKind::Call && found.over.is_some() && at == found.next() {
            return Err(NotResumed::Complete);
        }
        if found.kind == StreamKind::Standing {
            found.over = None;
        }
        let work = found.work.take();
        let replaced = found.reader.take();
        let writer = found.writer.take();
        let number = state.attach(stream, at, credential);
        drop(state);
        wake(replaced.and_then(|reader| reader.waker).into_iter().chain(writer));
        Ok((Reader { log: Arc::clone(self), stream, number }, work))
    }

    /// Adds an event.
    pub(crate) fn append(&self, stream: StreamNumber, event: Bytes) {
        let mut state = self.lock();
        let mut awake = self.make_room(&mut state, stream, event.len());
        let exceeded = self.is_exceeded(&state, event.len());
        let Some(found) = state.streams.get_mut(&stream) else { return };
        if exceeded && found.reader.is_none() {
            // Not kept: nobody may believe that the stream went from the last event straight to the next.
            let (next, kept) = (found.next() + 1, found.events.len());
            let bytes = std::mem::take(&mut found.bytes);
            found.events.clear();
            found.first = next;
            self.forget(&mut state, kept, bytes);
        } else {
            if let Some(reader) = &mut found.reader {
                reader.unread_bytes += event.len();
                awake.extend(reader.waker.take());
            }
            found.bytes += event.len();
            state.bytes += event.len();
            state.events += 1;
            self.share.add(event.len());
            if let Some(found) = state.streams.get_mut(&stream) {
                found.events.push_back(event);
            }
        }
        drop(state);
        wake(awake);
    }

    /// Waits until a connected reader has read everything.
    pub(crate) fn poll_read(&self, stream: StreamNumber, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        let closed = state.closed;
        match state.streams.get_mut(&stream) {
            // What is being closed has its end to come to, whether anybody reads or not.
            Some(found) if !closed && found.lag().is_some_and(|lag| lag.events > 0) => {
                found.writer = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        }
    }

    /// Nothing more will be added: the response was the last event.
    pub(crate) fn finish(&self, stream: StreamNumber) {
        let mut state = self.lock();
        let Some(found) = state.streams.get_mut(&stream) else { return };
        found.over = Some(Instant::now());
        found.work = None;
        let unread = found.reader.is_none();
        let reader = found.reader.as_mut().and_then(|reader| reader.waker.take());
        if state.closed && unread {
            self.remove(&mut state, stream);
        }
        drop(state);
        wake(reader);
    }

    /// Forgets a stream. Its reader ends.
    pub(crate) fn discard(&self, stream: StreamNumber) {
        let mut state = self.lock();
        let reader = self.remove(&mut state, stream);
        drop(state);
        wake(reader);
    }

    /// How far the reader of a stream is behind; `None` if it has none.
    pub(crate) fn lag(&self, stream: StreamNumber) -> Option<Lag> {
        self.lock().streams.get(&stream)?.lag()
    }

    /// Ends the connection that reads a stream, without ending the stream.
    pub(crate) fn detach(&self, stream: StreamNumber) {
        let mut state = self.lock();
        let reader = state.streams.get_mut(&stream).and_then(|found| found.leave(None));
        drop(state);
        wake(reader);
    }

    /// Ends the connections of a credential that was revoked. Calls end by themselves, with an answer.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        let hit = |reader: &Attached| reader.credential.is_hit_by(revocation);
        let mut state = self.lock();
        let readers: Vec<_> = state
            .streams
            .values_mut()
            .filter(|stream| stream.work.is_none())
            .filter_map(|stream| stream.leave_if(&hit))
            .collect();
        drop(state);
        wake(readers);
    }

    /// Ends the streams that would never end by themselves. Calls go on, and their streams may be taken up.
    pub(crate) fn leave(&self) {
        let mut state = self.lock();
        state.leaving = true;
        let standing: Vec<_> = state
            .streams
            .iter()
            .filter(|(_, stream)| stream.kind == StreamKind::Standing)
            .map(|(number, _)| *number)
            .collect();
        let awake: Vec<_> = standing.into_iter().filter_map(|stream| self.remove(&mut state, stream)).collect();
        drop(state);
        wake(awake);
    }

    /// Whether a call came to its end after this time whose client was away, and has not come back for it.
    pub(crate) fn is_unfetched(&self, after: Instant) -> bool {
        self.lock().streams.values().any(|stream| stream.is_unfetched(after))
    }

    /// Nobody can take up a stream any more: ends all connections but those whose calls have yet to give their answer.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let over: Vec<_> =
            state.streams.iter().filter(|(_, stream)| !stream.ends_by_itself()).map(|(number, _)| *number).collect();
        let mut awake: Vec<_> = over.into_iter().filter_map(|stream| self.remove(&mut state, stream)).collect();
        awake.extend(state.streams.values_mut().filter_map(|stream| stream.writer.take()));
        drop(state);
        wake(awake);
    }

    /// Whether there will be time for a stream to be taken up again.
    pub(crate) fn is_open(&self) -> bool {
        let state = self.lock();
        !state.leaving && !state.closed
    }

    /// Whether the owner or the node has no room for anything more.
    pub(crate) fn is_full(&self) -> bool {
        self.share.is_exceeded_by(1)
    }

    /// Drops the streams that have been over for long enough.
    pub(crate) fn expire(&self) {
        self.expire_at(Instant::now());
    }

    fn expire_at(&self, now: Instant) {
        let kept = self.limits().kept;
        let mut state = self.lock();
        let over = |stream: &Stream| stream.over.is_some_and(|since| now.duration_since(since) >= kept);
        let expired: Vec<_> =
            state.streams.iter().filter(|(_, stream)| over(stream)).map(|(number, _)| *number).collect();
        let readers: Vec<_> = expired.into_iter().filter_map(|stream| self.remove(&mut state, stream)).collect();
        drop(state);
        wake(readers);
    }

    /// How long a client shall wait before it takes up a stream again.
    pub(crate) fn retry(&self) -> Duration {
        self.limits().retry
    }

    fn limits(&self) -> &ReplayLimits {
        self.share.limits()
    }

    fn is_exceeded(&self, state: &State, bytes: usize) -> bool {
        state.bytes + bytes > self.limits().session_bytes
            || state.events >= self.limits().session_events
            || self.share.is_exceeded_by(bytes)
    }

    /// Drops old events until there is room for one of so many bytes; gives the readers that lost their place.
    fn make_room(&self, state: &mut State, stream: StreamNumber, bytes: usize) -> Vec<Waker> {
        let mut awake = Vec::new();
        loop {
            let Some(found) = state.streams.get_mut(&stream) else { return awake };
            let full =
                found.events.len() >= self.limits().stream_events || found.bytes + bytes > self.limits().stream_bytes;
            let Some(dropped) = found.events.front().filter(|_| full).map(Bytes::len) else { break };
            found.drop_oldest();
            if found.reader.as_ref().is_some_and(|reader| reader.at < found.first) {
                awake.extend(found.leave(None));
            }
            self.forget(state, 1, dropped);
        }
        while self.is_exceeded(state, bytes) {
            // First of what is over, first of the oldest.
            let found = state
                .streams
                .values_mut()
                .filter(|stream| stream.may_lose())
                .min_by_key(|stream| stream.over.is_none());
            let Some(dropped) = found.and_then(Stream::drop_oldest) else { break };
            self.forget(state, 1, dropped);
        }
        awake
    }

    fn remove(&self, state: &mut State, stream: StreamNumber) -> Option<Waker> {
        let mut removed = state.streams.remove(&stream)?;
        self.forget(state, removed.events.len(), removed.bytes);
        removed.reader.take().and_then(|reader| reader.waker)
    }

    fn forget(&self, state: &mut State, events: usize, bytes: usize) {
        state.events -= events;
        state.bytes -= bytes;
        self.share.subtract(bytes);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        self.share.subtract(self.lock().bytes);
    }
}

impl State {
    fn attach(&mut self, stream: StreamNumber, at: u64, credential: &Credential) -> u64 {
        self.last_reader += 1;
        if let Some(found) = self.streams.get_mut(&stream) {
            let skipped = usize::try_from(at - found.first).unwrap_or(usize::MAX);
            let unread_bytes = found.events.iter().skip(skipped).map(Bytes::len).sum();
            let (number, credential) = (self.last_reader, credential.clone());
            found.reader = Some(Attached { number, at, unread_bytes, credential, waker: None });
        }
        self.last_reader
    }
}

impl Reader {
    pub(crate) const fn stream(&self) -> StreamNumber {
        self.stream
    }

    pub(crate) const fn log(&self) -> &Arc<EventLog> {
        &self.log
    }

    /// The next event and its position; `None` when the stream is over, or read by another.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let mut state = self.log.lock();
        let Some(found) = state.streams.get_mut(&self.stream) else { return Poll::Ready(None) };
        let event = found.read(self.number, context);
        let writer = if event.is_ready() { found.writer.take() } else { None };
        drop(state);
        wake(writer);
        event
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.log.lock();
        let Some(found) = state.streams.get_mut(&self.stream) else { return };
        let _ = found.leave(Some(self.number));
        if state.closed && found_over(&state, self.stream) {
            self.log.remove(&mut state, self.stream);
        }
    }
}

fn found_over(state: &State, stream: StreamNumber) -> bool {
    state.streams.get(&stream).is_some_and(|stream| stream.over.is_some())
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests;
