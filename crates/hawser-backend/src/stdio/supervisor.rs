//! The one task that watches a child: stops it when the session is over, ends the session when it stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::child::{Child, describe};
use super::link::StdioLink;
use super::stderr::LastWords;
use crate::error::BackendError;
use crate::state::Ending;

/// Between closing the input, SIGTERM and SIGKILL (MCP, Lifecycle, Shutdown: "a reasonable time").
const PATIENCE: Duration = Duration::from_secs(2);
/// How long what a dead child has written may take to be read.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(1);
/// How long a child that closed a pipe is given to exit by itself, so that its status can be told.
const EXIT_TIME_MAX: Duration = Duration::from_millis(500);

/// A child with the tasks around it.
pub(super) struct Supervised {
    pub(super) child: Child,
    pub(super) reader: JoinHandle<Result<(), String>>,
    pub(super) writer: JoinHandle<()>,
    pub(super) stderr: JoinHandle<()>,
    pub(super) last_words: LastWords,
    pub(super) close_stdin: CancellationToken,
    pub(super) permit: OwnedSemaphorePermit,
}

/// What happened first.
enum First {
    Over,
    Exited(String),
    PipeClosed(&'static str),
    Garbage(String),
}

/// Watches until the child is gone without a trace.
pub(super) async fn supervise(link: Arc<StdioLink>, mut it: Supervised) {
    let first = tokio::select! {
        // What was written before the exit is read before the exit is told.
        biased;
        read = &mut it.reader => match read {
            Ok(Err(reason)) => First::Garbage(reason),
            Ok(Ok(())) | Err(_) => First::PipeClosed("it closed its standard output"),
        },
        status = it.child.exited() => {
            let _ = timeout(DRAIN_TIME_MAX, &mut it.reader).await;
            First::Exited(describe(status))
        }
        _ = &mut it.writer => First::PipeClosed("it closed its standard input"),
        () = link.shared.state.over().cancelled() => First::Over,
    };
    match first {
        First::Over => {
            link.shared.close_lost("the session was closed");
            stop(&mut it).await;
        }
        First::Exited(reason) => died(&link, &mut it, &reason).await,
        First::PipeClosed(reason) => {
            if let Ok(status) = timeout(EXIT_TIME_MAX, it.child.exited()).await {
                died(&link, &mut it, &describe(status)).await;
            } else {
                died(&link, &mut it, reason).await;
                stop(&mut it).await;
            }
        }
        First::Garbage(reason) => {
            link.shared.state.end(Ending::Died(reason.clone()));
            let backend = link.shared.config.name.clone();
            link.shared.close(|_| BackendError::Protocol { backend: backend.clone(), reason: reason.clone() });
            stop(&mut it).await;
        }
    }
    it.reader.abort();
    it.writer.abort();
    it.child.reap().await;
    it.stderr.abort();
    drop(it.permit);
    link.note_stopped();
}

/// The child ended by itself: never an empty success, always an error that says how.
async fn died(link: &StdioLink, it: &mut Supervised, reason: &str) {
    // Its last words may still be in the pipe; a grandchild may keep that open.
    let _ = timeout(EXIT_TIME_MAX, &mut it.stderr).await;
    let reason = it.last_words.attach_to(reason);
    tracing::warn!(backend = %link.shared.config.name, %reason, "a child has ended");
    link.shared.state.end(Ending::Died(reason.clone()));
    link.shared.close_lost(&reason);
}

/// Asks ever more firmly. The kill itself follows when the child is reaped.
async fn stop(it: &mut Supervised) {
    it.close_stdin.cancel();
    if timeout(PATIENCE, it.child.exited()).await.is_ok() {
        return;
    }
    it.child.terminate();
    if timeout(PATIENCE, it.child.exited()).await.is_err() {
        it.child.kill();
    }
}
