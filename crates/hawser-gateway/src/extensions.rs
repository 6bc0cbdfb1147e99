//! What becomes of extensions between clients and backends (MCP 2026-07-28, Extensions). The policy, also told in
//! `docs/extensions.md`:
//!
//! - Apps (`io.modelcontextprotocol/ui`): passed, in both eras. It lives in `_meta` and in resources, which pass unchanged.
//! - Tasks (`io.modelcontextprotocol/tasks`): passed to modern clients with sealed ids ([`crate::modern`]); for legacy clients the
//!   gateway waits for the task, so it is not declared to them.
//! - Every other: passed between modern clients and modern backends; its methods are routed by name, uri, or by there being one
//!   backend that has extensions of this kind. Dropped where either side is legacy, whose protocol does not have it.

use hawser_mcp::{Era, Members, RawJson, task};
use serde_json::{Map, Value};

/// MCP Apps.
const UI: &str = "io.modelcontextprotocol/ui";
/// Most bytes of one backend's declaration of its extensions.
const DECLARED_BYTES_MAX: usize = 16 * 1024;

/// The extensions that a server declares, with their settings.
fn of(capabilities: &RawJson) -> Vec<(String, RawJson)> {
    let declared = Members::read(capabilities, &[]).ok().and_then(|members| members.get("extensions"));
    let Some(declared) = declared.filter(|declared| declared.bytes().len() <= DECLARED_BYTES_MAX) else {
        return Vec::new();
    };
    let read = Members::read(&declared, &[]).map(|members| {
        let objects = members.iter().filter(|(_, settings)| settings.is_object());
        objects.map(|(name, settings)| (name.to_owned(), settings)).collect()
    });
    read.unwrap_or_default()
}

/// The extensions to declare to clients of an era, given what each backend declares in which era. Where several have the same
/// one, the first one's settings stand.
pub(crate) fn to_declare<'a>(client: Era, backends: impl Iterator<Item = (Era, &'a RawJson)>) -> Option<Value> {
    let mut declared = Map::new();
    for (era, capabilities) in backends {
        for (name, settings) in of(capabilities) {
            let passes = name == UI || (client, era) == (Era::Modern, Era::Modern);
            if passes
                && !declared.contains_key(&name)
                && let Ok(settings) = settings.read::<Value>()
            {
                declared.insert(name, settings);
            }
        }
    }
    (!declared.is_empty()).then_some(Value::Object(declared))
}

/// Whether a modern server may have methods that only an extension defines. Apps have none, and those of tasks are known.
pub(crate) fn may_define_methods(capabilities: &RawJson) -> bool {
    of(capabilities).iter().any(|(name, _)| name != UI && name != task::EXTENSION)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> RawJson {
        RawJson::from_serialize(value).unwrap()
    }

    #[test]
    fn legacy_clients_are_told_of_apps_alone_and_modern_ones_of_what_modern_backends_have() {
        let modern = raw(&json!({ "extensions": {
            "io.modelcontextprotocol/ui": { "mimeTypes": ["text/html;profile=mcp-app"] },
            "io.modelcontextprotocol/tasks": {}, "com.example/x": { "a": 1 }, "com.example/broken": 7 } }));
        let legacy = raw(&json!({ "extensions": { "com.example/y": {}, "io.modelcontextprotocol/ui": {} } }));
        let backends = || [(Era::Modern, &modern), (Era::Legacy, &legacy)].into_iter();
        let ui = json!({ "mimeTypes": ["text/html;profile=mcp-app"] });
        assert_eq!(to_declare(Era::Legacy, backends()), Some(json!({ "io.modelcontextprotocol/ui": ui })));
        let all = json!({ "io.modelcontextprotocol/ui": ui, "io.modelcontextprotocol/tasks": {}, "com.example/x": { "a": 1 } });
        assert_eq!(to_declare(Era::Modern, backends()), Some(all));
        assert_eq!(to_declare(Era::Modern, std::iter::once((Era::Modern, &raw(&json!({}))))), None);
    }

    #[test]
    fn only_other_extensions_bring_methods_that_are_not_known_here() {
        let has = |extensions: Value| may_define_methods(&raw(&json!({ "extensions": extensions })));
        assert!(!has(json!({ "io.modelcontextprotocol/ui": {}, "io.modelcontextprotocol/tasks": {} })));
        assert!(has(json!({ "io.modelcontextprotocol/skills": {} })));
        assert!(!may_define_methods(&raw(&json!({ "extensions": [] }))) && !may_define_methods(&raw(&json!({}))));
    }
}
