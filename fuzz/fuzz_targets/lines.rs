//! Lines of the stdio transport: where the stream is cut does not matter, and one message is one line.
//!
//! Input: a byte for the length of lines, a byte for the size of chunks, the stream.

#![no_main]

use bytes::Bytes;
use hawser_mcp::{LineDecoder, LineError, RawJson};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [size, cut, stream @ ..] = data else { return };
    let size = usize::from(*size);
    let expected = reference(stream, size);
    assert_eq!(decode(stream, size, stream.len()), expected, "in one piece");
    assert_eq!(decode(stream, size, usize::from(*cut)), expected, "in pieces");
    one_line(&Bytes::copy_from_slice(stream));
});

fn decode(stream: &[u8], size: usize, cut: usize) -> Vec<Result<Bytes, LineError>> {
    let mut decoder = LineDecoder::new(size);
    let mut lines = Vec::new();
    for chunk in stream.chunks(cut.max(1)) {
        decoder.push(chunk);
        lines.extend(std::iter::from_fn(|| decoder.next_line()));
    }
    lines
}

/// What the lines are, the plainest way: the last one counts only once it is too long.
fn reference(stream: &[u8], size: usize) -> Vec<Result<Bytes, LineError>> {
    let mut lines: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let rest = lines.pop().filter(|rest| rest.len() > size);
    let kept = |line: &&[u8]| line.len() > size || !line.trim_ascii().is_empty();
    let answer = |line: &[u8]| {
        if line.len() > size { Err(LineError::TooLong(size)) } else { Ok(Bytes::copy_from_slice(line)) }
    };
    lines.into_iter().filter(kept).chain(rest).map(answer).collect()
}

fn one_line(message: &Bytes) {
    let line = LineDecoder::encode(message);
    assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
    assert_eq!(line.last(), Some(&b'\n'));
    let Ok(json) = RawJson::parse(message) else { return };
    let lines = decode(&line, line.len(), 7);
    let [Ok(read)] = lines.as_slice() else { panic!("one message became {} lines", lines.len()) };
    let read = RawJson::parse(read).expect("JSON on one line is JSON");
    assert_eq!(read, json.on_one_line());
}
