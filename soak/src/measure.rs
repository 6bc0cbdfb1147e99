//! What is measured beside the calls: memory of the nodes over time, and how often the store is asked.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::store_server::SharedStore;
use crate::world::{Phase, World};

const EVERY: Duration = Duration::from_secs(2);
/// A process is warm after this.
const WARM: Duration = Duration::from_secs(30);
/// How long nobody does anything, to see what the nodes ask by themselves; and how long there are only calls.
const STILL: Duration = Duration::from_secs(6);
const PLAIN: Duration = Duration::from_secs(8);
/// What is under way ends in this time.
const SETTLE: Duration = Duration::from_secs(2);

/// Resident memory of one process at one time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Sample {
    pub(crate) at: f64,
    pub(crate) node: usize,
    pub(crate) pid: u32,
    pub(crate) age: f64,
    pub(crate) kib: u64,
}

/// What the samples say.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Memory {
    pub(crate) largest_kib: u64,
    /// Growth per minute of warm processes, over all of them.
    pub(crate) kib_per_minute: f64,
    /// How many minutes of warm processes that is from.
    pub(crate) warm_minutes: f64,
}

/// Looks at the memory of all nodes until the run is over.
pub(crate) async fn memory(world: Arc<World>, pids: Arc<Mutex<Vec<Option<u32>>>>) -> Vec<Sample> {
    let (mut samples, mut since) = (Vec::new(), BTreeMap::new());
    while !world.over() {
        let now = Instant::now();
        let running = pids.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (node, pid) in running.into_iter().enumerate() {
            let Some((pid, kib)) = pid.and_then(|pid| Some((pid, resident(pid)?))) else { continue };
            let age = now.duration_since(*since.entry(pid).or_insert(now)).as_secs_f64();
            samples.push(Sample { at: world.timeline.seconds(now), node, pid, age, kib });
        }
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = world.end() => {}
        }
    }
    samples
}

fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The slope that fits the warm part of every process best, each with a level of its own.
#[expect(clippy::cast_precision_loss, reason = "memory in KiB is far below what a float holds exactly")]
pub(crate) fn judge_memory(samples: &[Sample]) -> Memory {
    let mut processes: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples.iter().filter(|sample| sample.age >= WARM.as_secs_f64()) {
        processes.entry(sample.pid).or_default().push((sample.age / 60.0, sample.kib as f64));
    }
    let (mut above, mut below, mut minutes) = (0.0, 0.0, 0.0);
    for points in processes.values() {
        let count = points.len() as f64;
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
        let (age, kib) = (mean(&|point| point.0), mean(&|point| point.1));
        above += points.iter().map(|point| (point.0 - age) * (point.1 - kib)).sum::<f64>();
        below += points.iter().map(|point| (point.0 - age).powi(2)).sum::<f64>();
        minutes += points.last().map_or(0.0, |last| last.0) - points.first().map_or(0.0, |first| first.0);
    }
    Memory {
        largest_kib: samples.iter().map(|sample| sample.kib).max().unwrap_or_default(),
        kib_per_minute: if below > 0.0 { above / below } else { 0.0 },
        warm_minutes: minutes,
    }
}

/// How often the store was asked while there were only calls on known sessions.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Trips {
    pub(crate) calls: u64,
    /// Per second, while nobody did anything.
    pub(crate) at_rest_per_second: f64,
    /// Per second, while there were calls.
    pub(crate) with_calls_per_second: f64,
    /// What the calls added, per call.
    pub(crate) per_call: f64,
    /// The commands in that time.
    pub(crate) commands: BTreeMap<String, u64>,
}

/// Measures it; in this time owners make only calls on the sessions that they have, with the tokens that they have.
pub(crate) async fn store_trips(world: &World, store: &SharedStore) -> Result<Trips> {
    // The first call with a token is noted by the authorization server: that is before the measurement.
    world.enter(Phase::Plain);
    tokio::time::sleep(SETTLE * 4).await;
    world.enter(Phase::Hold);
    tokio::time::sleep(SETTLE).await;
    let rest = count(store, STILL).await?;
    let before = world.plain_calls.load(Ordering::Relaxed);
    world.enter(Phase::Plain);
    let busy = count(store, PLAIN).await?;
    world.enter(Phase::Hold);
    let calls = world.plain_calls.load(Ordering::Relaxed) - before;
    world.enter(Phase::Everything);
    Ok(judge_trips(calls, &rest, &busy))
}

async fn count(store: &SharedStore, time: Duration) -> Result<BTreeMap<String, u64>> {
    let before = store.commands().await?;
    tokio::time::sleep(time).await;
    let mut after = store.commands().await?;
    for (name, count) in &mut after {
        *count = count.saturating_sub(before.get(name).copied().unwrap_or_default());
    }
    // What this measurement itself asks, and what is no command of anybody.
    after.retain(|name, count| *count > 0 && !["info", "ping"].contains(&name.as_str()));
    Ok(after)
}

#[expect(clippy::cast_precision_loss, reason = "counts of seconds and of thousands")]
fn judge_trips(calls: u64, rest: &BTreeMap<String, u64>, busy: &BTreeMap<String, u64>) -> Trips {
    let per_second =
        |counts: &BTreeMap<String, u64>, time: Duration| counts.values().sum::<u64>() as f64 / time.as_secs_f64();
    let (at_rest, with_calls) = (per_second(rest, STILL), per_second(busy, PLAIN));
    let more = (with_calls - at_rest).max(0.0) * PLAIN.as_secs_f64();
    Trips {
        calls,
        at_rest_per_second: at_rest,
        with_calls_per_second: with_calls,
        per_call: if calls > 0 { more / calls as f64 } else { more },
        commands: busy.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Sample, judge_memory};

    #[test]
    fn memory_that_grows_is_seen_over_restarts_and_memory_that_is_flat_is_not() {
        let process = |pid, level: u64, grows: u64| {
            (0..40_u32).map(move |step| Sample {
                at: 0.0,
                node: 0,
                pid,
                age: f64::from(step) * 3.0,
                kib: level + grows * u64::from(step),
            })
        };
        let flat: Vec<_> = process(1, 50_000, 0).chain(process(2, 90_000, 0)).collect();
        assert!(judge_memory(&flat).kib_per_minute.abs() < 1.0);
        let grows: Vec<_> = process(1, 50_000, 10).chain(process(2, 90_000, 10)).collect();
        assert!((judge_memory(&grows).kib_per_minute - 200.0).abs() < 1.0);
    }
}
