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
    mut lines: mpsc::Receiver<Line>,
    stop: CancellationToken,
) {
    let writing = async {
        loop {
            let line = tokio::select! {
                biased;
                line = lines.recv() => line,
                () = stop.cancelled() => lines.try_recv().ok(),
            };
            let Some(line) = line else { break };
            if !write_line(&link, &mut pipe, &line).await {
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
async fn write_line(link: &StdioLink, pipe: &mut (impl AsyncWrite + Unpin), line: &Line) -> bool {
    let mark = |sent| {
        if let Some(id) = line.request {
            link.routes(|routes| routes.mark_sent(id, sent));
        }
    };
    // Before the first byte: an answer, or the child's end, may come before the write returns.
    mark(true);
    let mut rest = line.bytes.clone();
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
