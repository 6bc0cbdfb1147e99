//! What an HTTP response means: pure functions over its head and, for refusals, its body.

use bytes::Bytes;
use hawser_mcp::{Limits, Message, Outcome, Response, parse_message};
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};

use crate::hello::quote_error;

/// Longest session id that is taken from a server.
const SESSION_ID_BYTES_MAX: usize = 1024;
/// How far a refusal's text is searched.
const SEARCHED_BYTES_MAX: usize = 4096;

/// What a successful response carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    EventStream,
    Other,
}

/// What a refusal means for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// A JSON-RPC error that answers the request.
    Answer(Outcome),
    /// The session is over; nothing was processed.
    SessionGone,
    /// Just a status.
    Refused,
}

/// The media type of a body, by its essence only. An encoded body is neither: no encoding was offered.
pub(crate) fn media(headers: &HeaderMap) -> Media {
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return Media::Other;
    }
    let essence = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/json") => Media::Json,
        Some("text/event-stream") => Media::EventStream,
        _ => Media::Other,
    }
}

/// The session id of an answer to `initialize`: visible ASCII (Transports, Session Management). `Err` if unusable.
pub(crate) fn session_id(headers: &HeaderMap) -> Result<Option<HeaderValue>, &'static str> {
    let mut ids = headers.get_all(super::client::SESSION_ID).iter();
    let Some(id) = ids.next() else { return Ok(None) };
    if ids.next().is_some() {
        return Err("it sent several session ids");
    }
    let visible = id.as_bytes().iter().all(|byte| (0x21..=0x7E).contains(byte));
    if !visible || !(1..=SESSION_ID_BYTES_MAX).contains(&id.len()) {
        return Err("its session id is not 1 to 1024 visible ASCII characters");
    }
    // A copy: a slice would keep the connection's buffer in memory for as long as the session lives.
    let mut id = HeaderValue::from_bytes(id.as_bytes()).map_err(|_| "its session id is not a header value")?;
    id.set_sensitive(true);
    Ok(Some(id))
}

/// Judges a response with an error status. `id` is the request's, absent for a notification or a response.
pub(crate) fn judge(status: StatusCode, in_session: bool, body: &Bytes, limits: &Limits, id: Option<u64>) -> Verdict {
    let answer = match parse_message(body, limits) {
        Ok(Message::Response(Response { id: Some(found), outcome: outcome @ Outcome::Error(_) }))
            if id.is_some() && found.as_number() == id =>
        {
            Some(outcome)
        }
        _ => None,
    };
    if in_session && says_session_gone(status, answer.as_ref(), body) {
        return Verdict::SessionGone;
    }
    match answer {
        // This is about the gateway's own credentials, not about the request.
        Some(_) if status == StatusCode::UNAUTHORIZED => Verdict::Refused,
        Some(answer) => Verdict::Answer(answer),
        None => Verdict::Refused,
    }
}

/// Judges a response with an error status to a request of the stateless era, whose errors have statuses of their own
/// (2026-07-28, Streamable HTTP). What no modern server says about a request tells that it is none any more: nothing was
/// processed, and the era is to be found out again.
pub(crate) fn judge_stateless(status: StatusCode, body: &Bytes, limits: &Limits, id: u64) -> Verdict {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Verdict::Refused;
    }
    let answer = match parse_message(body, limits) {
        Ok(Message::Response(Response { id: found, outcome: Outcome::Error(error) })) => {
            let own = found.as_ref().is_some_and(|found| found.as_number() == Some(id));
            // Who cannot even tell the id may still say what is wrong.
            let anonymous = found.is_none() && is_modern_code(quote_error(&error).0);
            (own || anonymous).then_some(error)
        }
        _ => None,
    };
    let era_in_doubt =
        matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    match answer {
        Some(error) if era_in_doubt && is_legacy_code(quote_error(&error).0) => Verdict::SessionGone,
        Some(error) => Verdict::Answer(Outcome::Error(error)),
        None if era_in_doubt => Verdict::SessionGone,
        None => Verdict::Refused,
    }
}

/// What JSON-RPC and 2026-07-28 define.
const fn is_modern_code(code: i64) -> bool {
    matches!(code, -32700 | -32603..=-32600 | -32022..=-32020)
}

/// "Legacy implementation-defined": no modern server says so.
const fn is_legacy_code(code: i64) -> bool {
    matches!(code, -32019..=-32000) && code != -32002
}

/// "The server MUST respond to requests containing that session ID with HTTP 404"; older servers say 400 and name the
/// session in the text.
fn says_session_gone(status: StatusCode, answer: Option<&Outcome>, body: &Bytes) -> bool {
    let code_and_text = answer.map(|outcome| match outcome {
        Outcome::Result(value) | Outcome::Error(value) => quote_error(value),
    });
    match (status, code_and_text) {
        // Some servers say "method not found" with this status.
        (StatusCode::NOT_FOUND, Some((code, _))) => code != -32601,
        (StatusCode::NOT_FOUND, None) => true,
        (StatusCode::BAD_REQUEST, Some((code, text))) => {
            matches!(code, -32000 | -32001 | -32600) && names_session(text.as_bytes())
        }
        (StatusCode::BAD_REQUEST, None) => names_session(body),
        _ => false,
    }
}

fn names_session(text: &[u8]) -> bool {
    let start = text.get(..SEARCHED_BYTES_MAX).unwrap_or(text);
    start.windows(7).any(|window| window.eq_ignore_ascii_case(b"session"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, in_session: bool, body: &'static str) -> Verdict {
        let status = StatusCode::from_u16(status).unwrap_or_default();
        judge(status, in_session, &Bytes::from_static(body.as_bytes()), &Limits::default(), Some(7))
    }

    #[test]
    fn a_dead_session_is_told_from_other_refusals() {
        let gone = [
            (404, ""),
            (404, "Session not found"),
            (404, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#),
            (404, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32001,"message":"Session not found"}}"#),
            (400, "Bad Request: No valid session ID provided"),
            (400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no Mcp-Session-Id"}}"#),
            (400, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"unknown SESSION"}}"#),
        ];
        for (status, body) in gone {
            assert_eq!(judged(status, true, body), Verdict::SessionGone, "{status} {body}");
            assert_ne!(judged(status, false, body), Verdict::SessionGone, "{status} {body}");
        }
        let other = [
            (400, "bad request"),
            (500, "session"),
            (401, "session"),
            (400, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"session_id is missing"}}"#),
            (404, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no such method"}}"#),
        ];
        for (status, body) in other {
            assert_ne!(judged(status, true, body), Verdict::SessionGone, "{status} {body}");
        }
    }

    #[test]
    fn only_an_error_that_answers_the_request_is_passed_on() {
        let answer = r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32602,"message":"no"}}"#;
        assert!(matches!(judged(500, true, answer), Verdict::Answer(_)));
        assert_eq!(judged(401, true, answer), Verdict::Refused);
        for other in [
            r#"{"jsonrpc":"2.0","id":"7","error":{"code":-32602,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","id":8,"error":{"code":-32602,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","id":7,"result":{}}"#,
            "<html>",
            "",
        ] {
            assert_eq!(judged(500, true, other), Verdict::Refused, "{other}");
        }
    }

    #[test]
    fn a_modern_servers_refusals_are_answers_and_anything_else_puts_its_era_in_doubt() {
        let judged = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap_or_default();
            judge_stateless(status, &Bytes::from_static(body.as_bytes()), &Limits::default(), 7)
        };
        for (status, body) in [
            (404, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32601,"message":"no"}}"#),
            (400, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"no"}}"#),
            (400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32022,"message":"no"}}"#),
            (404, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32002,"message":"not found"}}"#),
            (500, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"broken"}}"#),
        ] {
            assert!(matches!(judged(status, body), Verdict::Answer(_)), "{status} {body}");
        }
        for (status, body) in [
            (404, ""),
            (405, "Method Not Allowed"),
            (400, "Bad Request: No valid session ID provided"),
            (400, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"Server not initialized"}}"#),
            (400, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32000,"message":"Unsupported protocol version"}}"#),
            (400, r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#),
        ] {
            assert_eq!(judged(status, body), Verdict::SessionGone, "{status} {body}");
        }
        for (status, body) in [
            (401, r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"no"}}"#),
            (403, ""),
            (500, ""),
            (429, "later"),
            (200, ""),
        ] {
            assert_eq!(judged(status, body), Verdict::Refused, "{status} {body}");
        }
    }

    #[test]
    fn media_types_are_compared_by_essence() {
        let of = |content_type: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
            headers
        };
        assert_eq!(media(&of("Application/JSON; charset=utf-8")), Media::Json);
        assert_eq!(media(&of("text/event-stream;x=y")), Media::EventStream);
        for other in ["application/jsonp", "text/html", "application/json-rpc", "", "text/event-stream, x"] {
            assert_eq!(media(&of(other)), Media::Other, "{other}");
        }
        let mut encoded = of("application/json");
        encoded.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(media(&encoded), Media::Other);
    }

    #[test]
    fn a_session_id_is_one_header_of_visible_ascii() {
        let with = |values: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(
                    super::super::client::SESSION_ID,
                    HeaderValue::from_bytes(value).unwrap_or(HeaderValue::from_static("")),
                );
            }
            session_id(&headers)
        };
        assert_eq!(with(&[]), Ok(None));
        assert!(with(&[b"!~abc"]).is_ok_and(|id| id.is_some_and(|id| id == "!~abc")));
        for bad in [&[b"a b".as_slice()][..], &[b""], &[b"\xE4"], &[b"a", b"b"], &[&[b'x'; 1025]]] {
            assert!(with(bad).is_err());
        }
    }
}
