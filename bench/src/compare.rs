//! Runs that put gateways side by side: the same load on the same backend, directly, through nginx and through the gateway.

mod calls;
mod first;
mod large;
mod noise;
mod numbers;
mod peers;
mod rounds;
mod scaling;
mod streams;
mod table;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use self::table::Table;
use crate::stage::process::{end_on_signals, folder};

/// No run takes longer.
const LIMIT: Duration = Duration::from_hours(3);

/// Puts the gateway beside nginx and beside no gateway at all.
#[derive(Args)]
pub(crate) struct Options {
    /// The gateway's program.
    #[arg(long, value_name = "FILE")]
    hawser: PathBuf,
    /// nginx's program.
    #[arg(long, value_name = "FILE")]
    nginx: PathBuf,
    /// Small results at full load alone, about a minute.
    #[arg(long)]
    quick: bool,
    /// Only these parts (several: repeat the option or separate by commas).
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    only: Vec<Part>,
    /// How many streams, instead of 10,000 GETs and 8,000 `subscriptions/listen`.
    #[arg(long, value_name = "STREAMS")]
    open: Option<usize>,
    /// The most sessions that the cost of a call is measured with.
    #[arg(long, value_name = "SESSIONS", default_value_t = 1_000_000)]
    sessions: usize,
    /// Valkey's program, for `sessions`.
    #[arg(long, value_name = "FILE")]
    valkey: Option<PathBuf>,
    /// What is installed for `peers`, as `cargo xtask bench --peers` writes it.
    #[arg(long, value_name = "FILE")]
    peers: Option<PathBuf>,
    /// How often each is measured, in turns.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// How long each of these times is, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Connections, each with one call at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1000))]
    connections: u32,
    /// Write everything that was measured to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the tables to this file as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

/// What one part of a run found.
struct Found {
    /// For the JSON.
    name: &'static str,
    tables: Vec<Table>,
    raw: Value,
}

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Part {
    /// Calls at full load and at half of it, of both eras, with small and large results.
    Calls,
    /// Cold start, sessions and lists when all is warm, size on disk and at rest.
    First,
    /// A result of 50 MB.
    Large,
    /// How the cost of a call depends on the number of tools.
    Tools,
    /// On the number of backends.
    Backends,
    /// On the number of sessions that are open.
    Sessions,
    /// Many open streams, and a change that all are told of.
    Streams,
    /// Other gateways that install from registries.
    Peers,
}

impl Part {
    /// What is measured if nothing is said.
    const USUAL: [Self; 3] = [Self::Calls, Self::First, Self::Large];

    fn run(self, options: &Options, dir: &Path) -> Result<Found> {
        match self {
            Self::Calls => calls::run(options, dir),
            Self::First => first::run(options, dir),
            Self::Large => large::run(options, dir),
            Self::Tools => scaling::tools(options),
            Self::Backends => scaling::backends(options),
            Self::Sessions => scaling::sessions(options, dir),
            Self::Streams => streams::run(options, dir),
            Self::Peers => peers::run(options, dir),
        }
    }
}

/// Measures, and tells whether all parts could be measured.
pub(crate) fn run(options: &Options) -> Result<bool> {
    end_on_signals(LIMIT)?;
    let dir = folder()?;
    let parts = match options.only.as_slice() {
        _ if options.quick => &[Part::Calls],
        [] => Part::USUAL.as_slice(),
        chosen => chosen,
    };
    let (mut found, mut failed) = (Vec::new(), Vec::new());
    for part in parts {
        // What cannot be measured keeps nobody from what can.
        match part.run(options, dir.path()) {
            Ok(part) => found.push(part),
            Err(error) => failed.push(format!("{part:?}: {error:#}")),
        }
    }
    let tables: Vec<String> = found.iter().flat_map(|found| &found.tables).map(Table::to_string).collect();
    let text = tables.join("\n");
    println!("\n{text}");
    if let Some(path) = &options.markdown {
        fs::write(path, &text).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &options.json {
        let mut document = json!({ "machine": noise::machine() });
        for found in found {
            document[found.name] = found.raw;
        }
        fs::write(path, format!("{document:#}\n")).with_context(|| format!("writing {}", path.display()))?;
    }
    for reason in &failed {
        eprintln!("not measured: {reason}");
    }
    Ok(failed.is_empty())
}
