//! Server-sent events (WHATWG HTML, 9.2.6 "Interpreting an event stream"), bounded.

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Event {
    /// `event`, absent for a plain message.
    pub(crate) kind: Option<String>,
    /// `data` lines, joined by line feeds.
    pub(crate) data: String,
    /// The `id` line of this event, if it had one.
    pub(crate) id: Option<String>,
}

/// Turns chunks of bytes into events; a chunk may end anywhere.
#[derive(Debug)]
pub(crate) struct Parser {
    line: Vec<u8>,
    event: Event,
    seen_field: bool,
    after_cr: bool,
    at_start: bool,
    max: usize,
}

/// A line or an event is larger than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {0} bytes")]
pub(crate) struct TooLarge(pub(crate) usize);

impl Parser {
    /// A parser that refuses events larger than `max` bytes.
    pub(crate) fn new(max: usize) -> Self {
        let event = Event::default();
        Self { line: Vec::new(), event, seen_field: false, after_cr: false, at_start: true, max }
    }

    /// Takes the next bytes and appends the events they complete.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLarge> {
        for &byte in bytes {
            // CR, LF and CRLF each end one line, also when CRLF is cut in two by a chunk.
            let swallowed = byte == b'\n' && self.after_cr;
            self.after_cr = byte == b'\r';
            match byte {
                b'\n' if swallowed => {}
                b'\n' | b'\r' => self.end_of_line(out),
                _ if self.line.len() + self.event.data.len() >= self.max => return Err(TooLarge(self.max)),
                _ => self.line.push(byte),
            }
        }
        Ok(())
    }

    fn end_of_line(&mut self, out: &mut Vec<Event>) {
        let raw = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&raw);
        let mut line: &str = &text;
        if std::mem::take(&mut self.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            if std::mem::take(&mut self.seen_field) {
                out.push(std::mem::take(&mut self.event));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value));
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
                self.seen_field = true;
            }
            "event" => self.event.kind = Some(value.to_owned()),
            "id" if !value.contains('\0') => {
                self.event.id = Some(value.to_owned());
                self.seen_field = true;
            }
            // Comments (an empty field name), `retry` and unknown fields: nothing to do.
            _ => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::new(1 << 16);
        let mut out = Vec::new();
        for chunk in chunks {
            parser.push(chunk, &mut out).unwrap();
        }
        out
    }

    fn event(data: &str, id: Option<&str>) -> Event {
        Event { kind: None, data: data.into(), id: id.map(Into::into) }
    }

    #[test]
    fn every_line_ending_and_comment_is_understood() {
        let one = vec![event("a\nb", Some("7"))];
        assert_eq!(parse(&[b"id: 7\ndata: a\ndata: b\n\n"]), one);
        assert_eq!(parse(&[b"\xef\xbb\xbfid:7\r\ndata: a\r\n:ping\r\ndata: b\r\n\r\n"]), one);
        assert_eq!(parse(&[b"id: 7\rdata: a\r", b"data: b\r\r"]), one);
        assert_eq!(parse(&[b": keep-alive\n\n"]), []);
        assert_eq!(parse(&[b"id: 7\n\n"]), [event("", Some("7"))], "a priming event has an id and no data");
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::new(100);
        assert_eq!(parser.push(&[b'x'; 101], &mut Vec::new()), Err(TooLarge(100)));
    }

    proptest! {
        #[test]
        fn where_the_chunks_are_cut_changes_nothing(text in "(id: [a-z]{0,3}|data: ?[a-z:]{0,5}|:|event: x)?(\r\n|\n|\r)*",
            more in "((data: [a-z]{0,4}|id: 1|x)?(\r\n|\n|\r)){0,12}", cut in 0usize..64) {
            let whole = format!("{text}{more}").into_bytes();
            let (left, right) = whole.split_at(cut.min(whole.len()));
            prop_assert_eq!(parse(&[&whole]), parse(&[left, right]));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = Parser::new(64).push(&bytes, &mut Vec::new());
        }
    }
}
