//! Streams that wait to be told of a change.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use anyhow::Result;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::wire::Reader;

/// What messages of a subscription carry in `_meta` (2026-07-28).
pub(super) const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
/// Changes that a listener may be behind.
const BEHIND_MAX: usize = 64;

/// Everybody who listens.
#[derive(Default)]
pub(super) struct Listeners {
    next: Cell<u64>,
    all: RefCell<BTreeMap<u64, mpsc::Sender<()>>>,
}

impl Listeners {
    pub(super) fn count(&self) -> usize {
        self.all.borrow().len()
    }

    /// Tells all of a change, and how many that are.
    pub(super) fn tell(&self) -> usize {
        self.all.borrow().values().filter(|listener| listener.try_send(()).is_ok()).count()
    }

    /// Holds a stream until its client leaves.
    pub(super) async fn hold(
        &self,
        reader: &mut Reader<TcpStream>,
        first: Option<String>,
        subscription: Option<String>,
    ) -> Result<()> {
        let (sender, mut told) = mpsc::channel(BEHIND_MAX);
        let number = self.next.get();
        self.next.set(number + 1);
        self.all.borrow_mut().insert(number, sender);
        let held = async {
            let opening = first.map_or_else(|| ": open\n\n".to_owned(), |first| event(&first));
            reader.stream().write_all(format!("{HEAD}{}", chunk(&opening)).as_bytes()).await?;
            let notice = chunk(&event(&notice(subscription.as_deref())));
            loop {
                tokio::select! {
                    change = told.recv() => match change {
                        Some(()) => reader.stream().write_all(notice.as_bytes()).await?,
                        None => return Ok(()),
                    },
                    // Nothing is said on this connection any more: whatever comes is its end.
                    _ = reader.head() => return Ok(()),
                }
            }
        };
        let ended = held.await;
        self.all.borrow_mut().remove(&number);
        ended
    }
}

fn notice(subscription: Option<&str>) -> String {
    let params = subscription.map(|id| format!(r#","params":{{"_meta":{{"{SUBSCRIPTION_ID}":{id}}}}}"#));
    format!(r#"{{"jsonrpc":"2.0","method":"notifications/tools/list_changed"{}}}"#, params.unwrap_or_default())
}

fn event(message: &str) -> String {
    format!("data: {message}\n\n")
}

fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}
