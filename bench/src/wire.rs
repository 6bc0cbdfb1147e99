//! HTTP/1.1 (RFC 9112) as the load and the backend speak it: one connection, one message after the other, read into one
//! buffer. A whole client or server library would take more time than what is measured.

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Largest head of a message.
const HEAD_MAX: usize = 64 << 10;
/// Largest body that is read as a whole.
const BODY_MAX: usize = 256 << 20;
const HEADERS_MAX: usize = 64;
const FIRST_CAPACITY: usize = 16 << 10;
/// How much is read at a time at least.
const READ: usize = 16 << 10;

/// What the head of a message says about the rest of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    /// Of a response.
    pub(crate) status: u16,
    /// Of a request.
    pub(crate) method: String,
    /// Of a request.
    pub(crate) path: String,
    /// How the end of the body is known.
    pub(crate) framing: Framing,
    /// `Mcp-Session-Id`.
    pub(crate) session: Option<String>,
    /// `MCP-Protocol-Version`.
    pub(crate) revision: Option<String>,
    /// Whether the body is a stream of events.
    pub(crate) events: bool,
    /// Whether the connection ends with this message.
    pub(crate) closes: bool,
}

/// How the end of a body is known.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Framing {
    /// There is none.
    #[default]
    None,
    /// By its length.
    Length(usize),
    /// It comes in chunks.
    Chunked,
    /// It ends with the connection.
    ToTheEnd,
}

/// Which way messages come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Side {
    /// Requests are read.
    Server,
    /// Responses are read.
    Client,
}

/// What is read from one connection.
pub(crate) struct Reader<S> {
    stream: S,
    side: Side,
    buffer: Vec<u8>,
    /// Where in the buffer the next message begins.
    start: usize,
    /// Where a chunked body is put together.
    joined: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Reader<S> {
    pub(crate) fn new(stream: S, side: Side) -> Self {
        Self { stream, side, buffer: Vec::with_capacity(FIRST_CAPACITY), start: 0, joined: Vec::new() }
    }

    /// The connection itself, to write to.
    pub(crate) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The head of the next message; `None` if the connection ends before it.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        loop {
            let unread = self.buffer.get(self.start..).unwrap_or_default();
            if let Some((head, length)) = self.side.parse(unread)? {
                self.start += length;
                return Ok(Some(head));
            }
            ensure!(unread.len() < HEAD_MAX, "a head of more than {HEAD_MAX} bytes");
            let nothing = unread.is_empty();
            if self.more(READ).await? == 0 {
                ensure!(nothing, "the connection ended within a head");
                return Ok(None);
            }
        }
    }

    /// The whole body of the message whose head was read.
    pub(crate) async fn body(&mut self, framing: Framing) -> Result<&[u8]> {
        match framing {
            Framing::None => Ok(&[]),
            Framing::Length(length) => {
                ensure!(length <= BODY_MAX, "a body of {length} bytes");
                while self.buffer.len() - self.start < length {
                    let missing = length - (self.buffer.len() - self.start);
                    ensure!(self.more(missing).await? > 0, "the connection ended within a body");
                }
                let body = self.start..self.start + length;
                self.start = body.end;
                Ok(self.buffer.get(body).unwrap_or_default())
            }
            Framing::Chunked | Framing::ToTheEnd => {
                self.joined.clear();
                while self.piece(framing).await? {
                    ensure!(self.joined.len() <= BODY_MAX, "a body of more than {BODY_MAX} bytes");
                }
                Ok(&self.joined)
            }
        }
    }

    /// Reads one more piece of a body without a length; `false` at its end.
    async fn piece(&mut self, framing: Framing) -> Result<bool> {
        if framing == Framing::ToTheEnd {
            self.joined.extend_from_slice(self.buffer.get(self.start..).unwrap_or_default());
            self.start = self.buffer.len();
            self.drop_read();
            return Ok(self.more(READ).await? > 0);
        }
        let length = self.chunk_length().await?;
        let whole = length + 2;
        while self.buffer.len() - self.start < whole {
            let missing = whole - (self.buffer.len() - self.start);
            ensure!(self.more(missing).await? > 0, "the connection ended within a chunk");
        }
        let chunk = self.buffer.get(self.start..self.start + length).unwrap_or_default();
        self.joined.extend_from_slice(chunk);
        self.start += whole;
        self.drop_read();
        Ok(length > 0)
    }

    /// The length of the next chunk (RFC 9112, 7.1). Trailers are not expected of anybody here.
    async fn chunk_length(&mut self) -> Result<usize> {
        loop {
            let unread = self.buffer.get(self.start..).unwrap_or_default();
            match httparse::parse_chunk_size(unread).ok().context("no length of a chunk")? {
                httparse::Status::Complete((read, length)) => {
                    self.start += read;
                    let length = usize::try_from(length)?;
                    ensure!(length <= BODY_MAX, "a chunk of {length} bytes");
                    return Ok(length);
                }
                httparse::Status::Partial => ensure!(self.more(READ).await? > 0, "the connection ended within a body"),
            }
        }
    }

    /// The next chunk of a body that is read as it comes, as a stream of events is; `None` at its end.
    pub(crate) async fn next_piece(&mut self, framing: Framing) -> Result<Option<&[u8]>> {
        self.joined.clear();
        Ok(self.piece(framing).await?.then_some(self.joined.as_slice()))
    }

    /// Passes over a body of this length, and tells of each part of it as it comes.
    pub(crate) async fn pass(&mut self, length: usize, mut seen: impl FnMut(&[u8])) -> Result<()> {
        let mut left = length;
        loop {
            let here = (self.buffer.len() - self.start).min(left);
            if here > 0 {
                seen(self.buffer.get(self.start..self.start + here).unwrap_or_default());
                self.start += here;
                left -= here;
                self.drop_read();
            }
            if left == 0 {
                return Ok(());
            }
            ensure!(self.more(READ).await? > 0, "the connection ended within a body");
        }
    }

    fn drop_read(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    async fn more(&mut self, at_least: usize) -> Result<usize> {
        if self.start > FIRST_CAPACITY {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.reserve(at_least.max(READ));
        Ok(self.stream.read_buf(&mut self.buffer).await?)
    }
}

impl Side {
    /// A whole head and its length, if it is there.
    fn parse(self, bytes: &[u8]) -> Result<Option<(Head, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let (mut head, read) = match self {
            Self::Client => {
                let mut response = httparse::Response::new(&mut headers);
                let httparse::Status::Complete(read) = response.parse(bytes).context("the head of a response")? else {
                    return Ok(None);
                };
                (Head { status: response.code.unwrap_or_default(), ..Head::default() }, read)
            }
            Self::Server => {
                let mut request = httparse::Request::new(&mut headers);
                let httparse::Status::Complete(read) = request.parse(bytes).context("the head of a request")? else {
                    return Ok(None);
                };
                let (method, path) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
                (Head { method: method.to_owned(), path: path.to_owned(), ..Head::default() }, read)
            }
        };
        for header in headers.iter().take_while(|header| !header.name.is_empty()) {
            head.take(header)?;
        }
        if self == Self::Client {
            head.framing = match head.framing {
                _ if head.status == 204 || head.status == 304 || head.status < 200 => Framing::None,
                Framing::None => Framing::ToTheEnd,
                known => known,
            };
        }
        Ok(Some((head, read)))
    }
}

impl Head {
    fn take(&mut self, header: &httparse::Header<'_>) -> Result<()> {
        let text = || String::from_utf8_lossy(header.value).trim().to_owned();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") {
            self.framing = Framing::Length(text().parse().context("Content-Length")?);
        } else if is("transfer-encoding") {
            if !header.value.eq_ignore_ascii_case(b"chunked") {
                bail!("a transfer coding that is not spoken here");
            }
            self.framing = Framing::Chunked;
        } else if is("mcp-session-id") {
            self.session = Some(text());
        } else if is("mcp-protocol-version") {
            self.revision = Some(text());
        } else if is("content-type") {
            self.events = header.value.starts_with(b"text/event-stream");
        } else if is("connection") {
            self.closes = header.value.eq_ignore_ascii_case(b"close");
        }
        Ok(())
    }
}
