//! The heads of the HTTP requests that lines become: pure functions.

use bytes::Bytes;
use hawser_mcp::{Members, RawJson, Request as RpcRequest, RequestMeta, Revision, header};
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Request};
use http_body_util::Full;

use super::tools::Tools;
use crate::serve::LOCAL_HOST;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const ACCEPT_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const ACCEPT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const LOCALHOST: HeaderValue = HeaderValue::from_static(LOCAL_HOST);
/// `Mcp-Session-Id`.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(header::PROTOCOL_VERSION);
const METHOD: HeaderName = HeaderName::from_static(header::METHOD);
const NAME: HeaderName = HeaderName::from_static(header::NAME);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What `initialize` settled.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: HeaderValue,
    /// The negotiated revision.
    pub(super) revision: Option<HeaderValue>,
}

/// A POST of a message.
pub(super) fn post(path: &str, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = request(Method::POST, path, headers, Full::new(body));
    request.headers_mut().insert(CONTENT_TYPE, JSON);
    request.headers_mut().insert(ACCEPT, ACCEPT_BOTH);
    request
}

/// A GET of a session's own stream, or of what is missing of another after an event.
pub(super) fn get(path: &str, session: &Session, last_event_id: Option<&HeaderValue>) -> Request<Full<Bytes>> {
    let mut request = request(Method::GET, path, legacy(Some(session)), Full::default());
    request.headers_mut().insert(ACCEPT, ACCEPT_STREAM);
    if let Some(id) = last_event_id {
        request.headers_mut().insert(LAST_EVENT_ID, id.clone());
    }
    request
}

fn request(method: Method, path: &str, headers: HeaderMap, body: Full<Bytes>) -> Request<Full<Bytes>> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    // A configured path is one already; the default could not be wrong.
    *request.uri_mut() = path.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, LOCALHOST);
    request
}

/// The headers of the session era (2025-11-25, Transports).
pub(super) fn legacy(session: Option<&Session>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Some(session) = session {
        headers.insert(SESSION_ID, session.id.clone());
        if let Some(revision) = &session.revision {
            headers.insert(PROTOCOL_VERSION, revision.clone());
        }
    }
    headers
}

/// The revision that a request of the stateless era names, `None` for one of the session era. A `_meta` that is neither is
/// left to the gateway to refuse.
pub(super) fn modern_revision(request: &RpcRequest) -> Option<String> {
    let meta = RequestMeta::read(request.params.as_ref()).ok()?;
    let latest = || Revision::LATEST_MODERN.as_str().to_owned();
    meta.names_modern().then(|| meta.protocol_version.unwrap_or_else(latest))
}

/// The headers that mirror a request's body (2026-07-28, Streamable HTTP, Request Metadata). What cannot be written into a header
/// is left out: the gateway then says which is missing.
pub(super) fn modern(revision: &str, request: &RpcRequest, tools: &Tools) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put(PROTOCOL_VERSION, revision);
    put(METHOD, &request.method);
    let named = header::name_member(&request.method).and_then(|member| text(request.params.as_ref()?, member));
    if let Some(name) = named {
        put(NAME, &header::encode_value(&name));
    }
    for (name, value) in tools.headers(request) {
        if let Ok(name) = HeaderName::try_from(name) {
            put(name, &value);
        }
    }
    headers
}

fn text(params: &RawJson, member: &str) -> Option<String> {
    Members::read(params, &[]).ok()?.string(member)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use hawser_mcp::{Limits, Message, parse_message};

    use super::*;

    fn request(text: &'static str) -> RpcRequest {
        match parse_message(&Bytes::from_static(text.as_bytes()), &Limits::default()) {
            Ok(Message::Request(request)) => request,
            other => panic!("{other:?}"),
        }
    }

    const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"gr\u00fc\u00df","arguments":{"region":"eu"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;

    #[test]
    fn the_era_is_read_from_the_requests_own_meta() {
        assert_eq!(modern_revision(&request(CALL)).as_deref(), Some("2026-07-28"));
        let half = r#"{"jsonrpc":"2.0","id":1,"method":"x","params":{"_meta":{"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        assert_eq!(modern_revision(&request(half)).as_deref(), Some(Revision::LATEST_MODERN.as_str()));
        for legacy in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":1}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":7}}"#,
        ] {
            assert_eq!(modern_revision(&request(legacy)), None, "{legacy}");
        }
    }

    #[test]
    fn a_modern_request_is_mirrored_into_its_headers() {
        let tools = Tools::default();
        let call = request(CALL);
        let headers = modern("2026-07-28", &call, &tools);
        assert_eq!(headers.get("mcp-protocol-version").unwrap(), "2026-07-28");
        assert_eq!(headers.get("mcp-method").unwrap(), "tools/call");
        let name = headers.get("mcp-name").unwrap().to_str().unwrap();
        assert_eq!(header::decode_value(name).unwrap(), "grüß");
        assert_eq!(headers.len(), 3);
        let entry = r#"{"tools":[{"name":"grüß","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}}]}"#;
        tools.learn(&RawJson::parse(&Bytes::from_static(entry.as_bytes())).unwrap());
        assert_eq!(modern("2026-07-28", &call, &tools).get("mcp-param-region").unwrap(), "eu");
    }

    #[test]
    fn what_no_header_can_hold_is_left_out() {
        let odd = request(r#"{"jsonrpc":"2.0","id":1,"method":"a\nb","params":{}}"#);
        let headers = modern("2026\r\nX: 1", &odd, &Tools::default());
        assert!(headers.is_empty(), "{headers:?}");
    }

    #[test]
    fn a_legacy_request_names_its_session() {
        let session =
            Session { id: HeaderValue::from_static("s"), revision: Some(HeaderValue::from_static("2025-06-18")) };
        let stream = get("/mcp", &session, Some(&HeaderValue::from_static("7")));
        let expected = [
            ("mcp-session-id", "s"),
            ("mcp-protocol-version", "2025-06-18"),
            ("last-event-id", "7"),
            ("host", "localhost"),
        ];
        for (name, value) in expected {
            assert_eq!(stream.headers().get(name).unwrap(), value);
        }
        assert!(!post("/mcp", legacy(None), Bytes::new()).headers().contains_key(SESSION_ID));
    }
}
