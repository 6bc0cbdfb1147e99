//! HTTP as bytes, for requests that no client library would send: duplicate headers, lying lengths, no body.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
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

/// Sends the head and the body of a request one after the other, again and again on one connection, and gives each answer's
/// status. An error if the server closes the connection in between.
pub async fn on_one_connection(address: &str, head: &str, body: &str, times: usize) -> Result<Vec<u16>> {
    let exchanges = async {
        let mut stream = BufReader::new(TcpStream::connect(address).await?);
        stream.get_ref().set_nodelay(true)?;
        let mut statuses = Vec::new();
        for _ in 0..times {
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            // So that the server can read the head by itself.
            tokio::task::yield_now().await;
            stream.write_all(body.as_bytes()).await?;
            statuses.push(read_one(&mut stream).await.context("the connection did not last")?);
        }
        Ok(statuses)
    };
    tokio::time::timeout(LIMIT, exchanges).await.context("no answer")?
}

/// Reads one answer of announced length, and no further.
async fn read_one(stream: &mut BufReader<TcpStream>) -> Result<u16> {
    let (mut status, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        anyhow::ensure!(stream.read_line(&mut line).await? > 0, "closed");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse()?,
            Some((name, value)) if name.eq_ignore_ascii_case("connection") => {
                anyhow::ensure!(!value.trim().eq_ignore_ascii_case("close"), "to be closed");
            }
            Some(_) => {}
            None => status = line.split(' ').nth(1).and_then(|status| status.parse().ok()),
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    status.context("no status line")
}
