//! `initialize`: the only request without a session.

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{ErrorObject, Members, RawJson, Request, Revision, code};

use crate::endpoint::Endpoint;
use crate::refusal::Rejection;
use crate::sessions::Opening;

/// Longest wait for backends that are still being asked what they can do.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of a client's capabilities and of its self-description: they are kept for every session.
const DECLARED_BYTES_MAX: usize = 4 * 1024;

/// Reads the client's side of the handshake.
pub(crate) fn read(request: &Request) -> Result<Opening, Rejection> {
    let invalid = |text: &str| Rejection::Invalid(ErrorObject::new(code::INVALID_PARAMS, text));
    let params = request.params.as_ref().ok_or_else(|| invalid("initialize needs params"))?;
    let members = Members::read(params, &["protocolVersion", "capabilities", "clientInfo"])
        .map_err(|error| invalid(&format!("params: {error}")))?;
    let version =
        members.string("protocolVersion").ok_or_else(|| invalid("params needs `protocolVersion`, a string"))?;
    let object = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(value) if value.is_object() && value.bytes().len() <= DECLARED_BYTES_MAX => Ok(Some(value)),
        Some(_) => Err(invalid(&format!("`{name}` must be an object of at most {DECLARED_BYTES_MAX} bytes"))),
    };
    let client_info = object("clientInfo")?.ok_or_else(|| invalid("params needs `clientInfo`, an object"))?;
    let named = Members::read(&client_info, &["name", "version"])
        .is_ok_and(|info| info.string("name").is_some() && info.string("version").is_some());
    if !named {
        return Err(invalid("`clientInfo` needs `name` and `version`, strings"));
    }
    // Copied out of the body, so that a session does not hold on to the whole message.
    let own = |value: &RawJson| RawJson::parse(&bytes::Bytes::copy_from_slice(value.bytes())).ok();
    Ok(Opening {
        revision: Revision::negotiate(&version),
        capabilities: object("capabilities")?.as_ref().and_then(own).unwrap_or_else(RawJson::empty_object),
        client_info: own(&client_info).unwrap_or_else(RawJson::empty_object),
    })
}

/// The gateway's side of the handshake: what the backends offer together.
pub(crate) async fn result(endpoint: &Arc<Endpoint>, revision: Revision) -> RawJson {
    endpoint.profiles().settled(PATIENCE).await;
    let mut result = serde_json::json!({
        "protocolVersion": revision.as_str(),
        "capabilities": endpoint.profiles().capabilities(revision.era()),
        "serverInfo": { "name": "hawser", "title": format!("Hawser ({})", endpoint.name()), "version": env!("CARGO_PKG_VERSION") },
    });
    if let (Some(instructions), Some(object)) =
        (endpoint.profiles().instructions(endpoint, revision.era()), result.as_object_mut())
    {
        object.insert("instructions".to_owned(), instructions.into());
    }
    RawJson::from_serialize(&result).unwrap_or_else(|_| RawJson::empty_object())
}
