//! `_meta` of requests: read once, stamped towards modern backends, stripped towards legacy ones.

use hawser_mcp::{
    MembersError, MetaError, RawJson, RequestMeta, Revision, Stamp, meta_key, stamp_request, strip_request,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::{raw, value};

const FULL: &str = r#"{"name":"echo","_meta":{
    "io.modelcontextprotocol/protocolVersion":"2026-07-28",
    "io.modelcontextprotocol/clientInfo":{"name":"c", "version":"1"},
    "io.modelcontextprotocol/clientCapabilities":{"roots":{ }},
    "io.modelcontextprotocol/logLevel":"warning",
    "progressToken":1e2,
    "traceparent":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "com.example/x":[1.0, 2]
}}"#;

fn read(text: &str) -> Result<RequestMeta, MetaError> {
    RequestMeta::read(Some(&raw(text)))
}

/// The value of a `_meta` with one protocol key.
fn keyed(key: &str, value: &str) -> String {
    format!(r#"{{"_meta":{{"{key}":{value}}}}}"#)
}

#[test]
fn what_a_request_says_of_itself_is_read_raw() {
    let meta = read(FULL).unwrap();
    assert_eq!(meta.protocol_version.as_deref(), Some("2026-07-28"));
    assert_eq!(meta.client_info.unwrap().as_str(), r#"{"name":"c", "version":"1"}"#);
    assert_eq!(meta.client_capabilities.unwrap().as_str(), r#"{"roots":{ }}"#);
    assert_eq!(meta.log_level.as_deref(), Some("warning"));
    assert_eq!(meta.progress_token.unwrap().as_str(), "1e2");
    assert_eq!(meta.traceparent.as_deref(), Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"));
}

#[test]
fn a_request_without_protocol_keys_is_not_of_the_modern_era() {
    assert_eq!(RequestMeta::read(None), Ok(RequestMeta::default()));
    for text in ["{}", r#"{"_meta":{}}"#, r#"{"_meta":{"progressToken":"p","com.example/x":1,"traceparent":"00"}}"#] {
        assert!(!read(text).unwrap().names_modern(), "{text}");
    }
}

#[test]
fn any_protocol_key_alone_makes_a_request_modern() {
    for (key, value) in [
        (meta_key::PROTOCOL_VERSION, r#""1999-01-01""#),
        (meta_key::CLIENT_INFO, "{}"),
        (meta_key::CLIENT_CAPABILITIES, "{}"),
        (meta_key::LOG_LEVEL, r#""debug""#),
    ] {
        assert!(read(&keyed(key, value)).unwrap().names_modern(), "{key}");
    }
}

#[test]
fn a_malformed_meta_is_refused_and_the_part_is_named() {
    for meta in ["null", "[]", "1", r#""x""#] {
        assert_eq!(read(&format!(r#"{{"_meta":{meta}}}"#)), Err(MetaError::NotAnObject), "{meta}");
    }
    for (key, value) in [
        (meta_key::PROTOCOL_VERSION, "20260728"),
        (meta_key::PROTOCOL_VERSION, "null"),
        (meta_key::CLIENT_INFO, r#""me""#),
        (meta_key::CLIENT_CAPABILITIES, "[]"),
        (meta_key::LOG_LEVEL, r#""loud""#),
        (meta_key::LOG_LEVEL, r#""Debug""#),
        (meta_key::PROGRESS_TOKEN, "{}"),
        (meta_key::PROGRESS_TOKEN, "null"),
    ] {
        let error = read(&keyed(key, value)).unwrap_err();
        assert!(matches!(&error, MetaError::Type { key: named, .. } if *named == key), "{key}: {error}");
        assert!(error.to_string().contains(key), "{error}");
    }
}

#[test]
fn a_key_that_another_reader_could_take_for_the_one_that_counts_is_refused() {
    let twice = r#"{"_meta":{"io.modelcontextprotocol/protocolVersion":"a","io.modelcontextprotocol/protocolVersio\u006e":"b"}}"#;
    assert!(matches!(read(twice), Err(MetaError::Ambiguous(MembersError::Duplicate(_)))));
    let twin = r#"{"_meta":{"IO.modelcontextprotocol/clientCapabilities":{}}}"#;
    assert!(matches!(read(twin), Err(MetaError::Ambiguous(MembersError::CaseTwin { .. }))));
    assert!(matches!(read(r#"{"_Meta":{}}"#), Err(MetaError::Params(MembersError::CaseTwin { .. }))));
    assert!(matches!(read(r#"{"_meta":{},"_meta":{}}"#), Err(MetaError::Params(MembersError::Duplicate(_)))));
}

#[test]
fn a_trace_that_is_no_text_is_no_reason_to_refuse() {
    assert_eq!(read(r#"{"_meta":{"traceparent":7}}"#).unwrap().traceparent, None);
}

fn stamped(params: Option<&str>, level: Option<&str>, token: Option<&str>) -> RawJson {
    let token = token.map(raw);
    let stamp = Stamp {
        revision: Revision::V2026_07_28,
        client_info: &raw(r#"{"name":"end client"}"#),
        client_capabilities: &raw(r#"{"sampling":{}}"#),
        log_level: level,
        progress_token: token.as_ref(),
    };
    stamp_request(params.map(raw).as_ref(), &stamp).unwrap()
}

#[test]
fn a_request_is_stamped_whatever_it_claimed_and_foreign_keys_stay() {
    let out = stamped(Some(FULL), None, Some("77"));
    assert!(out.as_str().starts_with(r#"{"name":"echo","_meta":{"#), "{}", out.as_str());
    assert!(out.as_str().contains(r#""com.example/x":[1.0, 2]"#), "{}", out.as_str());
    let meta = read(out.as_str()).unwrap();
    assert_eq!(meta.client_info.unwrap().as_str(), r#"{"name":"end client"}"#);
    assert_eq!(meta.client_capabilities.unwrap().as_str(), r#"{"sampling":{}}"#);
    assert_eq!(meta.log_level, None, "only the level that the gateway keeps counts");
    assert_eq!(meta.progress_token.unwrap().as_str(), "77");
}

#[test]
fn no_progress_is_asked_for_that_the_client_did_not_ask_for() {
    for params in [None, Some("{}"), Some(r#"{"_meta":{"x":1}}"#)] {
        let out = stamped(params, Some("info"), Some("77"));
        let meta = read(out.as_str()).unwrap();
        assert_eq!((meta.progress_token, meta.log_level.as_deref()), (None, Some("info")), "{params:?}");
    }
}

#[test]
fn what_cannot_be_read_cannot_be_stamped() {
    let stamp = Stamp {
        revision: Revision::LATEST_MODERN,
        client_info: &raw("{}"),
        client_capabilities: &raw("{}"),
        log_level: None,
        progress_token: None,
    };
    for text in [r#"{"_meta":1}"#, r#"{"_meta":{"PROGRESSTOKEN":1}}"#, r#"{"_meta":{"a":1,"a":2}}"#, "[]"] {
        assert!(stamp_request(Some(&raw(text)), &stamp).is_err(), "{text}");
        assert!(strip_request(Some(&raw(text))).is_err(), "{text}");
    }
}

#[test]
fn a_legacy_backend_sees_nothing_of_the_modern_era() {
    let params = FULL.replacen('{', r#"{"inputResponses":{"a":{}},"requestState":"s","task":{"ttl":1},"#, 1);
    let out = strip_request(Some(&raw(&params))).unwrap().unwrap();
    let read: Value = out.read().unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let meta = json!({"progressToken": 100.0, "traceparent": trace, "com.example/x": [1.0, 2]});
    assert_eq!(read, json!({"name": "echo", "_meta": meta}));
    assert!(out.as_str().contains(r#""progressToken":1e2"#), "as the client wrote it");
}

#[test]
fn a_legacy_backend_cannot_be_told_in_another_letter_case() {
    for name in ["Task", "RequestState", "inputresponses"] {
        assert!(strip_request(Some(&raw(&format!(r#"{{"{name}":{{}}}}"#)))).is_err(), "{name}");
    }
}

#[test]
fn nothing_is_left_where_nothing_but_the_stamp_was() {
    let stamp = stamped(None, Some("info"), None);
    assert_eq!(strip_request(Some(&stamp)), Ok(None));
    assert_eq!(strip_request(None), Ok(None));
    let untouched = raw(r#"{ "cursor" : "" }"#);
    assert_eq!(strip_request(Some(&untouched)).unwrap().unwrap().read::<Value>().unwrap(), json!({"cursor": ""}));
}

proptest! {
    #[test]
    fn reading_never_panics_and_its_refusals_are_short(text in value()) {
        let params = raw(&format!(r#"{{"_meta":{text}}}"#));
        if let Err(error) = RequestMeta::read(Some(&params)) {
            prop_assert!(error.to_string().chars().count() < 400);
        }
    }

    #[test]
    fn stamping_and_stripping_gives_back_what_was_there(foreign in value(), argument in value()) {
        let text = format!(r#"{{"a":{argument},"_meta":{{"com.example/k":{foreign}}}}}"#);
        let out = strip_request(Some(&stamped(Some(&text), Some("debug"), Some("1")))).unwrap().unwrap();
        prop_assert_eq!(out.as_str(), &text);
    }
}
