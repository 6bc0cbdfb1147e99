//! One session with a child process.

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{LineDecoder, Message, Request, Revision};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::child::ChildCommand;
use super::stderr::LastWords;
use super::supervisor::{Supervised, supervise};
use super::writer::Line;
use super::{reader, stderr, writer};
use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::multiplex::{Multiplex, MultiplexFlow};
use crate::state::SessionState;

/// Lines that wait to be written.
const LINES_MAX: usize = 64;
/// How long a child that does not read may let its callers wait.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

/// How long closing waits for a child that was killed, all steps before it included.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);

/// One session with a child process.
#[derive(Debug)]
pub(crate) struct StdioLink {
    pub(super) shared: Arc<Multiplex>,
    lines: mpsc::Sender<Line>,
    stopped: CancellationToken,
}

impl StdioLink {
    /// A link, and the lines that it wants written.
    pub(super) fn new(config: Arc<BackendConfig>, state: Arc<SessionState>) -> (Arc<Self>, mpsc::Receiver<Line>) {
        let (lines, queued) = mpsc::channel(LINES_MAX);
        let link = Self { shared: Multiplex::new(config, state), lines, stopped: CancellationToken::new() };
        (Arc::new(link), queued)
    }

    /// Starts a child and the tasks around it.
    pub(crate) fn start(
        config: Arc<BackendConfig>,
        command: &ChildCommand,
        state: Arc<SessionState>,
    ) -> Result<Arc<Self>, BackendError> {
        let backend = config.name.clone();
        let Some(permit) = command.limit.take() else {
            return Err(BackendError::TooManyChildren { backend });
        };
        let (child, pipes) = command.spawn().map_err(|error| BackendError::Spawn {
            backend: backend.clone(),
            reason: format!("{:?}: {error}; check its command and directory", command.program()),
        })?;
        let (link, queued) = Self::new(config, state);
        let last_words = LastWords::default();
        let close_stdin = CancellationToken::new();
        let supervised = Supervised {
            child,
            reader: tokio::spawn(reader::read(Arc::clone(&link), pipes.stdout)),
            writer: tokio::spawn(writer::write(Arc::clone(&link), pipes.stdin, queued, close_stdin.clone())),
            stderr: tokio::spawn(stderr::listen(backend, pipes.stderr, command.secrets(), last_words.clone())),
            last_words,
            close_stdin,
            permit,
        };
        tokio::spawn(supervise(Arc::clone(&link), supervised));
        Ok(link)
    }

    pub(crate) async fn begin(&self, id: u64, request: &Request) -> Result<MultiplexFlow, BackendError> {
        let flow = self.shared.begin(id, request)?;
        self.queue(Line { bytes: LineDecoder::encode(&request.to_bytes()), request: Some(id) }).await?;
        Ok(flow)
    }

    pub(crate) async fn send(&self, message: &Message) -> Result<(), BackendError> {
        self.queue(Line { bytes: LineDecoder::encode(&message.to_bytes()), request: None }).await
    }

    /// For the reader, which must not wait for a child that waits for it.
    pub(crate) fn send_in_background(&self, message: &Message) {
        let line = Line { bytes: LineDecoder::encode(&message.to_bytes()), request: None };
        if self.lines.try_send(line).is_err() {
            tracing::debug!(backend = %self.shared.config.name, "a message was dropped: the child does not read");
        }
    }

    async fn queue(&self, line: Line) -> Result<(), BackendError> {
        let after = WRITE_WAIT_MAX.min(self.shared.config.request_timeout);
        match timeout(after, self.lines.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.shared.gone()),
            Err(_) => Err(BackendError::TimedOut { backend: self.shared.config.name.clone(), after }),
        }
    }

    pub(crate) fn settle(&self, revision: Revision) {
        self.shared.settle(revision);
    }

    pub(super) fn note_stopped(&self) {
        self.stopped.cancel();
    }

    /// Waits until the child is gone, or cannot be got rid of: not even a kill reaches a process inside a stuck system call.
    pub(crate) async fn stopped(&self) {
        if timeout(STOP_TIME_MAX, self.stopped.cancelled()).await.is_err() {
            tracing::warn!(backend = %self.shared.config.name, "a child does not end; it is no longer waited for");
        }
    }
}
