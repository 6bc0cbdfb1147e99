//! The one stream of a session, event by event.

use std::collections::VecDeque;
use std::sync::Arc;

use hawser_mcp::{SseDecoder, SseEvent};
use http::HeaderMap;
use http::StatusCode;
use http_body_util::BodyExt as _;

use super::link::SseLink;
use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::multiplex::{MessageEnds, Sorter};
use crate::state::Ending;
use crate::streamable::{HttpClient, Media, ResponseBody, carries_message, causes, media, send_failure};

/// The event that names the address for messages.
const ENDPOINT: &str = "endpoint";

/// A stream that is open.
pub(super) struct EventStream {
    body: ResponseBody,
    decoder: SseDecoder,
    /// Complete, and not given out yet.
    ready: VecDeque<SseEvent>,
    /// An event came that is larger than allowed.
    too_large: bool,
}

/// Why no more events come.
pub(super) enum End {
    /// The server or the network ended it.
    Ended(String),
    /// The next event is larger than allowed.
    TooLarge,
    /// What comes are no messages.
    Garbage(String),
}

impl EventStream {
    /// Asks for the stream.
    pub(super) async fn open(config: &BackendConfig, client: &HttpClient) -> Result<Self, BackendError> {
        let backend = || config.name.clone();
        let response = client.get(&HeaderMap::new(), None).await.map_err(|error| send_failure(&config.name, &error))?;
        if response.status() != StatusCode::OK {
            return Err(BackendError::Refused { backend: backend(), status: response.status().as_u16() });
        }
        if media(response.headers()) != Media::EventStream {
            let reason = "its answer to GET is no event stream, which HTTP+SSE begins with".to_owned();
            return Err(BackendError::Protocol { backend: backend(), reason });
        }
        let decoder = SseDecoder::new(config.message_bytes_max);
        Ok(Self { body: response.into_body(), decoder, ready: VecDeque::new(), too_large: false })
    }

    /// What the `endpoint` event says, which comes before all others (Transports, HTTP with SSE: "When a client connects, the
    /// server MUST send an `endpoint` event").
    pub(super) async fn endpoint(&mut self, config: &BackendConfig) -> Result<SseEvent, BackendError> {
        let backend = || config.name.clone();
        loop {
            match self.next().await {
                Ok(event) if event.event.as_deref() == Some(ENDPOINT) => return Ok(event),
                // Only a retry time or an id.
                Ok(event) if event.data.is_empty() => {}
                Ok(_) => {
                    let reason = "the first event of its stream is not `endpoint`".to_owned();
                    return Err(BackendError::Protocol { backend: backend(), reason });
                }
                Err(End::Ended(reason) | End::Garbage(reason)) => {
                    return Err(BackendError::Lost { backend: backend(), reason });
                }
                Err(End::TooLarge) => {
                    return Err(BackendError::TooLarge { backend: backend(), bytes_max: config.message_bytes_max });
                }
            }
        }
    }

    /// The next event. Cancel safe.
    async fn next(&mut self) -> Result<SseEvent, End> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            if self.too_large {
                return Err(End::TooLarge);
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.take(&data);
                    }
                }
                Some(Err(error)) => return Err(End::Ended(format!("its stream broke off: {}", causes(&error)))),
                None => return Err(End::Ended("it ended its stream".to_owned())),
            }
        }
    }

    /// Takes a chunk line by line: what came before an error counts, however the bytes were cut.
    fn take(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let Ok(events) = self.decoder.push(piece) else {
                self.too_large = true;
                return;
            };
            self.ready.extend(events);
        }
    }
}

/// Reads a session's stream until it ends or the session is over, and tells all who wait.
pub(super) async fn read(link: Arc<SseLink>, mut stream: EventStream) {
    let over = link.shared.state.over().clone();
    let end = tokio::select! {
        end = hand_out(&link, &mut stream) => Some(end),
        () = over.cancelled() => None,
    };
    drop(stream);
    let shared = &link.shared;
    let backend = || shared.config.name.clone();
    match end {
        None => shared.close_lost("the session was closed"),
        Some(End::Ended(reason)) => {
            tracing::warn!(backend = %shared.config.name, %reason, "a session has ended");
            shared.state.end(Ending::Died(reason.clone()));
            shared.close_lost(&reason);
        }
        // Nothing tells whose it was, and what follows it cannot be read either.
        Some(End::TooLarge) => {
            tracing::warn!(backend = %shared.config.name, "an event is too large, its session is ended");
            shared.state.end(Ending::Died("it sent an event over the size limit".to_owned()));
            shared.close(|_| shared.too_large());
        }
        Some(End::Garbage(reason)) => {
            shared.state.end(Ending::Died(reason.clone()));
            shared.close(|_| BackendError::Protocol { backend: backend(), reason: reason.clone() });
        }
    }
    link.note_ended();
}

async fn hand_out(link: &Arc<SseLink>, stream: &mut EventStream) -> End {
    let answering = Arc::clone(link);
    let mut sorter = Sorter::new(Arc::clone(&link.shared), move |message| answering.send_in_background(message));
    loop {
        match stream.next().await {
            Ok(event) if carries_message(&event) => {
                let ends = MessageEnds::of(&event.data);
                if let Err(reason) = sorter.take(&event.data, &ends).await {
                    return End::Garbage(reason);
                }
            }
            // The address for messages is settled at the start of a session and never changes.
            Ok(_) => {}
            Err(end) => return end,
        }
    }
}
