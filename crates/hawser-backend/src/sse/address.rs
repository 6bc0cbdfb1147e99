//! Where a server wants messages posted to: a pure function of its URL and what its `endpoint` event says.

use http::Uri;
use url::Url;

/// Longest address that is taken.
const ADDRESS_BYTES_MAX: usize = 8 * 1024;

/// The address that an `endpoint` event names, resolved against the URL of the stream. It must be of the same origin: the
/// configured headers hold credentials, and a server must not be able to have them sent elsewhere.
pub(super) fn address(stream: &Url, named: &[u8]) -> Result<Uri, &'static str> {
    if named.len() > ADDRESS_BYTES_MAX {
        return Err("the address that it wants messages at is too long");
    }
    let named = std::str::from_utf8(named).map_err(|_| "the address that it wants messages at is not text")?;
    let named = named.trim_ascii();
    if named.is_empty() {
        return Err("its `endpoint` event names no address");
    }
    let mut url = stream.join(named).map_err(|_| "the address that it wants messages at is not a URL")?;
    if url.origin() != stream.origin() {
        return Err("it wants messages at another origin, where its credentials must not be sent");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address that it wants messages at holds a user name or password");
    }
    url.set_fragment(None);
    url.as_str().parse().map_err(|_| "the address that it wants messages at cannot be used in a request")
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(stream: &str, named: &str) -> Result<String, &'static str> {
        address(&stream.parse().unwrap(), named.as_bytes()).map(|uri| uri.to_string())
    }

    #[test]
    fn an_address_is_resolved_like_a_link_on_the_streams_page() {
        for (named, resolved) in [
            ("/messages/?session_id=1", "http://h:1/messages/?session_id=1"),
            (" /m \n", "http://h:1/m"),
            ("m?s=1", "http://h:1/a/m?s=1"),
            ("?s=1", "http://h:1/a/sse?s=1"),
            ("http://h:1/m#part", "http://h:1/m"),
            ("HTTP://H:1/m", "http://h:1/m"),
            ("//h:1/m", "http://h:1/m"),
        ] {
            assert_eq!(at("http://h:1/a/sse?key=secret", named).as_deref(), Ok(resolved), "{named}");
        }
        assert_eq!(at("https://h/sse", "https://h:443/m").as_deref(), Ok("https://h/m"));
    }

    #[test]
    fn another_origin_is_refused_however_it_is_written() {
        for named in [
            "http://h:2/m",
            "https://h:1/m",
            "http://h/m",
            "http://h.example:1/m",
            "//other:1/m",
            "\\\\other:1/m",
            "http://h:1@other/m",
            "http:\\\\other/m",
            "ftp://h:1/m",
            "data:text/plain,x",
            "javascript:0",
            "file:///etc/passwd",
        ] {
            let refused = at("http://h:1/sse", named).unwrap_err();
            assert!(refused.contains("another origin"), "{named}: {refused}");
        }
        assert!(at("http://h:1/sse", "http://u:p@h:1/m").unwrap_err().contains("user name"));
        assert!(at("http://h:1/sse", "http://[/m").unwrap_err().contains("not a URL"));
        assert!(at("http://h:1/sse", " ").unwrap_err().contains("names no address"));
        assert!(at("http://h:1/sse", &"x".repeat(ADDRESS_BYTES_MAX + 1)).unwrap_err().contains("too long"));
        assert!(address(&"http://h:1/".parse().unwrap(), b"\xFF").unwrap_err().contains("not text"));
    }

    proptest! {
        #[test]
        fn whatever_is_named_the_authority_stays(named in "[ -~\\t\\r\\n]{0,40}|[a-z:/\\\\@.]{0,20}h:1[ -~]{0,20}") {
            if let Ok(uri) = address(&"http://h:1/sse".parse().unwrap(), named.as_bytes()) {
                prop_assert_eq!(uri.authority().map(|authority| authority.as_str().to_owned()), Some("h:1".to_owned()));
                prop_assert_eq!(uri.scheme_str(), Some("http"));
            }
        }
    }
}
