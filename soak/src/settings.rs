//! What a run is made of, by its flags.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use serde::Serialize;

use crate::plan::Kind;

/// Kinds of what goes on, each of which can be run alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// Calls that have an effect. They are always there: without them nobody would do anything.
    Calls,
    /// Lists over several pages.
    Lists,
    /// Calls that ask, answered on another connection.
    Questions,
    /// Calls of stateless clients that wait for input.
    Parked,
    /// Standing streams of both eras, and changes to be told on them.
    Streams,
    /// Calls whose stream is left and taken up again.
    Resumption,
    /// Sessions that are ended by their owner, and opened anew.
    Sessions,
    /// Strangers with stolen and forged handles.
    Strangers,
}

/// Nodes without stickiness, owners of both eras, and everything that can go wrong: nothing may be lost.
#[derive(Clone, Debug, Parser, Serialize)]
#[command(name = "soak")]
pub(crate) struct Settings {
    /// How long it goes on.
    #[arg(long, default_value_t = 5.0)]
    pub(crate) minutes: f64,
    /// What chance is made of: the same seed has the same faults at the same times.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// How many gateway nodes there are; one alone has no shared store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(crate) nodes: u16,
    /// How many owners there are; every other one is of the session era, every third is known to an external issuer.
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u16).range(1..=2000))]
    pub(crate) owners: u16,
    /// How many strangers attack all the time.
    #[arg(long, default_value_t = 6)]
    pub(crate) strangers: u16,
    /// How long an owner thinks between two calls, on average, in milliseconds.
    #[arg(long, default_value_t = 4_000)]
    pub(crate) pace: u64,
    /// How often tokens are refreshed, on average, in milliseconds.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) refresh: u64,
    /// Only these parts (several: repeat or separate by commas).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Only these faults (several: repeat or separate by commas).
    #[arg(long, value_enum, value_delimiter = ',')]
    pub(crate) faults: Vec<Kind>,
    /// No faults at all.
    #[arg(long, conflicts_with = "faults")]
    pub(crate) no_faults: bool,
    /// Keep configuration, logs and data of all processes in this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) keep: Option<PathBuf>,
    /// Also write the report to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

impl Settings {
    /// Whether this part takes place.
    pub(crate) fn has(&self, part: Part) -> bool {
        self.only.is_empty() || self.only.contains(&part)
    }

    /// How long it goes on.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes.clamp(0.1, 60.0 * 24.0 * 7.0) * 60.0)
    }

    /// The faults that are wanted.
    pub(crate) fn kinds(&self) -> Vec<Kind> {
        match (self.no_faults, self.faults.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => Kind::value_variants().to_vec(),
            (false, false) => self.faults.clone(),
        }
    }
}
