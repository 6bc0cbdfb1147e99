//! Server-sent events (WHATWG HTML, section 9.2), as the streamable HTTP transport uses them.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

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
        }
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
            && let Some(after_bom) = line.strip_prefix(b"\xEF\xBB\xBF")
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
