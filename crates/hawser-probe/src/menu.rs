//! What to call, read and complete: chosen from what the server lists, and only what is harmless.
//!
//! A tool may do anything, so one is called only if the user named it, or it declares itself read-only, or it needs nothing
//! and its name says that it merely tells something. When in doubt, none is called and the report says so.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::operation::quoted;

/// A tool and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    name: String,
    arguments: String,
}

/// The arguments given for a tool are not a JSON object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the arguments for the tool `{tool}` are not a JSON object: {reason}")]
pub struct ArgumentsError {
    tool: String,
    reason: String,
}

impl ToolCall {
    /// A call of `name` with the JSON object `arguments`.
    pub fn new(name: &str, arguments: &str) -> Result<Self, ArgumentsError> {
        let read: Result<serde_json::Map<String, Value>, _> = serde_json::from_str(arguments);
        let refused = |error: serde_json::Error| ArgumentsError { tool: name.to_owned(), reason: error.to_string() };
        read.map_err(refused)?;
        Ok(Self { name: name.to_owned(), arguments: arguments.to_owned() })
    }

    /// The tool's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn params(&self) -> String {
        format!(r#"{{"name":{},"arguments":{}}}"#, quoted(&self.name), self.arguments)
    }
}

/// A prompt and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PromptGet {
    name: String,
    arguments: String,
}

impl PromptGet {
    pub(crate) fn params(&self) -> String {
        format!(r#"{{"name":{},"arguments":{}}}"#, quoted(&self.name), self.arguments)
    }
}

/// What the operations refer to.
#[derive(Debug, Clone)]
pub(crate) struct Menu {
    pub(crate) tool: Option<ToolCall>,
    /// A tool that takes long enough to be cancelled.
    pub(crate) slow_tool: Option<ToolCall>,
    pub(crate) resource: String,
    pub(crate) prompt: PromptGet,
    /// Parameters of `completion/complete`.
    pub(crate) completion: String,
}

impl Default for Menu {
    /// What to ask for when a server lists nothing: names that do not exist. The answer is an error, but whose?
    fn default() -> Self {
        Self {
            tool: None,
            slow_tool: None,
            resource: "hawser-probe:///nothing".to_owned(),
            prompt: PromptGet { name: "hawser-probe-nothing".to_owned(), arguments: "{}".to_owned() },
            completion: completion("hawser-probe-nothing", "nothing"),
        }
    }
}

#[derive(Deserialize)]
struct Tool {
    name: String,
    #[serde(default, rename = "inputSchema")]
    input: Input,
    #[serde(default)]
    annotations: Annotations,
}

#[derive(Deserialize, Default)]
struct Input {
    #[serde(default)]
    properties: serde_json::Map<String, Value>,
    #[serde(default)]
    required: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    #[serde(default)]
    read_only_hint: Option<bool>,
    #[serde(default)]
    destructive_hint: Option<bool>,
}

/// The items of a list result, each read on its own so that one odd item hides no other.
fn items<T: for<'de> Deserialize<'de>>(result: Option<&RawValue>, member: &str) -> Vec<T> {
    let read: Option<serde_json::Map<String, Value>> = result.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let list = read.and_then(|mut object| object.remove(member));
    let list = list.as_ref().and_then(Value::as_array).cloned().unwrap_or_default();
    list.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect()
}

/// A tool to call, and one slow enough to cancel.
pub(crate) fn tools(result: Option<&RawValue>) -> (Option<ToolCall>, Option<ToolCall>) {
    let tools: Vec<Tool> = items(result, "tools");
    let call = |tool: &Tool| Some(ToolCall { name: tool.name.clone(), arguments: arguments(&tool.input)? });
    let quick = tools
        .iter()
        .filter(|tool| is_harmless(tool) && !is_slow(tool))
        // Nothing to fill in is surest; then the order the server chose.
        .min_by_key(|tool| !tool.input.required.is_empty())
        .and_then(call);
    let slow = tools.iter().filter(|tool| is_harmless(tool)).find(|tool| is_slow(tool)).and_then(call);
    (quick, slow)
}

fn is_harmless(tool: &Tool) -> bool {
    const TELLS: [&str; 9] = ["echo", "time", "get", "list", "ping", "version", "status", "now", "date"];
    const WAITS: [&str; 6] = ["long", "slow", "sleep", "delay", "wait", "running"];
    const ACTS: [&str; 27] = [
        "add", "apply", "buy", "call", "create", "delete", "drop", "exec", "execute", "kill", "move", "pay", "post",
        "publish", "put", "remove", "rename", "reset", "run", "send", "set", "start", "stop", "sync", "update",
        "upload", "write",
    ];
    const REVEALS: [&str; 8] = ["env", "environment", "secret", "secrets", "token", "password", "key", "credentials"];
    let words = words(&tool.name);
    let any = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    if tool.annotations.destructive_hint == Some(true) || any(&REVEALS) {
        return false;
    }
    if tool.annotations.read_only_hint == Some(true) {
        return true;
    }
    let needs_nothing = tool.input.required.is_empty();
    tool.annotations.read_only_hint.is_none() && needs_nothing && (any(&TELLS) || any(&WAITS)) && !any(&ACTS)
}

fn is_slow(tool: &Tool) -> bool {
    let words = words(&tool.name);
    let has = |wanted: &str| words.iter().any(|word| word == wanted);
    has("slow") || has("sleep") || has("delay") || has("wait") || (has("long") && has("running"))
}

/// The words of a name in snake, kebab or camel case.
fn words(name: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut before_lower = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || (c.is_uppercase() && before_lower);
        if starts {
            out.push(String::new());
        }
        before_lower = c.is_lowercase();
        if let Some(word) = out.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
    }
    out.retain(|word| !word.is_empty());
    out
}

/// Arguments for the required properties, and a short stay for those that take a duration; `None` when one is not plain.
fn arguments(input: &Input) -> Option<String> {
    let mut out = serde_json::Map::new();
    for name in &input.required {
        out.insert(name.clone(), example(name, input.properties.get(name)?)?);
    }
    for (name, value) in [("duration", 3), ("seconds", 3), ("steps", 3)] {
        let numeric = |schema: &Value| matches!(schema.get("type").and_then(Value::as_str), Some("number" | "integer"));
        if input.properties.get(name).is_some_and(numeric) {
            out.insert(name.to_owned(), value.into());
        }
    }
    Some(Value::Object(out).to_string())
}

fn example(name: &str, schema: &Value) -> Option<Value> {
    if let Some(value) = schema.get("default").or_else(|| schema.get("enum")?.as_array()?.first()) {
        return Some(value.clone());
    }
    match schema.get("type").and_then(Value::as_str)? {
        "string" if name == "timezone" => Some("UTC".into()),
        "string" => Some("hawser probe".into()),
        "number" | "integer" => Some(1.into()),
        "boolean" => Some(false.into()),
        _ => None,
    }
}

/// The first resource.
pub(crate) fn resource(result: Option<&RawValue>) -> Option<String> {
    #[derive(Deserialize)]
    struct Resource {
        uri: String,
    }
    items::<Resource>(result, "resources").into_iter().next().map(|resource| resource.uri)
}

/// A prompt to get, and parameters to complete one of its arguments.
pub(crate) fn prompts(result: Option<&RawValue>) -> (Option<PromptGet>, Option<String>) {
    #[derive(Deserialize)]
    struct Prompt {
        name: String,
        #[serde(default)]
        arguments: Vec<Argument>,
    }
    #[derive(Deserialize)]
    struct Argument {
        name: String,
        #[serde(default)]
        required: bool,
    }
    let prompts: Vec<Prompt> = items(result, "prompts");
    let get = prompts.iter().min_by_key(|prompt| prompt.arguments.len()).map(|prompt| {
        let required = prompt.arguments.iter().filter(|argument| argument.required);
        let filled = required.map(|argument| (argument.name.clone(), "hawser probe".into())).collect();
        PromptGet { name: prompt.name.clone(), arguments: Value::Object(filled).to_string() }
    });
    let complete = prompts
        .iter()
        .find_map(|prompt| prompt.arguments.first().map(|argument| completion(&prompt.name, &argument.name)));
    (get, complete)
}

fn completion(prompt: &str, argument: &str) -> String {
    let (prompt, argument) = (quoted(prompt), quoted(argument));
    format!(r#"{{"ref":{{"type":"ref/prompt","name":{prompt}}},"argument":{{"name":{argument},"value":""}}}}"#)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn pick(list: &Value) -> (Option<String>, Option<String>) {
        let raw = serde_json::value::to_raw_value(&serde_json::json!({ "tools": list })).unwrap();
        let (quick, slow) = tools(Some(&raw));
        (quick.map(|call| call.params()), slow.map(|call| call.name))
    }

    #[test]
    fn only_harmless_tools_are_called() {
        for dangerous in [
            r#"[{"name":"delete_all"}]"#,
            r#"[{"name":"get_and_delete"}]"#,
            r#"[{"name":"setTime"}]"#,
            r#"[{"name":"get-env"}]"#,
            r#"[{"name":"get","annotations":{"readOnlyHint":false}}]"#,
            r#"[{"name":"list","annotations":{"readOnlyHint":true,"destructiveHint":true}}]"#,
            r#"[{"name":"getThing","inputSchema":{"required":["id"],"properties":{"id":{"type":"string"}}}}]"#,
            r#"[{"name":"look","annotations":{"readOnlyHint":true},"inputSchema":{"required":["q"],"properties":{"q":{"type":"object"}}}}]"#,
        ] {
            assert_eq!(pick(&serde_json::from_str(dangerous).unwrap()), (None, None), "{dangerous}");
        }
    }

    #[test]
    fn a_tool_that_needs_nothing_comes_before_one_to_fill_in() {
        let list = serde_json::json!([
            {"name": "convert", "annotations": {"readOnlyHint": true}, "inputSchema": {"type": "object",
                "required": ["timezone", "n"], "properties": {"timezone": {"type": "string"}, "n": {"type": "number"}}}},
            {"name": 7},
            {"name": "everything_get-tiny-image", "inputSchema": {"type": "object"}},
            {"name": "trigger-long-running-operation", "inputSchema": {"properties": {"duration": {"type": "number"}}}}
        ]);
        let (quick, slow) = pick(&list);
        assert_eq!(quick.unwrap(), r#"{"name":"everything_get-tiny-image","arguments":{}}"#);
        assert_eq!(slow.as_deref(), Some("trigger-long-running-operation"));
        let filled = pick(&serde_json::json!([list[0]])).0.unwrap();
        assert_eq!(filled, r#"{"name":"convert","arguments":{"n":1,"timezone":"UTC"}}"#);
    }

    #[test]
    fn names_fall_into_words() {
        assert_eq!(words("getTiny_image-XY9z"), ["get", "tiny", "image", "xy9z"]);
    }

    #[test]
    fn arguments_must_be_an_object() {
        assert!(ToolCall::new("t", "{\"a\":1}").is_ok());
        assert!(ToolCall::new("t", "[1]").is_err() && ToolCall::new("t", "").is_err());
    }
}
