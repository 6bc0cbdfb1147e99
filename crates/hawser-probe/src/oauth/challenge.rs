//! `WWW-Authenticate` (RFC 9110 section 11.6.1): the challenges of a 401, of which RFC 9728 section 5.1 needs one parameter.

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, lower case.
    pub scheme: String,
    /// Parameters, names in lower case, values unquoted.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of the parameter `name`, if it is there exactly once.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(key, _)| key == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }
}

/// All challenges in all `WWW-Authenticate` lines.
pub fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).flat_map(parse).collect()
}

/// The `Bearer` challenge, if there is one.
pub(super) fn bearer(headers: &HeaderMap) -> Option<Challenge> {
    challenges(headers).into_iter().find(|challenge| challenge.scheme == "bearer")
}

/// A list whose comma separates both challenges and parameters: an item with `=` after its first word is a parameter, an
/// item with a lone first word opens a challenge.
fn parse(line: &str) -> Vec<Challenge> {
    let mut out: Vec<Challenge> = Vec::new();
    for item in split_unquoted(line) {
        let item = item.trim();
        let token_end = item.find(|c: char| c == '=' || c.is_ascii_whitespace()).unwrap_or(item.len());
        let (word, rest) = item.split_at(token_end);
        if word.is_empty() {
            continue;
        }
        let rest = rest.trim_start();
        if rest.starts_with('=') {
            if let Some(challenge) = out.last_mut() {
                challenge.parameters.extend(parameter(item));
            }
        } else {
            let parameters = parameter(rest).into_iter().collect();
            out.push(Challenge { scheme: word.to_ascii_lowercase(), parameters });
        }
    }
    out
}

fn parameter(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    Some((name.trim().to_ascii_lowercase(), unquote(value.trim())))
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let mut out = String::new();
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => out.extend(chars.next()),
            _ => out.push(c),
        }
    }
    out
}

fn split_unquoted(line: &str) -> Vec<&str> {
    let (mut quoted, mut escaped, mut start) = (false, false, 0);
    let mut out = Vec::new();
    for (at, c) in line.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                out.extend(line.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    out.extend(line.get(start..));
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commas_inside_quotes_and_several_schemes_are_told_apart() {
        let read =
            parse(r#"Basic realm="a, \"b\"", bEaReR resource_metadata="https://x/y" , scope="a b", DPoP algs="ES256""#);
        let schemes: Vec<_> = read.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["basic", "bearer", "dpop"]);
        assert_eq!(read[0].parameter("realm"), Some("a, \"b\""));
        assert_eq!(read[1].parameter("resource_metadata"), Some("https://x/y"));
        assert_eq!(read[1].parameter("scope"), Some("a b"));
    }

    #[test]
    fn a_parameter_given_twice_counts_as_absent() {
        assert_eq!(parse(r#"Bearer scope="a", scope="b""#)[0].parameter("scope"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in ".{0,80}") {
            let _ = parse(&line);
        }

        #[test]
        fn a_quoted_value_comes_back(value in "[ -~]{0,30}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let read = parse(&format!("Bearer a=\"{quoted}\", b=c"));
            prop_assert_eq!(read[0].parameter("a"), Some(value.as_str()));
            prop_assert_eq!(read[0].parameter("b"), Some("c"));
        }
    }
}
