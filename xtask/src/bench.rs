//! `cargo xtask bench`: the gateway as it is shipped beside nginx and beside no gateway. The program is the crate `hawser-bench`; here
//! everything is built and installed first, so that nothing compiles while something is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::Value;

use crate::exec;
use crate::report::{Finding, Report, Status};
use crate::workspace::Workspace;

const BUILD_LIMIT: Duration = Duration::from_hours(1);
const INSTALL_LIMIT: Duration = Duration::from_mins(10);
/// The program ends by itself before that.
const RUN_LIMIT: Duration = Duration::from_hours(4);
/// Debian's nginx, and what it needs that not every machine has.
const NGINX_PACKAGES: [&str; 3] = ["nginx", "libpcre2-8-0", "libssl3"];

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Small results at full load alone, about a minute.
    #[arg(long)]
    quick: bool,
    /// How often each is measured, in turns.
    #[arg(long)]
    rounds: Option<u32>,
    /// A gateway's program that is built already, instead of the one of this repository.
    #[arg(long, value_name = "FILE")]
    hawser: Option<PathBuf>,
    /// Write the tables to this file as Markdown.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: crate::Output,
    /// Further flags of the program, after `--`: `-- --help` names them.
    #[arg(last = true)]
    further: Vec<String>,
}

/// Installs, builds, measures.
pub(crate) fn task(workspace: &Workspace, options: &Options, report: &mut Report) {
    let mut nginx = PathBuf::new();
    let prepared = [
        report.step("nginx", || {
            nginx = install_nginx(&workspace.target().join("bench-parts"))?;
            Ok(Finding::passed(version(&nginx)))
        }),
        report.step("build", || build(workspace, options)),
    ];
    if prepared.contains(&Status::Failed) {
        report.not_run("bench", "a step before it");
        return;
    }
    let mut found = Value::Null;
    report.step("bench", || {
        found = measure(workspace, options, &nginx)?;
        Ok(Finding::passed("the tables are above"))
    });
    report.attach(found);
}

/// The gateway as it is shipped; the load and the backend need no link-time optimisation.
fn build(workspace: &Workspace, options: &Options) -> Result<Finding> {
    let mut command = exec::cargo(workspace);
    exec::check(command.args(["build", "--locked", "--release", "-p", "hawser-bench"]), BUILD_LIMIT)?;
    if options.hawser.is_some() {
        return Ok(Finding::passed("the load and the backend"));
    }
    let mut command = exec::cargo(workspace);
    exec::check(command.args(["build", "--locked", "--profile", "dist", "-p", "hawser"]), BUILD_LIMIT)?;
    Ok(Finding::passed("the gateway with the profile `dist`"))
}

fn measure(workspace: &Workspace, options: &Options, nginx: &Path) -> Result<Value> {
    let json = workspace.target().join("bench.json");
    let mut command = Command::new(workspace.target().join("release").join("hawser-bench"));
    let hawser = options.hawser.clone().unwrap_or_else(|| workspace.target().join("dist").join("hawser"));
    command.arg("compare").arg("--hawser").arg(hawser).arg("--nginx").arg(nginx).arg("--json").arg(&json);
    if options.quick {
        command.arg("--quick");
    }
    if let Some(rounds) = options.rounds {
        command.args(["--rounds", &rounds.to_string()]);
    }
    if let Some(markdown) = &options.markdown {
        command.arg("--markdown").arg(std::path::absolute(markdown)?);
    }
    command.args(&options.further);
    exec::check(&mut command, RUN_LIMIT)?;
    let text = fs::read_to_string(&json).context("what was measured")?;
    serde_json::from_str(&text).context("what was measured")
}

/// Debian's package, unpacked rather than installed, so that no service is started and nobody has to be root. On another system the
/// machine's own.
fn install_nginx(parts: &Path) -> Result<PathBuf> {
    let program = parts.join("nginx/usr/sbin/nginx");
    if program.exists() {
        return Ok(program);
    }
    if exec::probe(Command::new("apt-get").arg("--version")).is_none() {
        exec::probe(Command::new("nginx").arg("-v")).context("no nginx on the machine")?;
        return Ok(PathBuf::from("nginx"));
    }
    let packages = parts.join("nginx-packages");
    fs::create_dir_all(&packages).with_context(|| format!("creating {}", packages.display()))?;
    let download = || {
        let mut command = Command::new("apt-get");
        // As whoever runs this: the user that apt has for downloads cannot write here.
        command.args(["download", "-q", "-o", "APT::Sandbox::User="]).args(NGINX_PACKAGES).current_dir(&packages);
        exec::check(&mut command, INSTALL_LIMIT)
    };
    // On a new machine, or one whose lists are old, the package lists are fetched first.
    if download().is_err() {
        exec::check(Command::new("apt-get").args(["update", "-q"]), INSTALL_LIMIT).context("fetching package lists")?;
        download().context("downloading Debian's nginx")?;
    }
    // Whole or not at all: an interrupted installation is never mistaken for one.
    let unpacked = parts.join("nginx-unpacked");
    for package in fs::read_dir(&packages).context("reading the packages")? {
        exec::check(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(&unpacked), INSTALL_LIMIT)?;
    }
    fs::rename(&unpacked, parts.join("nginx")).context("putting nginx in its place")?;
    Ok(program)
}

/// nginx tells its version on standard error.
fn version(nginx: &Path) -> String {
    let output = Command::new(nginx).arg("-v").output();
    output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned()).unwrap_or_default()
}
