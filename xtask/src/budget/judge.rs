//! Whether what was counted is within what is recorded.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How many percent more instructions than recorded are let through.
const TOLERATED_PERCENT: u64 = 5;
const AGAIN: &str = "if it is worth that, `cargo xtask budget --record` and say why in the commit";

/// What is recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// What else decides the numbers: versions of the compiler, of the C library (which allocates), of the counting tool.
    pub(crate) counted_with: BTreeMap<String, String>,
    /// By the step's name.
    pub(crate) stages: BTreeMap<String, Cost>,
}

/// What one step costs, once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Instructions.
    pub(crate) instructions: u64,
    /// Calls of the allocator that ask for memory.
    pub(crate) allocations: u64,
}

/// What came of the comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    /// What is over the budget.
    pub(crate) over: Vec<String>,
    /// What is not, and should be recorded.
    pub(crate) told: Vec<String>,
}

/// Compares stage by stage.
pub(crate) fn judge(recorded: &Record, found: &Record) -> Judged {
    let mut judged = Judged::default();
    let versions = other_versions(recorded, found);
    for (stage, now) in &found.stages {
        let Some(was) = recorded.stages.get(stage) else {
            judged.over.push(format!("`{stage}` is not recorded; `cargo xtask budget --record`"));
            continue;
        };
        let (limit, low) = (percent(was.instructions, 100 + TOLERATED_PERCENT), percent(was.instructions, 95));
        if now.instructions > limit {
            judged.over.push(format!(
                "`{stage}` takes {} instructions, {} are recorded and {TOLERATED_PERCENT} % more are let through{versions}; {AGAIN}",
                now.instructions, was.instructions
            ));
        }
        if now.allocations > was.allocations {
            judged.over.push(format!(
                "`{stage}` allocates {} times, {} are recorded{versions}; {AGAIN}",
                now.allocations, was.allocations
            ));
        }
        if now.instructions < low || now.allocations < was.allocations {
            judged.told.push(format!(
                "`{stage}` became cheaper: {} instructions and {} allocations, {} and {} are recorded; `cargo xtask budget --record` keeps it so",
                now.instructions, now.allocations, was.instructions, was.allocations
            ));
        }
    }
    for stage in recorded.stages.keys().filter(|stage| !found.stages.contains_key(*stage)) {
        judged.over.push(format!("`{stage}` is recorded and was not counted; `cargo xtask budget --record`"));
    }
    judged
}

fn percent(of: u64, percent: u64) -> u64 {
    of * percent / 100
}

/// What is not as it was when the record was made, in words.
fn other_versions(recorded: &Record, found: &Record) -> String {
    let others = found.counted_with.iter().filter_map(|(name, now)| {
        let was = recorded.counted_with.get(name)?;
        (was != now).then(|| format!("{name} {now} instead of {was}"))
    });
    let others: Vec<_> = others.collect();
    if others.is_empty() { String::new() } else { format!(" (counted with {})", others.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(instructions: u64, allocations: u64, compiler: &str) -> Record {
        Record {
            counted_with: [("compiler".to_owned(), compiler.to_owned())].into(),
            stages: [("edge".to_owned(), Cost { instructions, allocations })].into(),
        }
    }

    #[test]
    fn five_percent_more_instructions_are_let_through_and_no_allocation() {
        let was = record(1000, 10, "1");
        for (now, over, told) in [
            (record(1050, 10, "1"), 0, 0),
            (record(1051, 10, "1"), 1, 0),
            (record(1000, 11, "1"), 1, 0),
            (record(1051, 11, "1"), 2, 0),
            (record(950, 10, "1"), 0, 0),
            (record(949, 10, "1"), 0, 1),
            (record(1000, 9, "1"), 0, 1),
        ] {
            let judged = judge(&was, &now);
            assert_eq!((judged.over.len(), judged.told.len()), (over, told), "{now:?}: {judged:?}");
        }
    }

    #[test]
    fn what_is_over_names_the_step_the_numbers_and_the_way_out() {
        let judged = judge(&record(1000, 10, "1"), &record(2000, 10, "2"));
        let over = judged.over.concat();
        for part in ["`edge`", "2000", "1000", "compiler 2 instead of 1", "cargo xtask budget --record"] {
            assert!(over.contains(part), "{part}: {over}");
        }
    }

    #[test]
    fn a_step_that_only_one_side_knows_is_told() {
        let nothing = Record { stages: BTreeMap::new(), ..record(1, 1, "1") };
        assert_eq!(judge(&nothing, &record(1, 1, "1")).over.len(), 1);
        assert_eq!(judge(&record(1, 1, "1"), &nothing).over.len(), 1);
    }
}
