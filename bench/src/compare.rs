//! Runs that put gateways side by side: the same load on the same backend, directly, through nginx and through the gateway.

mod calls;
mod noise;
mod numbers;
mod rounds;
mod table;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Value, json};

use self::table::Table;
use crate::stage::process::end_on_signals;

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

pub(crate) fn run(options: &Options) -> Result<()> {
    end_on_signals(LIMIT)?;
    let dir = tempfile::TempDir::with_prefix("hawser-bench-")?;
    let found = vec![calls::run(options, dir.path())?];
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
    Ok(())
}
