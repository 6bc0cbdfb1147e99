//! Frames: ids keep type and text, payloads keep every byte, and what is ambiguous or too deep is refused.

use bytes::Bytes;
use hawser_mcp::{
    Body, FrameError, Limits, Message, Notification, Outcome, Request, RequestId, Response, parse_body, parse_message,
};
use proptest::prelude::*;

use crate::json::{raw, space, string, value, write_string};

fn id() -> impl Strategy<Value = String> {
    prop_oneof!["0|-?[1-9][0-9]{0,30}", string()]
}

fn object() -> impl Strategy<Value = String> {
    (value(), space()).prop_map(|(value, space)| format!("{{{space}\"x\"{space}:{value}{space}}}"))
}

fn method() -> impl Strategy<Value = String> {
    "[a-zA-Z/é\"\\\\]{1,40}"
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (id(), method(), proptest::option::of(object())).prop_map(|(id, method, params)| Message::Request(Request {
            id: RequestId::from_raw(raw(&id)).unwrap(),
            method,
            params: params.as_deref().map(raw),
        })),
        (method(), proptest::option::of(object()))
            .prop_map(|(method, params)| Message::Notification(Notification::new(method, params.as_deref().map(raw)))),
        (id(), value()).prop_map(|(id, result)| Message::Response(Response {
            id: RequestId::from_raw(raw(&id)),
            outcome: Outcome::Result(raw(&result)),
        })),
        (proptest::option::of(id()), object()).prop_map(|(id, error)| Message::Response(Response {
            id: id.and_then(|id| RequestId::from_raw(raw(&id))),
            outcome: Outcome::Error(raw(&error)),
        })),
    ]
}

/// The same members, in another order and with other white space and escapes.
fn rewritten(message: &Message, order: &[usize], space: &str, escape: bool) -> String {
    let name = |name: &str| write_string(name, escape);
    let mut members = vec![format!("{}{space}:{space}\"2.0\"", name("jsonrpc"))];
    let mut add = |member: &str, value: &str| members.push(format!("{space}{}:{space}{value}{space}", name(member)));
    match message {
        Message::Request(request) => {
            add("id", request.id.raw().as_str());
            add("method", &write_string(&request.method, escape));
            if let Some(params) = &request.params {
                add("params", params.as_str());
            }
        }
        Message::Notification(told) => {
            add("method", &write_string(&told.method, escape));
            if let Some(params) = &told.params {
                add("params", params.as_str());
            }
        }
        Message::Response(response) => {
            if let Some(id) = &response.id {
                add("id", id.raw().as_str());
            }
            match &response.outcome {
                Outcome::Result(value) => add("result", value.as_str()),
                Outcome::Error(value) => add("error", value.as_str()),
            }
        }
    }
    for (at, to) in order.iter().enumerate() {
        let count = members.len();
        members.swap(at % count, to % count);
    }
    format!("{space}{{{}}}{space}", members.join(","))
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        serde_json::Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        prop_assert_eq!(parse_message(&message.to_bytes(), &Limits::default()), Ok(message));
    }

    #[test]
    fn order_space_and_escapes_of_the_envelope_make_no_difference(
        message in message(), order in proptest::collection::vec(any::<usize>(), 4), space in space(), escape: bool
    ) {
        let text = rewritten(&message, &order, &space, escape);
        let read = parse_message(&Bytes::from(text), &Limits::default());
        prop_assert_eq!(read, Ok(message));
    }

    #[test]
    fn a_batch_is_its_messages(messages in proptest::collection::vec(message(), 1..6), space in space()) {
        let parts: Vec<String> = messages.iter().map(|message| rewritten(message, &[], &space, false)).collect();
        let batch = Bytes::from(format!("{space}[{}]", parts.join(",")));
        let read = parse_body(&batch, &Limits::default());
        prop_assert_eq!(read, Ok(Body::Batch(messages.iter().cloned().map(Ok).collect())));
        prop_assert!(parse_message(&batch, &Limits::default()).is_err());
        let fewer = Limits { batch: messages.len() - 1, ..Limits::default() };
        prop_assert_eq!(parse_body(&batch, &fewer), Err(FrameError::BatchSize(messages.len() - 1)));
    }

    #[test]
    fn nesting_is_refused_exactly_beyond_the_limit(result in value(), max in 1_usize..8) {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let limits = Limits { depth: max, ..Limits::default() };
        let read = parse_message(&Bytes::from(text.clone()), &limits);
        if depth(&serde_json::from_str(&text).unwrap()) > max {
            prop_assert_eq!(read, Err(FrameError::Depth(max)));
        } else {
            prop_assert!(read.is_ok());
        }
    }

    #[test]
    fn ids_of_another_type_are_refused(other in value()) {
        let is_id = other.starts_with('"') || other.parse::<i128>().is_ok();
        let text = format!(r#"{{"jsonrpc":"2.0","id":{other},"method":"x"}}"#);
        let read = parse_message(&Bytes::from(text), &Limits::default());
        prop_assert_eq!(read.is_ok(), is_id && other.len() <= 1024, "{}", other);
    }

    #[test]
    fn ids_are_equal_only_in_type_and_text(one in id(), two in id()) {
        let (first, second) = (RequestId::from_raw(raw(&one)).unwrap(), RequestId::from_raw(raw(&two)).unwrap());
        prop_assert_eq!(first == second, one == two);
        let number: u64 = 7;
        prop_assert_ne!(RequestId::number(number), RequestId::string("7"));
        prop_assert_eq!(RequestId::number(number).as_number(), Some(number));
    }

    #[test]
    fn a_doubled_or_case_twin_member_of_the_envelope_is_refused(message in message(), which in 0_usize..6, upper: bool, escape: bool) {
        let name = ["jsonrpc", "id", "method", "params", "result", "error"].get(which).copied().unwrap_or("id");
        let text = String::from_utf8(message.to_bytes().to_vec()).unwrap();
        let present = text.contains(&format!("\"{name}\":")) && hawser_mcp::Members::read(&raw(&text), &[]).unwrap().get(name).is_some();
        prop_assume!(upper || present);
        let twin = write_string(&if upper { name.to_uppercase() } else { name.to_owned() }, escape);
        let text = format!("{},{twin}:1}}", text.strip_suffix('}').unwrap());
        let read = parse_message(&Bytes::from(text), &Limits::default());
        prop_assert!(matches!(read, Err(FrameError::Envelope(_))), "{:?}", read);
    }

    #[test]
    fn unknown_members_of_the_envelope_are_no_harm(message in message(), extra in value()) {
        let text = String::from_utf8(message.to_bytes().to_vec()).unwrap();
        let text = format!("{},\"x-vendor\":{extra}}}", text.strip_suffix('}').unwrap());
        prop_assert_eq!(parse_message(&Bytes::from(text), &Limits::default()), Ok(message));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let _ = parse_body(&Bytes::from(bytes), &Limits::default());
    }

    #[test]
    fn damaged_messages_never_panic(message in message(), at in any::<prop::sample::Index>(), byte: u8, cut: bool) {
        let mut bytes = message.to_bytes().to_vec();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        if let Ok(Body::Single(message)) = parse_body(&Bytes::from(bytes), &Limits::default()) {
            prop_assert_eq!(parse_message(&message.to_bytes(), &Limits::default()), Ok(message));
        }
    }
}

#[test]
fn an_error_never_quotes_the_message() {
    for text in [r#"{"jsonrpc":"2.0","id":1,"method":"x","params":"my-secret"}"#, "my-secret", r#"["my-secret"]"#] {
        match parse_body(&Bytes::from(text), &Limits::default()) {
            Ok(Body::Batch(messages)) => {
                assert!(messages.iter().all(|message| !format!("{message:?}").contains("my-secret")), "{messages:?}");
            }
            other => assert!(other.is_err() && !format!("{other:?}").contains("my-secret"), "{other:?}"),
        }
    }
}

#[test]
fn very_deep_nesting_is_refused_before_it_can_do_harm() {
    for text in
        ["[".repeat(1_000_000), r#"{"a":"#.repeat(1_000_000), format!("{{\"jsonrpc\":{}", "[".repeat(1_000_000))]
    {
        assert_eq!(parse_body(&Bytes::from(text), &Limits::default()), Err(FrameError::Depth(64)));
    }
}
