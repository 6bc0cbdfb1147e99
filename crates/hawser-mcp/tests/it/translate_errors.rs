//! Errors across revisions: each code means to the client what its server meant, or is an internal error.

use hawser_mcp::translate::{error, url_elicitations};
use hawser_mcp::{Era, Revision};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::{raw, value};

fn cross(text: &str, from: Revision, to: Revision) -> Value {
    error(raw(text), from, to).read().unwrap()
}

fn code(code: i32, from: Revision, to: Revision) -> Value {
    cross(&format!(r#"{{"code":{code},"message":"m"}}"#), from, to)["code"].clone()
}

const LEGACY: Revision = Revision::V2025_11_25;
const MODERN: Revision = Revision::V2026_07_28;

#[test]
fn a_missing_resource_is_told_as_each_era_tells_it() {
    let legacy = r#"{"code":-32002,"message":"gone","data":{"uri":"file:///x", "n":1.0}}"#;
    let modern = r#"{"code":-32602,"message":"gone","data":{"uri":"file:///x", "n":1.0}}"#;
    assert_eq!(error(raw(legacy), LEGACY, MODERN).as_str(), modern);
    assert_eq!(error(raw(modern), MODERN, LEGACY).as_str(), legacy);
    assert_eq!(error(raw(legacy), MODERN, MODERN).as_str(), modern, "a modern server that still says it the old way");
    assert_eq!(code(-32602, MODERN, LEGACY), -32602, "other invalid parameters are what they are");
    assert_eq!(cross(r#"{"code":-32602,"message":"m","data":{"uri":7}}"#, MODERN, LEGACY)["code"], -32602);
}

#[test]
fn codes_that_the_other_era_does_not_define_are_internal_with_the_original_inside() {
    for foreign in [-32000, -32001, -32003, -32019, -32020, -32021, -32022, -32042, -32099] {
        let text = format!(r#"{{"code":{foreign},"message":"m","data":[1.0]}}"#);
        let out = error(raw(&text), LEGACY, MODERN);
        assert_eq!(out.as_str(), format!(r#"{{"code":-32603,"message":"m","data":{{"original":{text}}}}}"#));
    }
    for own in [-32020, -32021, -32022, -32023] {
        let out = cross(&format!(r#"{{"code":{own},"message":"m"}}"#), MODERN, LEGACY);
        assert_eq!(out, json!({"code": -32603, "message": "m", "data": {"original": {"code": own, "message": "m"}}}));
    }
}

#[test]
fn a_missing_capability_is_for_the_modern_client_to_know_headers_and_versions_are_not() {
    assert_eq!(code(-32021, MODERN, MODERN), -32021);
    for between in [-32020, -32022, -32042, -32050] {
        assert_eq!(code(between, MODERN, MODERN), -32603, "{between}");
    }
    assert_eq!(code(-32001, MODERN, MODERN), -32001, "implementation-defined");
}

#[test]
fn everything_else_stays_the_same_bytes() {
    for other in [-32700, -32600, -32601, -32602, -32603, -1, 0, 7, -31999, -32100] {
        let text = format!(r#"{{ "code":{other}, "message":"m", "x":1.0 }}"#);
        for from in Revision::ALL {
            for to in Revision::ALL {
                assert_eq!(error(raw(&text), from, to).as_str(), text, "{from} to {to}");
            }
        }
    }
    for from in Revision::LEGACY {
        assert_eq!(code(-32042, from, LEGACY), -32042);
        assert_eq!(code(-32002, from, LEGACY), -32002);
    }
}

#[test]
fn urls_that_must_be_opened_first_become_questions() {
    let demanded = raw(r#"{"code":-32042,"message":"m","data":{"elicitations":[
            {"mode":"url","elicitationId":"e1","url":"https://a/?x=1","message":"Open", "_meta":{"com.example/k":1}},
            {"mode":"url","elicitationId":"e2","url":"https://b","message":"Too"}]}}"#);
    let asked = url_elicitations(&demanded).unwrap();
    let keys: Vec<&str> = asked.input_requests.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["elicitation-0", "elicitation-1"]);
    let first = &asked.input_requests[0].1;
    assert_eq!(first.method, "elicitation/create");
    assert_eq!(
        first.params.as_ref().unwrap().as_str(),
        r#"{"mode":"url","url":"https://a/?x=1","message":"Open","_meta":{"com.example/k":1}}"#
    );
    assert_eq!(asked.request_state, None);
}

#[test]
fn what_is_no_such_demand_asks_nothing() {
    let one = r#"{"mode":"url","elicitationId":"e","url":"https://a","message":"m"}"#;
    let demand = |code: i32, list: &str| {
        url_elicitations(&raw(&format!(r#"{{"code":{code},"message":"m","data":{{"elicitations":{list}}}}}"#)))
    };
    assert!(demand(-32042, &format!("[{one}]")).is_some());
    assert!(demand(-32602, &format!("[{one}]")).is_none());
    assert!(demand(-32042, "[]").is_none());
    assert!(demand(-32042, &format!("[{}]", vec![one; 33].join(","))).is_none());
    assert!(demand(-32042, r#"[{"mode":"form","message":"password?"}]"#).is_none(), "never a form in its place");
    assert!(demand(-32042, "[1]").is_none());
    assert!(url_elicitations(&raw(r#"{"code":-32042,"message":"m"}"#)).is_none());
}

proptest! {
    #[test]
    fn no_error_makes_it_panic(text in value(), found in -33000_i32..-31000, from in 0_usize..4, to in 0_usize..4) {
        let (from, to) = (Revision::ALL[from], Revision::ALL[to]);
        let _ = error(raw(&text), from, to);
        let _ = url_elicitations(&raw(&text));
        let out = cross(&format!(r#"{{"code":{found},"message":"m","data":{text}}}"#), from, to)["code"].as_i64().unwrap();
        if to.era() == Era::Modern {
            prop_assert!(!(-32099..=-32022).contains(&out) && out != -32020 && out != -32002, "{}", out);
        } else if from.era() == Era::Modern {
            prop_assert!(!(-32099..=-32020).contains(&out), "{}", out);
        }
    }
}
