//! Rounds: everybody is measured once, then everybody again, each round beginning with another one, so that what disturbs the
//! machine for a while disturbs all alike.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::noise;
use super::numbers::Spread;
use crate::load::outcome::Outcome;
use crate::load::{self, Plan};

/// One of those who are put side by side.
pub(super) struct Contender {
    pub(super) name: String,
    pub(super) plan: Plan,
}

/// What was measured of all, round by round.
pub(super) struct Rounds {
    names: Vec<String>,
    /// For each contender, an outcome per round.
    outcomes: Vec<Vec<Outcome>>,
    pub(super) load_averages: Vec<f64>,
}

/// A number of an outcome.
pub(super) type Measure = fn(&Outcome) -> Option<f64>;

pub(super) fn run(what: &str, contenders: &[Contender], rounds: u32) -> Result<Rounds> {
    let mut measured = Rounds {
        names: contenders.iter().map(|contender| contender.name.clone()).collect(),
        outcomes: vec![Vec::new(); contenders.len()],
        load_averages: Vec::new(),
    };
    for round in 0..rounds {
        measured.load_averages.push(noise::load_average());
        for turn in 0..contenders.len() {
            let place = (turn + usize::try_from(round)?) % contenders.len();
            let (Some(contender), Some(kept)) = (contenders.get(place), measured.outcomes.get_mut(place)) else {
                continue;
            };
            let outcome = load::run(&contender.plan).with_context(|| format!("{what}: {}", contender.name))?;
            println!(
                "{what}, round {}: {:12} {:>7.0}/s, p50 {:>6.0} µs, p99 {:>6.0} µs{}{}",
                round + 1,
                contender.name,
                outcome.calls_per_second,
                outcome.latency.p50,
                outcome.latency.p99,
                outcome.cpu_us_per_call.map(|cpu| format!(", {cpu:.1} µs of processor time")).unwrap_or_default(),
                if outcome.errors.is_empty() { String::new() } else { format!(", errors: {:?}", outcome.errors) },
            );
            kept.push(outcome);
        }
    }
    Ok(measured)
}

impl Rounds {
    fn of(&self, name: &str) -> &[Outcome] {
        let place = self.names.iter().position(|other| other == name);
        place.and_then(|place| self.outcomes.get(place)).map_or(&[], Vec::as_slice)
    }

    /// The measure of one contender.
    pub(super) fn spread(&self, name: &str, measure: Measure) -> Option<Spread> {
        Spread::of(self.of(name).iter().filter_map(measure))
    }

    /// The measure of one contender as a ratio to another's of the same round.
    pub(super) fn ratio(&self, name: &str, to: &str, measure: Measure) -> Option<Spread> {
        let pairs = self.of(name).iter().zip(self.of(to));
        Spread::of(pairs.filter_map(|(one, other)| Some(measure(one)? / measure(other)?)))
    }

    /// How many calls of one contender went wrong, of all of them.
    pub(super) fn failed(&self, name: &str) -> (u64, u64) {
        self.of(name)
            .iter()
            .fold((0, 0), |(failed, all), outcome| (failed + outcome.failed(), all + outcome.calls + outcome.failed()))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    pub(super) fn raw(&self) -> Value {
        let outcomes: Vec<Value> = self
            .names
            .iter()
            .zip(&self.outcomes)
            .map(|(name, rounds)| json!({ "name": name, "rounds": rounds }))
            .collect();
        json!({ "load_averages": self.load_averages, "contenders": outcomes })
    }
}
