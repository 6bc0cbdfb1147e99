//! Entries of lists and notifications across revisions.

use hawser_mcp::translate::{entry, notification};
use hawser_mcp::{ListKind, Notification, Revision};
use proptest::prelude::*;

use crate::json::{raw, value};

const LEGACY: Revision = Revision::V2025_11_25;
const MODERN: Revision = Revision::V2026_07_28;

fn tool(text: &str, from: Revision, to: Revision) -> Option<String> {
    entry(ListKind::Tools, &raw(text), from, to).map(|entry| entry.as_str().to_owned())
}

#[test]
fn an_output_that_is_no_object_has_no_place_in_a_legacy_tool() {
    for schema in [r#"{"type":"array"}"#, r#"{"$ref":"u"}"#, r#"{"type":["object","null"]}"#, "true", "{}"] {
        let text = format!(r#"{{"name":"t","outputSchema":{schema},"inputSchema":{{ }},"x":1.0}}"#);
        for to in Revision::LEGACY {
            assert_eq!(tool(&text, MODERN, to).unwrap(), r#"{"name":"t","inputSchema":{ },"x":1.0}"#, "{schema} {to}");
        }
        assert_eq!(tool(&text, MODERN, MODERN).unwrap(), text);
    }
    let object = r#"{"name":"t", "outputSchema":{"type":"object","anyOf":[]}}"#;
    assert_eq!(tool(object, MODERN, LEGACY).unwrap(), object);
}

#[test]
fn what_tasks_of_the_experimental_kind_say_is_not_shown_to_modern_clients() {
    let optional = r#"{"name":"t","execution":{"taskSupport":"optional"},"inputSchema":{ }}"#;
    assert_eq!(tool(optional, LEGACY, MODERN).unwrap(), r#"{"name":"t","inputSchema":{ }}"#);
    assert_eq!(tool(optional, LEGACY, LEGACY).unwrap(), optional);
    let required = r#"{"name":"t","execution":{"taskSupport":"required"}}"#;
    assert_eq!(tool(required, LEGACY, MODERN), None, "nobody could call it without a task");
    assert_eq!(tool(required, LEGACY, LEGACY).unwrap(), required);
}

#[test]
fn a_tool_that_nobody_could_call_with_its_headers_is_not_shown() {
    let bad = r#"{"name":"t","inputSchema":{"properties":{"p":{"type":"number","x-mcp-header":"P"}}}}"#;
    let good = r#"{"name":"t","inputSchema":{"properties":{"p":{"type":"integer","x-mcp-header":"P"}}}}"#;
    for (from, to) in [(MODERN, MODERN), (MODERN, LEGACY), (LEGACY, MODERN)] {
        assert_eq!(tool(bad, from, to), None, "{from} to {to}");
        assert_eq!(tool(good, from, to).unwrap(), good, "{from} to {to}");
    }
    assert_eq!(tool(bad, LEGACY, LEGACY).unwrap(), bad, "to the legacy era it is a keyword like any other");
}

#[test]
fn other_entries_are_the_same_bytes() {
    let text = r#"{ "name":"x", "uri":"u", "outputSchema":[], "execution":{"taskSupport":"required"} }"#;
    for kind in [ListKind::Resources, ListKind::ResourceTemplates, ListKind::Prompts] {
        for from in Revision::ALL {
            for to in Revision::ALL {
                assert_eq!(entry(kind, &raw(text), from, to).unwrap().as_str(), text);
            }
        }
    }
}

fn told(method: &str, params: &str, from: Revision, to: Revision) -> Option<Notification> {
    notification(Notification::new(method, Some(raw(params))), from, to)
}

#[test]
fn each_notification_reaches_the_revisions_that_have_it() {
    let legacy = Revision::LEGACY.as_slice();
    for (method, from, known) in [
        ("notifications/subscriptions/acknowledged", MODERN, &[MODERN][..]),
        ("notifications/tasks", MODERN, &[MODERN]),
        ("notifications/elicitation/complete", LEGACY, &[LEGACY]),
        ("notifications/tasks/status", LEGACY, legacy),
        ("notifications/cancelled", LEGACY, legacy),
        ("notifications/cancelled", MODERN, &[MODERN]),
        ("notifications/progress", LEGACY, &Revision::ALL),
        ("notifications/message", MODERN, &Revision::ALL),
        ("notifications/tools/list_changed", LEGACY, &Revision::ALL),
        ("notifications/com.example/custom", LEGACY, &Revision::ALL),
        ("notifications/elicitation/complete", MODERN, &[LEGACY]),
    ] {
        for to in Revision::ALL {
            assert_eq!(told(method, "{}", from, to).is_some(), known.contains(&to), "{method} from {from} to {to}");
        }
    }
}

#[test]
fn the_mark_of_a_stream_stays_behind() {
    let params = r#"{"_meta":{"io.modelcontextprotocol/subscriptionId":1},"uri":"u", "n":1.0}"#;
    let out = told("notifications/resources/updated", params, MODERN, LEGACY).unwrap();
    assert_eq!(out.params.unwrap().as_str(), r#"{"uri":"u","n":1.0}"#);
    let same = told("notifications/resources/updated", params, MODERN, MODERN).unwrap();
    assert_eq!(same.params.unwrap().as_str(), params);
}

proptest! {
    #[test]
    fn no_entry_makes_it_panic(text in value(), from in 0_usize..4, to in 0_usize..4) {
        let (from, to) = (Revision::ALL[from], Revision::ALL[to]);
        for text in [text.clone(), format!(r#"{{"inputSchema":{text},"outputSchema":{text},"execution":{text}}}"#)] {
            for kind in ListKind::ALL {
                let _ = entry(kind, &raw(&text), from, to);
            }
        }
        let _ = told("notifications/message", &text, from, to);
    }
}
