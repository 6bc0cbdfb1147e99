//! Which GET stream of a session a message goes to.
//!
//! One message goes to one stream (MCP 2025-11-25, Transports, Multiple Connections); the [event log](crate::event_log) holds the
//! streams themselves. While none is read, change notifications are kept, one of each kind, since a client that reconnects must
//! not miss that a list changed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use hawser_mcp::notification;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::credential::{Credential, Revocation};
use crate::event_log::{EventLog, Lag, Reader, StreamKind, StreamNumber};

/// Most notifications kept for a client that has no stream open.
const KEPT_MAX: usize = 64;
/// Largest notification that is kept, in bytes.
const KEPT_BYTES_MAX: usize = 64 * 1024;
/// Most bytes queued for one stream.
const QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// The same where the owner or the node has no room left: unread messages are kept for a reader in any case.
const QUEUED_BYTES_SHORT: usize = 1024 * 1024;
/// Most messages that a stream begins with.
const FIRST_MAX: usize = 512;
/// Of the messages and bytes that may be queued, the part that log messages and progress may fill: what asks or must not be
/// missed has the rest for itself.
const TALK_PART: usize = 4;

/// The GET streams of a session that are being read.
#[derive(Debug)]
pub(crate) struct Outbox {
    log: Arc<EventLog>,
    state: Mutex<State>,
    streams_max: usize,
    queue: usize,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first; messages go to the newest that still takes them.
    streams: Vec<Standing>,
    kept: Vec<Bytes>,
}

#[derive(Debug)]
struct Standing {
    stream: StreamNumber,
    /// What it was opened with.
    credential: Credential,
    /// Cancelled when nobody reads it any more.
    gone: CancellationToken,
}

/// Reads a GET stream.
#[derive(Debug)]
pub(crate) struct StandingReader {
    reader: Reader,
    /// Tells that nobody reads the stream, when this is dropped.
    _gone: DropGuard,
}

impl StandingReader {
    pub(crate) const fn stream(&self) -> StreamNumber {
        self.reader.stream()
    }

    /// The next message and its position; `None` when the stream is over.
    pub(crate) fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        self.reader.poll_event(context)
    }
}

/// Who will read a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Readership<'a> {
    /// The client that opened the stream.
    pub(crate) client_id: Option<&'a str>,
    /// Cancelled when the stream is gone.
    pub(crate) gone: &'a CancellationToken,
}

/// A message found no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoStream;

impl Outbox {
    pub(crate) fn new(log: Arc<EventLog>, streams_max: usize, queue: usize) -> Self {
        Self { log, state: Mutex::default(), streams_max, queue: queue.max(KEPT_MAX) }
    }

    /// Opens a new stream.
    pub(crate) fn open(&self, credential: &Credential) -> StandingReader {
        self.enter(self.log.open(StreamKind::Standing, credential, None), credential)
    }

    /// Opens a new stream that begins with these messages, as far as one can hold them.
    pub(crate) fn open_with(&self, credential: &Credential, first: Vec<Bytes>) -> StandingReader {
        let reader = self.log.open(StreamKind::Standing, credential, None);
        for message in first.into_iter().take(FIRST_MAX) {
            self.log.append(reader.stream(), message);
        }
        self.enter(reader, credential)
    }

    /// Makes a stream the newest; what was kept goes to it. Where there are as many as there may be, the oldest ends: its client
    /// is more likely gone than patient.
    pub(crate) fn enter(&self, reader: Reader, credential: &Credential) -> StandingReader {
        let stream = reader.stream();
        let mut state = self.lock();
        state.streams.retain(|other| other.stream != stream && !other.gone.is_cancelled());
        if state.streams.len() >= self.streams_max.max(1) {
            self.log.detach(state.streams.remove(0).stream);
        }
        for message in std::mem::take(&mut state.kept) {
            self.log.append(stream, message);
        }
        let gone = CancellationToken::new();
        state.streams.push(Standing { stream, credential: credential.clone(), gone: gone.clone() });
        StandingReader { reader, _gone: gone.drop_guard() }
    }

    /// Whether nothing is kept and no stream is read.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().kept.is_empty() && !self.has_stream()
    }

    /// Whether a stream is read.
    pub(crate) fn has_stream(&self) -> bool {
        self.lock().streams.iter().any(|stream| self.log.lag(stream.stream).is_some())
    }

    /// Whose credential reads the newest stream; `None` if none is read.
    pub(crate) fn listener(&self) -> Option<Credential> {
        let state = self.lock();
        let read = state.streams.iter().rev().find(|stream| self.log.lag(stream.stream).is_some());
        read.map(|stream| stream.credential.clone())
    }

    /// Keeps what could not be passed on, unless a stream takes it now.
    pub(crate) fn keep(&self, messages: Vec<Bytes>) {
        let mut state = self.lock();
        for message in messages {
            if self.send_to_newest(&mut state, |_| Some(message.clone())).is_err() {
                state.keep(&message);
            }
        }
    }

    /// Takes what is kept for a client that has no stream open here.
    pub(crate) fn take_kept(&self) -> Vec<Bytes> {
        std::mem::take(&mut self.lock().kept)
    }

    /// Sends a message that depends on which client will read it, to the newest stream; nothing is sent if there is none to make.
    /// A stream whose reader is too slow ends: the client reads on from where it was.
    pub(crate) fn send_with(&self, make: impl FnOnce(Readership<'_>) -> Option<Bytes>) -> Result<(), NoStream> {
        self.send_to_newest(&mut self.lock(), make)
    }

    fn send_to_newest(
        &self,
        state: &mut State,
        make: impl FnOnce(Readership<'_>) -> Option<Bytes>,
    ) -> Result<(), NoStream> {
        let bytes_max = if self.log.is_full() { QUEUED_BYTES_SHORT } else { QUEUED_BYTES_MAX };
        while let Some(standing) = state.streams.last() {
            match self.log.lag(standing.stream) {
                Some(lag) if lag.events < self.queue && lag.bytes < bytes_max => {
                    let reader = Readership { client_id: standing.credential.client_id(), gone: &standing.gone };
                    self.log.append(standing.stream, make(reader).ok_or(NoStream)?);
                    return Ok(());
                }
                Some(_) => self.log.detach(standing.stream),
                None => {}
            }
            state.streams.pop();
        }
        Err(NoStream)
    }

    /// Sends a notification, or keeps it if it is one that must not be missed and not kept already. Talk for which a slow reader
    /// leaves no room is dropped: it costs nobody the stream.
    pub(crate) fn send_or_keep(&self, method: &str, message: &Bytes) {
        if matches!(method, notification::MESSAGE | notification::PROGRESS) {
            self.talk(message);
            return;
        }
        // Under one lock: a stream that is opened meanwhile would begin without it.
        let mut state = self.lock();
        if self.send_to_newest(&mut state, |_| Some(message.clone())).is_ok() || !must_not_be_missed(method) {
            return;
        }
        state.keep(message);
    }

    fn talk(&self, message: &Bytes) {
        let state = self.lock();
        let fits =
            |lag: Lag| lag.events < self.queue / TALK_PART && lag.bytes + message.len() <= QUEUED_BYTES_MAX / TALK_PART;
        let newest =
            state.streams.iter().rev().find_map(|standing| Some((standing.stream, self.log.lag(standing.stream)?)));
        if let Some((stream, _)) = newest.filter(|(_, lag)| fits(*lag)) {
            self.log.append(stream, message.clone());
        }
    }

    /// Ends the streams of a credential that was revoked.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>) {
        self.lock().streams.retain(|stream| !stream.credential.is_hit_by(revocation));
        self.log.revoke(revocation);
    }

    /// Ends its streams; those of calls go on.
    pub(crate) fn leave(&self) {
        self.forget();
        self.log.leave();
    }

    /// Ends all streams.
    pub(crate) fn close(&self) {
        self.forget();
        self.log.close();
    }

    fn forget(&self) {
        let mut state = self.lock();
        state.streams.clear();
        state.kept.clear();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, message: &Bytes) {
        let fits = self.kept.len() < KEPT_MAX && message.len() <= KEPT_BYTES_MAX;
        if fits && !self.kept.contains(message) {
            self.kept.push(message.clone());
        }
    }
}

fn must_not_be_missed(method: &str) -> bool {
    matches!(
        method,
        notification::TOOLS_LIST_CHANGED
            | notification::PROMPTS_LIST_CHANGED
            | notification::RESOURCES_LIST_CHANGED
            | notification::RESOURCES_UPDATED
            | notification::ELICITATION_COMPLETE
    )
}

#[cfg(test)]
mod tests;
