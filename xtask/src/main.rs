//! One door for every task of the repository: `cargo xtask TASK`.
//!
//! Each task says what it is doing while it works, ends with a table, writes the same as JSON with `--json FILE`,
//! and exits non-zero when something did not hold.

mod bench;
mod budget;
mod conformance;
mod crowd;
mod debian;
mod exec;
mod fuzz;
mod models;
mod real_parts;
mod report;
mod sim;
mod soak;
mod test;
mod tools;
mod workspace;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::report::Report;
use crate::workspace::Workspace;

/// The tasks of the Hawser repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing, then check and test everything. CI runs exactly this.
    Test(TestOptions),
    /// Install the pinned clients, servers and issuers that the black-box tests run against.
    RealParts(Output),
    /// Measure what the gateway costs, beside nginx and beside no gateway.
    Bench(bench::Options),
    /// Count the instructions and allocations of each step of a request, and compare them with what is recorded.
    Budget(budget::Options),
    /// Judge the authorization server, and the gateway between both protocol eras, with the MCP conformance suite.
    Conformance(conformance::Options),
    /// Open a crowd of sessions on one node and hold what they cost to the promised bounds.
    Crowd(crowd::Options),
    /// Run every fuzz target for a bounded time.
    Fuzz(fuzz::Options),
    /// Look at every state of the models; simulate nodes, owners, strangers and faults over one store, seed by seed.
    Sim(sim::Options),
    /// Run three nodes with hundreds of owners while everything goes wrong; nothing may be lost.
    Soak(soak::Options),
}

/// Where a task's result goes besides the table.
#[derive(Args)]
struct Output {
    /// Also write the result to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args)]
struct TestOptions {
    /// Run only these steps (several: repeat the option or separate by commas).
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<String>,
    /// Name the steps and stop.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    output: Output,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one task and tells whether everything in it held.
fn run(task: Task) -> Result<bool> {
    let workspace = Workspace::locate()?;
    match task {
        Task::Test(options) if options.list => {
            test::list();
            Ok(true)
        }
        Task::Test(options) => {
            let mut report = Report::new("test");
            test::run(&workspace, &options.only, &mut report)?;
            report.finish(options.output.json.as_deref())
        }
        Task::RealParts(output) => {
            let mut report = Report::new("real-parts");
            report.step("real-parts", || real_parts::install(&workspace));
            report.finish(output.json.as_deref())
        }
        Task::Bench(options) => {
            let mut report = Report::new("bench");
            bench::task(&workspace, &options, &mut report);
            report.finish(options.output.json.as_deref())
        }
        Task::Budget(options) => {
            let mut report = Report::new("budget");
            budget::task(&workspace, &options, &mut report);
            report.finish(options.output.json.as_deref())
        }
        Task::Conformance(options) => {
            let mut report = Report::new("conformance");
            conformance::task(&workspace, &options, &mut report)?;
            report.finish(options.output.json.as_deref())
        }
        Task::Crowd(options) => {
            let mut report = Report::new("crowd");
            crowd::task(&workspace, &options, &mut report);
            report.finish(options.json())
        }
        Task::Sim(options) => {
            let mut report = Report::new("sim");
            let output = sim::run(&workspace, options, &mut report);
            report.finish(output.json.as_deref())
        }
        Task::Soak(options) => {
            let mut report = Report::new("soak");
            soak::task(&workspace, &options, &mut report);
            report.finish(options.output.json.as_deref())
        }
        Task::Fuzz(options) => {
            let mut report = Report::new("fuzz");
            let output = fuzz::run(&workspace, options, &mut report)?;
            report.finish(output.json.as_deref())
        }
    }
}
