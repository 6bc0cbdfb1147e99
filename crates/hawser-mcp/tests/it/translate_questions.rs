//! Questions of a server across revisions.

use hawser_mcp::translate::server_request;
use hawser_mcp::{RawJson, Revision};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::{raw, value};

const ELICIT: &str = "elicitation/create";
const SAMPLE: &str = "sampling/createMessage";

/// `None`: cannot be put.
fn put(method: &str, params: &str, to: Revision) -> Option<RawJson> {
    server_request(method, Some(&raw(params)), to).map(Option::unwrap)
}

fn form(properties: &str) -> String {
    format!(
        r#"{{"mode":"form","message":"m","requestedSchema":{{"type":"object","properties":{properties},"required":["a"]}}}}"#
    )
}

#[test]
fn a_modern_client_is_asked_without_ids_tasks_and_tokens() {
    let url = r#"{"mode":"url","elicitationId":"e","url":"https://x","message":"m","task":{"ttl":1},
        "_meta":{"progressToken":1,"io.modelcontextprotocol/related-task":{"taskId":"t"}}}"#;
    let out = put(ELICIT, url, Revision::V2026_07_28).unwrap();
    assert_eq!(out.as_str(), r#"{"mode":"url","url":"https://x","message":"m"}"#);
    let sample = r#"{"messages":[ ],"maxTokens":9,"task":{},"_meta":{"progressToken":1,"com.example/k":1}}"#;
    let out = put(SAMPLE, sample, Revision::V2026_07_28).unwrap();
    assert_eq!(out.as_str(), r#"{"messages":[ ],"maxTokens":9,"_meta":{"com.example/k":1}}"#);
    assert_eq!(server_request("roots/list", None, Revision::V2026_07_28), Some(None));
}

#[test]
fn a_modern_client_is_asked_nothing_else() {
    for method in ["ping", "tasks/get", "tools/call", "com.example/ask"] {
        assert_eq!(server_request(method, None, Revision::V2026_07_28), None, "{method}");
        assert_eq!(server_request(method, None, Revision::V2025_11_25), Some(None), "{method}");
    }
    assert_eq!(server_request(ELICIT, None, Revision::V2026_07_28), None);
    assert_eq!(server_request(SAMPLE, None, Revision::V2025_11_25), None);
}

#[test]
fn the_latest_legacy_clients_are_asked_as_the_server_asks() {
    let multi = form(r#"{"a":{"type":"array","items":{"enum":["x"]}}}"#);
    for params in [multi.as_str(), r#"{"mode":"url", "url":"https://x","message":"m"}"#] {
        assert_eq!(put(ELICIT, params, Revision::V2025_11_25).unwrap().as_str(), params);
    }
}

#[test]
fn forms_for_2025_06_18_have_choices_as_it_writes_them() {
    let titled = form(
        r#"{"a":{"type":"string","title":"A","oneOf":[{"const":"x","title":"Ex"},{"const":"y","title":"Why"}],"default":"x"},"b":{ "type":"boolean" }}"#,
    );
    let out = put(ELICIT, &titled, Revision::V2025_06_18).unwrap();
    assert_eq!(
        out.read::<Value>().unwrap(),
        json!({"message": "m", "requestedSchema": {"type": "object", "required": ["a"], "properties": {
            "a": {"type": "string", "title": "A", "default": "x", "enum": ["x", "y"], "enumNames": ["Ex", "Why"]},
            "b": {"type": "boolean"}
        }}})
    );
    assert!(out.as_str().contains(r#""b":{ "type":"boolean" }"#), "what need not change does not");
    let plain = form(r#"{"a":{"type":"string","enum":["x"]}}"#);
    assert_eq!(put(ELICIT, &plain, Revision::V2025_06_18).unwrap().as_str(), plain.replace(r#""mode":"form","#, ""));
}

#[test]
fn what_an_older_client_cannot_be_asked_is_not_asked() {
    let multi = form(r#"{"a":{"type":"array","items":{"enum":["x"]}}}"#);
    let malformed = form(r#"{"a":{"type":"string","oneOf":[{"title":"no value"}]}}"#);
    let url = r#"{"mode":"url","url":"https://x","message":"m"}"#;
    let unknown = r#"{"mode":"hologram","message":"m","requestedSchema":{"type":"object"}}"#;
    let no_schema = r#"{"message":"m"}"#;
    for params in [multi.as_str(), &malformed, url, unknown, no_schema] {
        assert_eq!(put(ELICIT, params, Revision::V2025_06_18), None, "{params}");
    }
    assert_eq!(put(ELICIT, &form("{}"), Revision::V2025_03_26), None, "no elicitation at all");
}

#[test]
fn sampling_for_older_clients_has_one_block_a_message_and_no_tools() {
    let blocks = r#"{"messages":[{"role":"user","content":[{ "type":"text","text":"a" }]},{"role":"user", "content":{"type":"text"}}],"toolChoice":{},"maxTokens":1e2}"#;
    for to in [Revision::V2025_03_26, Revision::V2025_06_18] {
        let out = put(SAMPLE, blocks, to).unwrap();
        assert_eq!(
            out.as_str(),
            r#"{"messages":[{"role":"user","content":{ "type":"text","text":"a" }},{"role":"user", "content":{"type":"text"}}],"maxTokens":1e2}"#
        );
        for params in [
            r#"{"messages":[],"tools":[]}"#,
            r#"{"messages":[{"role":"user","content":[{},{}]}]}"#,
            r#"{"messages":[{"role":"user","content":[]}]}"#,
            r#"{"messages":[{"role":"user"}]}"#,
            "{}",
        ] {
            assert_eq!(put(SAMPLE, params, to), None, "{params}");
        }
    }
    assert_eq!(put(SAMPLE, blocks, Revision::V2025_11_25).unwrap().as_str(), blocks);
}

proptest! {
    #[test]
    fn no_question_makes_it_panic(text in value(), to in 0_usize..4) {
        let to = Revision::ALL[to];
        for method in [ELICIT, SAMPLE, "roots/list"] {
            let _ = server_request(method, Some(&raw(&text)), to);
            let _ = put(method, &format!(r#"{{"messages":[{text}],"_meta":{text},"requestedSchema":{{"properties":{{"a":{text}}}}}}}"#), to);
        }
    }
}
