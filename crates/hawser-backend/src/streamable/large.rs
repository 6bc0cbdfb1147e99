//! A large result on its way: its bytes go on as they arrive, and are judged meanwhile.

use std::collections::VecDeque;

use bytes::Bytes;
use hawser_mcp::{PassedOn, ResponseError, ResponseReader, SseDecoder};
use http_body_util::BodyExt as _;

use super::client::causes;
use super::connections::ResponseBody;

/// A JSON body or an event with a result from so many bytes on is passed on as it arrives.
const LARGE: usize = 256 * 1024;

/// From how many bytes on a result is large where this is the most that is held. The same holds for what is announced.
pub(super) fn large(held_max: usize) -> usize {
    LARGE.min(held_max)
}

/// A response whose result has begun.
pub(super) struct LargeResult {
    reader: Option<ResponseReader>,
    from: Source,
    /// What has come of the result and was not given yet.
    ready: VecDeque<Bytes>,
    /// How much of it may still come.
    left: u64,
}

/// Where more of it comes from.
pub(super) enum Source {
    /// A JSON body.
    Body(ResponseBody),
    /// An event, and what came of its stream and was not read yet.
    Event { body: ResponseBody, decoder: Box<SseDecoder>, chunk: Bytes },
}

/// Why there is no more of a result that is not complete.
#[derive(Debug)]
pub(super) enum Broken {
    /// It is none.
    Unfit(ResponseError),
    /// Its event is of a type that is not the protocol's.
    OtherEvent,
    /// There is too much of it.
    TooLarge,
    /// The server has closed the connection, or it was lost.
    Lost(String),
}

impl From<ResponseError> for Broken {
    fn from(error: ResponseError) -> Self {
        Self::Unfit(error)
    }
}

impl LargeResult {
    /// Goes on with what comes from there, after this.
    pub(super) fn new(reader: ResponseReader, from: Source, begun: impl IntoIterator<Item = Bytes>, max: u64) -> Self {
        Self { reader: Some(reader), from, ready: begun.into_iter().collect(), left: max }
    }

    /// More of the result; `None` when it was complete, and all around it as it should be. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                if piece.is_empty() {
                    continue;
                }
                let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
                self.left = self.left.checked_sub(bytes).ok_or(Broken::TooLarge)?;
                return Ok(Some(piece));
            }
            let more = self.more().await?;
            let Some(reader) = &mut self.reader else { return Ok(None) };
            if let Some(data) = more {
                self.ready.push_back(reader.push(&data)?);
                continue;
            }
            self.reader.take().map_or(Ok(()), ResponseReader::finish)?;
            return Ok(None);
        }
    }

    /// More of the response; `None` at its end.
    async fn more(&mut self) -> Result<Option<Bytes>, Broken> {
        loop {
            let body = match &mut self.from {
                Source::Body(body) => body,
                Source::Event { body, decoder, chunk } => {
                    match decoder.pass_on(chunk).map_err(|_| Broken::TooLarge)? {
                        Some(PassedOn::Data(data)) => return Ok(Some(data)),
                        Some(PassedOn::End(event)) if event.is_message() => return Ok(None),
                        Some(PassedOn::End(_)) => return Err(Broken::OtherEvent),
                        None => body,
                    }
                }
            };
            let frame = match body.frame().await {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => return Err(Broken::Lost(causes(&error))),
                None => match &self.from {
                    Source::Body(_) => return Ok(None),
                    Source::Event { .. } => return Err(Broken::Lost("the stream ended within an event".to_owned())),
                },
            };
            match (&mut self.from, frame.into_data()) {
                (Source::Body(_), Ok(data)) => return Ok(Some(data)),
                (Source::Event { chunk, .. }, Ok(data)) => *chunk = data,
                (_, Err(_)) => {}
            }
        }
    }

    /// What is left of a stream that went on after its event.
    pub(super) fn into_stream(self) -> Option<ResponseBody> {
        match self.from {
            Source::Body(_) => None,
            Source::Event { body, .. } => Some(body),
        }
    }
}
