//! `hawser-sim`: runs seeds, and says how to run again what broke a rule. `cargo xtask sim` builds and calls it.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use hawser_sim::counts::Counts;
use hawser_sim::trace::SHOWN;
use hawser_sim::world::{Outcome, run};
use serde_json::json;

/// Every so many seeds are run twice: the second run must tell the same story.
const TWICE_EVERY: u64 = 10;
/// Failures that are shown in full.
const SHOWN_FAILURES: usize = 3;

/// Simulates gateways over one shared store, seed by seed.
#[derive(Parser)]
struct Options {
    /// How many seeds to run.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed; a fresh one if it is not named. The others follow it.
    #[arg(long)]
    seed: Option<u64>,
    /// Steps of each run.
    #[arg(long, default_value_t = 400)]
    steps: u64,
    /// Go on with more seeds for so many minutes.
    #[arg(long, default_value_t = 0)]
    minutes: u64,
    /// Show the whole story of every seed.
    #[arg(long)]
    story: bool,
    /// Write what was found to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<std::path::PathBuf>,
}

/// What all runs were.
#[derive(Default)]
struct Found {
    runs: u64,
    counts: Counts,
    failures: Vec<Outcome>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let first = options.seed.unwrap_or_else(fresh);
    println!("seeds from {first} on, {} steps each", options.steps);
    let found = run_all(&options, first);
    let failing: Vec<u64> = found.failures.iter().map(|outcome| outcome.seed).collect();
    println!("{} runs, {} broke a rule; {}", found.runs, failing.len(), found.counts);
    for outcome in found.failures.iter().take(SHOWN_FAILURES) {
        show(outcome);
    }
    for seed in &failing {
        println!("again: {}", again(*seed, options.steps));
    }
    if let Some(path) = &options.json {
        let document = json!({
            "first_seed": first, "steps": options.steps, "runs": found.runs, "counts": found.counts,
            "failures": found.failures.iter().map(|outcome| json!({
                "seed": outcome.seed, "broken": outcome.broken, "again": again(outcome.seed, options.steps),
            })).collect::<Vec<_>>(),
        });
        if let Err(error) = std::fs::write(path, format!("{document:#}\n")) {
            eprintln!("error: writing {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
    }
    if failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One thread per core takes seed after seed.
fn run_all(options: &Options, first: u64) -> Found {
    let until = Instant::now() + Duration::from_mins(options.minutes);
    let (next, found) = (AtomicU64::new(0), Mutex::new(Found::default()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= options.seeds && Instant::now() >= until {
                        return;
                    }
                    let outcome = run_one(first.wrapping_add(number), number, options);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.runs += 1;
                    found.counts.add(&outcome.counts);
                    if options.story || !outcome.broken.is_empty() {
                        println!(
                            "seed {}: {}",
                            outcome.seed,
                            if outcome.broken.is_empty() { "held" } else { "BROKEN" }
                        );
                    }
                    if options.story {
                        show(&outcome);
                    }
                    if !outcome.broken.is_empty() {
                        found.failures.push(outcome);
                    }
                }
            });
        }
    });
    let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    found.failures.sort_by_key(|outcome| outcome.seed);
    found
}

fn run_one(seed: u64, number: u64, options: &Options) -> Outcome {
    let shown = if options.story { usize::MAX } else { SHOWN };
    let mut outcome = run(seed, options.steps, shown);
    if number.is_multiple_of(TWICE_EVERY) && run(seed, options.steps, shown).hash != outcome.hash {
        outcome.broken.push("the same seed told another story the second time".to_owned());
    }
    outcome
}

fn show(outcome: &Outcome) {
    println!("\nseed {}:", outcome.seed);
    for line in &outcome.last {
        println!("  {line}");
    }
    for rule in &outcome.broken {
        println!("  => {rule}");
    }
}

fn again(seed: u64, steps: u64) -> String {
    format!("cargo xtask sim --seed {seed} --seeds 1 --steps {steps} --story")
}

/// A seed that nobody has run yet, short enough to be read to somebody.
fn fresh() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::from(since.subsec_nanos() ^ u32::try_from(since.as_secs() & 0xFFFF_FFFF).unwrap_or(0))
}
