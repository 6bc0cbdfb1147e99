//! Comparing two runs of the suite, and what was lost with what may be.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::suite::{Check, Status, Verdicts};

/// The check that every message is as its schema has it. The suite adds it to each scenario; it is never lost.
const WIRE: &str = "wire-schema-valid";

/// A check that is worse than in the run it is compared with.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Loss {
    #[serde(flatten)]
    pub(super) check: Check,
    /// What it was, if it was made at all.
    pub(super) was: Option<Status>,
    /// What it is, if it was made at all.
    pub(super) is: Option<Status>,
    /// What the suite says.
    pub(super) message: Option<String>,
}

/// The checks of `measured` that are worse than in `reference`: worse verdicts, checks that were not made any more, and
/// new ones that do not hold.
pub(super) fn losses(reference: &Verdicts, measured: &Verdicts) -> Vec<Loss> {
    let checks: BTreeSet<&Check> = reference.keys().chain(measured.keys()).collect();
    let loss = |check: &Check| {
        let (before, now) = (reference.get(check), measured.get(check));
        let lost = match (before, now) {
            // Where there is a choice, the suite only notes what was chosen.
            (Some(before), Some(now)) => now.status < before.status && now.status != Status::Info,
            (Some(before), None) => before.status == Status::Success,
            (None, Some(now)) => !now.status.holds(),
            (None, None) => false,
        };
        lost.then(|| Loss {
            check: check.clone(),
            was: before.map(|verdict| verdict.status),
            is: now.map(|verdict| verdict.status),
            message: now.and_then(|verdict| verdict.message.clone()),
        })
    };
    checks.into_iter().filter_map(loss).collect()
}

/// The checks of these scenarios that do not hold, or were not made.
pub(super) fn unmet(verdicts: &Verdicts, owned: impl Fn(&str) -> bool) -> Vec<Loss> {
    let bad = verdicts.iter().filter(|(check, verdict)| owned(&check.scenario) && !verdict.status.holds());
    bad.map(|(check, verdict)| Loss {
        check: check.clone(),
        was: Some(verdict.status),
        is: Some(verdict.status),
        message: verdict.message.clone(),
    })
    .collect()
}

/// The losses that lie in the eras themselves, as a file lists them.
pub(super) struct Inherent(Vec<Entry>);

/// Checks that are lost for one reason in one cell.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The cell's name.
    cell: String,
    /// Why no gateway can keep them.
    reason: String,
    /// The checks by scenario.
    checks: BTreeMap<String, Ids>,
}

/// The checks of a scenario.
#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    These(BTreeSet<String>),
    Every(Every),
}

/// Every check that holds without the gateway, but for messages as such: those are valid in any case.
#[derive(Deserialize)]
enum Every {
    #[serde(rename = "all")]
    All,
}

/// What the comparison of losses with the list says.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Lost without being listed.
    pub(super) unexpected: Vec<Loss>,
    /// Listed, but not lost: the list is to be corrected.
    pub(super) kept: Vec<Check>,
    /// Lost as listed.
    pub(super) expected: usize,
}

impl Inherent {
    /// Reads the list.
    pub(super) fn read(text: &str) -> Result<Self> {
        let entries: Vec<Entry> = serde_saphyr::from_str(text).context("the list of inherent losses")?;
        let mut seen = BTreeSet::new();
        for entry in &entries {
            ensure!(!entry.reason.trim().is_empty(), "a loss without a reason in `{}`", entry.cell);
            for (scenario, ids) in &entry.checks {
                let each = match ids {
                    Ids::These(ids) => ids.iter().map(String::as_str).collect(),
                    Ids::Every(Every::All) => vec!["all"],
                };
                for id in each {
                    ensure!(seen.insert((&entry.cell, scenario, id)), "{scenario}/{id} is listed twice");
                }
            }
        }
        Ok(Self(entries))
    }

    /// The cells it speaks of.
    pub(super) fn cells(&self) -> BTreeSet<&str> {
        self.0.iter().map(|entry| entry.cell.as_str()).collect()
    }

    /// Compares what a cell lost of `reference` with the list: they must be the same.
    pub(super) fn judge(&self, cell: &str, reference: &Verdicts, losses: Vec<Loss>) -> Judgement {
        let mut listed: BTreeSet<Check> = BTreeSet::new();
        for entry in self.0.iter().filter(|entry| entry.cell == cell) {
            for (scenario, ids) in &entry.checks {
                match ids {
                    Ids::These(ids) => {
                        listed.extend(ids.iter().map(|id| Check { scenario: scenario.clone(), id: id.clone() }));
                    }
                    Ids::Every(Every::All) => {
                        let held = reference.iter().filter(|(_, verdict)| verdict.status == Status::Success);
                        let of = |check: &&Check| check.scenario == *scenario && check.id != WIRE;
                        listed.extend(held.map(|(check, _)| check).filter(of).cloned());
                    }
                }
            }
        }
        let mut judgement = Judgement::default();
        for loss in losses {
            if listed.remove(&loss.check) {
                judgement.expected += 1;
            } else {
                judgement.unexpected.push(loss);
            }
        }
        judgement.kept = listed.into_iter().collect();
        judgement
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails is one that panics")]
mod tests {
    use super::{Inherent, losses, unmet};
    use crate::conformance::suite::{Check, Status, Verdict, Verdicts};

    fn check(id: &str) -> Check {
        Check { scenario: "s".to_owned(), id: id.to_owned() }
    }

    fn verdicts(of: &[(&str, Status)]) -> Verdicts {
        of.iter().map(|(id, status)| (check(id), Verdict { status: *status, message: None })).collect()
    }

    #[test]
    fn lost_is_what_got_worse_or_was_not_checked_any_more() {
        use Status::{Failure, Info, Skipped, Success, Warning};
        let reference = verdicts(&[
            ("same", Success),
            ("worse", Success),
            ("gone", Success),
            ("better", Failure),
            ("noted", Success),
        ]);
        let measured =
            verdicts(&[("same", Success), ("worse", Warning), ("better", Success), ("new", Failure), ("noted", Info)]);
        let ids: Vec<_> = losses(&reference, &measured).into_iter().map(|loss| loss.check.id).collect();
        assert_eq!(ids, ["gone", "new", "worse"]);
        assert!(losses(&verdicts(&[("a", Skipped)]), &verdicts(&[])).is_empty());
        assert_eq!(unmet(&measured, |scenario| scenario == "s").len(), 2);
        assert_eq!(unmet(&measured, |scenario| scenario == "t").len(), 0);
    }

    #[test]
    fn the_list_must_be_exact() {
        let text = "- cell: c\n  reason: because\n  checks:\n    s: [listed, passes]\n";
        let inherent = Inherent::read(text).unwrap();
        let reference =
            verdicts(&[("listed", Status::Success), ("other", Status::Success), ("passes", Status::Success)]);
        let lost = losses(&reference, &verdicts(&[("passes", Status::Success)]));
        let judgement = inherent.judge("c", &reference, lost.clone());
        assert_eq!(judgement.expected, 1);
        assert_eq!(judgement.unexpected.iter().map(|loss| loss.check.id.as_str()).collect::<Vec<_>>(), ["other"]);
        assert_eq!(judgement.kept, [check("passes")]);
        assert_eq!(inherent.judge("another cell", &reference, lost).unexpected.len(), 2);
    }

    #[test]
    fn a_scenario_may_be_lost_as_a_whole() {
        let inherent = Inherent::read("- { cell: c, reason: r, checks: { s: all } }").unwrap();
        let (held, wire) = (Status::Success, super::WIRE);
        let reference = verdicts(&[("a", held), ("b", held), ("n", Status::Skipped), (wire, held)]);
        let all = inherent.judge("c", &reference, losses(&reference, &verdicts(&[(wire, held)])));
        assert_eq!((all.expected, all.unexpected.len(), all.kept.len()), (2, 0, 0));
        let some = inherent.judge("c", &reference, losses(&reference, &verdicts(&[("a", held), (wire, held)])));
        assert_eq!(some.kept, [check("a")]);
    }

    #[test]
    fn a_loss_needs_a_reason_and_is_listed_once() {
        assert!(Inherent::read("- { cell: c, reason: ' ', checks: { s: [a] } }").is_err());
        let twice = "- { cell: c, reason: r, checks: { s: [a] } }\n- { cell: c, reason: q, checks: { s: [a] } }";
        assert!(Inherent::read(twice).is_err());
    }
}
