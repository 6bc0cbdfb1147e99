//! The one task that reads from a child.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Body, ErrorObject, LineDecoder, Message, Response, code, method, parse_body};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::link::StdioLink;
use super::oversize::{LineEnds, Suspect};
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::link::pong;
use crate::queue::Rejected;

const CHUNK_BYTES: usize = 64 * 1024;
/// Lines in a row that are no messages, before the child is taken for something else than an MCP server.
const GARBAGE_LINES_MAX: u32 = 100;
/// How long an exchange's holder may let the whole pipe wait.
const SLOW_READER_MAX: Duration = Duration::from_secs(2);

/// Reads until the child writes no more; `Err` says why it should not be read on.
pub(super) async fn read(link: Arc<StdioLink>, mut pipe: impl AsyncRead + Unpin) -> Result<(), String> {
    let mut reader = Reader {
        decoder: LineDecoder::new(link.config.message_bytes_max),
        ends: LineEnds::default(),
        over_long: false,
        garbage: 0,
        unheard: false,
        link,
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(read) => reader.take(chunk.get(..read).unwrap_or_default()).await?,
        }
    }
}

struct Reader {
    link: Arc<StdioLink>,
    decoder: LineDecoder,
    ends: LineEnds,
    /// The current line is over-long and its exchange is not known yet.
    over_long: bool,
    garbage: u32,
    /// Nobody took unsolicited messages the last time, so nobody is waited for.
    unheard: bool,
}

impl Reader {
    /// Takes a chunk piece by piece, so that decoder and line ends always stand in the same line.
    async fn take(&mut self, chunk: &[u8]) -> Result<(), String> {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.ends.push(piece);
            self.decoder.push(piece);
            while let Some(line) = self.decoder.next_line() {
                match line {
                    Ok(line) => self.line(&line).await?,
                    Err(_) => self.over_long = self.begin_over_long(),
                }
            }
            if piece.ends_with(b"\n") {
                if std::mem::take(&mut self.over_long) {
                    self.end_over_long();
                }
                self.ends.clear();
            }
        }
        Ok(())
    }

    async fn line(&mut self, line: &Bytes) -> Result<(), String> {
        let messages = match parse_body(line, &self.link.config.limits) {
            Ok(Body::Single(message)) => vec![message],
            Ok(Body::Batch(messages)) if self.link.allows_batches() => messages.into_iter().flatten().collect(),
            Ok(Body::Batch(_)) => return self.garbage("a batch, which this revision does not have"),
            Err(error) => return self.garbage(&error.to_string()),
        };
        self.garbage = 0;
        for message in messages {
            self.message(message).await;
        }
        Ok(())
    }

    /// "The server MUST NOT write anything to its stdout that is not a valid MCP message": some print a banner.
    fn garbage(&mut self, what: &str) -> Result<(), String> {
        self.garbage += 1;
        if self.garbage > GARBAGE_LINES_MAX {
            return Err("it keeps writing lines that are no messages to its standard output".to_owned());
        }
        tracing::debug!(backend = %self.link.config.name, reason = what, "a line that is no message is skipped");
        // An answer that cannot be read is the end of waiting for it.
        let suspect = match self.ends.suspect_by_head() {
            Suspect::Unknown => self.ends.suspect_by_tail(),
            suspect => suspect,
        };
        if let Suspect::ResponseTo(id) = suspect {
            let reason = format!("an answer cannot be read: {what}");
            self.fail(id, BackendError::Protocol { backend: self.link.config.name.clone(), reason });
        }
        Ok(())
    }

    async fn message(&mut self, message: Message) {
        match message {
            Message::Request(request) if request.method == method::PING => {
                self.link.send_in_background(&pong(request));
            }
            Message::Response(response) => {
                if !self.link.routes(|routes| routes.respond(response)) {
                    tracing::debug!(backend = %self.link.config.name, "a response to no request in flight is ignored");
                }
            }
            message => self.pass_on(message).await,
        }
    }

    async fn pass_on(&mut self, message: Message) {
        let owner = self.link.routes(|routes| {
            let id = routes.owner(&message)?;
            routes.messages(id).map(|messages| (id, messages))
        });
        let Some((id, messages)) = owner else { return self.offer(message).await };
        match messages.send_within(message, SLOW_READER_MAX).await {
            Ok(()) | Err(Rejected::Closed) => {}
            // One slow holder must not hold up the others for longer, and must not miss messages unknowingly.
            Err(Rejected::Full) => {
                let error = BackendError::Overrun { backend: self.link.config.name.clone() };
                self.link.routes(|routes| routes.end(id, ExchangeItem::Failed(error)));
            }
        }
    }

    /// Passes on what belongs to no exchange. A reader that is merely slow is waited for, but only once if it is none. A
    /// server that asks what nobody hears gets an answer at least.
    async fn offer(&mut self, message: Message) {
        let asked = if let Message::Request(request) = &message { Some(request.id.clone()) } else { None };
        let unsolicited = self.link.state.unsolicited();
        let passed = if self.unheard {
            unsolicited.try_send(message)
        } else {
            unsolicited.send_within(message, SLOW_READER_MAX).await
        };
        self.unheard = passed.is_err();
        if passed.is_ok() {
            return;
        }
        tracing::debug!(backend = %self.link.config.name, "an unsolicited message was dropped: nobody reads them");
        if let Some(id) = asked {
            let error = ErrorObject::new(code::INTERNAL_ERROR, "nobody listens for requests outside of an exchange");
            self.link.send_in_background(&Message::Response(Response::error(Some(id), &error)));
        }
    }

    /// A line has become too long; `true` if its end must be seen to know whose it is.
    fn begin_over_long(&mut self) -> bool {
        tracing::warn!(backend = %self.link.config.name, "a line is too long and is thrown away");
        match self.ends.suspect_by_head() {
            Suspect::ResponseTo(id) => self.fail(id, self.too_large()),
            Suspect::Other => {}
            Suspect::Unknown => match self.link.routes(|routes| routes.only()) {
                Some(id) => self.fail(id, self.too_large()),
                None => return true,
            },
        }
        false
    }

    fn end_over_long(&self) {
        if let Suspect::ResponseTo(id) = self.ends.suspect_by_tail() {
            self.fail(id, self.too_large());
        }
    }

    fn too_large(&self) -> BackendError {
        BackendError::TooLarge { backend: self.link.config.name.clone(), bytes_max: self.link.config.message_bytes_max }
    }

    fn fail(&self, id: u64, error: BackendError) {
        self.link.routes(|routes| routes.end(id, ExchangeItem::Failed(error)));
    }
}
