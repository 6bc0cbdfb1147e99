//! The answer of another node, as a response of this one.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http::Response;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http_body::Frame as BodyFrame;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Shared;
use super::flow::{Asking, Break, Read, WIDER};
use super::frame::{ExchangeId, Frame, Piece, Word};
use super::letter::Channel;
use super::name::NodeName;
use crate::reply::{Body, BrokenAnswer};

/// The asking side of an exchange, between who reads the answer and what comes.
pub(super) struct Asked {
    pub(super) to: NodeName,
    /// Whether the answer ends by itself.
    pub(super) is_call: bool,
    flow: Mutex<Asking>,
    reader: AtomicWaker,
}

impl Asked {
    pub(super) fn new(to: NodeName, is_call: bool) -> Self {
        Self { to, is_call, flow: Mutex::new(Asking::new(Instant::now())), reader: AtomicWaker::new() }
    }

    /// Changes the flow and wakes who reads.
    pub(super) fn change(&self, change: impl FnOnce(&mut Asking) -> Option<Word>) -> Option<Word> {
        let word = change(&mut self.lock());
        self.reader.wake();
        word
    }

    /// A flow is only changed by its own methods, none of which can panic half way.
    fn lock(&self) -> MutexGuard<'_, Asking> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An exchange that this node asked for. Dropped before its end, it tells the other node that nobody reads any more.
pub(super) struct Answer {
    id: ExchangeId,
    asked: Arc<Asked>,
    shared: Arc<Shared>,
    _place: OwnedSemaphorePermit,
    /// Room for more unread pieces.
    wider: Option<OwnedSemaphorePermit>,
}

impl Answer {
    pub(super) const fn new(
        id: ExchangeId,
        asked: Arc<Asked>,
        shared: Arc<Shared>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self { id, asked, shared, _place: place, wider: None }
    }

    /// Waits until the other node has the request.
    pub(super) async fn accepted(&self) -> Result<(), Break> {
        std::future::poll_fn(|context| {
            self.asked.reader.register(context.waker());
            let flow = self.asked.lock();
            match flow.over() {
                _ if flow.is_accepted() => Poll::Ready(Ok(())),
                Some(Err(reason)) => Poll::Ready(Err(reason)),
                Some(Ok(())) => Poll::Ready(Ok(())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Gives it up unless the other node has the request; whether it does not have it.
    pub(super) fn withdraw(&self) -> bool {
        let withdrawn = self.asked.lock().withdraw();
        if withdrawn {
            self.say(Word::Leave);
        }
        withdrawn
    }

    /// Waits for the head; the body comes as it is read.
    pub(super) async fn response(mut self) -> Result<Response<Body>, Break> {
        let head = std::future::poll_fn(|context| self.poll_read(context)).await;
        let (status, mut headers) = match head {
            Read::Piece(Piece::Head(status, headers)) => (status, headers),
            Read::Broken(reason) => return Err(reason),
            Read::Piece(_) | Read::End | Read::Nothing => return Err(Break::Disagreed),
        };
        // What HTTP says of one connection is between this node and the client (RFC 9110, section 7.6.1).
        for hop_by_hop in [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING] {
            headers.remove(hop_by_hop);
        }
        let is_stream = headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        let mut response = Response::new(Body::stream(AnswerBody { answer: self, is_stream }));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Read> {
        self.asked.reader.register(context.waker());
        let (read, word) = {
            let mut flow = self.asked.lock();
            let (read, word) = flow.read(Instant::now());
            if matches!(&read, Read::Piece(piece) if piece.is_full()) && self.wider.is_none() {
                self.wider = Arc::clone(&self.shared.wider).try_acquire_many_owned(WIDER).ok();
                if self.wider.is_some() {
                    flow.widen();
                }
            }
            (read, word)
        };
        if let Some(word) = word {
            self.say(word);
        }
        if read == Read::Nothing { Poll::Pending } else { Poll::Ready(read) }
    }

    fn say(&self, word: Word) {
        self.shared.outbox.say(Channel::Node(self.asked.to), Frame::Of(self.id, word));
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(word) = self.asked.lock().give_up(Break::Unwanted) {
            self.say(word);
        }
        self.shared.asked().remove(&self.id);
    }
}

/// The body of another node's answer.
struct AnswerBody {
    answer: Answer,
    /// Whether the client knows how to go on when a stream ends before its answer.
    is_stream: bool,
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = BrokenAnswer;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, BrokenAnswer>>> {
        match self.answer.poll_read(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Read::Piece(Piece::Data(data))) => Poll::Ready(Some(Ok(BodyFrame::data(data)))),
            Poll::Ready(Read::End) => Poll::Ready(None),
            // A client takes up a stream again that ends; what it got of the last event does not count (WHATWG HTML, 9.2.6).
            Poll::Ready(_) if self.is_stream => Poll::Ready(None),
            Poll::Ready(_) => Poll::Ready(Some(Err(BrokenAnswer))),
        }
    }
}
