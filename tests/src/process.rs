//! A child process of a test: its lines as they come, its errors kept, stopped by its id when it goes out of scope.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::mpsc;

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::UnboundedReceiver<String>,
    stderr: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command`; `name` is what messages call it.
    pub fn start(name: &str, command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (sender, stdout) = mpsc::unbounded_channel();
        let stderr = Arc::new(Mutex::new(String::new()));
        if let Some(pipe) = child.stdout.take() {
            tokio::spawn(each_line(pipe, move |line| drop(sender.send(line))));
        }
        if let Some(pipe) = child.stderr.take() {
            let kept = Arc::clone(&stderr);
            tokio::spawn(each_line(pipe, move |line| {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push_str(&line);
                kept.push('\n');
            }));
        }
        let stdin = child.stdin.take();
        Ok(Self { name: name.to_owned(), child, stdin, stdout, stderr })
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The next line of its standard output.
    pub async fn line(&mut self, within: Duration) -> Result<String> {
        match tokio::time::timeout(within, self.stdout.recv()).await {
            Ok(Some(line)) => Ok(line),
            Ok(None) => bail!("{} ended its output. Its errors:\n{}", self.name, self.stderr()),
            Err(_) => bail!("{} said nothing for {} s. Its errors:\n{}", self.name, within.as_secs(), self.stderr()),
        }
    }

    /// The next line that is a JSON object with the member `event` being `event`.
    pub async fn event(&mut self, event: &str, within: Duration) -> Result<serde_json::Value> {
        let deadline = Instant::now() + within;
        loop {
            let line = self.line(deadline.saturating_duration_since(Instant::now())).await?;
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&line)
                && value.get("event").and_then(serde_json::Value::as_str) == Some(event)
            {
                return Ok(value);
            }
        }
    }

    /// Writes one line to its standard input.
    pub async fn send(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().with_context(|| format!("{}'s input is closed", self.name))?;
        stdin.write_all(format!("{line}\n").as_bytes()).await.with_context(|| format!("writing to {}", self.name))?;
        stdin.flush().await.with_context(|| format!("writing to {}", self.name))
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> String {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Kills it without a chance to clean up (SIGKILL), and waits until it is gone.
    pub async fn kill(&mut self) -> Result<()> {
        self.child.kill().await.with_context(|| format!("killing {}", self.name))
    }

    /// Asks it to stop (SIGTERM).
    pub async fn terminate(&self) -> Result<()> {
        let id = self.id().with_context(|| format!("{} has ended already", self.name))?;
        let status = Command::new("kill").args(["-TERM", &id.to_string()]).status().await?;
        anyhow::ensure!(status.success(), "{} could not be asked to stop", self.name);
        Ok(())
    }

    /// Waits for its end.
    pub async fn exit(&mut self, within: Duration) -> Result<ExitStatus> {
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_) => bail!("{} did not end in {} s. Its errors:\n{}", self.name, within.as_secs(), self.stderr()),
        }
    }

    /// All further lines of standard output; call it after [`Process::exit`].
    pub async fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(line) = self.stdout.recv().await {
            lines.push(line);
        }
        lines
    }
}

async fn each_line(pipe: impl AsyncRead + Unpin, mut take: impl FnMut(String)) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
        take(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned());
        line.clear();
    }
}

/// Asks `check` again and again until it gives something, for `within` at most.
pub async fn until<T>(what: &str, within: Duration, mut check: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = check().await? {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < deadline, "{what}: not in {} s", within.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
