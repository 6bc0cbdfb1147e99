//! Redirect URIs: what may be registered, and when a requested one is a registered one.
//!
//! Comparison is of exact strings (OAuth 2.1 section 2.3.1). The one exception is the port of a loopback URI, which a
//! native client learns only when it runs (RFC 8252 section 7.3); `localhost` counts as loopback, as clients use it.

use thiserror::Error;
use url::{Host, Url};

/// Longest redirect URI in bytes.
const BYTES_MAX: usize = 2048;
/// Parameters of the authorization response; a URI that already has one would carry it twice.
const RESPONSE_PARAMETERS: [&str; 5] = ["code", "state", "iss", "error", "error_description"];

/// Why a redirect URI cannot be registered (`invalid_redirect_uri`).
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RedirectUriError {
    #[error("a redirect URI is an absolute URI of at most {BYTES_MAX} visible ASCII characters")]
    Form,
    #[error("a redirect URI has no fragment")]
    Fragment,
    #[error("a redirect URI has no user information")]
    UserInformation,
    #[error("a redirect URI over plain http must be on 127.0.0.1, [::1] or localhost")]
    PlainHttp,
    #[error(
        "the scheme of a redirect URI is https, http on loopback, or a private one that is a domain name or allowed here"
    )]
    Scheme,
    #[error("a redirect URI must not contain a parameter of the authorization response")]
    ResponseParameter,
    #[error("a client has 1 to 16 redirect URIs")]
    Count,
    #[error("a web client redirects to https only")]
    WebClient,
}

/// What kind of client a redirect URI leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedirectKind {
    /// A web origin that someone owns.
    Https,
    /// Whatever listens on this computer.
    Loopback,
    /// Whatever application claims the scheme.
    PrivateScheme,
}

/// Checks a redirect URI at registration. Private schemes have a dot, or are among those that the administrator allows.
pub(crate) fn validate(uri: &str, private_schemes: &[String]) -> Result<RedirectKind, RedirectUriError> {
    if uri.len() > BYTES_MAX
        || !uri.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'"' | b'<' | b'>'))
    {
        return Err(RedirectUriError::Form);
    }
    if uri.contains('#') {
        return Err(RedirectUriError::Fragment);
    }
    let url = Url::parse(uri).map_err(|_| RedirectUriError::Form)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectUriError::UserInformation);
    }
    if url.query_pairs().any(|(name, _)| RESPONSE_PARAMETERS.contains(&name.as_ref())) {
        return Err(RedirectUriError::ResponseParameter);
    }
    match url.scheme() {
        // The parser is lenient about what it calls https; the text itself has to be the plain form.
        "https" if uri.starts_with("https://") && url.host_str().is_some() => Ok(kind(uri)),
        "http" if Loopback::split(uri).is_some() => Ok(RedirectKind::Loopback),
        "http" => Err(RedirectUriError::PlainHttp),
        "https" => Err(RedirectUriError::Form),
        // Reverse domain names, as RFC 8252 section 7.1 asks; so never `javascript`, `data`, `file` and their kin.
        scheme if scheme.contains('.') => Ok(RedirectKind::PrivateScheme),
        scheme if private_schemes.iter().any(|allowed| allowed == scheme) => Ok(RedirectKind::PrivateScheme),
        _ => Err(RedirectUriError::Scheme),
    }
}

/// Whether a requested redirect URI is the registered one.
pub(crate) fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    match (Loopback::split(registered), Loopback::split(requested)) {
        (Some(registered), Some(requested)) => registered == requested,
        _ => false,
    }
}

/// The kind of a URI that is acceptable at registration.
pub(crate) fn kind(uri: &str) -> RedirectKind {
    if Loopback::split(uri).is_some() {
        return RedirectKind::Loopback;
    }
    let Some(url) = Url::parse(uri).ok().filter(|url| url.scheme() == "https") else {
        return RedirectKind::PrivateScheme;
    };
    // A certificate for this computer proves nothing about who listens there.
    let is_local = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if is_local { RedirectKind::Loopback } else { RedirectKind::Https }
}

/// Where the consent page says that the answer goes.
pub(crate) fn shown_host(uri: &str) -> String {
    match Url::parse(uri) {
        Ok(url) => match (url.host_str(), url.port()) {
            (Some(host), Some(port)) if kind(uri) != RedirectKind::PrivateScheme => format!("{host}:{port}"),
            (Some(host), None) if kind(uri) != RedirectKind::PrivateScheme => host.to_owned(),
            _ => format!("{}:", url.scheme()),
        },
        Err(_) => String::new(),
    }
}

/// Appends parameters to a redirect URI without touching what is there.
pub(crate) fn with_parameters(uri: &str, parameters: &[(&str, &str)]) -> String {
    let separator = match uri.find('?') {
        None => "?",
        Some(_) if uri.ends_with('?') || uri.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{uri}{separator}{}", crate::form::encode(parameters))
}

/// A loopback URI without its port, split from the text itself: no parser's opinion about odd hosts comes in between.
#[derive(PartialEq, Eq)]
struct Loopback<'a> {
    host: &'a str,
    path_and_query: &'a str,
}

impl<'a> Loopback<'a> {
    fn split(uri: &'a str) -> Option<Self> {
        let rest = uri.strip_prefix("http://")?;
        let host = ["127.0.0.1", "[::1]", "localhost"].into_iter().find(|host| rest.starts_with(host))?;
        let (host, rest) = rest.split_at_checked(host.len())?;
        let (port, path_and_query) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at_checked(end)?,
            None => (rest, ""),
        };
        let port_is_one = match port.strip_prefix(':') {
            None => port.is_empty(),
            Some(digits) => {
                digits.bytes().all(|byte| byte.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
            }
        };
        let plain = path_and_query.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\'));
        (port_is_one && plain).then_some(Self { host, path_and_query })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn az2_redirect_uris_are_compared_as_exact_strings() {
        for (registered, requested) in [
            ("https://app.example/cb", "https://app.example/cb/"),
            ("https://app.example/cb", "https://app.example/cb?x=1"),
            ("https://app.example/cb", "https://APP.example/cb"),
            ("https://app.example/cb", "https://app.example:443/cb"),
            ("https://app.example/cb", "https://app.example:8443/cb"),
            ("https://app.example/cb", "https://app.example/cb#"),
            ("https://app.example/cb", "http://app.example/cb"),
            ("https://app.example/", "https://app.example/cb"),
            ("com.example.app:/cb", "com.example.app:/cb2"),
        ] {
            assert!(!matches(registered, requested), "{registered} {requested}");
        }
        assert!(matches("https://app.example/cb?a=1", "https://app.example/cb?a=1"));
    }

    #[test]
    fn ci12_loopback_differs_in_port_only_and_localhost_counts() {
        for (registered, requested) in [
            ("http://localhost/callback", "http://localhost:49152/callback"),
            ("http://localhost:1/callback", "http://localhost:2/callback"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:49152/cb"),
            ("http://[::1]/cb", "http://[::1]:49152/cb"),
            ("http://localhost:8080", "http://localhost:8081"),
        ] {
            assert!(matches(registered, requested), "{registered} {requested}");
        }
        for (registered, requested) in [
            ("http://localhost/callback", "http://127.0.0.1:5/callback"),
            ("http://localhost/callback", "http://localhost:5/other"),
            ("http://localhost/callback", "http://localhost:5/callback?x"),
            ("http://localhost/callback", "http://localhost:5@evil.example/callback"),
            ("http://localhost/callback", "http://localhost.evil.example/callback"),
            ("http://localhost/callback", "http://localhost:0/callback"),
            ("http://localhost/callback", "http://localhost:99999/callback"),
            ("http://localhost/callback", "http://localhost:+5/callback"),
            ("http://localhost/callback", "http://localhost:/callback"),
            ("http://localhost/callback", "https://localhost:5/callback"),
            ("http://localhost/callback", "http://localhost:5/callback#f"),
            ("http://localhost/callback", "http://LOCALHOST:5/callback"),
        ] {
            assert!(!matches(registered, requested), "{registered} {requested}");
        }
    }

    #[test]
    fn az16_dangerous_schemes_and_forms_are_refused_at_registration() {
        for uri in [
            "javascript:alert(1)",
            "data:text/html,x",
            "file:///etc/passwd",
            "vbscript:x",
            "cursor://callback",
            "http://app.example/cb",
            "http://localhost.evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://2130706433/cb",
            "https://user@app.example/cb",
            "https://app.example/cb#f",
            "https://app.example/cb?code=1",
            "https://app.example/cb?%69ss=1",
            "https:app.example/cb",
            "https:\\\\app.example\\cb",
            "https://app.example/ cb",
            "HTTPS://app.example/cb",
            "/cb",
            "",
        ] {
            assert!(validate(uri, &[]).is_err(), "{uri}");
        }
        assert_eq!(validate("https://app.example/cb?x=1", &[]), Ok(RedirectKind::Https));
        assert_eq!(validate("http://localhost:3000/cb", &[]), Ok(RedirectKind::Loopback));
        assert_eq!(validate("https://localhost:3000/cb", &[]), Ok(RedirectKind::Loopback));
        assert_eq!(validate("http://[::1]/cb", &[]), Ok(RedirectKind::Loopback));
        assert_eq!(validate("com.example.app:/cb", &[]), Ok(RedirectKind::PrivateScheme));
    }

    #[test]
    fn az16_a_scheme_without_a_dot_has_to_be_allowed() {
        let allowed = ["cursor".to_owned()];
        assert_eq!(validate("cursor://anysphere.cursor-mcp/oauth/callback", &allowed), Ok(RedirectKind::PrivateScheme));
        assert_eq!(shown_host("cursor://anysphere.cursor-mcp/oauth/callback"), "cursor:");
        assert_eq!(validate("cursor2://callback", &allowed), Err(RedirectUriError::Scheme));
        assert_eq!(validate("javascript://cursor/%0aalert(1)", &allowed), Err(RedirectUriError::Scheme));
        assert_eq!(validate("cursor://callback#x", &allowed), Err(RedirectUriError::Fragment));
    }

    #[test]
    fn parameters_are_appended_and_the_rest_stays() {
        assert_eq!(with_parameters("https://a.example/cb", &[("code", "1 2")]), "https://a.example/cb?code=1+2");
        assert_eq!(with_parameters("https://a.example/cb?x=%20", &[("s", "1")]), "https://a.example/cb?x=%20&s=1");
        assert_eq!(with_parameters("https://a.example/cb?", &[("s", "1")]), "https://a.example/cb?s=1");
    }

    proptest! {
        #[test]
        fn az2_whatever_matches_leads_to_the_same_place(
            registered in "(https?|http)://(localhost|127\\.0\\.0\\.1|\\[::1\\]|a\\.example)(:[0-9]{1,5})?(/[a-z@:#?.]{0,6})?",
            requested in "(https?|http)://(localhost|127\\.0\\.0\\.1|\\[::1\\]|a\\.example)(:[0-9]{1,5})?(/[a-z@:#?.]{0,6})?",
        ) {
            if matches(&registered, &requested) && registered != requested {
                let (mut left, mut right) = (Url::parse(&registered).unwrap(), Url::parse(&requested).unwrap());
                prop_assert!(left.set_port(None).is_ok() && right.set_port(None).is_ok());
                prop_assert_eq!(left.as_str(), right.as_str());
                prop_assert!(["localhost", "127.0.0.1", "[::1]"].contains(&right.host_str().unwrap_or_default()));
            }
        }

        #[test]
        fn az16_whatever_is_registered_is_https_loopback_or_a_dotted_scheme(uri in "[ -~]{0,40}") {
            if let Ok(kind) = validate(&uri, &[]) {
                let url = Url::parse(&uri).unwrap();
                match kind {
                    RedirectKind::Https => prop_assert_eq!(url.scheme(), "https"),
                    RedirectKind::Loopback => {
                        let host = url.host_str().unwrap_or_default();
                        prop_assert!(host.ends_with("localhost") || host.starts_with("127.") || host == "[::1]");
                    }
                    RedirectKind::PrivateScheme => prop_assert!(url.scheme().contains('.')),
                }
            }
        }
    }
}
