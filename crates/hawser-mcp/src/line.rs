//! Newline-delimited messages of the stdio transport (MCP, Transports, stdio).

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::raw::RawJson;

/// Splits a byte stream into lines of bounded length.
#[derive(Debug)]
pub struct LineDecoder {
    buffer: BytesMut,
    searched: usize,
    line_bytes_max: usize,
    skipping: bool,
}

/// A line that was dropped.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum LineError {
    /// Longer than allowed; the rest of it is skipped, the next line is read again.
    #[error("a line is longer than {0} bytes")]
    TooLong(usize),
}

impl LineDecoder {
    /// A decoder that holds at most one line of this many bytes.
    pub fn new(line_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), searched: 0, line_bytes_max, skipping: false }
    }

    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next complete, non-empty line without its line end.
    pub fn next_line(&mut self) -> Option<Result<Bytes, LineError>> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(found) = unsearched.iter().position(|byte| *byte == b'\n') else {
                return self.hold();
            };
            let end = self.searched + found;
            let mut line = self.buffer.split_to(end + 1);
            self.searched = 0;
            line.truncate(end);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > self.line_bytes_max {
                return Some(Err(LineError::TooLong(self.line_bytes_max)));
            }
            if !line.trim_ascii().is_empty() {
                return Some(Ok(line.freeze()));
            }
        }
    }

    /// No line end yet: keep what was searched, or start to skip.
    fn hold(&mut self) -> Option<Result<Bytes, LineError>> {
        self.searched = self.buffer.len();
        if self.skipping {
            self.buffer.clear();
            self.searched = 0;
            return None;
        }
        if self.buffer.len() > self.line_bytes_max {
            self.buffer.clear();
            self.searched = 0;
            self.skipping = true;
            return Some(Err(LineError::TooLong(self.line_bytes_max)));
        }
        None
    }

    /// Puts a message on one line: raw line ends can only be white space between tokens, since JSON strings cannot hold them
    /// (RFC 8259 section 7).
    pub fn encode(message: &Bytes) -> Bytes {
        let mut line = BytesMut::with_capacity(message.len() + 1);
        line.extend(message.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        line.extend_from_slice(b"\n");
        line.freeze()
    }
}

impl RawJson {
    /// The value on a single line.
    #[must_use]
    pub fn on_one_line(&self) -> Self {
        if !self.bytes().iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return self.clone();
        }
        let line: Vec<u8> =
            self.bytes().iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        Self::written(line)
    }
}
