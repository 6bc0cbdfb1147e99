//! A listener's own stream at a backend of the stateless era, for the resources and tasks that it names. Changes of lists come
//! to the session as a whole.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hawser_backend::{Exchange, ExchangeItem};
use hawser_mcp::{Era, ListenFilter, Notification, method, notification, task};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::ask::begin;
use crate::listeners::Mailbox;
use crate::session::Session;
use crate::upstream::Upstream;

/// Longest wait for a backend to acknowledge.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);
/// Between attempts to open a stream again that was lost.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LONGEST: Duration = Duration::from_mins(1);
/// A stream that lived for this long was a good one.
const GOOD_STREAM: Duration = Duration::from_secs(30);

/// What one listener wants of one backend.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub(super) uris: Vec<String>,
    /// The backend's own task ids, and those that the client knows.
    pub(super) tasks: HashMap<String, String>,
}

/// A stream that goes on, with others in its place where it is lost, until this is dropped.
#[derive(Debug)]
pub(super) struct Stream {
    /// What the backend agreed to.
    pub(super) honoured: Wish,
    _stop: DropGuard,
}

impl Wish {
    pub(super) fn is_empty(&self) -> bool {
        self.uris.is_empty() && self.tasks.is_empty()
    }

    fn filter(&self) -> ListenFilter {
        ListenFilter {
            resource_subscriptions: self.uris.clone(),
            task_ids: self.tasks.keys().cloned().collect(),
            ..ListenFilter::default()
        }
    }

    /// What of it was acknowledged; more than was asked for cannot be.
    fn limited_to(&self, acknowledged: &ListenFilter) -> Self {
        let (uris, tasks) = (self.uris.iter(), self.tasks.iter());
        Self {
            uris: uris.filter(|uri| acknowledged.resource_subscriptions.contains(uri)).cloned().collect(),
            tasks: tasks
                .filter(|(own_id, _)| acknowledged.task_ids.contains(own_id))
                .map(|(own_id, known)| (own_id.clone(), known.clone()))
                .collect(),
        }
    }
}

/// Opens a stream; `None` if the backend does not acknowledge one.
pub(super) async fn open(
    session: &Arc<Session>,
    upstream: &Upstream,
    wish: Wish,
    mailbox: &Arc<Mailbox>,
) -> Option<Stream> {
    let (exchange, honoured) = acknowledged(session, upstream, &wish).await?;
    let stop = CancellationToken::new();
    let keeper = Keeper {
        session: Weak::clone(session.weak()),
        backend: upstream.position(),
        wish: honoured.clone(),
        mailbox: Arc::clone(mailbox),
    };
    let (stopped, ended) = (stop.clone(), session.ended().clone());
    tokio::spawn(async move {
        tokio::select! {
            () = stopped.cancelled() => {}
            () = ended.cancelled() => {}
            () = keeper.keep(exchange) => {}
        }
    });
    Some(Stream { honoured, _stop: stop.drop_guard() })
}

/// "The server MUST send [the acknowledgement] as the first message".
async fn acknowledged(session: &Arc<Session>, upstream: &Upstream, wish: &Wish) -> Option<(Exchange, Wish)> {
    let opening = async {
        let params = Some(wish.filter().to_params());
        let (from, mut exchange) = begin(session, upstream, method::SUBSCRIPTIONS_LISTEN, params).await.ok()?;
        if from.era() != Era::Modern {
            return None;
        }
        let ExchangeItem::Notification(first) = exchange.next().await else { return None };
        let honoured = wish.limited_to(&ListenFilter::read_acknowledged(&first).ok()?);
        (!honoured.is_empty()).then_some((exchange, honoured))
    };
    timeout(ACKNOWLEDGED_WITHIN, opening).await.ok().flatten()
}

struct Keeper {
    session: Weak<Session>,
    backend: usize,
    wish: Wish,
    mailbox: Arc<Mailbox>,
}

impl Keeper {
    async fn keep(&self, mut exchange: Exchange) {
        let mut pause = PAUSE_FIRST;
        loop {
            let began = Instant::now();
            self.read(&mut exchange).await;
            drop(exchange);
            if began.elapsed() >= GOOD_STREAM {
                pause = PAUSE_FIRST;
            }
            exchange = loop {
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_LONGEST);
                let Some(session) = self.session.upgrade() else { return };
                let Some(upstream) = session.upstream(self.backend) else { return };
                if let Some((exchange, _)) = acknowledged(&session, &upstream, &self.wish).await {
                    break exchange;
                }
            };
            // Nobody knows what would have been told meanwhile.
            self.mailbox.tell_resources_of(self.backend);
        }
    }

    /// Passes on what the stream brings, until it ends.
    async fn read(&self, exchange: &mut Exchange) {
        loop {
            match exchange.next().await {
                ExchangeItem::Notification(told) => self.pass_on(&told),
                ExchangeItem::Request(_) => {}
                ExchangeItem::Response(_) | ExchangeItem::LargeResult | ExchangeItem::Failed(_) => return,
            }
        }
    }

    fn pass_on(&self, told: &Notification) {
        match told.method.as_str() {
            notification::RESOURCES_UPDATED => self.mailbox.tell(self.backend, told),
            notification::TASKS => {
                if let Some((known, told)) = self.task(told) {
                    self.mailbox.tell_task(known, told);
                }
            }
            _ => {}
        }
    }

    /// A task's state, by the id that the client knows; `None` if it is a task that was not asked for.
    fn task(&self, told: &Notification) -> Option<(String, Notification)> {
        let params = told.params.as_ref()?;
        let known = self.wish.tasks.get(&task::task_id(params).ok()?)?;
        let params = task::with_task_id(params, known).ok()?;
        Some((known.clone(), Notification::new(notification::TASKS, Some(params))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_backend_can_agree_to_less_but_not_add() {
        let tasks = [("own", "sealed"), ("other", "sealed too")];
        let tasks = tasks.map(|(own, known)| (own.to_owned(), known.to_owned()));
        let wish = Wish { uris: texts(&["x:a", "x:b"]), tasks: HashMap::from(tasks) };
        let acknowledged = ListenFilter {
            tools_list_changed: true,
            resource_subscriptions: texts(&["x:b", "x:c"]),
            task_ids: texts(&["own", "foreign", "sealed too"]),
            ..ListenFilter::default()
        };
        let honoured = wish.limited_to(&acknowledged);
        assert_eq!(honoured.uris, ["x:b"]);
        assert_eq!(honoured.tasks, HashMap::from([("own".to_owned(), "sealed".to_owned())]));
        assert!(wish.limited_to(&ListenFilter::default()).is_empty());
    }
}
