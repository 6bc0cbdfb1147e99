//! Parameters of a query, read strictly: an unknown one, one given twice, an empty or overlong one is an error that names it.

use std::collections::BTreeMap;

use super::wire::Refused;

/// Longest query in bytes.
const QUERY_BYTES_MAX: usize = 8 * 1024;

/// The parameters of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query(BTreeMap<String, String>);

impl Query {
    /// Reads `application/x-www-form-urlencoded` text. Only `known` parameters may be there.
    pub(super) fn read(text: &str, known: &[&str]) -> Result<Self, Refused> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(Refused::new("the query is too long"));
        }
        let mut parameters = BTreeMap::new();
        for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
            if !known.contains(&name.as_ref()) {
                let message = format!("there is no such parameter; known are {}", known.join(", "));
                return Err(Refused::of(&shown(&name), message));
            }
            if value.is_empty() {
                return Err(Refused::of(&name, "it is empty"));
            }
            if value.contains('\u{fffd}') || value.contains(char::is_control) {
                return Err(Refused::of(&name, "it is not UTF-8 text without control characters"));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Refused::of(&name, "it is given twice"));
            }
        }
        Ok(Self(parameters))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// A number from 1 to `max`.
    pub(super) fn number(&self, name: &str, default: usize, max: usize) -> Result<usize, Refused> {
        let Some(text) = self.get(name) else { return Ok(default) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && (1..=max).contains(number));
        number.ok_or_else(|| Refused::of(name, format!("it must be a number from 1 to {max}")))
    }
}

/// A name that nobody here chose, as it may be shown.
fn shown(name: &str) -> String {
    name.chars().take(40).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KNOWN: [&str; 2] = ["after", "limit"];

    #[test]
    fn what_is_wrong_is_named() {
        for (text, name) in [
            ("lmit=1", "lmit"),
            ("limit=1&limit=1", "limit"),
            ("after=", "after"),
            ("after=%ff", "after"),
            ("after=%0a", "after"),
            ("x%00=1", "x\u{fffd}"),
        ] {
            assert_eq!(Query::read(text, &KNOWN).unwrap_err().parameter.as_deref(), Some(name), "{text}");
        }
        for text in ["limit=0", "limit=101", "limit=+1", "limit=1e1", "limit=-1", "limit=99999999999999999999"] {
            assert!(Query::read(text, &KNOWN).unwrap().number("limit", 10, 100).is_err(), "{text}");
        }
        assert_eq!(Query::read("limit=100&after=a%20b", &KNOWN).unwrap().number("limit", 10, 100).unwrap(), 100);
        assert!(Query::read(&"x".repeat(QUERY_BYTES_MAX + 1), &KNOWN).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            if let Ok(query) = Query::read(&text, &KNOWN) {
                prop_assert!(query.0.iter().all(|(name, value)| KNOWN.contains(&name.as_str()) && !value.is_empty()));
            }
        }
    }
}
