//! The load: connections that call one tool again and again, as fast as answers come or at a given rate, on one thread.
//!
//! At a given rate a call's time runs from when it should have started, not from when a connection was free for it: what
//! waits in front of a slow server counts (there is no coordinated omission).

pub(crate) mod connection;
pub(crate) mod crowd;
pub(crate) mod options;
pub(crate) mod outcome;
mod pace;
pub(crate) mod request;
pub(crate) mod streams;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{Instant, sleep_until, timeout};

use self::connection::{Connection, Session, Wrong, session_of};
use self::outcome::{Outcome, Tally};
use self::request::{Asked, Era, FIRST_ID, Request, Spoken, Target};
use crate::cpu;

/// How long answers are waited for that are due when the time is over.
const LATE: Duration = Duration::from_secs(10);
/// How many calls may wait for a connection.
const WAITING_MAX: usize = 1 << 20;
/// A pause after a connection that could not be made, so that an absent server is not asked without end.
const AFTER_FAILURE: Duration = Duration::from_millis(20);

/// What to do.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Where to, and as whom.
    pub(crate) target: Target,
    /// Which era is spoken.
    pub(crate) era: Era,
    /// What is asked for, in turns.
    pub(crate) asked: Vec<Asked>,
    /// How many calls are made at the same time at most.
    pub(crate) connections: usize,
    /// How many sessions they are of; each connection takes turns with its part of them. One per connection at least.
    pub(crate) sessions: usize,
    /// Calls a second; as fast as answers come without it.
    pub(crate) rate: Option<f64>,
    /// How long calls are made before any counts.
    pub(crate) warm_up: Duration,
    /// When it ends.
    pub(crate) length: Length,
    /// A shorter answer is wrong.
    pub(crate) least: usize,
    /// The process whose time is measured, with its descendants.
    pub(crate) pid: Option<u32>,
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Length {
    /// After a time.
    Time(Duration),
    /// After so many calls that counted.
    Calls(u64),
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Phase {
    WarmingUp,
    Measuring,
    Over,
}

/// What the tasks of one load share; they are all on one thread.
struct Shared {
    plan: Plan,
    phase: Cell<Phase>,
    next_id: Cell<u64>,
    /// Answers of any kind so far.
    answered: Cell<u64>,
    tally: RefCell<Tally>,
    /// When the calls that wait for a connection should have started, at a given rate.
    waiting: RefCell<VecDeque<Instant>>,
    arrived: Notify,
    /// Told when so many calls have counted.
    enough: Notify,
}

/// Runs a load to its end.
pub(crate) fn run(plan: &Plan) -> Result<Outcome> {
    on_one_thread(carry_out(plan))
}

/// Runs this on a runtime of one thread.
pub(crate) fn on_one_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    LocalSet::new().block_on(&runtime, work)
}

async fn carry_out(plan: &Plan) -> Result<Outcome> {
    let shared = Rc::new(Shared {
        plan: plan.clone(),
        phase: Cell::new(Phase::WarmingUp),
        next_id: Cell::new(FIRST_ID),
        answered: Cell::new(0),
        tally: RefCell::new(Tally::new()?),
        waiting: RefCell::default(),
        arrived: Notify::new(),
        enough: Notify::new(),
    });
    let mut opening = JoinSet::new();
    for number in 0..plan.connections {
        opening.spawn_local(open(Rc::clone(&shared), number));
    }
    let mut workers = JoinSet::new();
    let mut opened = Vec::new();
    while let Some(caller) = opening.join_next().await {
        opened.push(caller??);
    }
    for (connection, requests) in opened {
        workers.spawn_local(work(Rc::clone(&shared), connection, requests));
    }
    let pacing = match plan.rate {
        Some(rate) => Some(pace::start(rate, {
            let shared = Rc::clone(&shared);
            move |due| shared.arrive(due)
        })?),
        None => None,
    };
    let outcome = measure(&shared, &mut workers).await;
    drop(pacing);
    outcome
}

/// Warms up, measures, and waits for what is still due.
async fn measure(shared: &Shared, workers: &mut JoinSet<()>) -> Result<Outcome> {
    let plan = &shared.plan;
    sleep_until(Instant::now() + plan.warm_up).await;
    let used = || plan.pid.map(cpu::used).transpose();
    let (used_before, answered_before, own_before) = (used()?, shared.answered.get(), cpu::used_here());
    let began = Instant::now();
    shared.tally.borrow_mut().from = Some(began);
    shared.phase.set(Phase::Measuring);
    match plan.length {
        Length::Time(time) => sleep_until(began + time).await,
        Length::Calls(_) => shared.enough.notified().await,
    }
    let seconds = began.elapsed();
    shared.tally.borrow_mut().until = Some(Instant::now());
    // At a given rate what is due by now is still answered, and its time counts as well.
    shared.phase.set(Phase::Over);
    shared.arrived.notify_waiters();
    let late = timeout(LATE, async { while workers.join_next().await.is_some() {} }).await.is_err();
    workers.shutdown().await;
    let answered = shared.answered.get() - answered_before;
    let own = cpu::used_here().saturating_sub(own_before);
    let cpu = match (used()?, used_before) {
        (Some(after), Some(before)) => Some(after.since(before)),
        _ => None,
    };
    let unanswered = shared.waiting.borrow().len() + usize::from(late);
    Ok(shared.tally.borrow().outcome(seconds, answered, cpu, own, unanswered))
}

/// Opens a connection and its sessions, and makes its requests.
async fn open(shared: Rc<Shared>, number: usize) -> Result<(Connection, Vec<Request>)> {
    let plan = &shared.plan;
    let mut connection = Connection::open(&plan.target).await?;
    let all = plan.sessions.max(plan.connections);
    let own = all / plan.connections + usize::from(number < all % plan.connections);
    let mut requests = Vec::with_capacity(own * plan.asked.len());
    for _ in 0..own {
        let session = session_of(plan.era, &mut connection, &plan.target).await?;
        let spoken = session.as_ref().map_or_else(Spoken::default, Session::spoken);
        requests.extend(plan.asked.iter().map(|asked| plan.target.request(plan.era, spoken, asked)));
        if session.is_none() {
            break;
        }
    }
    Ok((connection, requests))
}

/// Calls until the time is over.
async fn work(shared: Rc<Shared>, connection: Connection, mut requests: Vec<Request>) {
    let mut connection = Some(connection);
    let mut turn = 0;
    while let Some(due) = shared.next().await {
        let Some(request) = requests.get_mut(turn) else { return };
        let id = shared.next_id.get();
        shared.next_id.set(id + 1);
        let called = match &mut connection {
            Some(connection) => connection.call(request, id, shared.plan.least).await,
            None => Err(Wrong::Connection),
        };
        let ended = match &called {
            Ok(answer) => answer.closes,
            Err(wrong) => *wrong == Wrong::Connection,
        };
        shared.note(due, called.map(|answer| answer.length));
        if ended {
            connection = Connection::open(&shared.plan.target).await.ok();
            if connection.is_none() {
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
        turn = if turn + 1 == requests.len() { 0 } else { turn + 1 };
    }
}

impl Shared {
    /// When the next call should have started; `None` when there is none any more.
    async fn next(&self) -> Option<Instant> {
        if self.plan.rate.is_none() {
            return (self.phase.get() != Phase::Over).then(Instant::now);
        }
        loop {
            if let Some(due) = self.waiting.borrow_mut().pop_front() {
                return Some(due);
            }
            if self.phase.get() == Phase::Over {
                return None;
            }
            self.arrived.notified().await;
        }
    }

    /// A call is due.
    fn arrive(&self, due: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        if self.phase.get() != Phase::Over && waiting.len() < WAITING_MAX {
            waiting.push_back(due);
            self.arrived.notify_one();
        }
    }

    fn note(&self, due: Instant, called: Result<usize, Wrong>) {
        self.answered.set(self.answered.get() + 1);
        let mut tally = self.tally.borrow_mut();
        let counted = tally.note(due, Instant::now(), self.plan.rate.is_some(), called);
        if let Length::Calls(enough) = self.plan.length
            && counted >= enough
        {
            self.enough.notify_one();
        }
    }
}
