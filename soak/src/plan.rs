//! What goes wrong, and when: decided by the seed before anything is started, so that the same seed is the same run.

use std::fmt;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::random::Random;

/// Nothing goes wrong before this: sessions are opened, and the quiet measurements are made.
pub(crate) const QUIET_START: Duration = Duration::from_secs(35);
/// Nor in the last of a run: what is late has time to come.
const QUIET_END: Duration = Duration::from_secs(20);
/// From one fault to the next; in between it is quiet for a while.
const APART: (u64, u64) = (9_000, 15_000);

/// A kind of fault.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A node is killed with SIGKILL and started again.
    KillNode,
    /// Every node in turn is told to stop (SIGTERM), and started again.
    RollingRestart,
    /// The store is killed and started again, with its data.
    StoreRestart,
    /// The store forgets everything.
    StoreFlush,
    /// Nothing passes between one node and the store, and nobody says so.
    StoreStall,
    /// The connections of one node to the store are cut, and new ones refused.
    StoreCut,
    /// What passes between one node and the store takes long.
    StoreDelay,
    /// A backend is killed and started again; it has forgotten its sessions.
    BackendRestart,
    /// The key ring gets a new active key.
    KeyRotation,
    /// An administrator ends a session.
    Revocation,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.to_possible_value();
        f.write_str(value.as_ref().map_or("?", |value| value.get_name()))
    }
}

/// A fault that will be.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Planned {
    /// From the start of the run.
    pub(crate) at: Duration,
    pub(crate) kind: Kind,
    /// Which node, backend or session, as a number to be taken modulo how many there are.
    pub(crate) which: u64,
    /// How long it lasts, where that is to choose.
    pub(crate) lasts: Duration,
}

/// All faults of a run. Every kind comes once before any comes again.
pub(crate) fn plan(seed: u64, length: Duration, kinds: &[Kind]) -> Vec<Planned> {
    let mut random = Random::of(seed, "plan");
    let (mut faults, mut deck) = (Vec::new(), Vec::new());
    let mut at = QUIET_START;
    while at + QUIET_END <= length && !kinds.is_empty() {
        if deck.is_empty() {
            deck = kinds.to_vec();
            random.shuffle(&mut deck);
        }
        let Some(kind) = deck.pop() else { break };
        let lasts = match kind {
            Kind::KillNode | Kind::BackendRestart | Kind::StoreRestart => random.millis(300, 2_500),
            Kind::StoreStall | Kind::StoreCut => random.millis(1_500, 5_000),
            Kind::StoreDelay => random.millis(3_000, 6_000),
            Kind::RollingRestart | Kind::StoreFlush | Kind::KeyRotation | Kind::Revocation => Duration::ZERO,
        };
        faults.push(Planned { at, kind, which: random.next(), lasts });
        // Three nodes one after the other take their time.
        let more = if kind == Kind::RollingRestart { Duration::from_secs(20) } else { lasts };
        at += more + random.millis(APART.0, APART.1);
    }
    faults
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::Duration;

    use clap::ValueEnum as _;

    use super::{Kind, plan};

    #[test]
    fn a_seed_is_a_plan_and_five_minutes_have_every_kind() {
        let (length, all) = (Duration::from_mins(5), Kind::value_variants());
        for seed in 0..200 {
            let faults = plan(seed, length, all);
            assert_eq!(faults, plan(seed, length, all));
            let kinds: HashSet<_> = faults.iter().map(|fault| fault.kind).collect();
            assert_eq!(kinds.len(), all.len(), "seed {seed}: {kinds:?}");
            assert!(faults.is_sorted_by_key(|fault| fault.at));
        }
        assert_ne!(plan(1, length, all), plan(2, length, all));
    }

    #[test]
    fn nothing_goes_wrong_in_a_short_run_or_without_kinds() {
        assert!(plan(1, Duration::from_secs(50), Kind::value_variants()).is_empty());
        assert!(plan(1, Duration::from_mins(5), &[]).is_empty());
    }
}
