//! Responses that are read as they arrive: whatever is sent and wherever it is cut, they are taken and refused like messages that
//! are read whole, and the result is the same bytes.

use bytes::Bytes;
use hawser_mcp::{
    FrameError, Limits, MembersError, Message, Outcome, RequestId, Response, ResponseError, ResponseReader,
    parse_message,
};
use proptest::prelude::*;

use crate::json::{cuts, pieces, space, string, value, write_string};

const LIMITS: Limits = Limits { depth: 5, batch: 1 };

fn own_id() -> RequestId {
    RequestId::number(7)
}

/// What a reader of the whole makes of it.
fn whole(bytes: &[u8]) -> Option<Bytes> {
    match parse_message(&Bytes::copy_from_slice(bytes), &LIMITS) {
        Ok(Message::Response(Response { id, outcome: Outcome::Result(result) })) if id == Some(own_id()) => {
            Some(result.bytes().clone())
        }
        _ => None,
    }
}

fn in_pieces(parts: &[&[u8]]) -> Result<Bytes, ResponseError> {
    let mut reader = ResponseReader::new(own_id(), LIMITS);
    let mut result = Vec::new();
    for part in parts {
        result.extend_from_slice(&reader.push(&Bytes::copy_from_slice(part))?);
    }
    reader.finish().map(|()| result.into())
}

fn agree(bytes: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let expected = whole(bytes);
    prop_assert_eq!(in_pieces(&[bytes]).ok(), expected.clone(), "in one piece");
    prop_assert_eq!(in_pieces(&pieces(bytes, cuts)).ok(), expected.clone(), "in some pieces");
    let single_bytes: Vec<&[u8]> = bytes.chunks(1).collect();
    prop_assert_eq!(in_pieces(&single_bytes).ok(), expected, "byte by byte");
    Ok(())
}

/// The members of a response, of its siblings and of what looks like one.
fn member() -> impl Strategy<Value = (String, String)> {
    let name = prop_oneof![
        3 => Just("jsonrpc"), 3 => Just("id"), 3 => Just("result"), 1 => Just("error"), 1 => Just("method"), 1 => Just("Result"),
        1 => Just("re\u{17F}ult"), 1 => Just("params"), 1 => Just("x"),
    ];
    let value = prop_oneof![
        3 => Just("\"2.0\"".to_owned()), 3 => Just("7".to_owned()), 1 => Just("8".to_owned()), 3 => value(), 1 => string(),
    ];
    (name, any::<bool>(), value).prop_map(|(name, escape, value)| (write_string(name, escape), value))
}

fn envelope() -> impl Strategy<Value = String> {
    let members = proptest::collection::vec((space(), member(), space()), 0..5);
    (members, space()).prop_map(|(members, around)| {
        let members: Vec<String> = members
            .into_iter()
            .map(|(before, (name, value), after)| format!("{before}{name}{after}:{before}{value}{after}"))
            .collect();
        format!("{around}{{{}}}{around}", members.join(","))
    })
}

/// A response that would be taken, but for its result: with names as they are or escaped, in any order.
fn around(result: &str, order: u8, space: &str, escape: bool) -> String {
    let name = |name: &str| write_string(name, escape);
    let mut members = [
        format!("{}:{space}{result}{space}", name("result")),
        format!("{space}{}:{space}7", name("id")),
        format!("{}{space}:\"2.0\"{space}", name("jsonrpc")),
    ];
    members.rotate_left(usize::from(order % 3));
    if order >= 128 {
        members.reverse();
    }
    format!("{space}{{{}}}{space}", members.join(","))
}

proptest! {
    #[test]
    fn a_result_passes_as_it_was_sent(
        result in value(), order: u8, space in space(), escape: bool, cuts in cuts()
    ) {
        let text = around(&result, order, &space, escape);
        agree(text.as_bytes(), &cuts)?;
    }

    #[test]
    fn what_is_almost_json_is_refused_alike(
        result in "[\\[\\]{}\",:\\\\u0-9eE+.\\-tfnrualse \n\u{1}é]{0,12}", order: u8, cuts in cuts()
    ) {
        agree(around(&result, order, "", false).as_bytes(), &cuts)?;
    }

    #[test]
    fn envelopes_are_judged_alike(text in envelope(), cuts in cuts()) {
        agree(text.as_bytes(), &cuts)?;
    }

    #[test]
    fn one_changed_byte_is_judged_alike(
        result in value(), order: u8, at: usize, byte: u8, how in 0_u8..3, cuts in cuts()
    ) {
        let mut bytes = around(&result, order, " ", false).into_bytes();
        let at = at % bytes.len();
        match how {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
        agree(&bytes, &cuts)?;
    }

    #[test]
    fn arbitrary_bytes_are_judged_alike(bytes: Vec<u8>, cuts in cuts()) {
        agree(&bytes, &cuts)?;
    }
}

#[test]
fn a_result_is_passed_on_without_being_copied_or_held() {
    let mut reader = ResponseReader::new(own_id(), Limits::default());
    let first = Bytes::from_static(br#"{"result":{"text":"ab"#);
    let piece = reader.push(&first).unwrap();
    assert!(reader.has_begun());
    assert_eq!(piece.as_ptr(), first[10..].as_ptr());
    let more = Bytes::from(vec![b'x'; 1024 * 1024]);
    for _ in 0..100 {
        assert_eq!(reader.push(&more).unwrap().as_ptr(), more.as_ptr());
    }
    let last = Bytes::from_static(br#""},"jsonrpc":"2.0","id":7}"#);
    assert_eq!(reader.push(&last).unwrap(), r#""}"#);
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn what_can_be_known_early_is_refused_before_the_first_byte_of_the_result() {
    let refused = |text: &'static str| {
        let mut reader = ResponseReader::new(own_id(), Limits::default());
        reader.push(&Bytes::from_static(text.as_bytes())).unwrap_err()
    };
    assert_eq!(refused(r#"{"id":8,"result":{"#), ResponseError::OtherId);
    assert_eq!(refused(r#"{"jsonrpc":"1.0","result":{"#), FrameError::Version.into());
    assert_eq!(refused(r#"{"error":{},"result":{"#), FrameError::Shape.into());
    let twin = MembersError::CaseTwin { found: "Id".to_owned(), expected: "id" };
    assert_eq!(refused(r#"{"Id":7,"result":{"#), FrameError::Envelope(twin).into());
}

#[test]
fn a_second_result_and_a_bottomless_one_are_refused() {
    let mut reader = ResponseReader::new(own_id(), Limits::default());
    reader.push(&Bytes::from_static(br#"{"jsonrpc":"2.0","id":7,"result":1,"res\u0075lt":2}"#)).unwrap();
    let duplicate = MembersError::Duplicate("result".to_owned());
    assert_eq!(reader.finish(), Err(FrameError::Envelope(duplicate).into()));

    let mut reader = ResponseReader::new(own_id(), Limits::default());
    reader.push(&Bytes::from_static(br#"{"result":"#)).unwrap();
    let deeper = Bytes::from(vec![b'['; Limits::default().depth]);
    assert_eq!(reader.push(&deeper), Err(FrameError::Depth(Limits::default().depth).into()));
}

#[test]
fn what_is_around_a_result_is_bounded() {
    let mut reader = ResponseReader::new(own_id(), Limits::default());
    reader.push(&Bytes::from_static(br#"{"result":1,"other":""#)).unwrap();
    let more = Bytes::from(vec![b'x'; 1000]);
    let refused = (0..100).find_map(|_| reader.push(&more).err());
    assert_eq!(refused, Some(ResponseError::Envelope));
}
