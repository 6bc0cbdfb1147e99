//! Streams that are opened and left open, and what comes on them: GET streams of sessions, or `subscriptions/listen` (2026-07-28).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use memchr::memmem;
use serde_json::json;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::connection::Connection;
use super::request::{Asked, Era, FIRST_ID, Spoken, Target};
use crate::wire::Framing;

/// How many streams are being opened at the same time.
const OPENING: usize = 32;
const OPEN_LIMIT: Duration = Duration::from_secs(30);
const CHANGED: &[u8] = b"notifications/tools/list_changed";
const ACKNOWLEDGED: &[u8] = b"notifications/subscriptions/acknowledged";

/// Open streams.
pub(crate) struct Streams {
    heard: Rc<Heard>,
    reading: JoinSet<()>,
    open: usize,
}

#[derive(Default)]
struct Heard {
    /// When each stream was told of a change.
    at: RefCell<Vec<Instant>>,
    ended: Cell<usize>,
    news: Notify,
}

/// How a change reached the streams.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    /// How many heard of it in time.
    pub(crate) streams: usize,
    /// Until the first heard of it.
    pub(crate) first: Duration,
    /// Until the last did.
    pub(crate) last: Duration,
}

impl Streams {
    /// Opens one for each target, within a runtime of one thread. The targets differ in whose they are.
    pub(crate) async fn open(era: Era, targets: Vec<Target>) -> Result<Self> {
        let heard = Rc::new(Heard::default());
        let places = Rc::new(Semaphore::new(OPENING));
        let (mut opening, mut reading, mut open) = (JoinSet::new(), JoinSet::new(), 0);
        for target in targets {
            let places = Rc::clone(&places);
            opening.spawn_local(async move {
                let _place = places.acquire().await?;
                timeout(OPEN_LIMIT, open_one(era, &target)).await.context("a stream was not opened in time")?
            });
        }
        while let Some(opened) = opening.join_next().await {
            let (connection, framing) = opened?.with_context(|| format!("after {open} streams"))?;
            open += 1;
            reading.spawn_local(read(Rc::clone(&heard), connection, framing));
        }
        Ok(Self { heard, reading, open })
    }

    pub(crate) const fn count(&self) -> usize {
        self.open
    }

    /// How many have ended by themselves.
    pub(crate) fn ended(&self) -> usize {
        self.heard.ended.get()
    }

    /// Waits until all were told of a change that happened at `since`, or for `within` at most.
    pub(crate) async fn told(&self, since: Instant, within: Duration) -> Told {
        let all = async {
            while self.heard.at.borrow().len() < self.open {
                self.heard.news.notified().await;
            }
        };
        // Whoever did not hear of it is counted below.
        let _ = timeout(within, all).await;
        let at = self.heard.at.borrow();
        let took = |at: Option<&Instant>| at.map_or(Duration::ZERO, |at| at.saturating_duration_since(since));
        Told { streams: at.len(), first: took(at.iter().min()), last: took(at.iter().max()) }
    }

    /// Closes all.
    pub(crate) async fn close(mut self) {
        self.reading.shutdown().await;
    }
}

async fn open_one(era: Era, target: &Target) -> Result<(Connection, Framing)> {
    let mut connection = Connection::open(target).await?;
    let head = match era {
        Era::Legacy => {
            let session = connection.open_session(target).await?;
            // Who never listed has nothing that could change.
            connection.result(target.request(era, session.spoken(), &Asked::list())).await?;
            connection.send(&target.get(session.spoken())).await?
        }
        Era::Modern => {
            let params = json!({ "notifications": { "toolsListChanged": true } });
            let asked = Asked { method: "subscriptions/listen".to_owned(), params };
            let mut request = target.request(era, Spoken::default(), &asked);
            connection.send(request.numbered(FIRST_ID)).await?
        }
    };
    ensure!(head.status == 200 && head.events, "status {} instead of a stream", head.status);
    if era == Era::Modern {
        // What comes before it may be a comment.
        while memmem::find(
            connection.next_piece(head.framing).await?.context("the stream ended before it was acknowledged")?,
            ACKNOWLEDGED,
        )
        .is_none()
        {}
    }
    Ok((connection, head.framing))
}

async fn read(heard: Rc<Heard>, mut connection: Connection, framing: Framing) {
    while let Ok(Some(piece)) = connection.next_piece(framing).await {
        if memmem::find(piece, CHANGED).is_some() {
            heard.at.borrow_mut().push(Instant::now());
            heard.news.notify_one();
        }
    }
    heard.ended.set(heard.ended.get() + 1);
}
