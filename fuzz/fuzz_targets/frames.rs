//! JSON-RPC frames: what is read and written anew is the same message, and rewriting one member leaves the others alone.

#![no_main]

use bytes::Bytes;
use hawser_mcp::{Body, Limits, Members, Message, Outcome, RawJson, parse_body, parse_message};
use libfuzzer_sys::fuzz_target;

/// As many members as an object may have where one more is added.
const MEMBERS_MAX: usize = 1023;
/// What a refusal may quote of a message.
const REFUSAL_CHARS_MAX: usize = 512;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    match parse_body(&bytes, &Limits::default()) {
        Ok(Body::Single(message)) => {
            assert_eq!(parse_message(&bytes, &Limits::default()).as_ref(), Ok(&message), "as a body or as a message");
            check(&message);
        }
        Ok(Body::Batch(messages)) => {
            assert!((1..=Limits::default().batch).contains(&messages.len()));
            messages.iter().flatten().for_each(check);
        }
        Err(error) => {
            let refusal = error.to_string();
            assert!(refusal.chars().count() <= REFUSAL_CHARS_MAX, "{refusal}");
            RawJson::parse(error.to_error().to_raw().bytes()).expect("an error object is JSON");
        }
    }
});

fn check(message: &Message) {
    assert_eq!(parse_message(&message.to_bytes(), &Limits::default()).as_ref(), Ok(message), "written and read again");
    let payload = match message {
        Message::Request(request) => request.params.as_ref(),
        Message::Notification(notification) => notification.params.as_ref(),
        Message::Response(response) => match &response.outcome {
            Outcome::Result(payload) | Outcome::Error(payload) => Some(payload),
        },
    };
    if let Some(payload) = payload {
        // The same value to a reader that knows nothing of raw slices.
        let line = payload.on_one_line();
        assert_eq!(line.read::<serde_json::Value>().ok(), payload.read::<serde_json::Value>().ok());
        replace(payload);
    }
}

/// Replaces the first member, one that routes, and one that is absent.
fn replace(object: &RawJson) {
    const ROUTED: [&str; 1] = ["name"];
    let Ok(members) = Members::read(object, &ROUTED) else { return };
    let before: Vec<(String, RawJson)> = members.iter().map(|(name, value)| (name.to_owned(), value)).collect();
    if before.len() > MEMBERS_MAX {
        return;
    }
    let new = RawJson::string("re\u{2028}placed\n");
    let first = before.first().map_or("", |(name, _)| name.as_str());
    for name in [first, "name", "absent \"\\\u{0}"] {
        let written = members.replace(&[(name, &new)]);
        let again = Members::read(&written, &ROUTED).expect("an object with one member replaced");
        let after: Vec<(String, RawJson)> = again.iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut expected = before.clone();
        match expected.iter_mut().find(|(found, _)| found == name) {
            Some((_, value)) => *value = new.clone(),
            None => expected.push((name.to_owned(), new.clone())),
        }
        assert_eq!(after, expected, "replacing {name:?}");
    }
}
