//! Content of results for clients of revisions that do not know all of it.

use serde_json::Value;

use crate::members::Members;
use crate::raw::RawJson;
use crate::revision::Revision;

const CONTENT: &str = "content";
const STRUCTURED: &str = "structuredContent";

/// The result of a tool without a structured value that the legacy client's revision has no place for: it is told as text. Up
/// to 2025-11-25 the value is an object, in 2025-03-26 there is none (which older clients overlook, so it may stay).
pub(super) fn plain_structure(result: RawJson, to: Revision) -> RawJson {
    let Some(members) = Members::last_holds(&result) else {
        return result;
    };
    let Some(structured) = members.get(STRUCTURED) else {
        return result;
    };
    let fits = structured.is_object();
    if fits && to != Revision::V2025_03_26 {
        return result;
    }
    let content = members.get(CONTENT).and_then(|content| content.elements()).unwrap_or_default();
    let gone: &[&str] = if fits { &[] } else { &[STRUCTURED] };
    if content.iter().any(|block| tells(block, &structured)) {
        return if gone.is_empty() { result } else { members.without(gone) };
    }
    let text = text_block(structured.as_str());
    let content = RawJson::array(content.iter().chain([&text]));
    members.edit(&[(CONTENT, &content)], gone)
}

/// Whether a block is the structured value as text, which a server should send along (2026-07-28, Tools, Structured Content).
fn tells(block: &RawJson, structured: &RawJson) -> bool {
    let Some(block) = Members::last_holds(block) else {
        return false;
    };
    let text = block.string("type").filter(|kind| kind == "text").and_then(|_| block.string("text"));
    let Some(text) = text else {
        return false;
    };
    let read = |json: &str| serde_json::from_str::<Value>(json).ok();
    text == structured.as_str() || read(&text).is_some_and(|told| Some(told) == read(structured.as_str()))
}

/// The result with its `resource_link`s as text, for clients of 2025-03-26, which has none. `member` holds the blocks, or
/// messages with one block each.
pub(super) fn degrade_links(result: RawJson, member: &str, to: Revision) -> RawJson {
    if to != Revision::V2025_03_26 || !result.as_str().contains("resource_link") {
        return result;
    }
    let Some(members) = Members::last_holds(&result) else {
        return result;
    };
    let Some(entries) = members.get(member).and_then(|entries| entries.elements()) else {
        return result;
    };
    let entries: Vec<RawJson> = entries.into_iter().map(plain_entry).collect();
    members.replace(&[(member, &RawJson::array(&entries))])
}

/// A block, or a message with a block in it.
fn plain_entry(entry: RawJson) -> RawJson {
    let Some(members) = Members::last_holds(&entry) else {
        return entry;
    };
    if let Some(text) = link_text(&members) {
        return text;
    }
    let Some(block) = members.get(CONTENT) else {
        return entry;
    };
    match Members::last_holds(&block).as_ref().and_then(link_text) {
        Some(text) => members.replace(&[(CONTENT, &text)]),
        None => entry,
    }
}

/// A text block that says what a `resource_link` says.
fn link_text(block: &Members<'_>) -> Option<RawJson> {
    if block.string("type")? != "resource_link" {
        return None;
    }
    let uri = block.string("uri")?;
    let name = block.string("title").or_else(|| block.string("name")).unwrap_or_default();
    let mut text = if name.is_empty() { uri } else { format!("{name}: {uri}") };
    if let Some(description) = block.string("description") {
        text.push('\n');
        text.push_str(&description);
    }
    let text = text_block(&text);
    let kept: Vec<(&str, RawJson)> =
        ["annotations", "_meta"].into_iter().filter_map(|name| Some((name, block.get(name)?))).collect();
    let kept: Vec<(&str, &RawJson)> = kept.iter().map(|(name, value)| (*name, value)).collect();
    Members::last_holds(&text).map(|text| text.replace(&kept))
}

fn text_block(text: &str) -> RawJson {
    RawJson::object(&[("type", &RawJson::string("text")), ("text", &RawJson::string(text))])
}
