//! `server/discover` (MCP 2026-07-28, Discovery): what the backends offer together.

use std::time::Duration;

use hawser_mcp::{CacheScope, Era, Freshness, RawJson, Revision};

use super::ModernCaller;
use super::answer::Answer;

/// Longest wait for backends that are still being asked what they can do.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may keep the answer. It changes when a backend does; no notification tells.
const TTL_MS: u64 = 60_000;

pub(super) async fn discover(caller: &ModernCaller) -> Answer {
    let endpoint = caller.session().endpoint();
    endpoint.profiles().settled(PATIENCE).await;
    let versions: Vec<_> = Revision::MODERN.map(Revision::as_str).into();
    let mut result = serde_json::json!({
        "supportedVersions": versions,
        "capabilities": endpoint.profiles().capabilities(Era::Modern),
    });
    if let (Some(instructions), Some(object)) =
        (endpoint.profiles().instructions(endpoint, Era::Modern), result.as_object_mut())
    {
        object.insert("instructions".to_owned(), instructions.into());
    }
    let result = RawJson::from_serialize(&result).unwrap_or_else(|_| RawJson::empty_object());
    Answer::complete(caller, result, Some(Freshness { ttl_ms: TTL_MS, scope: CacheScope::Private }))
}
