//! What is done about sessions beside requests: their use is written to the store, what may have been missed is looked up, what
//! is over is written again where the store has lost it.
//!
//! One loop does it, in small batches, so that neither a request nor the store waits for it. While the store cannot be reached it
//! tries a few times a second, however much comes in meanwhile, so that what is over is known within a second of its return; what
//! is more than it can hold is asked for again by the next request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use hawser_store::{StoreError, Told, Unavailable};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::warn;

use super::announced::Announced;
use super::ended::{Over, Whose};
use super::ending::{AT_A_STEP, TOMBSTONE_MARGIN};
use super::{Sessions, row};
use crate::record::{self, Anew, StoredSession};
use crate::session::Session;

/// Most errands that wait, and most of each kind that are taken over.
const ERRANDS_MAX: usize = 4096;
/// Most of each kind of work that is done at the same time.
const BATCH: usize = 32;
/// Between two batches: at most about 6,000 look-ups a second.
const PAUSE: Duration = Duration::from_millis(5);
/// Until the store is tried again that could not be reached.
const RETRY: Duration = Duration::from_millis(250);
/// Most sessions that are sorted in one go.
const SORTED_AT_ONCE: usize = 8 * 1024;
/// Longest look-up of one session: what is under way when the store comes back must not hold up the rest.
const LOOKED_UP_WITHIN: Duration = Duration::from_millis(500);

/// What is to be done about one session.
#[derive(Debug)]
pub(super) enum Errand {
    /// Its use is to be written.
    Note(Arc<Session>),
    /// It is to be looked up.
    Check(Arc<Session>),
    /// What is over is to be written, and told.
    Owed(Over),
}

/// The loop's mailbox.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// How often this node may have missed something, from one on.
    round: AtomicU32,
    missed: Notify,
    errands: mpsc::Sender<Errand>,
    waiting: Mutex<Option<mpsc::Receiver<Errand>>>,
}

impl Default for Upkeep {
    fn default() -> Self {
        let (errands, waiting) = mpsc::channel(ERRANDS_MAX);
        Self { round: AtomicU32::new(1), missed: Notify::new(), errands, waiting: Mutex::new(Some(waiting)) }
    }
}

impl Upkeep {
    pub(super) fn round(&self) -> u32 {
        self.round.load(Ordering::Acquire)
    }

    /// `false` if too much waits already.
    pub(super) fn send(&self, errand: Errand) -> bool {
        self.errands.try_send(errand).is_ok()
    }
}

/// What is left to do.
#[derive(Debug)]
struct Left {
    /// And whether it is to be told even if the store has it.
    over: VecDeque<(Over, bool)>,
    notes: Vec<Arc<Session>>,
    /// Those whose requests asked for it.
    asked: Vec<Arc<Session>>,
    /// All of them, after something was missed. Those that were used last come last, and are taken first.
    checks: Vec<Arc<Session>>,
    /// The store could not be reached a moment ago.
    failed: bool,
    /// When the next batch begins. Errands that come in do not put it off.
    due: Instant,
}

impl Left {
    fn new() -> Self {
        let (notes, asked, checks) = (Vec::new(), Vec::new(), Vec::new());
        Self { over: VecDeque::new(), notes, asked, checks, failed: false, due: Instant::now() }
    }

    fn add(&mut self, errand: Errand) {
        match errand {
            Errand::Note(session) if self.notes.len() < ERRANDS_MAX => self.notes.push(session),
            Errand::Note(session) => session.not_stored(),
            Errand::Check(session) if self.asked.len() < ERRANDS_MAX => self.asked.push(session),
            Errand::Check(session) => session.checked.not_asked(),
            Errand::Owed(over) => self.over.push_front((over, true)),
        }
    }

    fn len(&self) -> usize {
        self.over.len() + self.notes.len() + self.asked.len() + self.checks.len()
    }
}

impl Sessions {
    /// Announcements may have been missed: every session is looked up anew, and what is over is written again if the store has
    /// lost it.
    pub(crate) fn missed(&self) {
        self.upkeep.round.fetch_add(1, Ordering::AcqRel);
        self.upkeep.missed.notify_one();
    }

    /// Writes when a session was last used, soon.
    pub(super) fn note_soon(&self, session: &Arc<Session>) {
        if !session.is_pooled() && !self.upkeep.send(Errand::Note(Arc::clone(session))) {
            session.not_stored();
        }
    }

    /// Looks a session up that the store has not confirmed, soon.
    pub(super) fn check_soon(&self, session: &Arc<Session>) {
        let due = !session.is_pooled() && !session.checked.is_of(self.upkeep.round());
        if due && session.checked.ask() && !self.upkeep.send(Errand::Check(Arc::clone(session))) {
            session.checked.not_asked();
        }
    }

    /// Hears what other nodes ended. Runs until dropped; does nothing in a store of one node.
    pub(crate) async fn follow(&self) {
        let Some(journal) = &self.journal else { return };
        let mut follower = journal.follow().await;
        while let Some(told) = follower.next().await {
            match told {
                Told::Message(message) => {
                    if let Some(announced) = Announced::read(&message) {
                        self.hear(announced).await;
                    } else {
                        warn!("what another node told of its sessions could not be read; all are looked up");
                        self.missed();
                    }
                }
                Told::Missed => self.missed(),
            }
        }
    }

    /// Runs until dropped.
    pub(crate) async fn upkeep(&self) {
        let waiting = self.upkeep.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut errands) = waiting else { return };
        let mut left = Left::new();
        loop {
            tokio::select! {
                biased;
                errand = errands.recv() => {
                    let Some(errand) = errand else { return };
                    left.add(errand);
                    for errand in (0..ERRANDS_MAX).map_while(|_| errands.try_recv().ok()) {
                        left.add(errand);
                    }
                    if !left.failed {
                        self.do_some(&mut left).await;
                    }
                }
                () = self.upkeep.missed.notified() => self.plan(&mut left).await,
                () = sleep_until(left.due), if left.len() > 0 => self.do_some(&mut left).await,
            }
        }
    }

    /// Everything that a missed announcement could be about. In steps, between which others get their turn.
    async fn plan(&self, left: &mut Left) {
        let round = self.upkeep.round();
        let known = self.ended.all(self.now());
        left.over.retain(|(_, owed)| *owed);
        left.over.extend(known.into_iter().map(|over| (over, false)));
        left.checks.clear();
        let mut at = Some(0);
        while let Some(start) = at {
            let (some, next) = self.places.from(start, AT_A_STEP);
            left.checks
                .extend(some.into_iter().filter(|session| !session.is_pooled() && !session.checked.is_of(round)));
            at = next;
            tokio::task::yield_now().await;
        }
        left.checks = by_last_use(std::mem::take(&mut left.checks)).await;
    }

    async fn do_some(&self, left: &mut Left) {
        let over: Vec<_> = left.over.drain(..left.over.len().min(BATCH)).collect();
        let (notes, asked, checks) = (some(&mut left.notes), some(&mut left.asked), some(&mut left.checks));
        let settling = join_all(over.iter().map(|(over, owed)| self.settle(over, *owed)));
        let noting = join_all(notes.iter().map(|session| self.write(session, Anew::Use)));
        let answering = join_all(asked.iter().map(|session| self.check_in_time(session)));
        let checking = join_all(checks.iter().map(|session| self.check_in_time(session)));
        let (settled, written, answered, looked_up) = futures_util::join!(settling, noting, answering, checking);
        let before = left.len();
        // It may be written and not be told.
        left.over.extend(failed(over, &settled).map(|(over, _)| (over, true)));
        left.notes.extend(failed(notes, &written));
        left.asked.extend(failed(asked, &answered));
        left.checks.extend(failed(checks, &looked_up));
        left.failed = left.len() > before;
        left.due = Instant::now() + if left.failed { RETRY } else { PAUSE };
    }

    async fn check_in_time(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        let late = |_| StoreError::from(Unavailable { reason: "a look-up took too long".to_owned() });
        timeout(LOOKED_UP_WITHIN, self.check(session)).await.map_err(late)?
    }

    /// Looks a session up, and ends it here if it is over.
    pub(super) async fn check(&self, session: &Arc<Session>) -> Result<(), StoreError> {
        if session.is_ended() {
            return Ok(());
        }
        let round = self.upkeep.round();
        let (owner, endpoint) = (session.owner(), session.endpoint().path());
        let found = self.config.store.get(&row(session.key())?).await?;
        match found.as_ref().map(|bytes| record::read(bytes, owner, endpoint)) {
            Some(StoredSession::Terminated | StoredSession::Foreign) => {
                self.cut_off(session, "ended_elsewhere");
                return Ok(());
            }
            // Served by nodes of a later release; here it was admitted before.
            Some(StoredSession::Newer) => {}
            Some(StoredSession::Live(stored)) => {
                session.used_elsewhere(stored.last_used);
                if session.checked.is_little() {
                    session.fill_in(*stored);
                    if let Some(grant) = session.grant() {
                        self.grants.add(grant, session.key());
                    }
                }
            }
            None => drop(self.write(session, Anew::Use).await?),
        }
        let revoked = self.is_revoked_as_a_whole(&owner.to_hex(), endpoint, session.opened()).await?;
        if revoked || self.is_revoked(session.grant()).await? {
            self.cut_off(session, "revoked");
            return self.settle(&Over::Session(session.key(), Self::ended_of(session)), true).await;
        }
        session.checked.confirm(round);
        Ok(())
    }

    /// Writes that something is over, if the store does not have it, and tells the other nodes then, or if that is still owed.
    async fn settle(&self, over: &Over, owed: bool) -> Result<(), StoreError> {
        let written = match over {
            Over::Session(key, ended) => {
                let row = row(*key)?;
                let found = self.config.store.get(&row).await?;
                let there = found.is_some_and(|bytes| record::is_tombstone(&bytes));
                if !there {
                    let (tombstone, ttl) = self.tombstone(ended);
                    self.config.store.put(&row, tombstone, Some(ttl)).await?;
                }
                !there
            }
            Over::Whose(whose, before) => {
                let there = self.revoked_before(whose).await?.is_some_and(|there| there >= before.before);
                if !there {
                    self.write_revoked(whose, *before).await?;
                }
                !there
            }
        };
        if written || owed { self.announce(&over.clone().into()).await } else { Ok(()) }
    }

    /// Ends live sessions that another node says are over. Their rows are that node's to write.
    /// Many are looked at in steps, between which others get their turn; what is noted first keeps any from coming back.
    pub(super) async fn hear(&self, announced: Announced) {
        let now = self.now();
        match announced {
            Announced::Ended(key, ended) => {
                self.ended.note(key, ended, now);
                let held = self.live.pin().get(&key).cloned();
                if let Some(session) = held.filter(|session| !session.is_pooled()) {
                    self.cut_off(&session, "ended_elsewhere");
                }
            }
            Announced::Revoked(whose, mut before) => {
                // Clocks differ a little; no word holds for sessions that are yet to be opened.
                before.before = before.before.min(now.plus(TOMBSTONE_MARGIN));
                for whose in &whose {
                    self.ended.note_revoked(whose.clone(), before, now);
                }
                let mut at = Some(0);
                while let Some(start) = at {
                    let (some, next) = self.places.from(start, AT_A_STEP);
                    for session in some {
                        if session.opened() <= before.before && whose.iter().any(|whose| is_of(&session, whose)) {
                            self.cut_off(&session, "revoked");
                        }
                        self.let_go_of_unsealed(&session);
                    }
                    at = next;
                    tokio::task::yield_now().await;
                }
            }
            Announced::Grant(grant) => {
                for session in self.opened_under(&grant) {
                    self.cut_off(&session, "revoked");
                }
            }
        }
    }

    /// Tells the other nodes.
    pub(super) async fn announce(&self, announced: &Announced) -> Result<(), StoreError> {
        match &self.journal {
            Some(journal) => journal.announce(announced.to_bytes()).await,
            None => Ok(()),
        }
    }

    /// Something is over, and the store could not be told.
    pub(super) fn owe(&self, over: Over) {
        let now = self.now();
        match &over {
            Over::Session(key, ended) => drop(self.ended.note(*key, ended.clone(), now)),
            Over::Whose(whose, before) => drop(self.ended.note_revoked(whose.clone(), *before, now)),
        }
        if !self.upkeep.send(Errand::Owed(over)) {
            // It is remembered; so it is written with all that is.
            self.upkeep.missed.notify_one();
        }
    }
}

fn is_of(session: &Session, whose: &Whose) -> bool {
    match whose {
        Whose::Owner(owner) => session.owner().is_hex(owner),
        Whose::Endpoint(endpoint) => session.endpoint().path() == endpoint,
    }
}

/// In the order of their last use. Where they are many nobody waits while they are sorted.
async fn by_last_use(mut sessions: Vec<Arc<Session>>) -> Vec<Arc<Session>> {
    if sessions.len() <= SORTED_AT_ONCE {
        sessions.sort_by_cached_key(|session| session.last_used());
        return sessions;
    }
    let sorting = tokio::task::spawn_blocking(move || {
        sessions.sort_by_cached_key(|session| session.last_used());
        sessions
    });
    // It cannot panic; were it stopped with the runtime, nothing would be left to do.
    sorting.await.unwrap_or_default()
}

/// The last few.
fn some(of: &mut Vec<Arc<Session>>) -> Vec<Arc<Session>> {
    of.split_off(of.len().saturating_sub(BATCH))
}

/// What is to be done again.
fn failed<T, R>(of: Vec<T>, results: &[Result<R, StoreError>]) -> impl Iterator<Item = T> {
    of.into_iter().zip(results).filter(|(_, result)| result.is_err()).map(|(item, _)| item)
}
