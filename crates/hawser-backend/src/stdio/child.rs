//! Starting a child: its own process group, and of the environment only what it needs.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use process_wrap::tokio::{ChildWrapper, CommandWrap, KillOnDrop, ProcessGroup};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::config::ChildLimit;

/// What a program cannot well run without. Everything else, tokens above all, must be configured by name.
const INHERITED: [&str; 10] = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "TERM"];
const SIGTERM: i32 = 15;

/// How a backend's children are started.
pub(crate) struct ChildCommand {
    command: Vec<String>,
    env: Vec<(String, String)>,
    cwd: Option<PathBuf>,
    pub(super) limit: ChildLimit,
}

/// A running process group. Dropping it kills the group.
pub(super) struct Child {
    process: Box<dyn ChildWrapper>,
    reaped: bool,
}

/// A child's three pipes.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl ChildCommand {
    pub(crate) const fn new(
        command: Vec<String>,
        env: Vec<(String, String)>,
        cwd: Option<PathBuf>,
        limit: ChildLimit,
    ) -> Self {
        Self { command, env, cwd, limit }
    }

    /// The configured values, which no log or error may show.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.env.iter().map(|(_, value)| value.clone()).collect()
    }

    /// The program, for a message.
    pub(super) fn program(&self) -> &str {
        self.command.first().map_or("", String::as_str)
    }

    pub(super) fn spawn(&self) -> io::Result<(Child, Pipes)> {
        let mut command = CommandWrap::with_new(self.program(), |command| {
            command
                .args(self.command.iter().skip(1))
                .env_clear()
                .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
                .envs(self.env.iter().map(|(name, value)| (name, value)))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped());
            if let Some(directory) = &self.cwd {
                command.current_dir(directory);
            }
        });
        let mut process = command.wrap(KillOnDrop).wrap(ProcessGroup::leader()).spawn()?;
        let pipes = (process.stdin().take(), process.stdout().take(), process.stderr().take());
        let child = Child { process, reaped: false };
        match pipes {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok((child, Pipes { stdin, stdout, stderr })),
            _ => Err(io::Error::other("the system gave no pipes")),
        }
    }
}

impl fmt::Debug for ChildCommand {
    /// Arguments and variables may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildCommand").field("program", &self.program()).finish_non_exhaustive()
    }
}

impl Child {
    /// Waits for the child itself, not for what it started. Cancel safe.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.process.inner_mut().wait().await
    }

    /// Asks the whole group to end.
    pub(super) fn terminate(&self) {
        // An error means that nobody is left to ask.
        let _ = self.process.signal(SIGTERM);
    }

    /// Ends the whole group.
    pub(super) fn kill(&mut self) {
        let _ = self.process.start_kill();
    }

    /// Ends what is left of the group after the child has exited, and takes in what the system reports about it.
    pub(super) async fn reap(mut self) {
        self.kill();
        let _ = self.process.wait().await;
        self.reaped = true;
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
        }
    }
}

/// How a child ended, in words.
pub(super) fn describe(status: io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("it exited with status {code}"),
            (None, Some(signal)) => format!("it was killed by signal {signal}"),
            (None, None) => "it ended".to_owned(),
        },
        Err(error) => format!("it cannot be waited for: {error}"),
    }
}
