//! A request's `_meta` on its way into the other era.

use super::read::ROUTED;
use super::{META, edit_meta, meta_key};
use crate::members::{Members, MembersError};
use crate::raw::RawJson;
use crate::revision::Revision;

/// What every request towards a modern backend carries (2026-07-28, General Fields, `_meta`).
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// The revision that is spoken with this backend.
    pub revision: Revision,
    /// The end client's `clientInfo`: an object.
    pub client_info: &'a RawJson,
    /// The end client's capabilities: an object.
    pub client_capabilities: &'a RawJson,
    /// Least severe log message that is wanted; none are without it.
    pub log_level: Option<&'a str>,
    /// Takes the place of the token that is there, if one is there: tokens of different clients must not meet.
    pub progress_token: Option<&'a RawJson>,
}

/// Parameters of a request towards a modern backend: foreign keys of `_meta` and all else stay as they are.
pub fn stamp_request(params: Option<&RawJson>, stamp: &Stamp<'_>) -> Result<RawJson, MembersError> {
    let empty = RawJson::empty_object();
    let params = Members::read(params.unwrap_or(&empty), &[META])?;
    let revision = RawJson::string(stamp.revision.as_str());
    let level = stamp.log_level.map(RawJson::string);
    let mut with = vec![
        (meta_key::PROTOCOL_VERSION, &revision),
        (meta_key::CLIENT_INFO, stamp.client_info),
        (meta_key::CLIENT_CAPABILITIES, stamp.client_capabilities),
    ];
    if let Some(level) = &level {
        with.push((meta_key::LOG_LEVEL, level));
    }
    if let Some(token) = stamp.progress_token.filter(|_| wants_progress(&params)) {
        with.push((meta_key::PROGRESS_TOKEN, token));
    }
    let [server, subscription] = SERVERS_OWN;
    let meta = edit_meta(&params, &ROUTED, &with, &[meta_key::LOG_LEVEL, server, subscription])?;
    Ok(meta.map_or_else(|| params.without(&[]), |meta| params.replace(&[(META, &meta)])))
}

/// Whether a token is there already.
fn wants_progress(params: &Members<'_>) -> bool {
    let meta = params.get(META);
    meta.is_some_and(|meta| {
        Members::read(&meta, &ROUTED).is_ok_and(|meta| meta.get(meta_key::PROGRESS_TOKEN).is_some())
    })
}

/// Keys that only servers use: in a request they would speak for somebody else.
const SERVERS_OWN: [&str; 2] = [meta_key::SERVER_INFO, meta_key::SUBSCRIPTION_ID];
/// Keys of the modern era, which a legacy backend does not know.
const MODERN_KEYS: [&str; 6] = [
    meta_key::PROTOCOL_VERSION,
    meta_key::CLIENT_INFO,
    meta_key::CLIENT_CAPABILITIES,
    meta_key::LOG_LEVEL,
    meta_key::SERVER_INFO,
    meta_key::SUBSCRIPTION_ID,
];
/// Parameters of a retry (2026-07-28, Multi Round-Trip Requests), and the one that asked for a task up to 2025-11-25, which a
/// modern server must not heed (tasks extension, Compatibility).
const MODERN_PARAMS: [&str; 3] = ["inputResponses", "requestState", "task"];

/// Parameters of a modern client's request towards a legacy backend. `None` where nothing is left of them.
pub fn strip_request(params: Option<&RawJson>) -> Result<Option<RawJson>, MembersError> {
    let Some(raw) = params else {
        return Ok(None);
    };
    let params = Members::read(raw, &[META, "inputResponses", "requestState", "task"])?;
    let meta = edit_meta(&params, &ROUTED, &[], &MODERN_KEYS)?;
    let stripped = match &meta {
        Some(meta) if meta.as_str() != "{}" => params.edit(&[(META, meta)], &MODERN_PARAMS),
        Some(_) => {
            let [responses, state, task] = MODERN_PARAMS;
            params.without(&[META, responses, state, task])
        }
        None => params.without(&MODERN_PARAMS),
    };
    Ok((stripped.as_str() != "{}").then_some(stripped))
}
