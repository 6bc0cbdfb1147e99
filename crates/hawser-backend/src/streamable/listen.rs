//! The standalone stream (Transports, Listening for Messages from the Server), for as long as the session lives.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Message, SseDecoder, SseEvent, method};
use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::time::sleep;

use super::client::causes;
use super::connections::ResponseBody;
use super::flow::{Position, carries_message};
use super::link::HttpLink;
use super::verdict::{Media, Verdict, judge, media};
use crate::link::pong;
use crate::queue::Rejected;

/// Longest pause between attempts that fail.
const PAUSE_MAX: Duration = Duration::from_mins(1);

/// Why a stream ended.
enum End {
    /// There is no such stream, or nobody listens.
    Final,
    /// It brought something and ended: take it up where it ended.
    Interrupted,
    /// It could not be had this time.
    Failed,
}

/// Keeps the stream open until the session is over or the server does not offer one.
pub(super) async fn listen(link: Arc<HttpLink>) {
    let over = link.state.over().clone();
    tokio::select! {
        () = keep_listening(&link) => link.hears_nothing(),
        () = over.cancelled() => {}
    }
}

async fn keep_listening(link: &Arc<HttpLink>) {
    let mut position = Position::default();
    let mut failures: u32 = 0;
    loop {
        let pause = match stream_once(link, &mut position).await {
            End::Final => return,
            End::Interrupted => {
                failures = 0;
                position.retry
            }
            End::Failed => {
                failures = failures.saturating_add(1);
                position.retry.saturating_mul(1 << failures.min(10)).min(PAUSE_MAX.max(position.retry))
            }
        };
        sleep(pause).await;
    }
}

async fn stream_once(link: &Arc<HttpLink>, position: &mut Position) -> End {
    let backend = &link.config.name;
    let request = link.client.get(&link.session_headers(), position.last_event_id.clone());
    // No limit: some servers send the head together with the first event.
    let response = match request.await {
        Ok(response) => response,
        Err(error) => {
            tracing::debug!(%backend, error = %causes(&error), "the listening stream cannot be opened");
            return End::Failed;
        }
    };
    let status = response.status();
    if status.is_success() {
        if media(response.headers()) == Media::EventStream {
            let _hearing = link.hearing();
            return read(link, position, response.into_body()).await;
        }
        tracing::debug!(%backend, "the listening stream is no event stream; it is not asked for again");
        return End::Final;
    }
    if judge(status, link.in_session(), &Bytes::new(), &link.config.limits, None) == Verdict::SessionGone {
        let _ = link.gone();
        return End::Final;
    }
    if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        return End::Failed;
    }
    // "The server MUST either return `text/event-stream` or HTTP 405".
    tracing::debug!(%backend, status = status.as_u16(), "the server offers no listening stream");
    End::Final
}

async fn read(link: &Arc<HttpLink>, position: &mut Position, mut body: ResponseBody) -> End {
    let mut decoder = SseDecoder::new(link.config.message_bytes_max);
    let mut fruitful = false;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let Ok(events) = decoder.push(&data) else {
            tracing::warn!(backend = %link.config.name, "an event on the listening stream is too large");
            return End::Failed;
        };
        for event in events {
            fruitful = true;
            position.note(&event);
            if let Err(Rejected::Closed) = pass_on(link, &event).await {
                return End::Final;
            }
        }
    }
    if fruitful { End::Interrupted } else { End::Failed }
}

/// Waits for the reader: the stream is nobody else's.
async fn pass_on(link: &Arc<HttpLink>, event: &SseEvent) -> Result<(), Rejected> {
    if !carries_message(event) {
        return Ok(());
    }
    let messages = link.read(&event.data).unwrap_or_else(|error| {
        tracing::debug!(%error, "an event on the listening stream is skipped");
        Vec::new()
    });
    for message in messages {
        match message {
            Message::Request(request) if request.method == method::PING => link.send_in_background(pong(request)),
            // "The server MUST NOT send a JSON-RPC response on the stream unless resuming."
            Message::Response(_) => {
                tracing::debug!(backend = %link.config.name, "a response on the listening stream is ignored");
            }
            message => offer(link, message).await?,
        }
    }
    Ok(())
}

async fn offer(link: &HttpLink, message: Message) -> Result<(), Rejected> {
    link.state.heard(&message, None);
    let asked = if let Message::Request(request) = &message { Some(request.id.clone()) } else { None };
    let passed = link.state.unsolicited().send(message).await;
    if let (Err(_), Some(id)) = (passed, asked) {
        link.state.answered(&id);
    }
    passed
}
