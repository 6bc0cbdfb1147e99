//! Responses that are read as they arrive: they are taken and refused like messages that are read whole, wherever they are cut.
//!
//! Input: a byte for the size of chunks, the response.

#![no_main]

use bytes::Bytes;
use hawser_mcp::{Limits, Message, Outcome, RequestId, Response, ResponseReader, parse_message};
use libfuzzer_sys::fuzz_target;

/// Most bytes of input: less than a reader keeps of what is around a result, which a reader of the whole does not bound.
const INPUT_BYTES_MAX: usize = 32 * 1024;

fuzz_target!(|data: &[u8]| {
    let [cut, response @ ..] = data else { return };
    if response.len() > INPUT_BYTES_MAX {
        return;
    }
    let expected = match parse_message(&Bytes::copy_from_slice(response), &Limits::default()) {
        Ok(Message::Response(Response { id, outcome: Outcome::Result(result) }))
            if id == Some(RequestId::number(1)) =>
        {
            Some(result.bytes().to_vec())
        }
        _ => None,
    };
    assert_eq!(in_pieces(response, usize::from(*cut)), expected);
});

fn in_pieces(response: &[u8], cut: usize) -> Option<Vec<u8>> {
    let mut reader = ResponseReader::new(RequestId::number(1), Limits::default());
    let mut result = Vec::new();
    for chunk in response.chunks(cut.max(1)) {
        let piece = reader.push(&Bytes::copy_from_slice(chunk)).ok()?;
        assert!(piece.is_empty() || reader.has_begun());
        result.extend_from_slice(&piece);
    }
    reader.finish().ok().map(|()| result)
}
