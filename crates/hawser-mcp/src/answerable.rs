//! What a client can be asked, by the capabilities that it declared: "Servers MUST NOT send" it anything else (2026-07-28,
//! Multi Round-Trip Requests; 2025-11-25, Elicitation and Sampling, Capabilities).

use crate::members::Members;
use crate::names::method;
use crate::raw::RawJson;

/// Whether a client with these capabilities can be asked this: the kind of question, the mode of an elicitation, and tools for
/// a model. What cannot be read can not be asked either.
pub fn can_be_asked(capabilities: &RawJson, question: &str, params: Option<&RawJson>) -> bool {
    match question {
        method::ELICITATION_CREATE => declared(capabilities, "elicitation").is_some_and(|how| elicits(&how, params)),
        method::SAMPLING_CREATE_MESSAGE => declared(capabilities, "sampling").is_some_and(|how| samples(&how, params)),
        method::ROOTS_LIST => declared(capabilities, "roots").is_some(),
        _ => false,
    }
}

/// "An empty capabilities object is equivalent to declaring support for `form` mode only"; a question without a mode is a form.
fn elicits(how: &RawJson, params: Option<&RawJson>) -> bool {
    let Some(Ok(params)) = params.map(|params| Members::read(params, &["mode"])) else { return false };
    match params.get("mode").map(|mode| mode.as_string()) {
        None => declared(how, "form").is_some() || declared(how, "url").is_none(),
        Some(Some(mode)) if mode == "form" => declared(how, "form").is_some() || declared(how, "url").is_none(),
        Some(Some(mode)) => mode == "url" && declared(how, "url").is_some(),
        Some(None) => false,
    }
}

fn samples(how: &RawJson, params: Option<&RawJson>) -> bool {
    let Some(Ok(params)) = params.map(|params| Members::read(params, &["tools", "toolChoice"])) else { return false };
    let with_tools = ["tools", "toolChoice"].iter().any(|member| params.get(member).is_some());
    !with_tools || declared(how, "tools").is_some()
}

/// What is declared under this name: an object.
fn declared(capabilities: &RawJson, name: &str) -> Option<RawJson> {
    Members::read(capabilities, &[]).ok()?.get(name).filter(RawJson::is_object)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn asked(capabilities: &Value, question: &str, params: &Value) -> bool {
        let raw = |value: &Value| RawJson::from_serialize(value).unwrap();
        can_be_asked(&raw(capabilities), question, Some(&raw(params)))
    }

    #[test]
    fn a_form_is_for_who_declares_forms_or_nothing_in_particular() {
        let (form, unnamed, url) = (json!({ "mode": "form" }), json!({}), json!({ "mode": "url" }));
        for (declared, forms, urls) in [
            (json!({ "elicitation": {} }), true, false),
            (json!({ "elicitation": { "form": {} } }), true, false),
            (json!({ "elicitation": { "form": {}, "url": {} } }), true, true),
            (json!({ "elicitation": { "url": {} } }), false, true),
            (json!({ "elicitation": { "url": true } }), true, false),
            (json!({ "elicitation": true }), false, false),
            (json!({ "sampling": {}, "roots": {} }), false, false),
        ] {
            assert_eq!(asked(&declared, "elicitation/create", &form), forms, "{declared}");
            assert_eq!(asked(&declared, "elicitation/create", &unnamed), forms, "{declared}");
            assert_eq!(asked(&declared, "elicitation/create", &url), urls, "{declared}");
            for mode in [json!("URL"), json!("voice"), json!(7)] {
                assert!(!asked(&declared, "elicitation/create", &json!({ "mode": mode })), "{declared} {mode}");
            }
            assert!(!asked(&declared, "elicitation/create", &json!({ "Mode": "url" })), "{declared}");
        }
    }

    #[test]
    fn tools_are_for_models_that_take_them() {
        let (plain, tools, choice) = (json!({}), json!({ "tools": [] }), json!({ "toolChoice": {} }));
        let (without, with) = (json!({ "sampling": {} }), json!({ "sampling": { "tools": {} } }));
        assert!(asked(&without, "sampling/createMessage", &plain) && asked(&with, "sampling/createMessage", &plain));
        for params in [tools, choice] {
            assert!(!asked(&without, "sampling/createMessage", &params), "{params}");
            assert!(asked(&with, "sampling/createMessage", &params), "{params}");
        }
    }

    #[test]
    fn nothing_else_can_be_asked() {
        let all = json!({ "elicitation": {}, "sampling": {}, "roots": {}, "tools": {} });
        let raw = RawJson::from_serialize(&all).unwrap();
        assert!(can_be_asked(&raw, "roots/list", None));
        assert!(!can_be_asked(&raw, "elicitation/create", None) && !can_be_asked(&raw, "sampling/createMessage", None));
        assert!(!can_be_asked(&raw, "tools/call", None) && !can_be_asked(&raw, "tools", None));
        assert!(!can_be_asked(&RawJson::empty_object(), "roots/list", None));
    }
}
