//! The end client's capabilities as a server of the other era may be told them. Pure.

use hawser_mcp::{Members, RawJson, task};

const EXTENSIONS: &str = "extensions";
/// The experimental tasks of 2025-11-25, which have nothing to do with the extension but the name.
const TASKS: &str = "tasks";

/// Towards a legacy server: without what the stateless era alone can do.
pub(crate) fn for_legacy(capabilities: &RawJson) -> RawJson {
    with_extensions(capabilities, |extensions| {
        extensions.get(task::EXTENSION).map(|_| extensions.without(&[task::EXTENSION]))
    })
    .unwrap_or_else(|| capabilities.clone())
}

/// Towards a modern server, for a legacy client: the link waits for tasks on its behalf, so they may be created.
pub(crate) fn for_adapted(capabilities: &RawJson) -> RawJson {
    let nothing = RawJson::empty_object();
    let Ok(members) = Members::read(capabilities, &[EXTENSIONS, TASKS]) else {
        return RawJson::object(&[(EXTENSIONS, &RawJson::object(&[(task::EXTENSION, &nothing)]))]);
    };
    let declared = members.get(EXTENSIONS).filter(RawJson::is_object).unwrap_or_else(RawJson::empty_object);
    let extensions = Members::read(&declared, &[]).map_or_else(
        |_| RawJson::object(&[(task::EXTENSION, &nothing)]),
        |extensions| extensions.replace(&[(task::EXTENSION, &nothing)]),
    );
    members.edit(&[(EXTENSIONS, &extensions)], &[TASKS])
}

/// Whether a capability is there and has this flag.
pub(crate) fn has_flag(capabilities: &RawJson, name: &str, flag: &str) -> bool {
    member(capabilities, name).and_then(|value| member(&value, flag)).is_some_and(|value| value.as_str() == "true")
}

fn member(object: &RawJson, name: &str) -> Option<RawJson> {
    Members::read(object, &[]).ok()?.get(name)
}

fn with_extensions(capabilities: &RawJson, edit: impl FnOnce(&Members<'_>) -> Option<RawJson>) -> Option<RawJson> {
    let members = Members::read(capabilities, &[EXTENSIONS]).ok()?;
    let declared = members.get(EXTENSIONS)?;
    let edited = edit(&Members::read(&declared, &[]).ok()?)?;
    Some(members.replace(&[(EXTENSIONS, &edited)]))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn raw(text: &'static str) -> RawJson {
        RawJson::parse(&Bytes::from_static(text.as_bytes())).unwrap()
    }

    #[test]
    fn tasks_are_declared_for_an_adapted_client_and_its_own_old_ones_are_not() {
        for (told, expected) in [
            ("{}", r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
            (
                r#"{"roots":{ "x":1.0},"tasks":{"list":{}},"extensions":{"io.modelcontextprotocol/ui":{}}}"#,
                r#"{"roots":{ "x":1.0},"extensions":{"io.modelcontextprotocol/ui":{},"io.modelcontextprotocol/tasks":{}}}"#,
            ),
            (r#"{"extensions":7}"#, r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#),
        ] {
            assert_eq!(for_adapted(&raw(told)).as_str(), expected, "{told}");
        }
    }

    #[test]
    fn a_legacy_server_is_not_told_of_the_tasks_extension_and_of_all_else_verbatim() {
        let told =
            r#"{ "sampling": {},"extensions":{"io.modelcontextprotocol/ui":{},"io.modelcontextprotocol/tasks":{}}}"#;
        let expected = r#"{"sampling":{},"extensions":{"io.modelcontextprotocol/ui":{}}}"#;
        assert_eq!(for_legacy(&raw(told)).as_str(), expected);
        assert_eq!(for_legacy(&raw(r#"{ "elicitation": {"x":1.0} }"#)).as_str(), r#"{ "elicitation": {"x":1.0} }"#);
    }

    #[test]
    fn flags_are_true_or_they_are_not_there() {
        let server = raw(r#"{"tools":{"listChanged":true},"prompts":{"listChanged":1},"resources":{}}"#);
        assert!(has_flag(&server, "tools", "listChanged"));
        for (name, flag) in [("prompts", "listChanged"), ("resources", "subscribe"), ("logging", "x")] {
            assert!(!has_flag(&server, name, flag), "{name}");
        }
    }
}
