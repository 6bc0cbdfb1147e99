//! The servers of a cluster: who has which rows, learned anew when it changes.

use std::sync::Arc;
use std::time::Duration;

use redis::{Value, cmd};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::failure::Failure;
use super::link::{Link, NoAnswer, Source};
use super::server::{self, Manner};
use super::slots::{self, Range};
use super::url::Address;

/// How often the cluster is asked who has what.
const REFRESH: Duration = Duration::from_secs(5);
/// The same as long as one of its primaries is not there.
const REFRESH_IN_TROUBLE: Duration = Duration::from_millis(250);
/// At least so much lies between two of these.
const PAUSE: Duration = Duration::from_millis(20);
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Who has what, and the connections to them.
pub(super) struct Map {
    ranges: Vec<(Range, Arc<Link>)>,
}

impl Map {
    /// The connection to the primary of the slot.
    pub(super) fn of_slot(&self, slot: u16) -> Option<Arc<Link>> {
        let place = self.ranges.partition_point(|(range, _)| range.last < slot);
        let (range, link) = self.ranges.get(place)?;
        (range.first <= slot).then(|| Arc::clone(link))
    }

    /// The connection to a primary.
    pub(super) fn at(&self, address: &Address) -> Option<Arc<Link>> {
        self.ranges.iter().find(|(range, _)| range.primary == *address).map(|(_, link)| Arc::clone(link))
    }

    /// All primaries, each once, in the order of their addresses.
    pub(super) fn links(&self) -> Vec<(Address, Arc<Link>)> {
        let mut links: Vec<(Address, Arc<Link>)> =
            self.ranges.iter().map(|(range, link)| (range.primary.clone(), Arc::clone(link))).collect();
        links.sort_by(|(left, _), (right, _)| left.cmp(right));
        links.dedup_by(|(left, _), (right, _)| left == right);
        links
    }

    /// Who has what, for comparing.
    pub(super) fn ranges(&self) -> impl Iterator<Item = (u16, u16, &Address)> {
        self.ranges.iter().map(|(range, _)| (range.first, range.last, &range.primary))
    }
}

/// What is known of a cluster.
type Known = Result<Arc<Map>, Failure>;

/// A cluster that is used.
pub(super) struct Cluster {
    known: watch::Receiver<Known>,
    ask_again: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Cluster {
    /// Begins to connect, by way of these servers.
    pub(super) fn start(seeds: Vec<Address>, manner: Manner) -> Self {
        let (sender, known) = watch::channel(Err(Failure::passing("the cluster has not answered yet")));
        let ask_again = Arc::new(Notify::new());
        let keeper = Keeper { seeds, manner, known: sender, ask_again: Arc::clone(&ask_again), turn: 0 };
        Self { known, ask_again, task: tokio::spawn(keeper.run()) }
    }

    /// Who has what, as far as is known.
    pub(super) fn map(&self) -> Known {
        self.known.borrow().clone()
    }

    /// Who has what; waits while the cluster is asked for the first time.
    pub(super) async fn learned(&self, deadline: Instant) -> Known {
        // A copy of what has seen nothing but the beginning: once anything is known, this waits for nothing.
        let mut known = self.known.clone();
        let _ = timeout_at(deadline, known.changed()).await;
        self.map()
    }

    /// Has the cluster asked who has what, and waits for what it says.
    pub(super) async fn asked_again(&self, deadline: Instant) {
        let mut known = self.known.clone();
        known.mark_unchanged();
        self.ask_again.notify_one();
        // Who waited in vain finds out from what is known.
        let _ = timeout_at(deadline, known.changed()).await;
    }

    /// Has the cluster asked who has what, without waiting.
    pub(super) fn ask_again(&self) {
        self.ask_again.notify_one();
    }

    /// Waits until it can be used.
    pub(super) async fn ready(&self, deadline: Instant) -> Result<(), Failure> {
        let mut known = self.known.clone();
        let settled = |known: &Known| known.as_ref().map_or_else(|failure| failure.lasting, |_| true);
        let _ = timeout_at(deadline, known.wait_for(settled)).await;
        for (_, link) in self.map()?.links() {
            link.ready(deadline).await?;
        }
        Ok(())
    }
}

struct Keeper {
    seeds: Vec<Address>,
    manner: Manner,
    known: watch::Sender<Known>,
    ask_again: Arc<Notify>,
    /// Which of the servers is asked first: not always the same, since one may be cut off from the others.
    turn: usize,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            self.turn = self.turn.wrapping_add(1);
            match self.ask().await {
                Ok(ranges) => self.learn(ranges),
                Err(failure) if self.known.borrow().is_err() => {
                    tracing::warn!(reason = failure.reason, "the store cannot be used; trying again");
                    drop(self.known.send_replace(Err(failure)));
                }
                // What was known last is better than nothing: servers that are there are used.
                Err(_) => {}
            }
            let pause = if self.in_order() { REFRESH } else { REFRESH_IN_TROUBLE };
            let _ = timeout(pause, self.ask_again.notified()).await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn in_order(&self) -> bool {
        let known = self.known.borrow();
        known.as_ref().is_ok_and(|map| map.ranges.iter().all(|(_, link)| link.now().is_some()))
    }

    /// Asks the servers that are there, then those that are configured, until one answers.
    async fn ask(&self) -> Result<Vec<Range>, Failure> {
        let mut command = cmd("CLUSTER");
        command.arg("SLOTS");
        let known = self.known.borrow().clone();
        let mut links = known.map(|map| map.links()).unwrap_or_default();
        if !links.is_empty() {
            let places = links.len();
            links.rotate_left(self.turn % places);
        }
        for live in links.iter().filter_map(|(_, link)| link.now()) {
            if let Ok(answer) = live.send(&command, Instant::now() + ANSWER_MAX).await
                && let Some(ranges) = slots::read(&answer, &live.address)
            {
                return Ok(ranges);
            }
        }
        let mut failure = None;
        for seed in &self.seeds {
            match server::ask_once(seed, &self.manner, &command).await {
                Ok(answer) => match slots::read(&answer, seed) {
                    Some(ranges) => return Ok(ranges),
                    None => failure = Some(Failure::passing(format!("{seed} serves no slots"))),
                },
                Err(error) => failure = Some(Failure { reason: format!("{seed}: {}", error.reason), ..error }),
            }
        }
        Err(failure.unwrap_or_else(|| Failure::passing("no server is named")))
    }

    /// Keeps the connections that are needed on, and tells everybody who waits.
    fn learn(&self, ranges: Vec<Range>) {
        let before = self.known.borrow().clone().ok();
        let mut links: Vec<(Address, Arc<Link>)> = before.map(|map| map.links()).unwrap_or_default();
        let mut link_to = |address: &Address| {
            if let Some((_, link)) = links.iter().find(|(known, _)| known == address) {
                return Arc::clone(link);
            }
            let source = Source::At { address: address.clone(), cluster: true };
            let link = Arc::new(Link::start(source, self.manner.clone()));
            links.push((address.clone(), Arc::clone(&link)));
            link
        };
        let ranges = ranges.into_iter().map(|range| (range.clone(), link_to(&range.primary))).collect();
        drop(self.known.send_replace(Ok(Arc::new(Map { ranges }))));
    }
}

/// Which server a request is to be sent to instead.
pub(super) enum Elsewhere {
    /// From now on.
    Moved(Option<Address>),
    /// Just this once.
    Ask(Option<Address>),
}

impl Elsewhere {
    /// Reads it from an error, if it is one of these.
    pub(super) fn of(answer: &NoAnswer, asked: &Address) -> Option<Self> {
        let NoAnswer::Refused(error) = answer else { return None };
        let place = || slots::redirected(error.detail().unwrap_or_default(), asked);
        match error.code() {
            Some("MOVED") => Some(Self::Moved(place())),
            Some("ASK") => Some(Self::Ask(place())),
            _ => None,
        }
    }
}

/// The answer to the second of two requests, of which the first is `ASKING`.
pub(super) fn after_asking(answers: Vec<Value>) -> Result<Value, NoAnswer> {
    let answer = answers.into_iter().nth(1).unwrap_or(Value::Nil);
    answer.extract_error().map_err(NoAnswer::Refused)
}
