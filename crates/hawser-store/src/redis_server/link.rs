//! The connection to one server, kept: made again when it is lost, and given up the moment it is known not to work.
//!
//! Whoever wants to use it looks at its state, which costs nothing: as long as the server is known to be down nobody waits.
//! Only the first attempt after a loss is waited for, so that a connection that breaks is mostly not noticed.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::failure::{Failure, told};
use super::sentinels::Sentinels;
use super::server::{self, About, Driver, Manner};
use super::url::Address;

/// How often a server is asked whether it is there and still the primary.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long it may take to answer that.
const HEARTBEAT_MAX: Duration = Duration::from_millis(1500);
/// How many heartbeats lie between two looks at what the Sentinels say.
const SENTINELS_EVERY: u32 = 5;
/// A connection that lasted for less was no success: the next attempt waits.
const STEADY: Duration = Duration::from_secs(1);
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How often a server that stays away is told of in the log.
const COMPLAINT: Duration = Duration::from_secs(10);

/// Where a server is found.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// Here.
    At { address: Address, cluster: bool },
    /// Where the Sentinels say.
    Sentinels(Arc<Sentinels>),
}

/// What is known of a connection.
#[derive(Clone)]
pub(super) enum State {
    /// It is being made, for the first time or for the first time after a loss.
    Trying,
    /// It is there.
    Up(Arc<Live>),
    /// It is not, and attempts go on.
    Down(Failure),
}

/// A connection that works, as far as is known.
pub(super) struct Live {
    connection: MultiplexedConnection,
    pub(super) address: Address,
    pub(super) about: About,
    broken: Notify,
    reason: Mutex<Option<String>>,
}

/// How a request fared that got no answer of use.
pub(super) enum NoAnswer {
    /// The server answered with an error that it means for this request.
    Refused(redis::RedisError),
    /// It did not answer, or not as one that works.
    Failed(Failure),
}

impl Live {
    /// One round trip.
    pub(super) async fn send(&self, command: &Cmd, deadline: Instant) -> Result<Value, NoAnswer> {
        let mut connection = self.connection.clone();
        let sent = timeout_at(deadline, connection.send_packed_command(command)).await;
        self.judge(sent.map(|answer| answer.and_then(Value::extract_error)))
    }

    /// Several requests in one round trip. The answers hold the errors.
    pub(super) async fn send_all(
        &self,
        commands: &redis::Pipeline,
        count: usize,
        deadline: Instant,
    ) -> Result<Vec<Value>, NoAnswer> {
        let mut connection = self.connection.clone();
        let sent = timeout_at(deadline, connection.send_packed_commands(commands, 0, count)).await;
        self.judge(sent)
    }

    fn judge<T>(&self, sent: Result<redis::RedisResult<T>, tokio::time::error::Elapsed>) -> Result<T, NoAnswer> {
        let failure = match sent {
            Ok(Ok(answer)) => return Ok(answer),
            Err(_) => "the server does not answer".to_owned(),
            // It stopped being the primary, or is not ready to be one.
            Ok(Err(error)) if matches!(error.code(), Some("READONLY" | "LOADING" | "MASTERDOWN")) => told(&error),
            Ok(Err(error)) if error.code().is_some() => return Err(NoAnswer::Refused(error)),
            Ok(Err(error)) => told(&error),
        };
        self.give_up(&failure);
        Err(NoAnswer::Failed(Failure::passing(failure)))
    }

    /// Has the connection made anew.
    fn give_up(&self, reason: &str) {
        self.reason.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
        self.broken.notify_one();
    }

    /// Returns when somebody gave it up.
    async fn given_up(&self) -> Failure {
        self.broken.notified().await;
        let reason = self.reason.lock().unwrap_or_else(PoisonError::into_inner).take();
        Failure::passing(reason.unwrap_or_default())
    }
}

/// Keeps one connection for as long as it exists.
pub(super) struct Link {
    state: watch::Receiver<State>,
    task: JoinHandle<()>,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Link {
    /// Begins to connect.
    pub(super) fn start(source: Source, manner: Manner) -> Self {
        let (sender, state) = watch::channel(State::Trying);
        let task = tokio::spawn(Keeper { source, manner, state: sender }.run());
        Self { state, task }
    }

    /// The connection, if it is there.
    pub(super) fn now(&self) -> Option<Arc<Live>> {
        match &*self.state.borrow() {
            State::Up(live) => Some(Arc::clone(live)),
            State::Trying | State::Down(_) => None,
        }
    }

    /// The connection; waits while it is tried for the first time.
    pub(super) async fn live(&self, deadline: Instant) -> Result<Arc<Live>, Failure> {
        let mut state = self.state.clone();
        let settled = timeout_at(deadline, state.wait_for(|state| !matches!(state, State::Trying))).await;
        let Ok(Ok(settled)) = settled else { return Err(Failure::passing("the server does not answer")) };
        match &*settled {
            State::Up(live) => Ok(Arc::clone(live)),
            State::Down(failure) => Err(failure.clone()),
            State::Trying => Err(Failure::passing("the server does not answer")),
        }
    }

    /// The connection; waits for as long as it may come yet.
    pub(super) async fn ready(&self, deadline: Instant) -> Result<(), Failure> {
        let mut state = self.state.clone();
        let lasting = |state: &State| matches!(state, State::Up(_) | State::Down(Failure { lasting: true, .. }));
        // Whether it came or the time is up, the state says how things are.
        let _ = timeout_at(deadline, state.wait_for(lasting)).await;
        match &*state.borrow() {
            State::Up(_) => Ok(()),
            State::Down(failure) => Err(failure.clone()),
            State::Trying => Err(Failure::passing("the server does not answer")),
        }
    }
}

struct Keeper {
    source: Source,
    manner: Manner,
    state: watch::Sender<State>,
}

impl Keeper {
    async fn run(self) {
        let (mut backoff, mut complained) = (BACKOFF_MIN, None::<Instant>);
        loop {
            let failure = match self.attempt().await {
                Ok((live, driver)) => {
                    let live = Arc::new(live);
                    tracing::info!(server = %live.address, version = %live.about.version, "connected to the store");
                    self.state.send_replace(State::Up(Arc::clone(&live)));
                    let since = Instant::now();
                    let failure = self.watch(&live, driver).await;
                    tracing::warn!(server = %live.address, reason = failure.reason, "lost the connection to the store");
                    complained = Some(Instant::now());
                    if since.elapsed() >= STEADY {
                        backoff = BACKOFF_MIN;
                        self.state.send_replace(State::Trying);
                        continue;
                    }
                    failure
                }
                Err(failure) => failure,
            };
            if complained.is_none_or(|last| last.elapsed() >= COMPLAINT) {
                tracing::warn!(server = %self.source, reason = failure.reason, "the store cannot be used; trying again");
                complained = Some(Instant::now());
            }
            self.state.send_replace(State::Down(failure));
            sleep(jittered(backoff)).await;
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    async fn attempt(&self) -> Result<(Live, Driver), Failure> {
        match &self.source {
            Source::At { address, cluster } => open(address, &self.manner, *cluster).await,
            Source::Sentinels(sentinels) => {
                let mut failure = None;
                for address in sentinels.candidates().await? {
                    match open(&address, &self.manner, false).await {
                        Ok(opened) => return Ok(opened),
                        Err(error) => failure = Some(error),
                    }
                }
                Err(failure.unwrap_or_else(|| Failure::passing("the Sentinels know no primary of this name")))
            }
        }
    }

    /// Returns when the connection is of no use any more.
    async fn watch(&self, live: &Live, driver: Driver) -> Failure {
        tokio::select! {
            () = driver => Failure::passing("the connection was closed"),
            failure = live.given_up() => failure,
            failure = self.heartbeats(live) => failure,
        }
    }

    async fn heartbeats(&self, live: &Live) -> Failure {
        let mut connection = live.connection.clone();
        for beat in 1_u32.. {
            sleep(HEARTBEAT).await;
            let info = timeout(HEARTBEAT_MAX, server::info(&mut connection, Some("replication"))).await;
            let checked = info.unwrap_or_else(|_| Err(Failure::passing("the server does not answer")));
            if let Err(failure) = checked.and_then(|info| server::is_primary(&info)) {
                return failure;
            }
            if let Source::Sentinels(sentinels) = &self.source
                && beat.is_multiple_of(SENTINELS_EVERY)
                && let Ok(candidates) = sentinels.candidates().await
                && candidates.first().is_some_and(|first| *first != live.address)
            {
                return Failure::passing("the Sentinels name another primary");
            }
        }
        Failure::passing("asked for too long")
    }
}

/// Connects and examines.
async fn open(address: &Address, manner: &Manner, cluster: bool) -> Result<(Live, Driver), Failure> {
    let (mut connection, mut driver) = server::connect(address, manner).await?;
    let about = tokio::select! {
        about = server::examine(&mut connection, cluster) => about?,
        () = &mut driver => return Err(Failure::passing("the connection was closed")),
    };
    if let Some(policy) = &about.evicts {
        tracing::warn!(
            server = %address,
            policy = &**policy,
            "the store's server deletes rows when its memory is full, and with them what was revoked: set its maxmemory-policy to noeviction"
        );
    }
    let live = Live { connection, address: address.clone(), about, broken: Notify::new(), reason: Mutex::new(None) };
    Ok((live, driver))
}

/// Half of it, and up to as much again: so that many nodes do not come back in step.
fn jittered(backoff: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1000;
    backoff / 2 + backoff * u32::try_from(random).unwrap_or_default() / 2000
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::At { address, .. } => address.fmt(f),
            Self::Sentinels(sentinels) => sentinels.fmt(f),
        }
    }
}
