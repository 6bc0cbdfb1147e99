//! A process of the run: started, killed, asked to stop, started again; its errors in a file.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

const START_LIMIT: Duration = Duration::from_mins(1);

/// A program that says on its standard output, as one line of JSON, that it listens.
pub(crate) struct Program {
    name: String,
    path: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
}

/// How a process ended that was asked to stop.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stopped {
    /// With everything done.
    Well,
    /// With a status that says that something was cut off.
    CutOff,
    /// Not by itself.
    Killed,
}

impl Program {
    /// Nothing runs yet. `folder` is where it runs and where its log is.
    pub(crate) fn new(name: &str, path: PathBuf, folder: &Path) -> Self {
        Self { name: name.to_owned(), path, folder: folder.to_owned(), child: None }
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Starts it, and waits for what it says when it listens.
    pub(crate) async fn start(&mut self, arguments: &[OsString]) -> Result<Value> {
        let log = self.folder.join(format!("{}.log", self.name));
        let log = OpenOptions::new().create(true).append(true).open(&log).context("the log of a process")?;
        let mut command = Command::new(&self.path);
        command.args(arguments).current_dir(&self.folder).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        let mut child = command.spawn().with_context(|| format!("cannot start {}", self.name))?;
        let stdout = child.stdout.take().context("no standard output")?;
        self.child = Some(child);
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_LIMIT, lines.next_line()).await;
        let first = first.with_context(|| format!("{} does not say that it listens", self.name))??;
        let first = first.with_context(|| format!("{} ended at once; its log says why", self.name))?;
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        serde_json::from_str(&first).with_context(|| format!("{} said {first}", self.name))
    }

    /// SIGKILL, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        match &mut self.child {
            Some(child) => child.kill().await.with_context(|| format!("killing {}", self.name)),
            None => Ok(()),
        }
    }

    /// SIGTERM, and waits until it is gone.
    pub(crate) async fn stop(&mut self, limit: Duration) -> Result<Stopped> {
        let Some(child) = &mut self.child else { return Ok(Stopped::Well) };
        let id = child.id().with_context(|| format!("{} has ended already", self.name))?;
        let asked = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        ensure!(asked.success(), "{} could not be asked to stop", self.name);
        if let Ok(status) = tokio::time::timeout(limit, child.wait()).await {
            return Ok(if status?.success() { Stopped::Well } else { Stopped::CutOff });
        }
        child.kill().await?;
        Ok(Stopped::Killed)
    }

    /// Whether it ended although nobody asked it to.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))))
    }
}
