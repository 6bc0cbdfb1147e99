//! Questions of a server: `elicitation/create`, `sampling/createMessage`, `roots/list`.

use super::forms::plain_form;
use crate::members::Members;
use crate::meta::{META, edit_meta, meta_key};
use crate::names::method;
use crate::raw::RawJson;
use crate::revision::Revision;

/// The parameters of a question towards a client of this revision; `None` if it cannot be put to it. An `elicitationId`
/// (2025-11-25, URL mode) is for the caller to mint.
pub fn server_request(method: &str, params: Option<&RawJson>, to: Revision) -> Option<Option<RawJson>> {
    if to.is_modern() {
        return towards_modern(method, params);
    }
    match (method, params) {
        (method::ELICITATION_CREATE, Some(params)) => elicitation(params, to).map(Some),
        (method::SAMPLING_CREATE_MESSAGE, Some(params)) => sampling(params, to).map(Some),
        (method::ELICITATION_CREATE | method::SAMPLING_CREATE_MESSAGE, None) => None,
        _ => Some(params.cloned()),
    }
}

/// Inside `inputRequests` there is no id to remember an elicitation by, no task and no progress (2026-07-28, Changelog).
#[expect(clippy::option_option, reason = "the parameters themselves are optional")]
fn towards_modern(method: &str, params: Option<&RawJson>) -> Option<Option<RawJson>> {
    let gone: &[&str] = match method {
        method::ELICITATION_CREATE => &["elicitationId", "task"],
        method::SAMPLING_CREATE_MESSAGE => &["task"],
        method::ROOTS_LIST => &[],
        _ => return None,
    };
    let Some(raw) = params else {
        return (method == method::ROOTS_LIST).then_some(None);
    };
    let params = Members::read(raw, &["mode", "url", "elicitationId", "task"]).ok()?;
    let meta = edit_meta(&params, &[], &[], &[meta_key::PROGRESS_TOKEN, meta_key::RELATED_TASK]).ok()?;
    Some(Some(match &meta {
        Some(meta) if meta.as_str() == "{}" => params.without(&[gone, &[META]].concat()),
        Some(meta) => params.edit(&[(META, meta)], gone),
        None => params.without(gone),
    }))
}

/// Forms came with 2025-06-18, URLs and richer forms with 2025-11-25.
fn elicitation(raw: &RawJson, to: Revision) -> Option<RawJson> {
    let params = Members::read(raw, &["mode", "url", "requestedSchema"]).ok()?;
    let form = params.get("mode").is_none() || params.string("mode").as_deref() == Some("form");
    match to {
        Revision::V2025_06_18 if form => {
            let schema = plain_form(&params.get("requestedSchema")?)?;
            Some(params.edit(&[("requestedSchema", &schema)], &["mode"]))
        }
        Revision::V2025_03_26 | Revision::V2025_06_18 => None,
        Revision::V2025_11_25 | Revision::V2026_07_28 => Some(raw.clone()),
    }
}

/// Tools, and several blocks in one message, came with 2025-11-25.
fn sampling(raw: &RawJson, to: Revision) -> Option<RawJson> {
    if to >= Revision::V2025_11_25 {
        return Some(raw.clone());
    }
    let params = Members::read(raw, &["messages", "tools", "toolChoice"]).ok()?;
    if params.get("tools").is_some() {
        return None;
    }
    let messages = params.get("messages")?.elements()?;
    let single = messages.into_iter().map(single_block).collect::<Option<Vec<_>>>()?;
    Some(params.edit(&[("messages", &RawJson::array(&single))], &["toolChoice"]))
}

/// A message whose content is one block.
fn single_block(message: RawJson) -> Option<RawJson> {
    let members = Members::read(&message, &["role", "content"]).ok()?;
    let content = members.get("content")?;
    let Some(blocks) = content.elements() else {
        return Some(message);
    };
    match blocks.as_slice() {
        [block] => Some(members.replace(&[("content", block)])),
        _ => None,
    }
}
