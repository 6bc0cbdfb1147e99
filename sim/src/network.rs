//! One store that all nodes share, and the way to it: messages are late, lost or come twice, links break, the store restarts
//! and forgets.
//!
//! What becomes of one operation is drawn from the seed and the name of the operation, never from the order in which tasks
//! happen to run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hawser_store::{Delivery, Feed, MemoryStore, StoreError, Subscription, Unavailable};
use tokio::time::{Instant, sleep};

use crate::random::draw;
use crate::time::Beginning;

/// An operation that does not come back is given up after this time, as every adapter promises.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(2);
/// Deliveries that a subscriber may be behind.
const LAG: usize = 256;
/// Longest way there or back, in milliseconds, while all is well.
const WAY_MAX: u64 = 20;
/// How late a published message may come, in milliseconds.
const LATE_MAX: u64 = 300;
/// How late one comes while nothing goes wrong.
const FAITHFUL: Duration = Duration::from_millis(10);

/// The state of the way between one node and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Operations arrive and their answers come back. Published messages may still be lost, late, or come twice.
    Calm,
    /// Operations or their answers get lost.
    Stormy,
    /// Nothing comes through, and nobody says so.
    Stalled,
    /// Nothing comes through, and that is known at once.
    Cut,
}

/// The store and the ways to it.
#[derive(Debug)]
pub struct Network {
    seed: u64,
    beginning: Beginning,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rows: Arc<MemoryStore>,
    up: bool,
    /// Whether published messages all arrive, once, and in order.
    faithful: bool,
    up_since: Instant,
    flushed: Option<Instant>,
    links: Vec<Link>,
    listeners: Vec<Listener>,
}

#[derive(Debug)]
struct Link {
    weather: Weather,
    calm_since: Instant,
    /// The present start of the node; what an earlier one still does reaches nothing.
    start: u64,
    /// How often each operation was made.
    made: BTreeMap<String, u64>,
    /// Messages may have been missed since the last word.
    missed: bool,
}

#[derive(Debug)]
struct Listener {
    node: usize,
    start: u64,
    channel: String,
    feed: Feed,
}

/// What becomes of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Passes { there: Duration, back: Duration },
    LostThere,
    LostBack { there: Duration },
    Refused,
}

/// An operation that has arrived at the store.
pub(crate) struct Arrived {
    /// The rows.
    pub(crate) rows: Arc<MemoryStore>,
    back: Option<Duration>,
    began: Instant,
}

impl Network {
    /// A calm one.
    pub fn new(seed: u64, nodes: usize, beginning: Beginning) -> Arc<Self> {
        let now = Instant::now();
        let link = || Link { weather: Weather::Calm, calm_since: now, start: 0, made: BTreeMap::new(), missed: false };
        let state = State {
            rows: Arc::new(MemoryStore::with_clock(beginning.wall_clock())),
            up: true,
            faithful: false,
            up_since: now,
            flushed: None,
            links: (0..nodes).map(|_| link()).collect(),
            listeners: Vec::new(),
        };
        Arc::new(Self { seed, beginning, state: Mutex::new(state) })
    }

    /// Changes the weather of a node.
    pub fn set_weather(&self, node: usize, weather: Weather) {
        let mut state = self.lock();
        let Some(link) = state.links.get_mut(node) else { return };
        if link.weather != Weather::Calm && weather == Weather::Calm {
            link.calm_since = Instant::now();
        }
        // Only a connection that was broken is made anew; in a storm it stands, and nobody knows what it lost.
        link.missed |= matches!(weather, Weather::Stalled | Weather::Cut);
        link.weather = weather;
        drop(state);
        self.tell_missed();
    }

    /// Stops the store, or starts it again with its rows.
    pub fn set_up(&self, up: bool) {
        let mut state = self.lock();
        if up && !state.up {
            state.up_since = Instant::now();
        }
        state.up = up;
        if !up {
            state.links.iter_mut().for_each(|link| link.missed = true);
        }
        drop(state);
        self.tell_missed();
    }

    /// Whether published messages are to arrive all, once and in order, as over connections that stand.
    pub fn set_faithful(&self, faithful: bool) {
        self.lock().faithful = faithful;
    }

    /// Whether they do.
    pub fn is_faithful(&self) -> bool {
        self.lock().faithful
    }

    /// Forgets every row.
    pub fn flush(&self) {
        let mut state = self.lock();
        state.rows = Arc::new(MemoryStore::with_clock(self.beginning.wall_clock()));
        state.flushed = Some(Instant::now());
    }

    /// When rows were last lost.
    pub fn flushed(&self) -> Option<Instant> {
        self.lock().flushed
    }

    /// A node starts anew: what it did before reaches nothing any more.
    pub fn restart(&self, node: usize) -> u64 {
        let mut state = self.lock();
        state.listeners.retain(|listener| listener.node != node);
        state.links.get_mut(node).map_or(0, |link| {
            link.start += 1;
            link.missed = matches!(link.weather, Weather::Stalled | Weather::Cut);
            link.start
        })
    }

    /// Since when a node has reached the store without fail; `None` if it does not.
    pub fn calm_since(&self, node: usize) -> Option<Instant> {
        let state = self.lock();
        let link = state.links.get(node)?;
        (state.up && link.weather == Weather::Calm).then(|| link.calm_since.max(state.up_since))
    }

    /// An operation of a node makes its way to the store.
    pub(crate) async fn reach(&self, node: usize, start: u64, what: &str, key: &str) -> Result<Arrived, StoreError> {
        let began = Instant::now();
        let fate = self.fate(node, start, what, key).await;
        match fate {
            Fate::Refused => Err(unavailable("no connection")),
            Fate::LostThere => self.give_up(node, start, began).await,
            Fate::Passes { there, .. } | Fate::LostBack { there } => {
                sleep(there).await;
                self.alive(node, start).await;
                if !self.passes(node) {
                    return self.give_up(node, start, began).await;
                }
                let back = if let Fate::Passes { back, .. } = fate { Some(back) } else { None };
                Ok(Arrived { rows: Arc::clone(&self.lock().rows), back, began })
            }
        }
    }

    /// Its answer makes its way back.
    pub(crate) async fn come_back(&self, node: usize, start: u64, arrived: &Arrived) -> Result<(), StoreError> {
        if let Some(back) = arrived.back {
            sleep(back).await;
            self.alive(node, start).await;
            if self.passes(node) {
                return Ok(());
            }
        }
        self.give_up(node, start, arrived.began).await
    }

    /// Messages to all who listen now.
    pub(crate) fn publish(self: &Arc<Self>, from: usize, channel: &str, message: &Bytes) {
        let state = self.lock();
        let made = state.links.get(from).and_then(|link| link.made.get(&format!("publish {channel}")));
        let number = format!("{from} {}", made.copied().unwrap_or_default());
        for listener in state.listeners.iter().filter(|listener| listener.channel == channel) {
            let name = ["publish", channel, &number, &listener.node.to_string()];
            let chance = draw(self.seed, &name) % 100;
            let late = |more: u64| Duration::from_millis(draw(self.seed.wrapping_add(more), &name) % LATE_MAX);
            // A fifth is lost, a tenth comes twice, and some of the rest overtake one another.
            let ways = if state.faithful {
                vec![FAITHFUL]
            } else if chance < 20 {
                vec![]
            } else if chance < 30 {
                vec![late(1), late(2)]
            } else {
                vec![late(1)]
            };
            for late in ways {
                let (network, node, feed) = (Arc::clone(self), listener.node, listener.feed.clone());
                let message = message.clone();
                tokio::spawn(async move {
                    sleep(late).await;
                    if network.passes(node) {
                        feed.send(Delivery::Message(message));
                    }
                });
            }
        }
    }

    /// A node listens from now on.
    pub(crate) fn subscribe(&self, node: usize, start: u64, channel: &str) -> Subscription {
        let feed = Feed::new(LAG);
        let subscription = feed.subscribe();
        let mut state = self.lock();
        // One that nobody holds any more takes nothing.
        state.listeners.retain(|listener| listener.feed.is_heard());
        state.listeners.push(Listener { node, start, channel: channel.to_owned(), feed });
        subscription
    }

    /// What an earlier start of a node waits for never comes.
    async fn alive(&self, node: usize, start: u64) {
        if self.lock().links.get(node).is_none_or(|link| link.start != start) {
            std::future::pending::<()>().await;
        }
    }

    async fn give_up<T>(&self, node: usize, start: u64, began: Instant) -> Result<T, StoreError> {
        tokio::time::sleep_until(began + GIVEN_UP_AFTER).await;
        self.alive(node, start).await;
        Err(unavailable("no answer in time"))
    }

    async fn fate(&self, node: usize, start: u64, what: &str, key: &str) -> Fate {
        self.alive(node, start).await;
        let mut state = self.lock();
        let up = state.up;
        let Some(link) = state.links.get_mut(node) else { return Fate::Refused };
        // Numbers of a journal begin with the real time, so they name nothing here.
        let key =
            key.split_once('/').map_or(key, |(family, _)| if family.starts_with("journal-") { family } else { key });
        let name = format!("{what} {key}");
        let times = link.made.entry(name.clone()).or_default();
        *times += 1;
        let number = draw(self.seed, &["operation", &name, &node.to_string(), &times.to_string()]);
        let there = Duration::from_millis(number % WAY_MAX);
        let back = Duration::from_millis(number / 64 % WAY_MAX);
        match link.weather {
            Weather::Cut => Fate::Refused,
            _ if !up => Fate::Refused,
            Weather::Stalled => Fate::LostThere,
            Weather::Stormy => match number / 4096 % 10 {
                0..=2 => Fate::LostThere,
                3..=5 => Fate::LostBack { there },
                _ => Fate::Passes { there, back },
            },
            Weather::Calm => Fate::Passes { there, back },
        }
    }

    /// Whether what is on its way between a node and the store arrives now.
    fn passes(&self, node: usize) -> bool {
        let state = self.lock();
        let open = |link: &Link| matches!(link.weather, Weather::Calm | Weather::Stormy);
        state.up && state.links.get(node).is_some_and(open)
    }

    /// Who listens learns that messages may be missing, as soon as the connection is back.
    fn tell_missed(&self) {
        let mut state = self.lock();
        let State { up, links, listeners, .. } = &mut *state;
        for (node, link) in links.iter_mut().enumerate() {
            if *up && link.missed && matches!(link.weather, Weather::Calm | Weather::Stormy) {
                link.missed = false;
                for listener in
                    listeners.iter().filter(|listener| listener.node == node && listener.start == link.start)
                {
                    listener.feed.send(Delivery::Missed);
                }
            }
        }
    }

    /// No code that can panic runs between two changes that belong together.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unavailable(reason: &str) -> StoreError {
    Unavailable { reason: reason.to_owned() }.into()
}
