//! Which era a POST belongs to, and the metadata that every modern request carries twice: in its headers and in `_meta`
//! (MCP 2026-07-28, Streamable HTTP, Request Metadata and Server Validation). Pure functions.

use hawser_mcp::{
    Body as Frames, Era, ErrorObject, LOG_LEVELS, Message, MetaError, RawJson, Request, RequestMeta, Revision, code,
    header, meta_key,
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
    let named = single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version");
    if let Ok(Some(name)) = named
        && Revision::from_name(name).is_none_or(|revision| revision.era() == Era::Modern)
    {
        return Ok(Era::Modern);
    }
    if let Frames::Single(Message::Request(request)) = frames
        && says_modern(request)
    {
        return Ok(Era::Modern);
    }
    named.map(|_| Era::Legacy)
}

/// Whether a request carries a key that only the modern era has. What is wrong with its value is for [`read`] to say.
fn says_modern(request: &Request) -> bool {
    match RequestMeta::read(request.params.as_ref()) {
        Ok(meta) => meta.names_modern(),
        Err(MetaError::Type { key, .. }) => key != meta_key::PROGRESS_TOKEN,
        Err(_) => false,
    }
}

/// Checks the revision of a message that is no request, and has nothing else to be known by.
pub(crate) fn check_version(headers: &HeaderMap) -> Result<(), Refused> {
    match only(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")? {
        Some(name) if Revision::from_name(name).is_none_or(|revision| revision.era() != Era::Modern) => {
            Err(unsupported(name))
        }
        _ => Ok(()),
    }
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use hawser_mcp::{Limits, parse_body};
    use http::HeaderValue;
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    const MODERN: &str = "2026-07-28";
    const KEY: &str = "io.modelcontextprotocol";

    fn frames(body: &Value) -> Frames {
        parse_body(&bytes::Bytes::from(body.to_string()), &Limits::default()).unwrap()
    }

    fn head(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn asked(meta: &Value) -> Value {
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": { "_meta": meta } })
    }

    #[test]
    fn a_request_is_of_the_era_that_it_names_in_either_place() {
        let (plain, version) = (json!({ "progressToken": 1 }), json!({ format!("{KEY}/protocolVersion"): MODERN }));
        let of = |named: &[(&str, &str)], meta: &Value| era(&head(named), &frames(&asked(meta)));
        let named = |name| [("mcp-protocol-version", name)];
        assert_eq!(of(&[], &plain), Ok(Era::Legacy));
        assert_eq!(of(&named("2025-11-25"), &plain), Ok(Era::Legacy));
        assert_eq!(of(&named(MODERN), &plain), Ok(Era::Modern));
        assert_eq!(of(&named("2031-01-01"), &plain), Ok(Era::Modern));
        assert_eq!(of(&[], &version), Ok(Era::Modern));
        assert_eq!(of(&named("2025-11-25"), &version), Ok(Era::Modern));
        for (name, value) in [("protocolVersion", json!(7)), ("logLevel", json!("loud")), ("clientInfo", json!([]))] {
            assert_eq!(of(&[], &json!({ format!("{KEY}/{name}"): value })), Ok(Era::Modern), "{name}");
        }
        assert_eq!(of(&[], &json!({ "progressToken": [] })), Ok(Era::Legacy), "a key of both eras");
        let twice = [("mcp-protocol-version", "2025-11-25"), ("mcp-protocol-version", MODERN)];
        assert_eq!(of(&twice, &version), Ok(Era::Modern), "refused with the request's id");
        assert!(of(&twice, &plain).is_err());
        let told = frames(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled" }));
        assert_eq!(era(&head(&[]), &told), Ok(Era::Legacy));
        for (name, fits) in [(MODERN, true), ("2031-01-01", false), ("nonsense", false)] {
            assert_eq!(era(&head(&named(name)), &told), Ok(Era::Modern), "{name}");
            assert_eq!(check_version(&head(&named(name))).is_ok(), fits, "{name}");
        }
    }

    fn refusal(named: &[(&str, &str)], method: &str, params: &Value) -> Option<(u16, i32)> {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params });
        let Frames::Single(Message::Request(request)) = frames(&body) else { panic!("a request") };
        let read = read(&head(named), &request, |method| method.starts_with('t'));
        read.err().map(|refused| (refused.status.as_u16(), refused.error.code()))
    }

    #[test]
    fn what_is_wrong_is_told_in_the_order_in_which_it_can_be_mended() {
        let meta = |version: &str| json!({ "_meta": { format!("{KEY}/protocolVersion"): version, format!("{KEY}/clientCapabilities"): {} } });
        let named = |version, method| [("MCP-Protocol-Version", version), ("mcp-method", method)];
        let list = |headers: &[(&str, &str)], params: &Value| refusal(headers, "tools/list", params);
        assert_eq!(list(&named(MODERN, "tools/list"), &meta(MODERN)), None);
        assert_eq!(list(&[], &json!({})), Some((400, -32020)), "no version header");
        assert_eq!(list(&named(MODERN, "x"), &json!({})), Some((400, -32602)), "no `_meta`");
        assert_eq!(list(&named(MODERN, "x"), &meta("2031-01-01")), Some((400, -32020)), "two versions");
        assert_eq!(list(&named("2031-01-01", "x"), &meta("2031-01-01")), Some((400, -32022)));
        assert_eq!(list(&named("2025-11-25", "x"), &meta("2025-11-25")), Some((400, -32022)), "has no such `_meta`");
        assert_eq!(refusal(&named(MODERN, "x"), "initialize", &meta(MODERN)), Some((404, -32601)));
        for method in ["tools/call", "TOOLS/LIST", ""] {
            assert_eq!(list(&named(MODERN, method), &meta(MODERN)), Some((400, -32020)), "{method}");
        }
        assert_eq!(list(&[("mcp-protocol-version", MODERN)], &meta(MODERN)), Some((400, -32020)), "no Mcp-Method");
        let twice = [("mcp-protocol-version", MODERN), ("mcp-method", "tools/list"), ("Mcp-Method", "tools/list")];
        assert_eq!(list(&twice, &meta(MODERN)), Some((400, -32020)));
    }

    #[test]
    fn a_name_is_mirrored_exactly_once_and_in_the_encoding_that_is_defined() {
        let mut params = json!({ "name": "t" });
        params["_meta"] = json!({ format!("{KEY}/protocolVersion"): MODERN, format!("{KEY}/clientCapabilities"): {} });
        let call = |names: &[&str]| {
            let mut headers = vec![("mcp-protocol-version", MODERN), ("mcp-method", "tools/call")];
            headers.extend(names.iter().map(|name| ("mcp-name", *name)));
            refusal(&headers, "tools/call", &params)
        };
        assert_eq!((call(&["t"]), call(&["=?base64?dA==?="])), (None, None));
        let wrong: [&[&str]; 7] =
            [&[], &["T"], &["t", "t"], &["=?BASE64?dA==?="], &["=?base64?dA?="], &["=?base64?dB==?="], &[""]];
        for names in wrong {
            assert_eq!(call(names), Some((400, -32020)), "{names:?}");
        }
    }

    proptest! {
        #[test]
        fn no_metadata_makes_it_panic(version in "\\PC{0,20}", value in "\\PC{0,20}", key in "[a-zA-Z/.]{0,40}") {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&version) {
                headers.insert(PROTOCOL_VERSION, value);
            }
            let body = asked(&json!({ key: value, format!("{KEY}/protocolVersion"): version }));
            let frames = frames(&body);
            let _ = era(&headers, &frames);
            let _ = check_version(&headers);
            if let Frames::Single(Message::Request(request)) = &frames {
                let _ = read(&headers, request, |_| true);
            }
        }
    }
}
