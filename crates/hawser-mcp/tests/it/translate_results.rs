//! Results across revisions (complete ones; the rest is resolved before it crosses).

use hawser_mcp::translate::{complete, result, with_server_info};
use hawser_mcp::{CacheScope, Freshness, RawJson, ResultType, Revision, freshness, result_type};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::json::{raw, value};

const MODERN: Revision = Revision::LATEST_MODERN;

fn to_legacy(method: &str, text: &str, to: Revision) -> Value {
    result(method, raw(text), MODERN, to).read().unwrap()
}

#[test]
fn a_legacy_result_becomes_a_complete_one_whatever_it_claims() {
    for text in ["{}", r#"{"resultType":"input_required"}"#, r#"{"resultType":"x","resultType":"task"}"#] {
        for from in Revision::LEGACY {
            let out = result("tools/call", raw(text), from, MODERN);
            assert_eq!(out.as_str(), r#"{"resultType":"complete"}"#, "{text}");
        }
    }
    let out = result("tools/call", raw(r#"{"content":[ ],"big":12345678901234567890123}"#), Revision::LATEST, MODERN);
    assert_eq!(out.as_str(), r#"{"content":[ ],"big":12345678901234567890123,"resultType":"complete"}"#);
}

#[test]
fn a_legacy_client_sees_nothing_of_the_modern_era() {
    let text = r#"{"resultType":"complete","tools":[ ],"ttlMs":5,"cacheScope":"public","x":1.0,
        "_meta":{"io.modelcontextprotocol/serverInfo":{},"com.example/k":1}}"#;
    for to in Revision::LEGACY {
        let out = result("tools/list", raw(text), MODERN, to);
        assert_eq!(out.as_str(), r#"{"tools":[ ],"x":1.0,"_meta":{"com.example/k":1}}"#);
    }
    let bare = r#"{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#;
    assert_eq!(result("ping", raw(bare), MODERN, Revision::LATEST).as_str(), "{}");
}

#[test]
fn only_cacheable_results_lose_what_looks_like_freshness() {
    let text = r#"{"ttlMs":5,"cacheScope":"public"}"#;
    for method in [
        "tools/list",
        "prompts/list",
        "resources/list",
        "resources/templates/list",
        "resources/read",
        "server/discover",
    ] {
        assert_eq!(to_legacy(method, text, Revision::LATEST), json!({}), "{method}");
    }
    assert_eq!(to_legacy("tools/call", text, Revision::LATEST), json!({"ttlMs": 5, "cacheScope": "public"}));
}

#[test]
fn nothing_changes_between_servers_and_clients_of_one_revision() {
    let odd = raw(r#"{ "resultType" : "input_required", "a":1, "a":2 }"#);
    for revision in Revision::ALL {
        assert_eq!(result("tools/call", odd.clone(), revision, revision), odd);
    }
}

#[test]
fn a_structured_value_that_is_no_object_is_told_as_text() {
    for to in Revision::LEGACY {
        let out = to_legacy("tools/call", r#"{"resultType":"complete","content":[],"structuredContent":[1,2.50]}"#, to);
        assert_eq!(out, json!({"content": [{"type": "text", "text": "[1,2.50]"}]}), "{to}");
        let told = r#"{"content":[{"type":"text","text":"[ 1, 2.5 ]"}],"structuredContent":[1,2.50]}"#;
        assert_eq!(
            to_legacy("tools/call", told, to),
            json!({"content": [{"type": "text", "text": "[ 1, 2.5 ]"}]}),
            "{to}"
        );
        let scalar = to_legacy("tools/call", r#"{"structuredContent":null,"content":[{"type":"image"}]}"#, to);
        assert_eq!(scalar, json!({"content": [{"type": "image"}, {"type": "text", "text": "null"}]}), "{to}");
    }
}

#[test]
fn a_structured_object_stays_and_the_oldest_clients_get_it_as_text_too() {
    let text = r#"{"content":[],"structuredContent":{"a":1}}"#;
    for to in [Revision::V2025_06_18, Revision::V2025_11_25] {
        assert_eq!(to_legacy("tools/call", text, to), json!({"content": [], "structuredContent": {"a": 1}}));
    }
    let out = to_legacy("tools/call", text, Revision::V2025_03_26);
    assert_eq!(out, json!({"content": [{"type": "text", "text": r#"{"a":1}"#}], "structuredContent": {"a": 1}}));
}

#[test]
fn links_become_text_where_there_are_none() {
    let link = r#"{"type":"resource_link","name":"n","title":"Notes","uri":"file:///n","description":"All of them","annotations":{"priority":1.0}}"#;
    let call = format!(r#"{{"content":[{{"type":"text","text":"see"}},{link}]}}"#);
    let text = json!({"type": "text", "text": "Notes: file:///n\nAll of them", "annotations": {"priority": 1.0}});
    let out = to_legacy("tools/call", &call, Revision::V2025_03_26);
    assert_eq!(out["content"], json!([{"type": "text", "text": "see"}, text]));
    let prompt = format!(r#"{{"messages":[{{"role":"user","content":{link}}}]}}"#);
    let out = to_legacy("prompts/get", &prompt, Revision::V2025_03_26);
    assert_eq!(out["messages"], json!([{"role": "user", "content": text}]));
    for to in [Revision::V2025_06_18, Revision::V2025_11_25] {
        assert_eq!(result("tools/call", raw(&call), MODERN, to).as_str(), call);
    }
    let newer = result("tools/call", raw(&call), Revision::V2025_11_25, Revision::V2025_03_26).read::<Value>().unwrap();
    assert_eq!(newer["content"][1], text, "also from a legacy server that is ahead of its client");
}

#[test]
fn a_complete_result_is_stamped_over_what_was_there() {
    let text = r#"{"resultType":"task","ttlMs":-9,"cacheScope":"x","tools":[ ],"_meta":{"a":1,"io.modelcontextprotocol/serverInfo":0,"io.modelcontextprotocol/subscriptionId":7}}"#;
    let fresh = Freshness { ttl_ms: 60, scope: CacheScope::Public };
    let info = raw(r#"{"name":"gw"}"#);
    let out = complete(raw(text), Some(fresh), &info);
    assert_eq!(
        out.as_str(),
        r#"{"resultType":"complete","ttlMs":60,"cacheScope":"public","tools":[ ],"_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"gw"}}}"#
    );
    assert_eq!((result_type(&out), freshness(&out)), (Ok(ResultType::Complete), Some(fresh)));
    let bare = complete(raw(r#"{"_meta":null}"#), None, &info);
    assert_eq!(
        bare.read::<Value>().unwrap(),
        json!({"resultType": "complete", "_meta": {"io.modelcontextprotocol/serverInfo": {"name": "gw"}}})
    );
    let asks = with_server_info(raw(r#"{"resultType":"input_required","requestState":"s"}"#), &info);
    assert_eq!(result_type(&asks), Ok(ResultType::InputRequired));
}

#[test]
fn what_is_no_object_passes_and_what_is_ambiguous_is_settled() {
    assert_eq!(result("tools/call", raw("7"), Revision::LATEST, MODERN).as_str(), "7");
    let twice = raw(r#"{"content":[],"isError":true,"content":[1],"_meta":{"a":1,"a":2}}"#);
    let out = complete(result("tools/call", twice, Revision::LATEST, MODERN), None, &RawJson::empty_object());
    assert_eq!(out.as_str().matches("content").count(), 1 + "modelcontextprotocol".matches("content").count());
}

proptest! {
    #[test]
    fn no_result_makes_it_panic_and_every_object_gets_its_type(
        text in value(), method in "tools/call|prompts/get|tools/list|x", from in 0_usize..4, to in 0_usize..4
    ) {
        let (from, to) = (Revision::ALL[from], Revision::ALL[to]);
        for text in [text.clone(), format!(r#"{{"content":[{text}],"structuredContent":{text},"_meta":{text}}}"#)] {
            let out = result(&method, raw(&text), from, to);
            if from.is_legacy() && to.is_modern() && out.is_object() {
                prop_assert_eq!(result_type(&out), Ok(ResultType::Complete));
            }
            let _ = complete(out, Some(Freshness::NONE), &raw("{}"));
        }
    }

    #[test]
    fn there_and_back_again_every_value_is_the_same_bytes(text in value(), other in value()) {
        let original = format!(r#"{{"a":{text},"_meta":{{"com.example/k":{other}}}}}"#);
        let there = result("resources/read", raw(&original), Revision::LATEST, MODERN);
        let there = complete(there, Some(Freshness::NONE), &raw(r#"{"name":"gw"}"#));
        let back = result("resources/read", there, MODERN, Revision::LATEST);
        prop_assert_eq!(back.as_str(), &original);
    }
}
