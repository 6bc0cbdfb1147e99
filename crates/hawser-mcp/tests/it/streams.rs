//! Server-sent events: cuts make no difference, what is written is read again, nothing grows beyond its bound.

use bytes::Bytes;
use hawser_mcp::{PassedOn, SseDecoder, SseError, SseEvent, encode_sse, encode_sse_comment};
use proptest::prelude::*;

use crate::json::{cuts, pieces};

const UNBOUNDED: usize = usize::MAX / 2;

fn decode(parts: &[&[u8]], event_bytes_max: usize) -> Result<Vec<SseEvent>, SseError> {
    let mut decoder = SseDecoder::new(event_bytes_max);
    let mut events = Vec::new();
    for part in parts {
        events.extend(decoder.push(part)?);
    }
    Ok(events)
}

fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("data"),
        Just("id"),
        Just("event"),
        Just("retry"),
        Just("other"),
        Just(""),
        Just("\u{FEFF}data")
    ];
    let end = prop_oneof![Just("\n"), Just("\r"), Just("\r\n"), Just("\n\n"), Just("\r\r"), Just("\r\n\r\n")];
    (name, "(:? ?[0-9a-zé\0:]{0,6})", end).prop_map(|(name, value, end)| format!("{name}{value}{end}"))
}

proptest! {
    #[test]
    fn events_do_not_depend_on_where_the_bytes_are_cut(lines in proptest::collection::vec(line(), 0..20), cuts in cuts()) {
        let text = lines.concat();
        let whole = decode(&[text.as_bytes()], UNBOUNDED);
        prop_assert_eq!(decode(&pieces(text.as_bytes(), &cuts), UNBOUNDED), whole.clone());
        let single_bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        prop_assert_eq!(decode(&single_bytes, UNBOUNDED), whole);
    }

    #[test]
    fn a_bound_refuses_the_same_streams_however_they_are_cut(
        lines in proptest::collection::vec(line(), 0..20), cuts in cuts(), max in 0_usize..40
    ) {
        let text = lines.concat();
        let whole = decode(&[text.as_bytes()], max);
        prop_assert_eq!(decode(&pieces(text.as_bytes(), &cuts), max), whole);
    }

    #[test]
    fn an_event_that_is_passed_on_is_the_same_event(
        lines in proptest::collection::vec(line(), 1..20), from: usize, cuts in cuts()
    ) {
        let text = lines.concat();
        let from = from % (text.len() + 1);
        let mut decoder = SseDecoder::new(UNBOUNDED);
        let before = decoder.push(text.as_bytes().get(..from).unwrap()).unwrap();
        let Some(begun) = decoder.begun_data() else { return Ok(()) };
        decoder.begin_to_pass_on();
        let mut data = begun.to_vec();
        let mut ended = None;
        for part in pieces(text.as_bytes().get(from..).unwrap(), &cuts) {
            let mut chunk = Bytes::copy_from_slice(part);
            while ended.is_none() && let Some(passed) = decoder.pass_on(&mut chunk).unwrap() {
                match passed {
                    PassedOn::Data(more) => data.extend_from_slice(&more),
                    PassedOn::End(event) => ended = Some(SseEvent { data: data.clone().into(), ..event }),
                }
            }
        }
        let whole = decode(&[text.as_bytes()], UNBOUNDED).unwrap();
        prop_assert_eq!(ended.as_ref(), whole.get(before.len()));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, cuts in cuts(), max in 0_usize..100) {
        let _ = decode(&pieces(&bytes, &cuts), max);
    }

    #[test]
    fn what_is_written_is_read_again(id in proptest::option::of("[ -~é]{0,20}"), data in "[ -~é\n]{0,200}", cuts in cuts()) {
        let written = [encode_sse_comment(), encode_sse(id.as_deref(), data.as_bytes()), encode_sse_comment()].concat();
        let events = decode(&pieces(&written, &cuts), UNBOUNDED).unwrap();
        prop_assert_eq!(events.len(), 1);
        let event = events.first().unwrap();
        prop_assert_eq!(&event.id, &id);
        prop_assert_eq!(event.data.as_ref(), data.as_bytes());
        prop_assert_eq!((&event.event, event.retry_ms), (&None, None));
    }

    #[test]
    fn data_cannot_end_its_field_or_its_event(data: Vec<u8>, id in proptest::option::of(any::<String>())) {
        let written = encode_sse(id.as_deref(), &data);
        let events = decode(&[&written], UNBOUNDED).unwrap();
        prop_assert_eq!(events.len(), 1);
        let line_ends_joined = {
            let text: Vec<u8> = data.clone();
            let mut joined = Vec::new();
            let mut bytes = text.iter().peekable();
            while let Some(byte) = bytes.next() {
                if *byte == b'\r' {
                    if bytes.peek() == Some(&&b'\n') {
                        bytes.next();
                    }
                    joined.push(b'\n');
                } else {
                    joined.push(*byte);
                }
            }
            joined
        };
        prop_assert_eq!(events.first().unwrap().data.as_ref(), line_ends_joined.as_slice());
    }
}

#[test]
fn an_event_is_bounded_even_if_it_never_ends() {
    for chunk in [
        b"data: xxxxxxxxxxxxxxxx\n".as_slice(),
        b"xxxxxxxxxxxxxxxx",
        b": xxxxxxxxxxxxx",
        b"data\n",
        b"id: aaaaaaaaaaaaaaaa\n",
    ] {
        let mut decoder = SseDecoder::new(1_000);
        let refused = (0..10_000).find_map(|_| decoder.push(chunk).err());
        let bounded = refused == Some(SseError::TooLarge(1_000)) || chunk.starts_with(b"id");
        assert!(bounded, "{:?}", String::from_utf8_lossy(chunk));
    }
}
