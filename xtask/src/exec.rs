//! Running a program: bounded in time, its output shown as it comes and kept for the report.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

/// How much of a program's output is kept: enough for a summary at its end.
const KEPT_LINES: usize = 4_000;

/// A program's end.
pub(crate) struct Outcome {
    /// Whether it exited with zero.
    pub(crate) success: bool,
    /// Its output, standard output and error as they came, the last lines of it.
    pub(crate) output: String,
}

/// A `cargo` command in the repository, without what cargo set for this process.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command.current_dir(workspace.root()).env("CARGO_TARGET_DIR", workspace.target());
    command
}

/// Whether `command` can be started and succeeds; its output, trimmed, if so.
pub(crate) fn probe(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Runs to the end or to `limit`, and fails unless the program exits with zero.
pub(crate) fn check(command: &mut Command, limit: Duration) -> Result<Outcome> {
    let outcome = run(command, limit)?;
    if !outcome.success {
        bail!("`{}` failed", shown(command));
    }
    Ok(outcome)
}

/// Runs to the end or to `limit`; the exit code is the caller's to judge.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<Outcome> {
    println!("    $ {}", shown(command));
    capture(command, limit, true)
}

/// The same without showing anything: for programs that say much, of which only the end matters.
pub(crate) fn run_quietly(command: &mut Command, limit: Duration) -> Result<Outcome> {
    capture(command, limit, false)
}

fn capture(command: &mut Command, limit: Duration, show: bool) -> Result<Outcome> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start `{}`", shown(command)))?;
    let kept = Arc::new(Mutex::new(Vec::new()));
    let readers = [
        child.stdout.take().map(|pipe| forward(pipe, Arc::clone(&kept), show)),
        child.stderr.take().map(|pipe| forward(pipe, Arc::clone(&kept), show)),
    ];
    let success = wait(&mut child, limit).with_context(|| format!("`{}`", shown(command)))?;
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    let lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(Outcome { success, output: lines.join("\n") })
}

fn wait(child: &mut Child, limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() >= deadline {
            child.kill()?;
            child.wait()?;
            bail!("stopped after {} s without an end", limit.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Keeps the last lines of a pipe, and shows all as they come if `show`.
fn forward(pipe: impl Read + Send + 'static, kept: Arc<Mutex<Vec<String>>>, show: bool) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if show {
                // A closed standard output is no reason to stop reading: the program would block on a full pipe.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() >= KEPT_LINES {
                kept.drain(..KEPT_LINES / 2);
            }
            kept.push(line);
        }
    })
}

/// The command as one would type it, program by its file name.
fn shown(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(name).chain(command.get_args()).map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}
