//! Reading what a tool answered.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The text of the first content block of a tool's result.
pub fn text_of(result: &Value) -> Result<&str> {
    result.pointer("/content/0/text").and_then(Value::as_str).with_context(|| format!("no text in {result}"))
}

/// The same, of a call that the tool did not report as failed.
pub fn called_text(result: &Value) -> Result<&str> {
    ensure!(result.get("isError").and_then(Value::as_bool) != Some(true), "the tool failed: {result}");
    text_of(result)
}
