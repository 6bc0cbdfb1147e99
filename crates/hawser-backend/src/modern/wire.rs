//! One JSON-RPC request to a modern server, from the moment it is meant to be sent.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hawser_mcp::{Message, Notification, RawJson, Request, RequestId, notification};

use super::Prepared;
use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::known::Known;
use crate::link::{Flow, Link};
use crate::state::SessionState;

/// The way to the server, for who must not keep the session open.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) config: Arc<BackendConfig>,
    pub(crate) link: Arc<Link>,
    pub(crate) state: Arc<SessionState>,
    pub(crate) known: Arc<Known>,
    pub(crate) ids: Arc<AtomicU64>,
}

impl Port {
    pub(crate) fn fresh_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }

    /// What a failure means for sessions that are opened later.
    pub(crate) fn note_failure(&self, error: &BackendError) {
        self.known.note_failure(error, true);
    }
}

/// One request. Dropping it before its end cancels it: over HTTP the stream is closed, a child is told.
pub(crate) struct Wire {
    port: Port,
    id: u64,
    stage: Stage,
    reason: Option<String>,
}

enum Stage {
    Sending(Pin<Box<dyn Future<Output = Result<Flow, BackendError>> + Send + Sync>>),
    Open(Flow),
    Over,
}

impl Wire {
    /// A request under a fresh id. Nothing happens until it is asked for its first item.
    pub(crate) fn new(port: &Port, method: &str, prepared: Prepared) -> Self {
        let id = port.fresh_id();
        let request = Request { id: RequestId::number(id), method: method.to_owned(), params: Some(prepared.params) };
        let sender = port.clone();
        let sending = async move {
            sender.state.check_open()?;
            sender.link.begin(id, &request, Some(&prepared.headers)).await
        };
        Self { port: port.clone(), id, stage: Stage::Sending(Box::pin(sending)), reason: None }
    }

    /// Its JSON-RPC id.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// The next item. Cancel safe.
    pub(crate) async fn next(&mut self) -> ExchangeItem {
        loop {
            match &mut self.stage {
                Stage::Sending(sending) => match sending.await {
                    Ok(flow) => self.stage = Stage::Open(flow),
                    Err(error) => {
                        self.stage = Stage::Over;
                        return ExchangeItem::Failed(error);
                    }
                },
                Stage::Open(flow) => {
                    let item = flow.next().await;
                    match &item {
                        ExchangeItem::Response(_) => self.stage = Stage::Over,
                        // Given up on this side (read too slowly, say), it goes on for the server: dropped, it is cancelled.
                        ExchangeItem::Failed(_) => drop(std::mem::replace(self, self.over())),
                        ExchangeItem::Notification(_) | ExchangeItem::Request(_) | ExchangeItem::LargeResult => {}
                    }
                    return item;
                }
                Stage::Over => {
                    return ExchangeItem::Failed(BackendError::Closed { backend: self.port.config.name.clone() });
                }
            }
        }
    }

    /// The same request when nothing is left of it.
    fn over(&self) -> Self {
        Self { port: self.port.clone(), id: self.id, stage: Stage::Over, reason: None }
    }

    /// Why it will be dropped.
    pub(crate) fn give_reason(&mut self, reason: Option<&str>) {
        self.reason = reason.map(str::to_owned);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Open(flow) = stage else { return };
        // "Closing the response stream is itself the cancellation signal"; "to cancel an in-flight request [on stdio], the
        // client MUST send a `notifications/cancelled`".
        drop(flow);
        if matches!(*self.port.link, Link::Stdio(_)) && self.port.state.check_open().is_ok() {
            self.port.link.send_in_background(cancelled(self.id, self.reason.as_deref()));
        }
    }
}

/// "A client SHOULD send a cancellation notification" (Cancellation).
pub(crate) fn cancelled(id: u64, reason: Option<&str>) -> Message {
    let id = RawJson::number(id);
    let reason = reason.map(RawJson::string);
    let mut members = Vec::with_capacity(2);
    members.extend(reason.as_ref().map(|reason| ("reason", reason)));
    members.push(("requestId", &id));
    Message::Notification(Notification::new(notification::CANCELLED, Some(RawJson::object(&members))))
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("id", &self.id).finish_non_exhaustive()
    }
}
