//! Results.

use super::content::{degrade_links, plain_structure};
use crate::freshness::Freshness;
use crate::members::Members;
use crate::meta::{META, edit_meta, meta_key};
use crate::names::{is_cacheable, method};
use crate::raw::RawJson;
use crate::revision::Revision;

const RESULT_TYPE: &str = "resultType";
const TTL_MS: &str = "ttlMs";
const CACHE_SCOPE: &str = "cacheScope";

/// A result of this method from a server of revision `from`, for a client of revision `to`. Towards the modern era it becomes
/// a complete one: results that ask for input or made a task are not to be put in here when they cross into it, and are
/// resolved before they can cross out of it.
///
/// A result that is not an object is passed on as it is.
#[must_use]
pub fn result(method: &str, result: RawJson, from: Revision, to: Revision) -> RawJson {
    if from == to {
        return result;
    }
    let Some(members) = Members::last_holds(&result) else {
        return result;
    };
    let crossed = match (from.is_modern(), to.is_modern()) {
        (false, true) => members.replace(&[(RESULT_TYPE, &RawJson::string("complete"))]),
        (true, false) => without_modern_members(method, &members),
        _ => result,
    };
    match method {
        method::TOOLS_CALL if to.is_legacy() => degrade_links(plain_structure(crossed, to), "content", to),
        method::PROMPTS_GET => degrade_links(crossed, "messages", to),
        _ => crossed,
    }
}

/// What only the modern era says of results.
fn without_modern_members(method: &str, members: &Members<'_>) -> RawJson {
    let mut gone = vec![RESULT_TYPE];
    if is_cacheable(method) {
        gone.extend([TTL_MS, CACHE_SCOPE]);
    }
    let meta = edit_meta(members, &[], &[], &[meta_key::SERVER_INFO, meta_key::SUBSCRIPTION_ID]);
    match meta {
        Ok(Some(meta)) if meta.as_str() == "{}" => {
            gone.push(META);
            members.without(&gone)
        }
        Ok(Some(meta)) => members.edit(&[(META, &meta)], &gone),
        // Nothing to take away, or nothing that could be read: not ours to judge.
        Ok(None) | Err(_) => members.without(&gone),
    }
}

/// A complete result for a modern client: stamped with its type, its freshness if the method has one, and who answers,
/// whatever it said of them.
#[must_use]
pub fn complete(result: RawJson, freshness: Option<Freshness>, server_info: &RawJson) -> RawJson {
    let Some(members) = Members::last_holds(&result) else {
        return result;
    };
    let kind = RawJson::string("complete");
    let freshness =
        freshness.map(|freshness| (RawJson::number(freshness.ttl_ms), RawJson::string(freshness.scope.as_str())));
    let meta = server_meta(&members, server_info);
    let mut with = vec![(RESULT_TYPE, &kind), (META, &meta)];
    if let Some((ttl, scope)) = &freshness {
        with.extend([(TTL_MS, ttl), (CACHE_SCOPE, scope)]);
    }
    members.replace(&with)
}

/// Any result for a modern client, stamped with who answers.
#[must_use]
pub fn with_server_info(result: RawJson, server_info: &RawJson) -> RawJson {
    match Members::last_holds(&result) {
        Some(members) => members.replace(&[(META, &server_meta(&members, server_info))]),
        None => result,
    }
}

/// The `_meta` with who answers. One that cannot be read is replaced: no client could read it either. Which subscription a message
/// belongs to is between two peers, and no backend knows the client's.
fn server_meta(members: &Members<'_>, server_info: &RawJson) -> RawJson {
    let with = [(meta_key::SERVER_INFO, server_info)];
    edit_meta(members, &[], &with, &[meta_key::SUBSCRIPTION_ID])
        .ok()
        .flatten()
        .unwrap_or_else(|| RawJson::object(&with))
}
