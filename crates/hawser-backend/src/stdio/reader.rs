//! The one task that reads from a child.

use std::sync::Arc;

use hawser_mcp::{LineDecoder, Message};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::link::StdioLink;
use crate::multiplex::{MessageEnds, Multiplex, Sorter, Suspect};

const CHUNK_BYTES: usize = 64 * 1024;

/// Reads until the child writes no more; `Err` says why it should not be read on.
pub(super) async fn read(link: Arc<StdioLink>, mut pipe: impl AsyncRead + Unpin) -> Result<(), String> {
    let mut reader = reader(link);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(read) => reader.take(chunk.get(..read).unwrap_or_default()).await?,
        }
    }
}

struct Reader<A> {
    shared: Arc<Multiplex>,
    sorter: Sorter<A>,
    decoder: LineDecoder,
    ends: MessageEnds,
    /// How much of the current line has come.
    line_bytes: usize,
    /// The current line is over-long, and whose it is has not been decided yet.
    over_long: bool,
}

/// A reader that answers pings with lines of its own.
fn reader(link: Arc<StdioLink>) -> Reader<impl Fn(Message)> {
    let shared = Arc::clone(&link.shared);
    Reader {
        decoder: LineDecoder::new(shared.config.message_bytes_max),
        sorter: Sorter::new(Arc::clone(&shared), move |message| link.send_in_background(&message)),
        shared,
        ends: MessageEnds::default(),
        line_bytes: 0,
        over_long: false,
    }
}

impl<A: Fn(Message)> Reader<A> {
    /// Takes a chunk piece by piece, so that decoder and line ends always stand in the same line.
    async fn take(&mut self, chunk: &[u8]) -> Result<(), String> {
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            self.ends.push(piece);
            self.line_bytes += piece.len();
            self.decoder.push(piece);
            while let Some(line) = self.decoder.next_line() {
                match line {
                    Ok(line) => self.sorter.take(&line, &self.ends).await?,
                    Err(_) => self.over_long = true,
                }
            }
            let complete = piece.ends_with(b"\n");
            // The end of the line may tell whose it is, but a line may also never end.
            if self.over_long && (complete || self.line_bytes / 2 > self.shared.config.message_bytes_max) {
                self.over_long = !self.give_up_line(complete) && !complete;
            }
            if complete {
                self.ends.clear();
                self.line_bytes = 0;
            }
        }
        Ok(())
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
            Suspect::Unknown => match self.shared.only() {
                None if !complete => return false,
                only => only,
            },
        };
        tracing::warn!(backend = %self.shared.config.name, "a line is too long and is thrown away");
        if let Some(id) = owner {
            self.shared.fail(id, self.shared.too_large());
        }
        true
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use hawser_mcp::{RawJson, Request, RequestId};
    use proptest::prelude::*;

    use super::*;
    use crate::config::{BackendConfig, Transport};
    use crate::exchange::ExchangeItem;
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
        let mut reader = reader(Arc::clone(&link));
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
