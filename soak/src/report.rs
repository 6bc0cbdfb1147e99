//! The report: a table for people, the same as JSON, and the bars that decide whether the run held.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use crate::effects::Effects;
use crate::histogram::Summary;
use crate::ledger::{Classes, Ledger, Op, Told};
use crate::measure::{Memory, Sample, Trips};
use crate::settings::Settings;
use crate::timeline::Logged;

/// More store round trips per call than this are not "none": what else goes on at that moment is below it.
const TRIPS_MAX: f64 = 0.05;
/// More growth per minute than this is not flat. Judged only where processes lived long enough.
const GROWTH_MAX_KIB: f64 = 2_048.0;
const GROWTH_MINUTES: f64 = 20.0;

/// Something that must hold.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Bar {
    pub(crate) what: &'static str,
    pub(crate) found: String,
    pub(crate) holds: bool,
}

/// Everything that was found.
#[derive(Serialize)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) seconds: f64,
    pub(crate) calls: Classes,
    pub(crate) by_kind: BTreeMap<Op, Classes>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) latency: Summary,
    pub(crate) latency_quiet: Summary,
    pub(crate) effects: Effects,
    pub(crate) memory: Memory,
    pub(crate) store_trips: Option<Trips>,
    pub(crate) faults: Vec<Logged>,
    pub(crate) faults_left_out: Vec<String>,
    pub(crate) wrong: Vec<Told>,
    pub(crate) lost_cleanly: Vec<Told>,
    pub(crate) bars: Vec<Bar>,
    pub(crate) memory_samples: Vec<Sample>,
}

/// The tallies by the names that the report gives them.
pub(crate) fn counts(ledger: &Ledger) -> BTreeMap<&'static str, u64> {
    let tally = &ledger.tally;
    let all: [(&str, &AtomicU64); 20] = [
        ("sessions opened", &tally.sessions_opened),
        ("sessions ended", &tally.sessions_ended),
        ("sessions lost", &tally.sessions_lost),
        ("served after their end", &tally.served_after_end),
        ("logins lost", &tally.logins_lost),
        ("logins renewed after a flush", &tally.logins_renewed),
        ("streams opened", &tally.streams_opened),
        ("streams resumed", &tally.streams_resumed),
        ("streams lost", &tally.streams_lost),
        ("parked calls completed", &tally.parked_completed),
        ("parked calls cleanly lost", &tally.parked_lost_cleanly),
        ("stranger calls", &tally.stranger_calls),
        ("stranger calls accepted", &tally.strangers_accepted),
        ("stranger calls answered oddly", &tally.stranger_odd),
        ("nodes drained", &tally.drained),
        ("nodes drained, calls cut off", &tally.drained_with_calls),
        ("changes", &tally.changes),
        ("notices delivered", &tally.notices_delivered),
        ("notices missed", &tally.notices_missed),
        ("notices missed around faults", &tally.notices_missed_around_faults),
    ];
    all.into_iter().map(|(name, count)| (name, count.load(Ordering::Relaxed))).collect()
}

impl Report {
    /// Decides every bar.
    pub(crate) fn judge(&mut self) {
        let count = |name: &str| self.counts.get(name).copied().unwrap_or_default();
        let none = |what, found: u64| Bar { what, found: found.to_string(), holds: found == 0 };
        let mut bars = vec![
            Bar {
                what: "owner calls succeeded",
                found: self.calls.succeeded.to_string(),
                holds: self.calls.succeeded > 0,
            },
            none("owner calls lost", self.calls.lost),
            none("owner calls lost cleanly without a killed process", self.calls.lost_without_a_kill()),
            none("sessions lost", count("sessions lost")),
            none("logins lost", count("logins lost")),
            none("streams lost", count("streams lost")),
            none("sessions served after their end", count("served after their end")),
            none("stranger calls accepted", count("stranger calls accepted")),
            none("stranger calls with an effect", self.effects.strangers.len() as u64),
            none("stranger calls answered oddly", count("stranger calls answered oddly")),
            none("effects that happened twice", self.effects.twice.len() as u64),
            none("notices of changes missed in quiet times", count("notices missed")),
            none("anything else that must not be", self.wrong.len() as u64),
        ];
        if let Some(trips) = &self.store_trips {
            bars.push(Bar {
                what: "store round trips per call",
                found: format!("{:.3} in {} calls", trips.per_call, trips.calls),
                holds: trips.per_call <= TRIPS_MAX && trips.calls > 0,
            });
        }
        if self.memory.warm_minutes >= GROWTH_MINUTES {
            bars.push(Bar {
                what: "growth of memory",
                found: format!("{:.0} KiB a minute", self.memory.kib_per_minute),
                holds: self.memory.kib_per_minute <= GROWTH_MAX_KIB,
            });
        }
        self.bars = bars;
    }

    /// Whether every bar holds.
    pub(crate) fn holds(&self) -> bool {
        self.bars.iter().all(|bar| bar.holds)
    }

    /// For people.
    pub(crate) fn print(&self) {
        println!(
            "\n{:10} {:>8} {:>10} {:>8} {:>13} {:>6}",
            "calls", "sent", "succeeded", "retried", "lost cleanly", "lost"
        );
        let row = |name: &str, classes: &Classes| {
            let Classes { sent, succeeded, lost, .. } = classes;
            let (retried, cleanly) = (classes.retried(), classes.lost_cleanly());
            println!("{name:10} {sent:>8} {succeeded:>10} {retried:>8} {cleanly:>13} {lost:>6}");
        };
        for (op, classes) in &self.by_kind {
            row(&format!("{op:?}").to_lowercase(), classes);
        }
        row("all", &self.calls);
        println!("retried: {:?}; lost cleanly: {:?}", self.calls.retried, self.calls.lost_cleanly);
        for (name, count) in &self.counts {
            println!("{name:30} {count:>8}");
        }
        for (name, latency) in [("calls and lists", self.latency), ("in quiet times", self.latency_quiet)] {
            let Summary { count, p50_ms, p90_ms, p99_ms, max_ms } = latency;
            println!(
                "{name:30} {count:>8} p50 {p50_ms:.1} ms, p90 {p90_ms:.1} ms, p99 {p99_ms:.1} ms, longest {max_ms:.0} ms"
            );
        }
        println!("{:30} {:>8} carried out {}", "side effects begun", self.effects.begun, self.effects.done);
        let Memory { largest_kib, kib_per_minute, warm_minutes } = self.memory;
        println!(
            "{:30} {largest_kib:>8} KiB at most; {kib_per_minute:+.0} KiB a minute over {warm_minutes:.0} minutes of warm processes",
            "memory of a node"
        );
        if let Some(trips) = &self.store_trips {
            println!(
                "{:30} {:>8.3} per call, {:.1} a second at rest: {:?}",
                "store round trips", trips.per_call, trips.at_rest_per_second, trips.commands
            );
        }
        let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
        self.faults.iter().for_each(|fault| *kinds.entry(fault.kind.to_string()).or_default() += 1);
        println!("{:30} {:>8} {kinds:?}", "faults", self.faults.len());
        for left_out in &self.faults_left_out {
            println!("    not carried out: {left_out}");
        }
        println!();
        for bar in &self.bars {
            println!("{} {}: {}", if bar.holds { "  held" } else { "FAILED" }, bar.what, bar.found);
        }
        println!("seed {}: {}", self.seed, if self.holds() { "everything held" } else { "FAILED" });
    }

    /// For programs.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let document = json!({ "task": "soak", "ok": self.holds(), "report": self });
        std::fs::write(path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))
    }
}
