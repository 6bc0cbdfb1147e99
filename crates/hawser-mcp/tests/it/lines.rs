//! Lines: where the bytes are cut makes no difference, and what is written is read again.

use bytes::Bytes;
use hawser_mcp::{LineDecoder, LineError};
use proptest::prelude::*;

use crate::json::{cuts, pieces, raw, value};

const LINE_BYTES_MAX: usize = 40;

fn decode(parts: &[&[u8]], line_bytes_max: usize) -> Vec<Result<Bytes, LineError>> {
    let mut decoder = LineDecoder::new(line_bytes_max);
    let mut lines = Vec::new();
    for part in parts {
        decoder.push(part);
        while let Some(line) = decoder.next_line() {
            lines.push(line);
        }
    }
    lines
}

/// What a reader of the whole text at once would say.
fn expected(text: &[u8], line_bytes_max: usize) -> Vec<Result<Bytes, LineError>> {
    let mut lines = Vec::new();
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let ended = line.strip_suffix(b"\n");
        match (ended, ended.unwrap_or(line)) {
            (_, line) if line.len() > line_bytes_max => lines.push(Err(LineError::TooLong(line_bytes_max))),
            (Some(_), line) if !line.trim_ascii().is_empty() => lines.push(Ok(Bytes::copy_from_slice(line))),
            _ => {}
        }
    }
    lines
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_where_the_bytes_are_cut(text in "[a-c\n\r ]{0,300}", cuts in cuts()) {
        let text = text.as_bytes();
        prop_assert_eq!(decode(&pieces(text, &cuts), LINE_BYTES_MAX), expected(text, LINE_BYTES_MAX));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, cuts in cuts(), max in 0_usize..50) {
        prop_assert_eq!(decode(&pieces(&bytes, &cuts), max), expected(&bytes, max));
    }

    #[test]
    fn every_value_takes_one_line_and_keeps_its_meaning(values in proptest::collection::vec(value(), 1..4), cuts in cuts()) {
        let written: Vec<u8> =
            values.iter().flat_map(|value| LineDecoder::encode(&Bytes::copy_from_slice(value.as_bytes()))).collect();
        let read = decode(&pieces(&written, &cuts), usize::MAX / 2);
        prop_assert_eq!(read.len(), values.len());
        for (line, value) in read.into_iter().zip(&values) {
            let line = line.unwrap();
            prop_assert!(!line.contains(&b'\n') && !line.contains(&b'\r'));
            let single = raw(value).on_one_line();
            prop_assert_eq!(single.as_str().as_bytes(), line.trim_ascii());
            let strip = |text: &[u8]| -> Vec<u8> { text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect() };
            prop_assert_eq!(strip(&line), strip(value.as_bytes()));
        }
    }
}
