//! The edge: what is checked before anybody is asked who they are.
//!
//! Host, Origin, content types, versions and header multiplicity (MCP 2025-11-25, Transports, Streamable HTTP). Pure functions
//! over the request's head.

use hawser_mcp::{Era, Revision, header};
use http::header::{ACCEPT, ACCESS_CONTROL_REQUEST_HEADERS, CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use http::{HeaderMap, HeaderValue, Uri};
use thiserror::Error;

use crate::config::Hosts;

/// `Mcp-Session-Id`.
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// `MCP-Protocol-Version`.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Last-Event-ID`.
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// Why a request is refused at the door. The text goes to the client.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EdgeError {
    #[error("this Host is not served here; add it to `allowed_hosts` if it should be")]
    Host,
    #[error("this Origin may not call; add it to `allowed_origins` if it should")]
    Origin,
    #[error("the body must be `Content-Type: application/json`")]
    ContentType,
    #[error("`Accept` must allow both application/json and text/event-stream")]
    AcceptPost,
    #[error("`Accept` must allow text/event-stream")]
    AcceptGet,
    #[error("the header `{0}` occurs more than once or is not plain text")]
    Header(&'static str),
    #[error("`MCP-Protocol-Version` names a revision that is not spoken here (2025-03-26, 2025-06-18, 2025-11-25 are)")]
    ProtocolVersion,
    #[error("the body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the body did not arrive in time or in whole")]
    Body,
    #[error("the method is not one of POST, GET, DELETE")]
    Method,
}

impl Hosts {
    /// Refuses requests that a browser was tricked into sending.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), EdgeError> {
        // An absolute-form target has a host of its own, and it is the one that counts (RFC 9112 section 3.2.2): both must fit.
        let authorities = [single(headers, &HOST, "Host")?, uri.authority().map(http::uri::Authority::as_str)];
        if authorities.iter().all(Option::is_none) {
            return Err(EdgeError::Host);
        }
        for authority in authorities.into_iter().flatten() {
            let host = host_name(authority).ok_or(EdgeError::Host)?;
            let is_known = self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host));
            if !(is_known || (self.loopback && is_loopback_name(host))) {
                return Err(EdgeError::Host);
            }
        }
        match single(headers, &ORIGIN, "Origin").map_err(|_| EdgeError::Origin)? {
            None => Ok(()),
            Some(origin) if self.allows_origin(origin) => Ok(()),
            Some(_) => Err(EdgeError::Origin),
        }
    }

    fn allows_origin(&self, origin: &str) -> bool {
        if self.origins.iter().any(|allowed| allowed == origin) {
            return true;
        }
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        self.loopback
            && authority.filter(|authority| !authority.contains('/')).and_then(host_name).is_some_and(is_loopback_name)
    }
}

/// The host of `host[:port]` or `[v6][:port]`; user information is never part of it.
fn host_name(authority: &str) -> Option<&str> {
    if authority.contains('@') {
        return None;
    }
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        authority.split_at_checked(end)?
    } else {
        authority.split_at(authority.find(':').unwrap_or(authority.len()))
    };
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(|digits| digits.parse::<u16>().is_ok());
    (port_fits && !host.is_empty()).then_some(host)
}

fn is_loopback_name(host: &str) -> bool {
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|known| known.eq_ignore_ascii_case(host))
}

/// The one value of a header; an error if there are several or it is not visible ASCII.
pub(crate) fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'a str>, EdgeError> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| EdgeError::Header(shown)),
        (Some(_), Some(_)) => Err(EdgeError::Header(shown)),
    }
}

/// `Content-Type` and `Accept` of a POST. A client that sends no `Accept` takes anything (RFC 9110 section 12.5.1).
pub(crate) fn check_post(headers: &HeaderMap) -> Result<(), EdgeError> {
    let content_type = single(headers, &CONTENT_TYPE, "Content-Type")?.unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(JSON) {
        return Err(EdgeError::ContentType);
    }
    if accepts(headers, JSON)? && accepts(headers, EVENT_STREAM)? { Ok(()) } else { Err(EdgeError::AcceptPost) }
}

/// `Accept` of a GET.
pub(crate) fn check_get(headers: &HeaderMap) -> Result<(), EdgeError> {
    if accepts(headers, EVENT_STREAM)? { Ok(()) } else { Err(EdgeError::AcceptGet) }
}

fn accepts(headers: &HeaderMap, wanted: &str) -> Result<bool, EdgeError> {
    let mut any = false;
    for value in headers.get_all(ACCEPT) {
        any = true;
        for range in value.to_str().map_err(|_| EdgeError::Header("Accept"))?.split(',') {
            let range = range.split(';').next().unwrap_or_default().trim();
            let kind = wanted.split('/').next().unwrap_or_default();
            let by_type =
                range.strip_suffix("/*").is_some_and(|any_of| any_of == "*" || any_of.eq_ignore_ascii_case(kind));
            if by_type || range.eq_ignore_ascii_case(wanted) {
                return Ok(true);
            }
        }
    }
    Ok(!any)
}

/// What a browser may send from another origin (Fetch standard, CORS preflight): the headers of MCP, and of the mirrored
/// parameters those that it asks for, since their names are the tools'.
pub(crate) fn allowed_headers(headers: &HeaderMap) -> HeaderValue {
    const FIXED: &str = "Authorization, Content-Type, Accept, Mcp-Session-Id, MCP-Protocol-Version, Last-Event-ID, \
                         Mcp-Method, Mcp-Name";
    let asked = headers.get(ACCESS_CONTROL_REQUEST_HEADERS).and_then(|asked| asked.to_str().ok()).unwrap_or_default();
    let mut allowed = FIXED.to_owned();
    for name in asked.split(',').map(str::trim).filter(|name| is_mirrored_parameter(name)) {
        allowed.push_str(", ");
        allowed.push_str(name);
    }
    HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static(FIXED))
}

/// Whether a header mirrors a tool's parameter (MCP 2026-07-28, Custom Headers from Tool Parameters).
pub(crate) fn is_mirrored_parameter(name: &str) -> bool {
    name.get(..header::PARAM_PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(header::PARAM_PREFIX))
}

/// Checks `MCP-Protocol-Version` of a verb that only the session era has.
pub(crate) fn legacy_version(headers: &HeaderMap) -> Result<(), EdgeError> {
    match single(headers, &PROTOCOL_VERSION, "MCP-Protocol-Version")?.map(Revision::from_name) {
        Some(None) => Err(EdgeError::ProtocolVersion),
        Some(Some(revision)) if revision.era() == Era::Modern => Err(EdgeError::Method),
        Some(Some(_)) | None => Ok(()),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hosts() -> Hosts {
        Hosts {
            hosts: vec!["mcp.example.com".to_owned()],
            origins: vec!["https://app.example.com".to_owned()],
            loopback: true,
        }
    }

    fn head(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn only_known_hosts_and_origins_enter() {
        let uri = Uri::from_static("/mcp");
        let check = |host: &str, origin: Option<&str>| {
            let mut headers = head(&[(HOST, host)]);
            if let Some(origin) = origin {
                headers.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            hosts().check(&uri, &headers)
        };
        for host in ["127.0.0.1:80", "localhost", "LOCALHOST:1", "[::1]:9", "mcp.example.com"] {
            assert_eq!(check(host, None), Ok(()), "{host}");
        }
        for host in ["evil.example.com", "127.0.0.1.evil.com", "localhost:99999", "a@localhost", "[::1", ""] {
            assert_eq!(check(host, None), Err(EdgeError::Host), "{host}");
        }
        for origin in ["http://localhost:3000", "https://app.example.com", "http://127.0.0.1"] {
            assert_eq!(check("localhost", Some(origin)), Ok(()), "{origin}");
        }
        for origin in ["null", "http://evil.example.com", "http://localhost@evil.com", "http://localhost/x", "file://"]
        {
            assert_eq!(check("localhost", Some(origin)), Err(EdgeError::Origin), "{origin}");
        }
        assert_eq!(hosts().check(&uri, &head(&[])), Err(EdgeError::Host));
        let mut twice = head(&[(HOST, "localhost")]);
        twice.append(HOST, HeaderValue::from_static("evil"));
        assert!(hosts().check(&uri, &twice).is_err());
    }

    #[test]
    fn both_answer_types_must_be_acceptable_for_a_post() {
        let post =
            |accept: &str| check_post(&head(&[(CONTENT_TYPE, "application/json; charset=utf-8"), (ACCEPT, accept)]));
        assert_eq!(post("application/json, text/event-stream"), Ok(()));
        assert_eq!(post("*/*"), Ok(()));
        assert_eq!(post("application/json"), Err(EdgeError::AcceptPost));
        assert_eq!(check_post(&head(&[(CONTENT_TYPE, "text/plain")])), Err(EdgeError::ContentType));
        assert_eq!(check_post(&head(&[])), Err(EdgeError::ContentType));
    }

    #[test]
    fn a_browser_may_send_the_parameters_it_asks_for_and_nothing_else() {
        let asked = head(&[(ACCESS_CONTROL_REQUEST_HEADERS, "mcp-param-region, x-evil, MCP-Param-City")]);
        let allowed = allowed_headers(&asked);
        let allowed = allowed.to_str().unwrap();
        assert!(allowed.ends_with("Mcp-Name, mcp-param-region, MCP-Param-City"), "{allowed}");
    }

    proptest! {
        #[test]
        fn no_head_makes_it_panic(host in "\\PC{0,40}", origin in "\\PC{0,40}", accept in "\\PC{0,40}") {
            let mut headers = HeaderMap::new();
            for (name, value) in [(HOST, host), (ORIGIN, origin), (ACCEPT, accept)] {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    headers.insert(name, value);
                }
            }
            let _ = hosts().check(&Uri::from_static("/"), &headers);
            let _ = check_post(&headers);
            let _ = check_get(&headers);
        }
    }
}
