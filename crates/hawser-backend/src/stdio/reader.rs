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
    let mut reader = Reader::new(link);
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
    /// How much of the current line has come.
    line_bytes: usize,
    /// The current line is over-long, and whose it is has not been decided yet.
    over_long: bool,
    garbage: u32,
    /// Nobody took unsolicited messages the last time, so nobody is waited for.
    unheard: bool,
}

impl Reader {
    fn new(link: Arc<StdioLink>) -> Self {
        let decoder = LineDecoder::new(link.config.message_bytes_max);
        Self { link, decoder, ends: LineEnds::default(), line_bytes: 0, over_long: false, garbage: 0, unheard: false }
    }

    /// Takes a chunk piece by piece, so that decoder and line ends always stand in the same line.
    async fn take(&mut self, chunk: &[u8]) -> Result<(), String> {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.ends.push(piece);
            self.line_bytes += piece.len();
            self.decoder.push(piece);
            while let Some(line) = self.decoder.next_line() {
                match line {
                    Ok(line) => self.line(&line).await?,
                    Err(_) => self.over_long = true,
                }
            }
            let complete = piece.ends_with(b"\n");
            // The end of the line may tell whose it is, but a line may also never end.
            if self.over_long && (complete || self.line_bytes / 2 > self.link.config.message_bytes_max) {
                self.over_long = !self.give_up_line(complete) && !complete;
            }
            if complete {
                self.ends.clear();
                self.line_bytes = 0;
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
        self.link.state.heard(&message, owner.as_ref().map(|(id, _)| *id));
        let Some((id, messages)) = owner else { return self.offer(message).await };
        match messages.send_within(message, SLOW_READER_MAX).await {
            Ok(()) => {}
            // Between the look-up and here its holder has gone.
            Err(Rejected::Closed) => self.link.state.exchange_ended(id),
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
            self.link.state.answered(&id);
            let error = ErrorObject::new(code::INTERNAL_ERROR, "nobody listens for requests outside of an exchange");
            self.link.send_in_background(&Message::Response(Response::error(Some(id), &error)));
        }
    }

    /// Fails the exchange that an over-long line answers; `false` if that cannot be told yet.
    fn give_up_line(&self, complete: bool) -> bool {
        let suspect = match self.ends.suspect_by_head() {
            Suspect::Unknown if complete => self.ends.suspect_by_tail(),
            suspect => suspect,
        };
        let owner = match suspect {
            Suspect::ResponseTo(id) => Some(id),
            Suspect::Other => None,
            Suspect::Unknown => match self.link.routes(|routes| routes.only()) {
                None if !complete => return false,
                only => only,
            },
        };
        tracing::warn!(backend = %self.link.config.name, "a line is too long and is thrown away");
        if let Some(id) = owner {
            self.fail(id, self.too_large());
        }
        true
    }

    fn too_large(&self) -> BackendError {
        BackendError::TooLarge { backend: self.link.config.name.clone(), bytes_max: self.link.config.message_bytes_max }
    }

    fn fail(&self, id: u64, error: BackendError) {
        self.link.routes(|routes| routes.end(id, ExchangeItem::Failed(error)));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_mcp::{RawJson, Request, RequestId};
    use proptest::prelude::*;

    use super::*;
    use crate::config::{BackendConfig, Transport};
    use crate::name::BackendName;
    use crate::queue::queue;
    use crate::state::SessionState;

    /// One line that a child may write, by the exchange it is for.
    fn line() -> impl Strategy<Value = String> {
        let id = 1_u64..4;
        prop_oneof![
            id.clone().prop_map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"of":{id}}}}}"#)),
            id.clone().prop_map(|id| format!(r#"{{"result":"{}","jsonrpc":"2.0","id":{id}}}"#, "x".repeat(300))),
            id.clone().prop_map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"x":"{}"}}}}"#, "x".repeat(300))),
            id.clone().prop_map(|id| format!(r#"{{"jsonrpc":"2.0","id":{id},"result":1,"result":2}}"#)),
            id.prop_map(|id| format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{id}}}}}"#
            )),
            Just(r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#.to_owned()),
            Just(r#"{"jsonrpc":"2.0","id":"p","method":"ping"}"#.to_owned()),
            "[ -~]{0,60}",
            Just("x".repeat(300)),
        ]
    }

    /// What three exchanges, the rest of the session and the child are told when the child writes these pieces.
    async fn told(pieces: &[&[u8]]) -> Vec<String> {
        let transport = Transport::Stdio { command: vec!["x".to_owned()], env: Vec::new(), cwd: None };
        let mut config = BackendConfig::new(BackendName::new("x").unwrap(), transport);
        config.message_bytes_max = 200;
        let (sender, mut unsolicited) = queue(1_000, 1_000_000);
        let state = Arc::new(SessionState::new(config.name.clone(), sender));
        let (link, mut lines) = StdioLink::new(Arc::new(config), state);
        let mut flows = Vec::new();
        for id in 1..4 {
            let params = format!(r#"{{"_meta":{{"progressToken":{id}}}}}"#);
            let params = Some(RawJson::parse(&params.into()).unwrap());
            let request = Request { id: RequestId::number(id), method: "x".to_owned(), params };
            flows.push(link.begin(id, &request).await.unwrap());
        }
        let mut reader = Reader::new(Arc::clone(&link));
        for piece in pieces {
            reader.take(piece).await.unwrap();
        }
        let mut told = Vec::new();
        for (index, flow) in flows.iter_mut().enumerate() {
            while let Ok(item) = tokio::time::timeout(Duration::from_millis(1), flow.next()).await {
                told.push(format!("{index}: {item:?}"));
                if matches!(item, ExchangeItem::Response(_) | ExchangeItem::Failed(_)) {
                    break;
                }
            }
        }
        while let Some(message) = unsolicited.try_recv() {
            told.push(format!("all: {message:?}"));
        }
        while let Ok(line) = lines.try_recv() {
            told.push(format!("child: {line:?}"));
        }
        told
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_told_does_not_depend_on_where_the_bytes_are_cut(
            lines in proptest::collection::vec(line(), 0..12),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let text = lines.join("\n") + "\n";
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> =
                cuts.windows(2).map(|cut| text.as_bytes().get(cut[0]..cut[1]).unwrap()).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            let whole = runtime.block_on(told(&[text.as_bytes()]));
            prop_assert_eq!(runtime.block_on(told(&pieces)), whole);
        }
    }
}
