//! What all actors share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::exchange::Wire;
use crate::ledger::Ledger;
use crate::legacy::Legacy;
use crate::listening::Listener;
use crate::loot::Loot;
use crate::people::Logins;
use crate::random::Random;
use crate::session::Session;
use crate::settings::Settings;
use crate::timeline::Timeline;

/// The backends with tools, by their names in the configuration and in front of their tools' names.
pub(crate) const BACKENDS: [&str; 3] = ["legacy", "modern", "dual"];
/// How long anything may take that an owner does.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

/// What actors may do at present.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Phase {
    /// Everything.
    Everything,
    /// Calls on sessions that are there already, with the tokens that are there already.
    Plain,
    /// Nothing.
    Hold,
    /// The run is over: finish what is begun.
    Over,
}

/// The shared part.
pub(crate) struct World {
    pub(crate) wire: Wire,
    pub(crate) settings: Settings,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) ledger: Ledger,
    pub(crate) loot: Loot,
    phase: watch::Sender<Phase>,
    listeners: Mutex<Vec<Arc<Listener>>>,
    legacies: Mutex<Vec<Arc<Legacy>>>,
    numbers: AtomicU64,
    pub(crate) logins: Logins,
    /// Calls that succeeded in the phase of plain calls.
    pub(crate) plain_calls: AtomicU64,
}

impl World {
    pub(crate) fn new(wire: Wire, settings: Settings, timeline: Arc<Timeline>) -> Arc<Self> {
        Arc::new(Self {
            wire,
            settings,
            timeline,
            ledger: Ledger::default(),
            loot: Loot::default(),
            phase: watch::Sender::new(Phase::Hold),
            listeners: Mutex::default(),
            legacies: Mutex::default(),
            numbers: AtomicU64::new(1),
            logins: Logins::default(),
            plain_calls: AtomicU64::new(0),
        })
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    pub(crate) fn over(&self) -> bool {
        self.phase() == Phase::Over
    }

    /// Waits until the run is over.
    pub(crate) async fn end(&self) {
        let _ = self.phase.subscribe().wait_for(|phase| *phase == Phase::Over).await;
    }

    /// How long an owner thinks: shorter while there are only calls, so that there are many of them to measure.
    pub(crate) fn thinking(&self) -> (u64, u64) {
        let pace = self.settings.pace / if self.phase() == Phase::Plain { 6 } else { 1 };
        (pace / 2, pace + pace / 2)
    }

    /// Waits for a while, and then until one of these phases or the end; false at the end.
    pub(crate) async fn pause(&self, least: u64, most: u64, random: &mut Random, phases: &[Phase]) -> bool {
        let mut phase = self.phase.subscribe();
        tokio::select! {
            () = tokio::time::sleep(random.millis(least, most)) => {}
            _ = phase.wait_for(|phase| *phase == Phase::Over) => return false,
        }
        let waited = phase.wait_for(|phase| *phase == Phase::Over || phases.contains(phase)).await;
        waited.is_ok_and(|phase| *phase != Phase::Over)
    }

    /// A number that nobody else has.
    pub(crate) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn listeners(&self) -> MutexGuard<'_, Vec<Arc<Listener>>> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on sessions of this owner can be found.
    pub(crate) fn introduce(&self, legacy: &Arc<Legacy>) {
        self.legacies.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(legacy));
    }

    /// The sessions that are open at the moment, in the order of their owners.
    pub(crate) fn sessions(&self) -> Vec<(Arc<Legacy>, Arc<Session>)> {
        let legacies = self.legacies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut open: Vec<_> =
            legacies.into_iter().filter_map(|legacy| Some((Arc::clone(&legacy), legacy.session()?))).collect();
        open.sort_by(|(one, _), (other, _)| one.who.name.cmp(&other.who.name));
        open
    }

    /// When what begins now must have ended.
    pub(crate) fn limit() -> Instant {
        Instant::now() + LIMIT
    }
}
