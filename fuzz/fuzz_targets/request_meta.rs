//! `_meta` of requests: what is stamped is what is read, what is stripped is gone, foreign keys survive; traces are well formed.

#![no_main]

use bytes::Bytes;
use hawser_mcp::{
    Members, RawJson, RequestMeta, Revision, Stamp, child_traceparent, meta_key, stamp_request, strip_request,
    with_traceparent,
};
use libfuzzer_sys::fuzz_target;

/// What a refusal may quote of a request.
const REFUSAL_CHARS_MAX: usize = 512;
const OWN: [&str; 4] =
    [meta_key::PROTOCOL_VERSION, meta_key::CLIENT_INFO, meta_key::CLIENT_CAPABILITIES, meta_key::LOG_LEVEL];

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        trace(text);
    }
    let Ok(params) = RawJson::parse(&Bytes::copy_from_slice(data)) else { return };
    let meta = match RequestMeta::read(Some(&params)) {
        Ok(meta) => meta,
        Err(error) => {
            assert!(error.to_string().chars().count() <= REFUSAL_CHARS_MAX, "{error}");
            return;
        }
    };
    stamp(&params, &meta);
    strip(&params);
    if let Some(traced) = with_traceparent(&params, "t") {
        assert_eq!(RequestMeta::read(Some(&traced)).expect("still readable").traceparent.as_deref(), Some("t"));
    }
});

fn trace(text: &str) {
    if let Some(child) = child_traceparent(text, [7; 8]) {
        assert_eq!((child.len(), child.get(3..35)), (55, text.get(3..35)), "the same trace");
        assert!(child_traceparent(&child, [8; 8]).is_some(), "well formed");
    }
}

fn stamp(params: &RawJson, before: &RequestMeta) {
    let (info, capabilities, token) = (RawJson::empty_object(), RawJson::empty_object(), RawJson::number(7));
    let stamp = Stamp {
        revision: Revision::LATEST_MODERN,
        client_info: &info,
        client_capabilities: &capabilities,
        log_level: Some("error"),
        progress_token: Some(&token),
    };
    // Objects at the limit of their members cannot take more: the only request that is read and not written.
    let Ok(stamped) = stamp_request(Some(params), &stamp) else { return };
    let Ok(after) = RequestMeta::read(Some(&stamped)) else {
        assert!(stamped.bytes().len() > 1000, "only what is large can grow too large");
        return;
    };
    assert_eq!(after.protocol_version.as_deref(), Some(Revision::LATEST_MODERN.as_str()));
    assert_eq!((after.client_info, after.client_capabilities), (Some(info), Some(capabilities)));
    assert_eq!(after.log_level.as_deref(), Some("error"));
    assert_eq!(after.progress_token.is_some(), before.progress_token.is_some(), "progress only where it was wanted");
    assert!(after.progress_token.is_none_or(|after| after == token), "never the client's own token");
    assert_eq!(foreign(&stamped), foreign(params), "foreign keys stay");
}

fn strip(params: &RawJson) {
    // Refused: a twin of what is taken away.
    let Ok(stripped) = strip_request(Some(params)) else { return };
    let Some(stripped) = stripped else {
        assert!(foreign(params).is_empty(), "nothing foreign is lost");
        return;
    };
    let meta = RequestMeta::read(Some(&stripped)).expect("still readable");
    assert!(!meta.names_modern(), "nothing is left of the modern era");
    assert_eq!(foreign(&stripped), foreign(params), "foreign keys stay");
    let members = Members::read(&stripped, &[]).expect("an object");
    assert!(["inputResponses", "requestState", "task"].iter().all(|name| members.get(name).is_none()));
    assert_eq!(strip_request(Some(&stripped)).as_ref(), Ok(&Some(stripped.clone())), "once is enough");
}

/// The keys of `_meta` that are not the gateway's.
fn foreign(params: &RawJson) -> Vec<(String, RawJson)> {
    let members = Members::read(params, &[]).expect("an object");
    let Some(meta) = members.get("_meta") else { return Vec::new() };
    let meta = Members::read(&meta, &[]).expect("an object");
    let foreign = meta.iter().filter(|(name, _)| !OWN.contains(name) && *name != meta_key::PROGRESS_TOKEN);
    foreign.map(|(name, value)| (name.to_owned(), value)).collect()
}
