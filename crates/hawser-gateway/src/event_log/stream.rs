//! One stream: the events that are kept of it, and where its reader is.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Lag, StreamKind};
use crate::credential::Credential;
use crate::reply::Driving;

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) kind: StreamKind,
    /// The position of the oldest event that is kept; the first ever is 1.
    pub(super) first: u64,
    pub(super) events: VecDeque<Bytes>,
    /// The position that no reader has come to yet.
    pub(super) unread: u64,
    pub(super) bytes: usize,
    /// Since when nothing is added any more.
    pub(super) over: Option<Instant>,
    pub(super) reader: Option<Attached>,
    /// The work of a call, where its reader drives it.
    pub(super) work: Option<Driving>,
    /// Who adds events and waits until they are read.
    pub(super) writer: Option<Waker>,
}

#[derive(Debug)]
pub(super) struct Attached {
    pub(super) number: u64,
    /// The position that is read next.
    pub(super) at: u64,
    pub(super) unread_bytes: usize,
    pub(super) credential: Credential,
    pub(super) waker: Option<Waker>,
}

impl Stream {
    pub(super) fn new(kind: StreamKind, work: Option<Driving>) -> Self {
        let events = VecDeque::new();
        Self { kind, first: 1, events, unread: 1, bytes: 0, over: None, reader: None, work, writer: None }
    }

    /// The position that the next event gets.
    pub(super) fn next(&self) -> u64 {
        self.first + self.events.len() as u64
    }

    pub(super) fn lag(&self) -> Option<Lag> {
        let reader = self.reader.as_ref()?;
        let events = usize::try_from(self.next() - reader.at).unwrap_or(usize::MAX);
        Some(Lag { events, bytes: reader.unread_bytes })
    }

    /// Whether it is a call's that has yet to say, or its reader to read, the last word.
    pub(super) fn ends_by_itself(&self) -> bool {
        self.kind == StreamKind::Call && (self.over.is_none() || self.lag().is_some_and(|lag| lag.events > 0))
    }

    /// Whether it is a call's that came to its end after this time, and nobody came for that.
    pub(super) fn is_unfetched(&self, after: Instant) -> bool {
        let late = self.over.is_some_and(|since| since > after);
        self.kind == StreamKind::Call && late && self.reader.is_none() && self.unread < self.next()
    }

    /// Whether its oldest event may be dropped without taking it from a connected reader.
    pub(super) fn may_lose(&self) -> bool {
        !self.events.is_empty() && self.reader.as_ref().is_none_or(|reader| reader.at > self.first)
    }

    pub(super) fn drop_oldest(&mut self) -> Option<usize> {
        let dropped = self.events.pop_front()?;
        self.first += 1;
        self.bytes -= dropped.len();
        Some(dropped.len())
    }

    /// The next event for the reader of this number.
    pub(super) fn read(&mut self, number: u64, context: &Context<'_>) -> Poll<Option<(u64, Bytes)>> {
        let Some(reader) = self.reader.as_mut().filter(|reader| reader.number == number) else {
            return Poll::Ready(None);
        };
        let at = reader.at;
        let index = usize::try_from(at - self.first).unwrap_or(usize::MAX);
        match self.events.get(index) {
            Some(event) => {
                reader.at += 1;
                reader.unread_bytes -= event.len();
                self.unread = self.unread.max(reader.at);
                Poll::Ready(Some((at, event.clone())))
            }
            None if self.over.is_some() => Poll::Ready(None),
            None => {
                reader.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// The reader goes, if it is the one of this number where one is given; gives who has to hear of it.
    pub(super) fn leave(&mut self, number: Option<u64>) -> Option<Waker> {
        self.leave_if(&|reader| number.is_none_or(|number| reader.number == number))
    }

    pub(super) fn leave_if(&mut self, hit: &impl Fn(&Attached) -> bool) -> Option<Waker> {
        let reader = self.reader.take_if(|reader| hit(reader))?;
        self.work = None;
        if self.kind == StreamKind::Standing {
            self.over = Some(Instant::now());
        }
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
        reader.waker
    }
}
