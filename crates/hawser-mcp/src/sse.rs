//! Server-sent events (WHATWG HTML, section 9.2), as the streamable HTTP transport uses them.

use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memchr2;
use thiserror::Error;

/// May come first in a stream, and means nothing.
const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// One event.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// The `id` field, where this event set one.
    pub id: Option<String>,
    /// The `event` field.
    pub event: Option<String>,
    /// The `data` fields, joined by line feeds.
    pub data: Bytes,
    /// The `retry` field in milliseconds.
    pub retry_ms: Option<u64>,
}

/// A stream that cannot be read on.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum SseError {
    /// An event is larger than allowed.
    #[error("a server-sent event is larger than {0} bytes")]
    TooLarge(usize),
}

/// What comes of an event whose data is passed on as it arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassedOn {
    /// More of the data.
    Data(Bytes),
    /// The end of the event: all else that it says.
    End(SseEvent),
}

/// Reads events from chunks split anywhere. Holds at most one event of bounded size.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "four independent facts about where the reader stands")]
pub struct SseDecoder {
    line: BytesMut,
    data: BytesMut,
    has_data: bool,
    event: SseEvent,
    touched: bool,
    event_bytes_max: usize,
    after_cr: bool,
    started: bool,
    /// Within a line of data that is passed on.
    passing: bool,
}

impl SseEvent {
    /// Whether it is of the type that messages have; other types are not the protocol's.
    pub fn is_message(&self) -> bool {
        self.event.as_deref().is_none_or(|event| event.is_empty() || event == "message")
    }
}

impl SseDecoder {
    /// A decoder that refuses events over this many bytes.
    pub fn new(event_bytes_max: usize) -> Self {
        Self {
            line: BytesMut::new(),
            data: BytesMut::new(),
            has_data: false,
            event: SseEvent::default(),
            touched: false,
            event_bytes_max,
            after_cr: false,
            started: false,
            passing: false,
        }
    }

    /// How many bytes of an event that has not ended are held.
    pub fn held(&self) -> usize {
        self.line.len() + self.data.len()
    }

    /// A copy of the data of the event that has begun, if it is in the middle of a line of data and no event of a type of its own.
    pub fn begun_data(&self) -> Option<Bytes> {
        let line =
            if self.started { &self.line } else { self.line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.line) };
        let value = line.strip_prefix(b"data:").filter(|value| !value.is_empty() && self.event.is_message())?;
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let line_end: &[u8] = if self.has_data { b"\n" } else { b"" };
        Some([&self.data, line_end, value].concat().into())
    }

    /// From now on the data of the event is passed on as it arrives: what is held of it ([`Self::begun_data`]) is forgotten, and
    /// [`Self::pass_on`] is to be called until the event has ended. Its data has no limit any more.
    pub fn begin_to_pass_on(&mut self) {
        (self.passing, self.started, self.has_data, self.touched) = (true, true, true, true);
        self.line.clear();
        self.data.clear();
    }

    /// Takes from a chunk what comes next of an event that is passed on; `None` when nothing is left of the chunk. After an error
    /// the stream must be dropped.
    pub fn pass_on(&mut self, chunk: &mut Bytes) -> Result<Option<PassedOn>, SseError> {
        while !chunk.is_empty() {
            if self.passing {
                let end = memchr2(b'\n', b'\r', chunk);
                let data = chunk.split_to(end.unwrap_or(chunk.len()));
                if end.is_some() {
                    self.passing = false;
                    self.after_cr = chunk.get_u8() == b'\r';
                }
                if !data.is_empty() {
                    return Ok(Some(PassedOn::Data(data)));
                }
                continue;
            }
            if std::mem::take(&mut self.after_cr) && chunk.first() == Some(&b'\n') {
                chunk.advance(1);
                continue;
            }
            let end = memchr2(b'\n', b'\r', chunk);
            let part = chunk.split_to(end.unwrap_or(chunk.len()));
            self.take(&part)?;
            if end.is_none() {
                break;
            }
            self.after_cr = chunk.get_u8() == b'\r';
            if let Some(event) = self.end_line() {
                return Ok(Some(PassedOn::End(event)));
            }
            if !self.data.is_empty() {
                return Ok(Some(PassedOn::Data(self.data.split().freeze())));
            }
        }
        Ok(None)
    }

    /// Takes a chunk and gives every event that it completes. After an error the stream must be dropped.
    pub fn push(&mut self, chunk: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        let mut events = Vec::new();
        let mut rest = chunk;
        if std::mem::take(&mut self.after_cr) {
            // The second half of a CRLF that was cut in two; an empty chunk decides nothing yet.
            match rest.split_first() {
                None => self.after_cr = true,
                Some((b'\n', tail)) => rest = tail,
                Some(_) => {}
            }
        }
        while let Some(end) = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = rest.split_at(end);
            self.take(head)?;
            rest = match tail {
                [b'\r', b'\n', tail @ ..] | [_, tail @ ..] => tail,
                [] => tail,
            };
            self.after_cr = tail == b"\r";
            events.extend(self.end_line());
        }
        self.take(rest)?;
        Ok(events)
    }

    fn take(&mut self, part: &[u8]) -> Result<(), SseError> {
        if self.line.len() + self.data.len() + part.len() > self.event_bytes_max {
            return Err(SseError::TooLarge(self.event_bytes_max));
        }
        self.line.extend_from_slice(part);
        Ok(())
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let mut line = self.line.split().freeze();
        if !std::mem::replace(&mut self.started, true)
            && let Some(after_bom) = line.strip_prefix(BYTE_ORDER_MARK)
        {
            line = line.slice_ref(after_bom);
        }
        if line.is_empty() {
            return self.dispatch();
        }
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = match colon {
            Some(0) => return None,
            Some(colon) => (line.slice(..colon), line.slice(colon + 1..)),
            None => (line.clone(), Bytes::new()),
        };
        let value = if value.first() == Some(&b' ') { value.slice(1..) } else { value };
        self.field(&field, &value);
        None
    }

    fn field(&mut self, field: &[u8], value: &Bytes) {
        let text = || std::str::from_utf8(value).ok();
        match field {
            b"data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.data.extend_from_slice(b"\n");
                }
                self.data.extend_from_slice(value);
            }
            b"id" if !value.contains(&0) => self.event.id = text().map(str::to_owned),
            b"event" => self.event.event = text().map(str::to_owned),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                self.event.retry_ms = text().and_then(|text| text.parse().ok());
            }
            _ => return,
        }
        self.touched = true;
    }

    /// An event without data is not dispatched by browsers, but its id and retry count here: a priming event is one
    /// (2025-11-25, Transports, Sending Messages).
    fn dispatch(&mut self) -> Option<SseEvent> {
        self.has_data = false;
        let mut event = std::mem::take(&mut self.event);
        event.data = self.data.split().freeze();
        std::mem::take(&mut self.touched).then_some(event)
    }
}

/// One event with this data and, where given, an id.
pub fn encode_sse(id: Option<&str>, data: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(data.len() + 32 + id.map_or(0, str::len));
    if let Some(id) = id.filter(|id| !id.contains(['\n', '\r', '\0'])) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id.as_bytes());
        out.extend_from_slice(b"\n");
    }
    // A line end inside the data would end the field, so each line gets a field of its own; readers join them again.
    let mut rest = data;
    loop {
        let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let (line, tail) = end.map_or((rest, None), |end| {
            let (line, tail) = rest.split_at(end);
            (line, Some(tail.strip_prefix(b"\r\n").unwrap_or_else(|| tail.get(1..).unwrap_or_default())))
        });
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.extend_from_slice(b"\n");
        match tail {
            Some(tail) => rest = tail,
            None => break,
        }
    }
    out.extend_from_slice(b"\n");
    out.freeze()
}

/// An event without data that lets a client take the stream up again from its very start, and tells it after how many
/// milliseconds (2025-11-25, Transports, Sending Messages 6).
pub fn encode_sse_priming(id: &str, retry_ms: u64) -> Bytes {
    Bytes::from(format!("id: {id}\nretry: {retry_ms}\ndata: \n\n"))
}

/// A comment that keeps intermediaries from closing a quiet stream.
pub const fn encode_sse_comment() -> Bytes {
    Bytes::from_static(b": keep-alive\n\n")
}
