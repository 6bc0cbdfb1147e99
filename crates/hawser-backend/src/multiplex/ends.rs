//! Whose answer a line or event was that is over-long or cannot be read: found out from its two ends, since the middle of an
//! over-long line is not kept.
//!
//! An answer that is thrown away must fail the exchange that waits for it. Servers write the id near the start or as the
//! very last member.

const HEAD_BYTES_MAX: usize = 512;
const TAIL_BYTES_MAX: usize = 128;

/// The two ends of the line, or of the event, that is being received.
#[derive(Debug, Default)]
pub(crate) struct MessageEnds {
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// What a line seems to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suspect {
    /// The response to this request.
    ResponseTo(u64),
    /// Nobody's response: a request, a notification, or an id that was never given out.
    Other,
    /// Cannot be told.
    Unknown,
}

impl MessageEnds {
    /// The ends of what is there as a whole.
    pub(crate) fn of(whole: &[u8]) -> Self {
        let mut ends = Self::default();
        ends.push(whole);
        ends
    }

    /// Takes more of the current line.
    pub(crate) fn push(&mut self, part: &[u8]) {
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(part.get(..room).unwrap_or(part));
        let kept = part.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.extend_from_slice(part.get(kept..).unwrap_or_default());
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
    }

    /// Starts with the next line.
    pub(crate) fn clear(&mut self) {
        self.head.clear();
        self.tail.clear();
    }

    /// What the start of the line says.
    pub(crate) fn suspect_by_head(&self) -> Suspect {
        let mut rest = Scan(&self.head);
        if rest.byte() != Some(b'{') {
            return Suspect::Unknown;
        }
        // Members whose values are short enough to lie in the head, one after the other.
        while let Some(name) = rest.string() {
            if rest.byte() != Some(b':') {
                break;
            }
            match (name, rest.scalar()) {
                (b"method", _) => return Suspect::Other,
                // Ours are numbers. `id` and then `method` is a request, anything else a response.
                (b"id", Some(value)) => match number(value) {
                    Some(id) if !rest.names_method_next() => return Suspect::ResponseTo(id),
                    _ => return Suspect::Other,
                },
                (_, None) => break,
                (_, Some(_)) => {}
            }
            if rest.byte() != Some(b',') {
                break;
            }
        }
        Suspect::Unknown
    }

    /// What the end of the complete line says: `…,"id":7}`.
    pub(crate) fn suspect_by_tail(&self) -> Suspect {
        // Inside of a string the quotes would be escaped, so a match is the last member of the outermost object.
        let found = || {
            let text = self.tail.trim_ascii_end().strip_suffix(b"}")?.trim_ascii_end();
            let digits = text.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
            let (text, id) = text.split_at(text.len() - digits);
            let text = text.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
            let text = text.strip_suffix(b"\"id\"")?.trim_ascii_end();
            text.ends_with(b",").then(|| number(id)).flatten()
        };
        found().map_or(Suspect::Unknown, Suspect::ResponseTo)
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A reader of the first tokens of an object.
struct Scan<'a>(&'a [u8]);

impl<'a> Scan<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.trim_ascii_start().split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A string without escapes; members of the envelope have none.
    fn string(&mut self) -> Option<&'a [u8]> {
        let rest = self.0.trim_ascii_start().strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (text, rest) = rest.split_at(end);
        self.0 = rest.strip_prefix(b"\"")?;
        Some(text)
    }

    /// A complete string (with its first quote, to tell it from a number) or number.
    fn scalar(&mut self) -> Option<&'a [u8]> {
        let text = self.0.trim_ascii_start();
        if text.starts_with(b"\"") {
            let inner = self.string()?;
            return text.get(..=inner.len());
        }
        let text = self.0.trim_ascii_start();
        let end = text.iter().position(|byte| !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'+' | b'.'))?;
        let (value, rest) = text.split_at(end);
        self.0 = rest;
        (!value.is_empty()).then_some(value)
    }

    fn names_method_next(&self) -> bool {
        let mut ahead = Scan(self.0);
        ahead.byte() == Some(b',') && ahead.string() == Some(b"method")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ends(line: &str) -> MessageEnds {
        MessageEnds::of(line.as_bytes())
    }

    #[test]
    fn the_head_tells_responses_from_calls() {
        let long = "x".repeat(2_000);
        for (line, suspect) in [
            (format!(r#"{{"jsonrpc":"2.0","id":7,"result":"{long}"#), Suspect::ResponseTo(7)),
            (format!(r#" {{ "jsonrpc" : "2.0" , "id" : 7 , "error" : "{long}"#), Suspect::ResponseTo(7)),
            (format!(r#"{{"jsonrpc":"2.0","id":7,"method":"x","params":"{long}"#), Suspect::Other),
            (format!(r#"{{"jsonrpc":"2.0","method":"x","params":"{long}"#), Suspect::Other),
            (format!(r#"{{"jsonrpc":"2.0","id":"7","result":"{long}"#), Suspect::Other),
            (format!(r#"{{"result":{{"id":9,"x":"{long}"#), Suspect::Unknown),
            (format!(r#"{{"result":"{long}"#), Suspect::Unknown),
            (format!("noise {long}"), Suspect::Unknown),
            (String::new(), Suspect::Unknown),
        ] {
            assert_eq!(ends(&line).suspect_by_head(), suspect, "{}", line.get(..60).unwrap_or(&line));
        }
    }

    #[test]
    fn the_tail_shows_an_id_that_comes_last() {
        let long = "x".repeat(2_000);
        for (line, suspect) in [
            (format!(r#"{{"result":"{long}","jsonrpc":"2.0","id":7}}"#), Suspect::ResponseTo(7)),
            (format!("{{\"result\":\"{long}\" , \"id\" : 7 }} \r"), Suspect::ResponseTo(7)),
            (format!(r#"{{"result":"{long},\"id\":7}}"#), Suspect::Unknown),
            (format!(r#"{{"result":{{"x":"{long}","id":7}}}}"#), Suspect::Unknown),
            (format!(r#"{{"result":"{long}","id":}}"#), Suspect::Unknown),
        ] {
            assert_eq!(ends(&line).suspect_by_tail(), suspect);
        }
    }

    proptest! {
        #[test]
        fn where_the_line_is_cut_makes_no_difference(line in "[ -~]{0,900}", cuts in proptest::collection::vec(0_usize..900, 0..6)) {
            let whole = ends(&line);
            let mut pieces = MessageEnds::default();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(line.len())).collect();
            cuts.sort_unstable();
            let mut start = 0;
            for cut in cuts.into_iter().chain([line.len()]) {
                pieces.push(line.get(start..cut).unwrap_or_default().as_bytes());
                start = cut;
            }
            prop_assert_eq!(&whole.head, &pieces.head);
            prop_assert_eq!(&whole.tail, &pieces.tail);
            let _ = (whole.suspect_by_head(), whole.suspect_by_tail());
        }
    }
}
