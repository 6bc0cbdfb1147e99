//! Lines in, lines out (MCP, Transports, stdio: one message a line).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::LineDecoder;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::pump::Pump;

const CHUNK_BYTES: usize = 64 * 1024;
/// Lines that wait to be written; whoever has more to say waits.
const LINES_MAX: usize = 16;
/// How long the last lines may take to go out.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(1);

/// Where messages to the client go. Each is written whole.
#[derive(Clone, Debug)]
pub(super) struct Output(mpsc::Sender<Bytes>);

/// The task that writes.
pub(super) struct Writing(JoinHandle<()>);

/// Starts to write. If nobody reads any more, `stop` is told.
pub(super) fn output(pipe: impl AsyncWrite + Unpin + Send + 'static, stop: CancellationToken) -> (Output, Writing) {
    let (sender, lines) = mpsc::channel(LINES_MAX);
    (Output(sender), Writing(tokio::spawn(write(pipe, lines, stop))))
}

impl Output {
    /// Writes one message.
    pub(super) async fn message(&self, message: &Bytes) {
        // If nobody reads any more, everything is about to end.
        let _ = self.0.send(LineDecoder::encode(message)).await;
    }
}

impl Writing {
    /// Waits until all is written that was said. Every [`Output`] must be gone.
    pub(super) async fn finished(self) {
        let _ = timeout(FLUSH_TIME_MAX, self.0).await;
    }
}

async fn write(mut pipe: impl AsyncWrite + Unpin, mut lines: mpsc::Receiver<Bytes>, stop: CancellationToken) {
    while let Some(line) = lines.recv().await {
        let written = async {
            pipe.write_all(&line).await?;
            pipe.flush().await
        };
        if let Err(error) = written.await {
            debug!(%error, "nobody reads the output any more");
            stop.cancel();
            return;
        }
    }
}

/// Reads lines until the input ends or `stop` says so. What the pump does at once with a line is done before the next is read.
pub(super) async fn input(
    mut pipe: impl AsyncRead + Unpin,
    line_bytes_max: usize,
    stop: &CancellationToken,
    pump: &Arc<Pump>,
) {
    let reading = async {
        let mut decoder = LineDecoder::new(line_bytes_max);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let read = pipe.read(&mut chunk).await.unwrap_or(0);
            // The last line may lack its end.
            let bytes = if read == 0 { b"\n".as_slice() } else { chunk.get(..read).unwrap_or_default() };
            decoder.push(bytes);
            while let Some(line) = decoder.next_line() {
                match line {
                    Ok(line) => pump.line(line).await,
                    Err(error) => pump.unreadable(&error.to_string()).await,
                }
            }
            if read == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = stop.cancelled() => {}
    }
}
