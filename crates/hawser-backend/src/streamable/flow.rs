//! One request over streamable HTTP, read as it arrives.
//!
//! No task runs for it: whoever asks for the next item drives the connection. So everything is kept in [`Stage`], and each
//! step waits for exactly one thing that may be dropped while waiting.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Message, Outcome, RequestId, Response, ResponseReader, SseDecoder, SseEvent};
use http::header::HeaderValue;
use http::{Response as HttpResponse, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use memchr::memchr;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::background::in_background;
use super::client::{REFUSAL_BYTES_MAX, causes, send_failure};
use super::connections::{Responding, ResponseBody};
use super::large::{Broken, LargeResult, Source, large};
use super::link::HttpLink;
use super::verdict::{Media, Verdict, judge, judge_stateless, media, session_id};
use super::whole::Whole;
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::hello::quote_error;
use crate::link::pong;

/// Before a broken stream is taken up again, where the server named no time (`retry`).
pub(super) const RETRY_DEFAULT: Duration = Duration::from_secs(1);
/// Not even a server that says `retry: 0` is asked more often.
pub(super) const RETRY_MIN: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_hours(24);
/// Attempts in a row to take up a stream that bring no event.
const FRUITLESS_MAX: u32 = 5;
/// Longest event id that is sent back.
const EVENT_ID_BYTES_MAX: usize = 1024;
/// How long and how far a finished stream is read on, so that its connection can be used again.
const LINGER_TIME_MAX: Duration = Duration::from_millis(250);
const LINGER_BYTES_MAX: usize = 4096;

/// One request over streamable HTTP.
pub(crate) struct HttpFlow {
    link: Arc<HttpLink>,
    id: u64,
    kind: Kind,
    stage: Stage,
    ready: VecDeque<Message>,
    position: Position,
    fruitless: u32,
    pauses: Arc<Notify>,
    /// From how many bytes on a result is given in pieces.
    large: Option<usize>,
}

/// What a request is to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `initialize`, whose answer may bring a session id.
    Opening,
    /// Any other of the session era.
    InSession,
    /// One of the stateless era: nothing is taken up again, and what is refused says something about the server's era.
    Stateless,
    /// `subscriptions/listen`, which is not taken for a verdict on the era: everything else may work.
    Listening,
}

impl Kind {
    const fn is_modern(self) -> bool {
        matches!(self, Self::Stateless | Self::Listening)
    }
}

/// Where a stream stands, for taking it up again.
#[derive(Debug)]
pub(super) struct Position {
    pub(super) last_event_id: Option<HeaderValue>,
    pub(super) retry: Duration,
}

enum Stage {
    /// Waiting for a response's head.
    Head { response: Responding, resumed: bool },
    /// Reading a body as a whole.
    Whole(Box<Whole>),
    /// Reading a stream. `whole`: the event that has begun is read as a whole, whatever its size.
    Stream { body: ResponseBody, decoder: Box<SseDecoder>, whole: bool },
    /// Reading a large result.
    Large(Box<LargeResult>),
    /// Waiting before the stream is taken up again.
    Pause { until: Instant },
    /// Nothing more comes.
    End(BackendError),
}

impl HttpFlow {
    pub(super) fn new(link: Arc<HttpLink>, id: u64, kind: Kind, response: Responding) -> Self {
        Self {
            link,
            id,
            kind,
            stage: Stage::Head { response, resumed: false },
            ready: VecDeque::new(),
            position: Position::default(),
            fruitless: 0,
            pauses: Arc::default(),
            large: None,
        }
    }

    /// From now on a large result is given in pieces.
    pub(crate) fn give_large_in_pieces(&mut self) {
        let config = &self.link.config;
        self.large = (config.streamed_bytes_max > 0).then(|| large(config.message_bytes_max));
    }

    /// Tells when the server has closed a connection whose stream goes on.
    pub(crate) fn pauses(&self) -> Arc<Notify> {
        Arc::clone(&self.pauses)
    }

    /// The next item. Cancel safe.
    pub(crate) async fn next(&mut self) -> ExchangeItem {
        loop {
            while let Some(message) = self.ready.pop_front() {
                if let Some(item) = self.sort(message) {
                    return item;
                }
            }
            if matches!(self.stage, Stage::Large(_)) {
                return ExchangeItem::LargeResult;
            }
            if let Err(error) = self.advance().await {
                self.stage = Stage::End(error.clone());
                return ExchangeItem::Failed(error);
            }
        }
    }

    /// More of a large result that was announced; `None` at its end. Cancel safe.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, BackendError> {
        let Stage::Large(result) = &mut self.stage else { return Err(self.closed()) };
        let piece = match result.next().await {
            Ok(Some(piece)) => return Ok(Some(piece)),
            Ok(None) => Ok(None),
            Err(Broken::Unfit(error)) => Err(self.link.broken(format!("a large result cannot be read: {error}"))),
            Err(Broken::OtherEvent) => Err(self.link.broken("a large event is of an unknown type".to_owned())),
            Err(Broken::TooLarge) => Err(self.link.too_large_to_stream()),
            Err(Broken::Lost(reason)) => Err(self.lost(&format!("a large result broke off: {reason}"))),
        };
        let end = Stage::End(self.closed());
        if let Stage::Large(result) = std::mem::replace(&mut self.stage, end)
            && piece.is_ok()
            && let Some(rest) = result.into_stream()
        {
            linger(rest);
        }
        piece
    }

    fn closed(&self) -> BackendError {
        BackendError::Closed { backend: self.link.config.name.clone() }
    }

    /// Everything on the request's own stream belongs to it; only its response ends it.
    fn sort(&mut self, message: Message) -> Option<ExchangeItem> {
        if !self.kind.is_modern() {
            self.link.state.heard(&message, Some(self.id));
        }
        match message {
            Message::Notification(notification) => Some(ExchangeItem::Notification(notification)),
            Message::Request(request) if self.kind.is_modern() => {
                // "The server MUST NOT send independent JSON-RPC requests on this stream"; nor may they be answered.
                tracing::debug!(backend = %self.link.config.name, method = %request.method, "a request of a modern server is ignored");
                None
            }
            Message::Request(request) if request.method == hawser_mcp::method::PING => {
                self.link.send_in_background(pong(request));
                None
            }
            Message::Request(request) => Some(ExchangeItem::Request(request)),
            Message::Response(Response { id, outcome }) => {
                if id.as_ref().and_then(hawser_mcp::RequestId::as_number) != Some(self.id) {
                    tracing::debug!(backend = %self.link.config.name, "a response to no request of this stream is ignored");
                    return None;
                }
                let end = Stage::End(self.closed());
                if let Stage::Stream { body, .. } = std::mem::replace(&mut self.stage, end) {
                    linger(body);
                }
                self.ready.clear();
                Some(ExchangeItem::Response(outcome))
            }
        }
    }

    /// One step: waits for one thing and takes it in.
    async fn advance(&mut self) -> Result<(), BackendError> {
        match &mut self.stage {
            Stage::Head { response, resumed } => {
                let resumed = *resumed;
                let response = response.as_mut().await;
                match response {
                    Ok(response) if resumed => self.resumed(response),
                    Ok(response) => self.answered(response),
                    Err(error) if resumed => self.interrupted(&causes(&error)),
                    Err(error) => Err(send_failure(&self.link.config.name, &error)),
                }
            }
            Stage::Whole(whole) => match whole.body.frame().await {
                Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |data| self.collect(data)),
                Some(Err(error)) => Err(self.lost(&format!("the answer broke off: {}", causes(&error)))),
                None => self.whole(),
            },
            Stage::Stream { body, .. } => match body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take_events(data);
                    }
                    Ok(())
                }
                Some(Err(error)) => self.interrupted(&causes(&error)),
                None => {
                    self.interrupted("the stream ended without the response")?;
                    self.pauses.notify_one();
                    Ok(())
                }
            },
            Stage::Pause { until } => {
                sleep_until(*until).await;
                let response = self.link.client.get(&self.link.session_headers(), self.position.last_event_id.clone());
                self.stage = Stage::Head { response, resumed: true };
                Ok(())
            }
            // It is asked for by piece.
            Stage::Large(_) => Ok(()),
            Stage::End(error) => Err(error.clone()),
        }
    }

    /// The head of the answer to the POST.
    fn answered(&mut self, response: HttpResponse<ResponseBody>) -> Result<(), BackendError> {
        let (head, body) = response.into_parts();
        if !head.status.is_success() {
            self.stage = Stage::Whole(Box::new(Whole::new(head.status, body, None)));
            return Ok(());
        }
        if self.kind == Kind::Opening
            && let Some(id) = session_id(&head.headers).map_err(|reason| self.link.broken(reason.to_owned()))?
        {
            self.link.enter(id);
        }
        match media(&head.headers) {
            Media::EventStream => self.stream(body),
            Media::Json => {
                let announced = body.size_hint().exact().unwrap_or_default();
                let large = self.large.filter(|_| announced <= self.link.config.streamed_bytes_max);
                let whole = Whole::new(head.status, body, large);
                let too_large = whole.announced().is_some_and(|bytes| bytes > self.link.config.message_bytes_max);
                if too_large && large.is_none() {
                    return Err(self.link.too_large());
                }
                self.stage = Stage::Whole(Box::new(whole));
            }
            Media::Other if matches!(head.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) => {
                return Err(self.link.broken("it accepted the request without answering it".to_owned()));
            }
            Media::Other => {
                return Err(self.link.broken("its answer is neither JSON nor an event stream".to_owned()));
            }
        }
        Ok(())
    }

    /// The head of the answer to a GET that takes the stream up again. The request has been read, so nothing here may look
    /// as if it had not.
    fn resumed(&mut self, response: HttpResponse<ResponseBody>) -> Result<(), BackendError> {
        let (head, body) = response.into_parts();
        if head.status.is_success() && media(&head.headers) == Media::EventStream {
            self.stream(body);
            return Ok(());
        }
        if head.status == StatusCode::NOT_FOUND && self.link.in_session() {
            let _ = self.link.gone();
        }
        if head.status.is_server_error() {
            return self.interrupted(&format!("HTTP status {}", head.status.as_u16()));
        }
        Err(self.lost(&format!("the stream broke and was not taken up again (HTTP status {})", head.status.as_u16())))
    }

    fn stream(&mut self, body: ResponseBody) {
        let decoder = Box::new(SseDecoder::new(self.link.config.message_bytes_max));
        self.stage = Stage::Stream { body, decoder, whole: false };
    }

    /// Takes a chunk line by line: what came before an error counts, however the bytes were cut.
    fn take_events(&mut self, mut chunk: Bytes) {
        while !chunk.is_empty()
            && let Stage::Stream { decoder, whole, .. } = &self.stage
        {
            let line = memchr(b'\n', &chunk).map_or(chunk.len(), |at| at + 1);
            let room = self.large.filter(|_| !whole).map_or(usize::MAX, |large| large.saturating_sub(decoder.held()));
            let piece = chunk.split_to(line.min(room.max(1)));
            if let Err(error) = self.take_event(&piece) {
                self.stage = Stage::End(error);
            }
            self.look_at_event(&mut chunk);
        }
    }

    fn take_event(&mut self, piece: &[u8]) -> Result<(), BackendError> {
        let Stage::Stream { decoder, .. } = &mut self.stage else { return Ok(()) };
        for event in decoder.push(piece).map_err(|_| self.link.too_large())? {
            self.fruitless = 0;
            self.position.note(&event);
            if carries_message(&event) {
                self.ready.extend(self.link.read(&event.data)?);
            }
        }
        Ok(())
    }

    /// Whether the event that has begun is a response with a large result: then its data, and what follows in this chunk, is given
    /// in pieces.
    fn look_at_event(&mut self, chunk: &mut Bytes) {
        let Stage::Stream { decoder, whole, .. } = &mut self.stage else { return };
        if self.large.is_none_or(|large| decoder.held() < large) {
            *whole = false;
            return;
        }
        if std::mem::replace(whole, true) {
            return;
        }
        let mut reader = ResponseReader::new(RequestId::number(self.id), self.link.config.limits);
        let Some(begun) = decoder.begun_data().and_then(|data| reader.push(&data).ok()) else { return };
        if !reader.has_begun() {
            return;
        }
        decoder.begin_to_pass_on();
        let end = Stage::End(self.closed());
        if let Stage::Stream { body, decoder, .. } = std::mem::replace(&mut self.stage, end) {
            let from = Source::Event { body, decoder, chunk: std::mem::take(chunk) };
            self.large_result(reader, from, vec![begun]);
        }
    }

    fn large_result(&mut self, reader: ResponseReader, from: Source, begun: Vec<Bytes>) {
        let max = self.link.config.streamed_bytes_max;
        self.stage = Stage::Large(Box::new(LargeResult::new(reader, from, begun, max)));
    }

    /// The stream ended too early: "the client SHOULD attempt to poll it by reconnecting" if it has an event id.
    fn interrupted(&mut self, reason: &str) -> Result<(), BackendError> {
        // "Resumable SSE streams via `Last-Event-ID` are not supported" (2026-07-28).
        let final_break = self.kind.is_modern() || self.position.last_event_id.is_none();
        if final_break || self.fruitless >= FRUITLESS_MAX {
            return Err(self.lost(reason));
        }
        self.fruitless += 1;
        self.stage = Stage::Pause { until: Instant::now() + self.position.retry };
        Ok(())
    }

    fn collect(&mut self, data: Bytes) -> Result<(), BackendError> {
        let Stage::Whole(whole) = &mut self.stage else { return Ok(()) };
        if let Some((reader, begun)) = whole.look(&data, self.id, &self.link.config.limits) {
            let end = Stage::End(self.closed());
            if let Stage::Whole(whole) = std::mem::replace(&mut self.stage, end) {
                self.large_result(reader, Source::Body(whole.body), begun);
            }
            return Ok(());
        }
        let status = whole.status;
        let bytes_max = if status.is_success() { self.link.config.message_bytes_max } else { REFUSAL_BYTES_MAX };
        if whole.len() + data.len() <= bytes_max {
            whole.add(data);
            return Ok(());
        }
        // A longer refusal is judged by its status alone.
        if status.is_success() { Err(self.link.too_large()) } else { self.refused(status, &Bytes::new()) }
    }

    /// The body is complete.
    fn whole(&mut self) -> Result<(), BackendError> {
        let Stage::Whole(whole) = &mut self.stage else { return Ok(()) };
        let (status, body) = (whole.status, whole.take());
        if !status.is_success() {
            return self.refused(status, &body);
        }
        let messages = self.link.read(&body)?;
        let reason = match messages.as_slice() {
            [Message::Response(Response { id: None, outcome: Outcome::Error(error) })] => {
                let (code, message) = quote_error(error);
                format!("it answered with an error that names no request: {message:?} ({code})")
            }
            _ => "its answer does not belong to the request".to_owned(),
        };
        self.ready.extend(messages);
        self.stage = Stage::End(self.link.broken(reason));
        Ok(())
    }

    fn refused(&mut self, status: StatusCode, body: &Bytes) -> Result<(), BackendError> {
        let verdict = if self.kind.is_modern() {
            judge_stateless(status, body, &self.link.config.limits, self.id)
        } else {
            judge(status, self.link.in_session(), body, &self.link.config.limits, Some(self.id))
        };
        match verdict {
            Verdict::SessionGone if self.kind == Kind::Listening => Err(self.link.refused(status)),
            Verdict::SessionGone => Err(self.link.gone()),
            Verdict::Refused => Err(self.link.refused(status)),
            Verdict::Answer(outcome) => {
                let id = Some(hawser_mcp::RequestId::number(self.id));
                self.ready.push_back(Message::Response(Response { id, outcome }));
                self.stage = Stage::End(self.link.refused(status));
                Ok(())
            }
        }
    }

    fn lost(&self, reason: &str) -> BackendError {
        BackendError::Lost { backend: self.link.config.name.clone(), reason: reason.to_owned() }
    }
}

impl fmt::Debug for HttpFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Head { .. } => "head",
            Stage::Whole(_) => "whole",
            Stage::Stream { .. } => "stream",
            Stage::Large(_) => "large",
            Stage::Pause { .. } => "pause",
            Stage::End(_) => "end",
        };
        f.debug_struct("HttpFlow").field("id", &self.id).field("stage", &stage).finish_non_exhaustive()
    }
}

impl Default for Position {
    fn default() -> Self {
        Self { last_event_id: None, retry: RETRY_DEFAULT }
    }
}

impl Position {
    /// Takes in what an event says about the stream. An id that cannot be sent back makes the stream end where it ends.
    pub(super) fn note(&mut self, event: &SseEvent) {
        if let Some(id) = &event.id {
            self.last_event_id = if (1..=EVENT_ID_BYTES_MAX).contains(&id.len()) {
                HeaderValue::from_bytes(id.as_bytes()).ok()
            } else {
                None
            };
        }
        if let Some(retry_ms) = event.retry_ms {
            self.retry = Duration::from_millis(retry_ms).clamp(RETRY_MIN, RETRY_MAX);
        }
    }
}

/// A priming event has no data; other event types are not the protocol's.
pub(crate) fn carries_message(event: &SseEvent) -> bool {
    !event.data.is_empty() && event.event.as_deref().is_none_or(|event| event.is_empty() || event == "message")
}

/// Reads the end of a finished stream, which usually is on its way already, so that the connection can be used again.
fn linger(mut body: ResponseBody) {
    if body.is_end_stream() {
        return;
    }
    in_background(async move {
        let rest = async {
            let mut left = LINGER_BYTES_MAX;
            while let Some(Ok(frame)) = body.frame().await {
                left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
                if left == 0 {
                    break;
                }
            }
        };
        let _ = timeout(LINGER_TIME_MAX, rest).await;
    });
}
