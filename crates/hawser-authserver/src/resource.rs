//! Which resource a request means (RFC 8707 section 2).
//!
//! Clients write the identifier in their own ways: with a slash appended, in upper case, as the origin only, or not at
//! all. Whatever they wrote, the token carries the canonical identifier.

use thiserror::Error;
use url::Url;

use crate::config::Resource;

/// The request names no resource, several, or one that is not served here (`invalid_target`).
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
#[error("the resource is not one that tokens can be issued for, or there are several")]
pub(crate) struct TargetError;

/// The canonical identifier of the one resource that a request means; the first of the list if it names none.
pub(crate) fn meant<'a, 'r>(
    named: impl Iterator<Item = &'a str>,
    resources: &'r [Resource],
) -> Result<&'r str, TargetError> {
    let mut meant: Option<&str> = None;
    for name in named {
        let found = find(name, resources).ok_or(TargetError)?;
        // One grant, one audience: a token that several resources accept is a token that each of them can replay.
        if meant.is_some_and(|other| other != found) {
            return Err(TargetError);
        }
        meant = Some(found);
    }
    meant.or_else(|| resources.first().map(|resource| resource.identifier.as_str())).ok_or(TargetError)
}

/// Exact match, then the same after normalisation, then the origin alone if exactly one resource lives there.
fn find<'r>(name: &str, resources: &'r [Resource]) -> Option<&'r str> {
    let mut identifiers = resources.iter().map(|resource| resource.identifier.as_str());
    if let Some(exact) = identifiers.clone().find(|identifier| *identifier == name) {
        return Some(exact);
    }
    let url = absolute(name)?;
    if let Some(same) = identifiers
        .clone()
        .find(|identifier| absolute(identifier).is_some_and(|known| normal_form(&known) == normal_form(&url)))
    {
        return Some(same);
    }
    if url.path() != "/" || url.query().is_some() {
        return None;
    }
    let mut at_origin = identifiers
        .by_ref()
        .filter(|identifier| absolute(identifier).is_some_and(|known| known.origin() == url.origin()));
    let only = at_origin.next();
    if at_origin.next().is_some() { None } else { only }
}

/// An absolute http(s) URL without fragment or user information.
fn absolute(text: &str) -> Option<Url> {
    if text.len() > 2048 || text.contains('#') || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let plain = url.username().is_empty() && url.password().is_none();
    (plain && matches!(url.scheme(), "http" | "https")).then_some(url)
}

/// Lower-case scheme and host and no default port (the parser's doing), and no slash at the end of the path.
fn normal_form(url: &Url) -> String {
    let text = url.as_str();
    match url.query() {
        None => text.strip_suffix('/').unwrap_or(text).to_owned(),
        Some(_) => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn resources(identifiers: &[&str]) -> Vec<Resource> {
        identifiers
            .iter()
            .map(|identifier| Resource { identifier: (*identifier).to_owned(), name: String::new() })
            .collect()
    }

    fn one(name: &str, identifiers: &[&str]) -> Result<String, TargetError> {
        meant([name].into_iter(), &resources(identifiers)).map(str::to_owned)
    }

    #[test]
    fn tk10_every_way_to_write_a_resource_ends_in_its_canonical_identifier() {
        let known = ["https://mcp.example.com/mcp"];
        for name in [
            "https://mcp.example.com/mcp",
            "https://mcp.example.com/mcp/",
            "HTTPS://MCP.example.com:443/mcp",
            "https://mcp.example.com",
            "https://mcp.example.com/",
        ] {
            assert_eq!(one(name, &known).unwrap(), known[0], "{name}");
        }
    }

    #[test]
    fn az8_fragment_relative_unknown_and_odd_resources_are_refused() {
        let known = ["https://mcp.example.com/mcp"];
        for name in [
            "https://mcp.example.com/mcp#x",
            "https://mcp.example.com/mcp#",
            "/mcp",
            "mcp",
            "https://mcp.example.com/MCP",
            "https://mcp.example.com/mcp2",
            "https://mcp.example.com/mcp?x=1",
            "https://other.example.com/mcp",
            "http://mcp.example.com/mcp",
            "https://a@mcp.example.com/mcp",
            "https://mcp.example.com\\mcp",
            "https://mcp.example.com/ mcp",
        ] {
            assert_eq!(one(name, &known), Err(TargetError), "{name}");
        }
    }

    #[test]
    fn the_origin_alone_is_refused_where_two_resources_live() {
        let known = ["https://mcp.example.com/a", "https://mcp.example.com/b"];
        assert_eq!(one("https://mcp.example.com", &known), Err(TargetError));
        assert_eq!(one("https://mcp.example.com/b", &known).unwrap(), known[1]);
    }

    #[test]
    fn az8_none_means_the_first_and_several_must_mean_the_same() {
        let known = resources(&["https://mcp.example.com/a", "https://mcp.example.com/b"]);
        assert_eq!(meant(std::iter::empty(), &known).unwrap(), "https://mcp.example.com/a");
        let twice = ["https://mcp.example.com/b", "https://mcp.example.com/b/"];
        assert_eq!(meant(twice.into_iter(), &known).unwrap(), "https://mcp.example.com/b");
        let both = ["https://mcp.example.com/b", "https://mcp.example.com/a"];
        assert_eq!(meant(both.into_iter(), &known), Err(TargetError));
    }
}
