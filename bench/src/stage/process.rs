//! A process of a run: its first words read, its errors kept in a file, ended by its id when it goes out of scope, when a signal
//! comes, and when a run takes too long.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::cpu;

/// How long a process may take to stop before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(10);

/// The processes that run.
static RUNNING: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
/// The folders that they work in.
static FOLDERS: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// A new folder, gone when it goes out of scope and when a signal comes.
pub(crate) fn folder() -> Result<TempDir> {
    let folder = TempDir::with_prefix("hawser-bench-").context("a folder for a run")?;
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).push(folder.path().to_owned());
    Ok(folder)
}

/// A running process.
pub(crate) struct Process {
    name: String,
    child: Child,
    errors: PathBuf,
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts it; what it says on standard error goes to a file in `dir`.
    pub(crate) fn start(name: &str, command: &mut Command, dir: &Path) -> Result<Self> {
        let errors = dir.join(format!("{name}.err"));
        let file = File::create(&errors).with_context(|| format!("creating {}", errors.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        running().insert(child.id());
        let (said, lines) = mpsc::channel();
        if let Some(pipe) = child.stdout.take() {
            thread::spawn(move || {
                for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                    // Read on when nobody listens any more: a full pipe would stop the process.
                    let _ = said.send(line);
                }
            });
        }
        Ok(Self { name: name.to_owned(), child, errors, lines })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it says on standard output when it is ready: JSON with `"event": "listening"`.
    pub(crate) fn ready(&mut self, within: Duration) -> Result<Value> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else { bail!("{} is not ready. {}", self.name, self.said()) };
            if let Ok(value) = serde_json::from_str::<Value>(&line)
                && value.get("event").is_some_and(|event| event == "listening")
            {
                return Ok(value);
            }
        }
    }

    /// Fails if it has ended.
    pub(crate) fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended: {status}. {}", self.name, self.said()),
            None => Ok(()),
        }
    }

    /// The last of what it said on standard error.
    pub(crate) fn said(&self) -> String {
        let text = fs::read(&self.errors).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines.get(lines.len().saturating_sub(8)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let id = self.child.id();
        let family = family(id);
        signal(id, Signal::TERM);
        let deadline = Instant::now() + STOP_LIMIT;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                // Already gone is as good.
                let _ = self.child.kill();
                let _ = self.child.wait();
                break;
            }
            thread::sleep(LOOK);
        }
        end(&family);
        running().remove(&id);
    }
}

/// Ends all processes of this run when a signal comes, or after `limit`, and this process with them.
pub(crate) fn end_on_signals(limit: Duration) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("a runtime")?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        let why = runtime.block_on(async {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return "no signals can be waited for";
            };
            tokio::select! {
                _ = interrupt.recv() => "interrupted",
                _ = terminate.recv() => "asked to stop",
                () = tokio::time::sleep(limit) => "this took too long",
            }
        });
        eprintln!("{why}: stopping");
        let all: Vec<u32> = running().iter().copied().collect();
        let families: Vec<_> = all.iter().flat_map(|pid| family(*pid)).collect();
        for pid in all {
            self::signal(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while families.iter().any(|(pid, at)| started(*pid) == *at) && Instant::now() < deadline {
            thread::sleep(LOOK);
        }
        end(&families);
        for folder in FOLDERS.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            // Most are gone already.
            let _ = fs::remove_dir_all(folder);
        }
        std::process::exit(130);
    })?;
    Ok(())
}

/// A process and its descendants, each with what tells it from a later one of the same id.
fn family(pid: u32) -> Vec<(u32, String)> {
    cpu::tree(pid).unwrap_or_default().into_iter().map(|pid| (pid, started(pid))).collect()
}

/// Kills those that are still there.
fn end(family: &[(u32, String)]) {
    for (pid, at) in family {
        if !at.is_empty() && started(*pid) == *at {
            signal(*pid, Signal::KILL);
        }
    }
}

/// When a process was started; nothing if it has ended (a zombie has).
fn started(pid: u32) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> =
        stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
    match (fields.first(), fields.get(19)) {
        (Some(&state), Some(at)) if state != "Z" => (*at).to_owned(),
        _ => String::new(),
    }
}

fn signal(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

fn running() -> std::sync::MutexGuard<'static, BTreeSet<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}
