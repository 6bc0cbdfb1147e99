//! The one task that writes to a child.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::link::StdioLink;

/// How long queued lines may take to go out once the session is over.
const FLUSH_TIME_MAX: Duration = Duration::from_millis(500);

/// A line for the child.
#[derive(Debug)]
pub(super) struct Line {
    /// With its line end.
    pub(super) bytes: Bytes,
    /// The request it carries, if it carries one.
    pub(super) request: Option<u64>,
}

/// Writes lines until the child reads no more or it is told to stop, then closes the pipe: "the client SHOULD close the
/// input stream to the child process" (MCP, Lifecycle, Shutdown).
pub(super) async fn write(
    link: Arc<StdioLink>,
    mut pipe: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Line>,
    stop: CancellationToken,
) {
    let writing = async {
        loop {
            let next = tokio::select! {
                biased;
                next = queue.recv() => next,
                () = stop.cancelled() => queue.try_recv().ok(),
            };
            let Some(next) = next else { break };
            if !write_line(&link, &mut pipe, next).await {
                break;
            }
        }
    };
    let stopping = async {
        stop.cancelled().await;
        sleep(FLUSH_TIME_MAX).await;
    };
    tokio::select! {
        () = writing => {}
        () = stopping => {}
    }
}

/// Writes one line; `false` if the child reads no more.
async fn write_line(
    link: &StdioLink,
    pipe: &mut (impl AsyncWrite + Unpin),
    Line { bytes: mut rest, request }: Line,
) -> bool {
    let mark = |sent| {
        if let Some(id) = request {
            link.shared.mark_sent(id, sent);
        }
    };
    // Before the first byte: an answer, or the child's end, may come before the write returns.
    mark(true);
    let mut untouched = true;
    while !rest.is_empty() {
        match pipe.write_buf(&mut rest).await {
            Ok(0) | Err(_) => {
                if untouched {
                    mark(false);
                }
                return false;
            }
            Ok(_) => untouched = false,
        }
    }
    pipe.flush().await.is_ok()
}
