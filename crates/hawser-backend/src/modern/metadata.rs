//! The headers of one request to a modern server (MCP 2026-07-28, Streamable HTTP, Request Metadata). Pure.
//!
//! They are computed from what the body says, never copied from what a client sent: names were changed on the way.

use hawser_mcp::header::{self, PARAM_PREFIX};
use hawser_mcp::{ErrorObject, Members, RawJson, Revision, code, method};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use super::tools::Tools;

/// Longest value of one header; servers close the connection over headers that are much longer.
const VALUE_BYTES_MAX: usize = 8 * 1024;
/// Most headers of the client's own that are passed on, and their longest sum.
const PASSED_MAX: usize = 64;
const PASSED_BYTES_MAX: usize = 8 * 1024;

/// The headers of a request with these params; an error says why it cannot be sent over HTTP at all. `passed` are headers of
/// the client of which the unrecognised `Mcp-Param-*` are passed on ("Intermediate servers […] MUST forward it").
pub(crate) fn headers(
    revision: Revision,
    request: &str,
    params: &RawJson,
    tools: &Tools,
    passed: &HeaderMap,
) -> Result<HeaderMap, ErrorObject> {
    let mut headers = HeaderMap::with_capacity(4);
    headers.insert(header::PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
    let named = HeaderValue::from_str(request)
        .map_err(|_| ErrorObject::new(code::METHOD_NOT_FOUND, "a method must be named in visible ASCII"))?;
    headers.insert(header::METHOD, named);
    let ambiguous = |error| ErrorObject::new(code::INVALID_PARAMS, format!("the params are ambiguous: {error}"));
    let members = Members::read(params, &["name", "uri", "taskId", "arguments"]).map_err(ambiguous)?;
    let name = header::name_member(request).and_then(|member| members.string(member));
    if let Some(name) = &name {
        headers.insert(header::NAME, value(&header::encode_value(name))?);
    }
    let known = name.filter(|_| request == method::TOOLS_CALL).and_then(|name| tools.of(&name));
    if let Some(known) = known {
        let invalid = |error| ErrorObject::new(code::INVALID_PARAMS, format!("the arguments cannot be sent: {error}"));
        for (name, text) in known.expected(members.get("arguments").as_ref()).map_err(invalid)? {
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                headers.insert(name, value(&text)?);
            }
        }
    }
    pass_on(passed, &mut headers);
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, ErrorObject> {
    let fits = (text.len() <= VALUE_BYTES_MAX).then(|| HeaderValue::from_str(text).ok()).flatten();
    fits.ok_or_else(|| {
        let text = format!("a value that is mirrored into a header may have at most {VALUE_BYTES_MAX} bytes");
        ErrorObject::new(code::INVALID_PARAMS, text)
    })
}

/// Passes on what nobody here recognises. What was computed is never replaced.
fn pass_on(passed: &HeaderMap, headers: &mut HeaderMap) {
    let mut bytes = 0;
    let is_param = |name: &HeaderName| {
        name.as_str().get(..PARAM_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PARAM_PREFIX))
    };
    for (name, value) in passed.iter().filter(|(name, _)| is_param(name)).take(PASSED_MAX) {
        bytes += name.as_str().len() + value.len();
        if bytes > PASSED_BYTES_MAX {
            return;
        }
        if !headers.contains_key(name) {
            headers.insert(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn of(request: &str, params: &str, passed: &HeaderMap) -> Result<HeaderMap, ErrorObject> {
        headers(Revision::LATEST_MODERN, request, &raw(params), &Tools::default(), passed)
    }

    #[test]
    fn a_request_is_named_by_the_member_that_its_method_has() {
        for (request, params, name) in [
            ("tools/call", r#"{"name":"add","uri":"x:y"}"#, Some("add")),
            ("prompts/get", r#"{"name":" a"}"#, Some("=?base64?IGE=?=")),
            ("resources/read", r#"{"uri":"file:///ä","name":"n"}"#, Some("=?base64?ZmlsZTovLy/DpA==?=")),
            ("tasks/get", r#"{"taskId":"t-1"}"#, Some("t-1")),
            ("tools/list", r#"{"name":"add"}"#, None),
            ("tools/call", r#"{"name":7}"#, None),
        ] {
            let headers = of(request, params, &HeaderMap::new()).unwrap();
            assert_eq!(headers.get("mcp-method").unwrap(), request);
            assert_eq!(headers.get("mcp-protocol-version").unwrap(), "2026-07-28");
            assert_eq!(headers.get("mcp-name").map(|value| value.to_str().unwrap()), name, "{params}");
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_by_name() {
        let long = format!(r#"{{"uri":"{}"}}"#, "x".repeat(VALUE_BYTES_MAX + 1));
        assert!(of("resources/read", &long, &HeaderMap::new()).is_err());
        assert!(of("bad\nmethod", "{}", &HeaderMap::new()).is_err());
        assert!(of("tools/call", r#"{"name":"a","Name":"b"}"#, &HeaderMap::new()).is_err());
    }

    #[test]
    fn of_a_clients_headers_only_unknown_params_are_passed_on_and_within_bounds() {
        let mut passed = HeaderMap::new();
        passed.insert("mcp-param-region", "eu".parse().unwrap());
        passed.insert("authorization", "secret".parse().unwrap());
        passed.insert("mcp-name", "other".parse().unwrap());
        let headers = of("tools/call", r#"{"name":"a"}"#, &passed).unwrap();
        assert_eq!(headers.len(), 4);
        assert!(headers.get("mcp-param-region").is_some_and(|region| region == "eu"));
        assert!(headers.get("mcp-name").is_some_and(|name| name == "a"));
        for n in 0..200 {
            passed.insert(HeaderName::from_bytes(format!("mcp-param-x{n}").as_bytes()).unwrap(), "1".parse().unwrap());
        }
        assert_eq!(of("tools/call", "{}", &passed).unwrap().len(), 2 + PASSED_MAX);
        passed.insert("mcp-param-region", "x".repeat(PASSED_BYTES_MAX).parse().unwrap());
        assert!(of("tools/call", "{}", &passed).unwrap().len() < 2 + PASSED_MAX);
    }
}
