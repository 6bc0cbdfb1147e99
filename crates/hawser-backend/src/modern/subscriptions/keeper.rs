//! Keeps a session's one `subscriptions/listen` stream (MCP 2026-07-28, Subscriptions).
//!
//! A stream cannot be changed, so for another wish a new one is opened, and the old one is given up only when the new one is
//! acknowledged. What comes is passed on as a legacy server would have sent it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hawser_mcp::{
    ListenFilter, Members, Message, Notification, Outcome, RawJson, code, meta_key, method, notification,
    without_subscription_id,
};
use http::HeaderMap;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::{Held, Subscriptions, Wanted};
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::hello::quote_error;
use crate::jitter::jitter;
use crate::modern::Modern;
use crate::modern::wire::{Port, Wire};

/// Between attempts to listen.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// A stream that lived for this long was a good one.
const GOOD_STREAM: Duration = Duration::from_secs(30);

/// Starts what holds a session's stream, once.
pub(crate) fn start(port: &Port, modern: &Arc<Modern>) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !modern.subscriptions.started.swap(true, Ordering::Relaxed) {
        let (port, modern) = (port.clone(), Arc::clone(modern));
        runtime.spawn(async move {
            let over = port.state.over().clone();
            tokio::select! {
                () = over.cancelled() => {}
                () = (Keeper { port, modern, failures: 0, missed: false, refused: None }).keep() => {}
            }
        });
    }
}

/// Keeps the stream that is wanted.
struct Keeper {
    port: Port,
    modern: Arc<Modern>,
    failures: u32,
    /// There was a break, in which something may have changed.
    missed: bool,
    /// The change of the wish that the server does not suit.
    refused: Option<u64>,
}

/// An acknowledged stream.
struct Stream {
    wire: Wire,
    asked: ListenFilter,
    /// What the server agreed to.
    filter: ListenFilter,
    since: Instant,
    /// What waits for its reader.
    unread: Option<Message>,
}

/// Why there is no stream.
enum NoStream {
    /// It may be there later.
    Failed,
    /// The server does not do this.
    NotOffered,
    /// The session is over.
    Over,
}

impl Keeper {
    async fn keep(mut self) {
        let mut wanted = self.modern.subscriptions.wanted.subscribe();
        let mut stream: Option<Stream> = None;
        loop {
            wanted.mark_unchanged();
            let (change, filter) = self.modern.subscriptions.filter();
            if let Err(over) = self.suit(&mut stream, change, &filter).await {
                match over {
                    NoStream::Over => return,
                    NoStream::NotOffered | NoStream::Failed => self.pause(&mut wanted).await,
                }
                continue;
            }
            let Some(current) = &mut stream else {
                if wanted.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                biased;
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = read(&self.port, &self.modern.subscriptions, current) => {
                    if current.since.elapsed() >= GOOD_STREAM {
                        self.failures = 0;
                    }
                    stream = None;
                    self.missed = true;
                    self.hold(change, None);
                    self.pause(&mut wanted).await;
                }
            }
        }
    }

    /// Makes the stream suit the wish, and says what came of it.
    async fn suit(&mut self, stream: &mut Option<Stream>, change: u64, filter: &ListenFilter) -> Result<(), NoStream> {
        let suits = stream.as_ref().is_some_and(|stream| stream.asked == *filter);
        if filter.is_empty() {
            *stream = None;
        } else if !suits && self.refused != Some(change) {
            match self.open(filter).await {
                Ok(mut opened) => {
                    if let Some(mut old) = stream.take() {
                        let rest = read(&self.port, &self.modern.subscriptions, &mut old);
                        let ended = timeout(Duration::ZERO, rest).await.is_ok();
                        // Perhaps before the new one began.
                        self.missed |= ended;
                        if !ended && lists(&old.filter) == lists(&opened.filter) {
                            // What is told of lists is told without a break.
                            opened.since = old.since;
                        }
                    }
                    self.hold(change, Some(&opened));
                    self.tell_what_was_missed(&opened.filter).await;
                    *stream = Some(opened);
                    return Ok(());
                }
                // It is not asked again before something else is wanted; what it told before, it goes on telling.
                Err(NoStream::NotOffered) => self.refused = Some(change),
                Err(other) => {
                    self.hold(change, stream.as_ref());
                    return Err(other);
                }
            }
        }
        self.hold(change, stream.as_ref());
        Ok(())
    }

    /// Waits longer each time, and not in step with the other sessions of a server that was restarted. A new wish does not
    /// wait, but for what all wait.
    async fn pause(&mut self, wanted: &mut watch::Receiver<Wanted>) {
        let share = 1.0 + f64::from(jitter()) / f64::from(u32::MAX) / 2.0;
        let pause = PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX).mul_f64(share);
        self.failures = self.failures.saturating_add(1);
        sleep(PAUSE_MIN).await;
        tokio::select! {
            () = sleep(pause.saturating_sub(PAUSE_MIN)) => {}
            _ = wanted.changed() => {}
        }
    }

    /// Opens a stream and waits until it is acknowledged: "MUST send [it] as the first message".
    async fn open(&self, filter: &ListenFilter) -> Result<Stream, NoStream> {
        let Ok(prepared) =
            self.modern.prepare(method::SUBSCRIPTIONS_LISTEN, Some(&filter.to_params()), None, &HeaderMap::new())
        else {
            return Err(NoStream::NotOffered);
        };
        let mut wire = Wire::new(&self.port, method::SUBSCRIPTIONS_LISTEN, prepared);
        let first = timeout(self.port.config.request_timeout, wire.next()).await;
        match first {
            Ok(ExchangeItem::Notification(told)) if belongs_to(&told, wire.id()) => {
                let acknowledged = ListenFilter::read_acknowledged(&told).map_err(|_| NoStream::Failed)?;
                let (asked, filter) = (filter.clone(), both(filter, &acknowledged));
                Ok(Stream { wire, asked, filter, since: Instant::now(), unread: None })
            }
            Ok(ExchangeItem::Failed(error)) => Err(self.failed(&error)),
            Ok(ExchangeItem::Response(Outcome::Error(error))) => {
                let (code, _) = quote_error(&error);
                let not_offered =
                    [code::METHOD_NOT_FOUND, code::INVALID_PARAMS, code::MISSING_REQUIRED_CLIENT_CAPABILITY];
                if not_offered.into_iter().any(|known| i64::from(known) == code) {
                    Err(NoStream::NotOffered)
                } else {
                    Err(NoStream::Failed)
                }
            }
            _ => Err(NoStream::Failed),
        }
    }

    fn failed(&self, error: &BackendError) -> NoStream {
        match error {
            BackendError::SessionGone { .. } => {
                self.port.known.forget();
                NoStream::Over
            }
            BackendError::Closed { .. } | BackendError::Gone { .. } => NoStream::Over,
            BackendError::Refused { status: 400..=405, .. } | BackendError::Protocol { .. } => NoStream::NotOffered,
            _ => NoStream::Failed,
        }
    }

    fn hold(&self, change: u64, stream: Option<&Stream>) {
        let filter = stream.map(|stream| stream.filter.clone()).unwrap_or_default();
        let since = stream.map(|stream| stream.since);
        self.modern.subscriptions.held.send_replace(Held { change, filter, since });
    }

    /// After a break nobody knows what would have been told, so all may have changed.
    async fn tell_what_was_missed(&mut self, filter: &ListenFilter) {
        if !std::mem::take(&mut self.missed) {
            return;
        }
        let lists = [
            (filter.tools_list_changed, notification::TOOLS_LIST_CHANGED),
            (filter.prompts_list_changed, notification::PROMPTS_LIST_CHANGED),
            (filter.resources_list_changed, notification::RESOURCES_LIST_CHANGED),
        ];
        let lists = lists.into_iter().filter(|(told, _)| *told).map(|(_, name)| Notification::new(name, None));
        let updated = filter.resource_subscriptions.iter().map(|uri| {
            let params = RawJson::object(&[("uri", &RawJson::string(uri))]);
            Notification::new(notification::RESOURCES_UPDATED, Some(params))
        });
        for told in lists.chain(updated) {
            let _ = self.port.state.unsolicited().send(Message::Notification(told)).await;
        }
    }
}

/// Passes on what a stream brings, until it ends. Cancel safe.
async fn read(port: &Port, wishes: &Subscriptions, stream: &mut Stream) {
    loop {
        // It waits for its reader: the stream is nobody else's.
        if let Some(unread) = &stream.unread
            && port.state.unsolicited().send(unread.clone()).await.is_err()
        {
            // Nobody listens any more, and nobody will.
            std::future::pending::<()>().await;
        }
        stream.unread = None;
        match stream.wire.next().await {
            ExchangeItem::Notification(told) => {
                // "The server MUST NOT send notification types the client has not explicitly requested."
                if belongs_to(&told, stream.wire.id()) && stream.filter.admits(&told) && wishes.still_want(&told) {
                    stream.unread = Some(Message::Notification(without_subscription_id(&told)));
                } else {
                    tracing::debug!(backend = %port.config.name, method = %told.method, "what was not asked for is ignored");
                }
            }
            ExchangeItem::Request(_) => {}
            ExchangeItem::Response(_) | ExchangeItem::LargeResult | ExchangeItem::Failed(_) => return,
        }
    }
}

/// What the server agreed to of what was asked for; it may not add to it.
fn both(asked: &ListenFilter, acknowledged: &ListenFilter) -> ListenFilter {
    let uris = asked.resource_subscriptions.iter();
    ListenFilter {
        tools_list_changed: asked.tools_list_changed && acknowledged.tools_list_changed,
        prompts_list_changed: asked.prompts_list_changed && acknowledged.prompts_list_changed,
        resources_list_changed: asked.resources_list_changed && acknowledged.resources_list_changed,
        resource_subscriptions: uris.filter(|uri| acknowledged.resource_subscriptions.contains(uri)).cloned().collect(),
        task_ids: Vec::new(),
    }
}

/// What a filter says of lists.
const fn lists(filter: &ListenFilter) -> (bool, bool, bool) {
    (filter.tools_list_changed, filter.prompts_list_changed, filter.resources_list_changed)
}

/// Whether a notification carries the id of this stream.
fn belongs_to(told: &Notification, id: u64) -> bool {
    let marked = || {
        let meta = Members::read(told.params.as_ref()?, &[]).ok()?.get("_meta")?;
        Members::read(&meta, &[]).ok()?.get(meta_key::SUBSCRIPTION_ID)
    };
    marked().is_some_and(|found| found == RawJson::number(id))
}
