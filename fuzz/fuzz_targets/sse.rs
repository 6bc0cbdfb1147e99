//! Server-sent events: where a stream is cut into chunks does not matter, and what is encoded is decoded.
//!
//! Input: a byte for the size of events, a byte for the size of chunks, the stream.

#![no_main]

use hawser_mcp::{SseDecoder, SseError, SseEvent, encode_sse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [size, cut, stream @ ..] = data else { return };
    let size = usize::from(*size) * 16;
    let whole = SseDecoder::new(size).push(stream);
    assert_eq!(whole, decode(stream, size, usize::from(*cut)), "cut into other chunks");
    round_trip(stream);
});

/// Decodes in chunks of `cut` bytes and, after each, an empty one.
fn decode(stream: &[u8], size: usize, cut: usize) -> Result<Vec<SseEvent>, SseError> {
    let mut decoder = SseDecoder::new(size);
    let mut events = Vec::new();
    for chunk in stream.chunks(cut.max(1)) {
        events.extend(decoder.push(chunk)?);
        assert_eq!(decoder.push(b""), Ok(Vec::new()));
    }
    Ok(events)
}

fn round_trip(stream: &[u8]) {
    let (id, data) = stream.split_at(stream.len().min(5));
    let id = std::str::from_utf8(id).ok();
    let encoded = encode_sse(id, data);
    let events = SseDecoder::new(encoded.len()).push(&encoded).expect("an event is no larger than its encoding");
    let [event] = events.as_slice() else { panic!("one event became {}", events.len()) };
    // No id is better than one that ends the field early.
    assert_eq!(event.id.as_deref(), id.filter(|id| !id.contains(['\n', '\r', '\0'])));
    assert_eq!(event.data, one_kind_of_line_end(data));
    assert_eq!((event.event.as_deref(), event.retry_ms), (None, None));
}

fn one_kind_of_line_end(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    let mut after_cr = false;
    for byte in data {
        match byte {
            b'\n' if after_cr => {}
            b'\n' | b'\r' => out.push(b'\n'),
            other => out.push(*other),
        }
        after_cr = *byte == b'\r';
    }
    out
}
