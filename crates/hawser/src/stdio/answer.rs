//! What the gateway answers to one HTTP request, message by message.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use hawser_gateway::{Body, BrokenAnswer};
use hawser_mcp::{
    Limits, Message, Outcome, RawJson, RequestId, Response as RpcResponse, SseDecoder, SseEvent, parse_message,
};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;

const EVENT_STREAM: &[u8] = b"text/event-stream";
/// Before a stream is opened again, where the gateway names no time (`retry`).
const RETRY_DEFAULT: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_mins(1);
/// The gateway has held its messages to its own limits already; only their envelope is read here.
const TRUSTED: Limits = Limits { depth: usize::MAX, batch: usize::MAX };

/// An answer.
pub(super) enum Answer {
    /// One body.
    Whole(StatusCode, Bytes),
    /// Several messages.
    Stream(Box<Stream>),
}

/// Messages as they come.
pub(super) struct Stream {
    body: Body,
    decoder: SseDecoder,
    ready: VecDeque<SseEvent>,
    position: Position,
}

/// Where a stream stands.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) last_event_id: Option<HeaderValue>,
    pub(super) retry: Duration,
}

impl Default for Position {
    fn default() -> Self {
        Self { last_event_id: None, retry: RETRY_DEFAULT }
    }
}

impl Answer {
    /// Reads an answer as far as it is known at once.
    pub(super) async fn read(response: Response<Body>) -> Self {
        let (head, body) = response.into_parts();
        if head.headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(EVENT_STREAM)) {
            return Self::Stream(Box::new(Stream::new(body)));
        }
        match body.collect().await {
            Ok(body) => Self::Whole(head.status, body.to_bytes()),
            // The answer of another node; this gateway has none.
            Err(BrokenAnswer) => Self::Whole(StatusCode::BAD_GATEWAY, Bytes::new()),
        }
    }

    /// The response, if the whole answer is one that answers this request; one without an id answers the only request there was.
    pub(super) fn whole_response(&self, id: &RequestId) -> Option<RpcResponse> {
        let Self::Whole(_, body) = self else { return None };
        match parse_message(body, &TRUSTED) {
            Ok(Message::Response(response)) if response.id.as_ref().is_none_or(|found| found == id) => Some(response),
            _ => None,
        }
    }

    /// The result for a request that the pump itself makes.
    pub(super) async fn result(mut self, id: &RequestId) -> Option<RawJson> {
        let response = match &mut self {
            Self::Whole(..) => self.whole_response(id),
            Self::Stream(stream) => loop {
                let message = stream.next().await?;
                if let Some(response) = response_to(&message, id) {
                    break Some(response);
                }
            },
        };
        match response?.outcome {
            Outcome::Result(result) => Some(result),
            Outcome::Error(_) => None,
        }
    }
}

impl Stream {
    fn new(body: Body) -> Self {
        let decoder = SseDecoder::new(usize::MAX);
        Self { body, decoder, ready: VecDeque::new(), position: Position::default() }
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Bytes> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                self.position.note(&event);
                // An event without data only tells where the stream stands.
                if !event.data.is_empty() {
                    return Some(event.data);
                }
            }
            let data = self.body.frame().await?.ok()?.into_data().ok();
            self.ready.extend(self.decoder.push(&data.unwrap_or_default()).ok()?);
        }
    }

    pub(super) fn position(&self) -> &Position {
        &self.position
    }
}

impl Position {
    fn note(&mut self, event: &SseEvent) {
        if let Some(id) = &event.id {
            self.last_event_id = HeaderValue::from_str(id).ok().filter(|id| !id.is_empty());
        }
        if let Some(retry_ms) = event.retry_ms {
            self.retry = Duration::from_millis(retry_ms).clamp(RETRY_DEFAULT, RETRY_MAX);
        }
    }
}

/// The message, if it is the response to this request.
pub(super) fn response_to(message: &Bytes, id: &RequestId) -> Option<RpcResponse> {
    match parse_message(message, &TRUSTED) {
        Ok(Message::Response(response)) if response.id.as_ref() == Some(id) => Some(response),
        _ => None,
    }
}
