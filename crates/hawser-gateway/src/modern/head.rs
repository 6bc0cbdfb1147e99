//! Which era a POST belongs to, and the metadata that every modern request carries twice: in its headers and in `_meta`
//! (MCP 2026-07-28, Streamable HTTP, Request Metadata and Server Validation). Pure functions.

use hawser_mcp::{
    Body as Frames, Era, ErrorObject, LOG_LEVELS, Message, RawJson, Request, RequestMeta, Revision, code, header,
    meta_key,
};
use http::{HeaderMap, HeaderName, StatusCode};
use serde_json::json;

use crate::edge::{EdgeError, PROTOCOL_VERSION, is_mirrored_parameter, single};

/// `Mcp-Method`.
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`.
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// Most bytes of a client's capabilities and of its self-description.
const DECLARED_BYTES_MAX: usize = 4 * 1024;

/// A modern request's metadata, checked.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) capabilities: RawJson,
    pub(crate) client_info: RawJson,
    pub(crate) log_level: Option<String>,
    pub(crate) progress_token: Option<RawJson>,
    /// The `Mcp-Param-*` headers, as they came.
    pub(crate) params: HeaderMap,
}

/// A modern request that is refused, with the status that the specification gives that refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) error: ErrorObject,
}

impl Refused {
    pub(crate) fn bad_request(error: ErrorObject) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error }
    }

    pub(crate) fn mismatch(text: impl AsRef<str>) -> Self {
        Self::bad_request(ErrorObject::new(code::HEADER_MISMATCH, format!("Header mismatch: {}", text.as_ref())))
    }

    /// "If the server does not implement the requested RPC method, it MUST respond with 404".
    pub(crate) fn unknown_method(method: &str) -> Self {
        let text = format!("no method {:?}", clip(method));
        Self { status: StatusCode::NOT_FOUND, error: ErrorObject::new(code::METHOD_NOT_FOUND, text) }
    }

    fn meta(text: impl std::fmt::Display) -> Self {
        Self::bad_request(ErrorObject::new(code::INVALID_PARAMS, format!("params._meta: {text}")))
    }
}

/// The era of a POST: that of the revision its header names, or modern if the body says so itself. A header that names
/// something unknown is a modern client's or a future one's: both understand the modern refusal.
pub(crate) fn era(headers: &HeaderMap, frames: &Frames) -> Result<Era, EdgeError> {
    if let Some(name) = single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?
        && Revision::from_name(name).is_none_or(|revision| revision.era() == Era::Modern)
    {
        return Ok(Era::Modern);
    }
    let modern = match frames {
        Frames::Single(Message::Request(request)) => {
            RequestMeta::read(request.params.as_ref()).is_ok_and(|meta| meta.names_modern())
        }
        _ => false,
    };
    Ok(if modern { Era::Modern } else { Era::Legacy })
}

/// Checks a modern request's metadata, in the order in which a client can mend it: version header, `_meta`, version, method,
/// mirrored headers. `is_known` tells whether a method exists here.
pub(crate) fn read(headers: &HeaderMap, request: &Request, is_known: impl Fn(&str) -> bool) -> Result<Head, Refused> {
    let named = only(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?
        .ok_or_else(|| Refused::mismatch("the header MCP-Protocol-Version is missing"))?;
    let meta = RequestMeta::read(request.params.as_ref()).map_err(Refused::meta)?;
    let missing = |key: &str| Refused::meta(format!("the member `{key}` is missing"));
    let version = meta.protocol_version.ok_or_else(|| missing(meta_key::PROTOCOL_VERSION))?;
    let capabilities = meta.client_capabilities.ok_or_else(|| missing(meta_key::CLIENT_CAPABILITIES))?;
    if named != version {
        return Err(Refused::mismatch(format!(
            "MCP-Protocol-Version is {:?}, `_meta` says {:?}",
            clip(named),
            clip(&version)
        )));
    }
    if Revision::from_name(&version).is_none_or(|revision| revision.era() != Era::Modern) {
        return Err(unsupported(&version));
    }
    if !is_known(&request.method) {
        return Err(Refused::unknown_method(&request.method));
    }
    check_mirrored(headers, request)?;
    if let Some(level) = meta.log_level.as_deref().filter(|level| !LOG_LEVELS.contains(level)) {
        return Err(Refused::meta(format!(
            "unknown log level {:?}; levels are {}",
            clip(level),
            LOG_LEVELS.join(", ")
        )));
    }
    Ok(Head {
        capabilities: declared(meta_key::CLIENT_CAPABILITIES, &capabilities)?,
        client_info: match &meta.client_info {
            Some(info) => declared(meta_key::CLIENT_INFO, info)?,
            None => unnamed_client(),
        },
        log_level: meta.log_level,
        progress_token: meta.progress_token,
        params: parameters(headers),
    })
}

fn unsupported(requested: &str) -> Refused {
    let supported: Vec<_> = Revision::MODERN.map(Revision::as_str).into();
    let error = ErrorObject::new(code::UNSUPPORTED_PROTOCOL_VERSION, "Unsupported protocol version")
        .with_data(json!({ "supported": supported, "requested": clip(requested) }));
    Refused::bad_request(error)
}

/// `Mcp-Method`, and `Mcp-Name` where the method has one.
fn check_mirrored(headers: &HeaderMap, request: &Request) -> Result<(), Refused> {
    match only(headers, &METHOD, "Mcp-Method")? {
        None => return Err(Refused::mismatch("the header Mcp-Method is missing")),
        Some(method) if method != request.method => {
            let (header, body) = (clip(method), clip(&request.method));
            return Err(Refused::mismatch(format!("Mcp-Method is {header:?}, the body's method is {body:?}")));
        }
        Some(_) => {}
    }
    let Some(member) = header::name_member(&request.method) else { return Ok(()) };
    // What is wrong with the body itself is for whoever reads it to say.
    let Some(name) = request
        .params
        .as_ref()
        .and_then(|params| hawser_mcp::Members::read(params, &[]).ok().and_then(|members| members.string(member)))
    else {
        return Ok(());
    };
    let mirrored = only(headers, &NAME, "Mcp-Name")?
        .ok_or_else(|| Refused::mismatch(format!("the header Mcp-Name is missing; it repeats `params.{member}`")))?;
    let decoded = header::decode_value(mirrored).map_err(|error| Refused::mismatch(format!("Mcp-Name: {error}")))?;
    if decoded != name.as_str() {
        let (header, body) = (clip(&decoded), clip(&name));
        return Err(Refused::mismatch(format!("Mcp-Name is {header:?}, `params.{member}` is {body:?}")));
    }
    Ok(())
}

/// The one value of a header; a second one, or bytes outside of plain text, are refused as a mismatch.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName, shown: &'static str) -> Result<Option<&'a str>, Refused> {
    single(headers, name, shown).map_err(Refused::mismatch_of)
}

impl Refused {
    fn mismatch_of(error: EdgeError) -> Self {
        Self::mismatch(error.to_string())
    }
}

fn parameters(headers: &HeaderMap) -> HeaderMap {
    let found = headers.iter().filter(|(name, _)| is_mirrored_parameter(name.as_str()));
    let mut params = HeaderMap::new();
    for (name, value) in found {
        params.append(name, value.clone());
    }
    params
}

/// A copy of its own, so that a session does not hold on to the whole message.
fn declared(name: &str, value: &RawJson) -> Result<RawJson, Refused> {
    if !value.is_object() || value.bytes().len() > DECLARED_BYTES_MAX {
        return Err(Refused::meta(format!("`{name}` must be an object of at most {DECLARED_BYTES_MAX} bytes")));
    }
    RawJson::parse(&bytes::Bytes::copy_from_slice(value.bytes())).map_err(Refused::meta)
}

/// `clientInfo` is optional here, but a legacy backend must be told one.
fn unnamed_client() -> RawJson {
    RawJson::from_serialize(&json!({ "name": "unknown", "version": "0" })).unwrap_or_else(|_| RawJson::empty_object())
}

pub(crate) fn clip(text: &str) -> String {
    text.chars().take(64).collect()
}
