//! `cargo xtask fuzz`: every target under `fuzz/`, each for a bounded time, with the stable toolchain.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::Output;
use crate::exec;
use crate::report::{Finding, Report, Status};
use crate::tools::FUZZ;
use crate::workspace::Workspace;

/// What to fuzz and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds for each target.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Only this target.
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Only run the inputs of the corpora and seeds once, without making new ones.
    #[arg(long)]
    corpus: bool,
    /// Name the targets and stop.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    output: Output,
}

/// Building all targets with the sanitizer, on a small machine.
const BUILD_LIMIT: Duration = Duration::from_mins(30);

/// Runs the targets, each as a step of the report.
pub(crate) fn run(workspace: &Workspace, options: Options, report: &mut Report) -> Result<Output> {
    let targets = targets(workspace)?;
    if options.list {
        for target in &targets {
            println!("{target}");
        }
        return Ok(options.output);
    }
    let chosen: Vec<&String> =
        targets.iter().filter(|name| options.target.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    ensure!(!chosen.is_empty(), "there is no such fuzz target; `cargo xtask fuzz --list` names them");
    let prepared = report.step("build", || {
        let version = FUZZ.ensure(workspace)?;
        exec::check(fuzz(workspace, "build")?.args(options.target.as_ref()), BUILD_LIMIT)?;
        Ok(Finding::passed(version))
    });
    for target in chosen {
        if prepared == Status::Failed {
            report.not_run(target, "build");
        } else {
            report.step(target, || run_target(workspace, target, &options));
        }
    }
    Ok(options.output)
}

/// The names in `fuzz/fuzz_targets/`.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let folder = workspace.root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
        }
    }
    names.sort();
    Ok(names)
}

/// `cargo fuzz VERB`. The sanitizer flags are unstable; the variable lets the stable compiler take them.
fn fuzz(workspace: &Workspace, verb: &str) -> Result<std::process::Command> {
    let mut command = FUZZ.command(workspace)?;
    command.arg(verb).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", workspace.target().join("fuzz"));
    Ok(command)
}

/// One target: the committed seeds and the corpus found so far are both read, new inputs go to the corpus.
fn run_target(workspace: &Workspace, target: &str, options: &Options) -> Result<Finding> {
    let corpus = workspace.target().join("fuzz-corpus").join(target);
    fs::create_dir_all(&corpus).with_context(|| format!("creating {}", corpus.display()))?;
    let mut command = fuzz(workspace, "run")?;
    command.arg(target).arg(&corpus);
    let seeds = workspace.root().join("fuzz/seeds").join(target);
    if seeds.is_dir() {
        command.arg(&seeds);
    }
    command.args(["--", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"]);
    if options.corpus {
        command.arg("-runs=0");
    } else {
        command.arg(format!("-max_total_time={}", options.seconds));
    }
    let outcome = exec::run(&mut command, BUILD_LIMIT + Duration::from_secs(options.seconds))?;
    if !outcome.success {
        bail!("a crash, a leak or a hang: the input is under fuzz/artifacts/{target}");
    }
    let runs = outcome.output.lines().rev().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Ok(Finding::passed(format!("{} inputs", runs.map_or("0", str::trim))))
}
