//! HTTP as bytes, for requests that no client library would send: duplicate headers, lying lengths, no body.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LIMIT: Duration = Duration::from_secs(20);
const MAX_ANSWER: u64 = 1 << 20;

/// An answer, taken apart only as far as tests need.
#[derive(Debug)]
pub struct RawAnswer {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, with values.
    pub headers: Vec<(String, String)>,
    /// What followed the header, transfer coding and all.
    pub body: String,
}

impl RawAnswer {
    /// The value of a header that is there once.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Sends `request` to `address` as it is, and reads until the server closes the connection. The request must ask for that
/// (`Connection: close`), or be so wrong that the server closes by itself.
pub async fn exchange(address: &str, request: &[u8]) -> Result<RawAnswer> {
    let bytes = tokio::time::timeout(LIMIT, read_answer(address, request)).await.context("no end of the answer")??;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {text:?}"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok(RawAnswer { status, headers, body: body.to_owned() })
}

async fn read_answer(address: &str, request: &[u8]) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
    // The server may refuse before it has read everything: then writing fails, and the answer is still there.
    let _ = stream.write_all(request).await;
    let mut bytes = Vec::new();
    match (&mut stream).take(MAX_ANSWER).read_to_end(&mut bytes).await {
        Err(error) if bytes.is_empty() => Err(error.into()),
        _ => Ok(bytes),
    }
}
