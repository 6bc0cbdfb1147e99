//! Parameters of a request as a list of pairs, so that a parameter given twice is seen (RFC 6749 section 3.1: refused).

use std::fmt;

use thiserror::Error;

/// Most pairs read from one request.
const PAIRS_MAX: usize = 64;

/// Request parameters in the order they came, empty ones left out: an empty value is no value (RFC 6749 section 3.1).
/// Passwords, codes and tokens are among them, so only the names may ever be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Parameters(Vec<(String, String)>);

/// Why the parameters cannot be used.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FormError {
    #[error("too many parameters")]
    TooMany,
    #[error("the parameters are not UTF-8")]
    Encoding,
    #[error("a parameter occurs twice")]
    Duplicate,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Parameters {
    /// Reads `application/x-www-form-urlencoded` text. Duplicates are kept: who asks for a parameter learns of them.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, FormError> {
        let mut pairs = Vec::new();
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return Err(FormError::TooMany);
            }
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(halves.next().unwrap_or_default())?;
            let value = decode(halves.next().unwrap_or_default())?;
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Refuses any parameter that occurs twice, save those that may.
    pub(crate) fn refuse_duplicates(&self, repeatable: &[&str]) -> Result<(), FormError> {
        let duplicate = self.0.iter().enumerate().any(|(index, (name, _))| {
            !repeatable.contains(&name.as_str()) && self.0.iter().skip(index + 1).any(|(other, _)| other == name)
        });
        if duplicate { Err(FormError::Duplicate) } else { Ok(()) }
    }

    /// The only value of the parameter; `None` if it is absent or empty, an error if it occurs twice.
    pub(crate) fn one(&self, name: &str) -> Result<Option<&str>, FormError> {
        let mut values = self.0.iter().filter(|(found, _)| found == name);
        let first = values.next();
        if values.next().is_some() {
            return Err(FormError::Duplicate);
        }
        Ok(first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty()))
    }

    /// All values of a parameter that may be repeated, empty ones left out.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(found, value)| found == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All of them in the format they came in.
    pub(crate) fn encode(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }

    /// Whether the parameter occurs at all, even empty.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(found, _)| found == name)
    }
}

/// Percent-decoding with `+` for space. Bytes that are not UTF-8 are refused, not replaced: two different inputs must
/// not become the same parameter.
pub(crate) fn decode(text: &[u8]) -> Result<String, FormError> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'+' => out.push(b' '),
            b'%' => {
                let (digits, tail) = rest.split_first_chunk::<2>().ok_or(FormError::Encoding)?;
                let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
                let value = high.zip(low).map(|(high, low)| high * 16 + low);
                out.push(value.and_then(|value| u8::try_from(value).ok()).ok_or(FormError::Encoding)?);
                rest = tail;
            }
            other => out.push(*other),
        }
    }
    String::from_utf8(out).map_err(|_| FormError::Encoding)
}

/// Writes pairs in the same format.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tk2_az7_a_parameter_given_twice_is_an_error_even_with_equal_values() {
        let form = Parameters::parse(b"a=1&b=2&a=1").unwrap();
        assert_eq!(form.one("a"), Err(FormError::Duplicate));
        assert_eq!(form.one("b"), Ok(Some("2")));
        assert_eq!(form.refuse_duplicates(&[]), Err(FormError::Duplicate));
        assert_eq!(form.refuse_duplicates(&["a"]), Ok(()));
        assert_eq!(Parameters::parse(b"a=&a=1").unwrap().one("a"), Err(FormError::Duplicate));
        assert_eq!(Parameters::parse(b"%61=1&a=1").unwrap().one("a"), Err(FormError::Duplicate));
    }

    #[test]
    fn az7_an_empty_value_is_no_value() {
        let form = Parameters::parse(b"a=&b&c=+").unwrap();
        assert_eq!(form.one("a"), Ok(None));
        assert_eq!(form.one("b"), Ok(None));
        assert_eq!(form.one("c"), Ok(Some(" ")));
        assert!(form.has("a"));
    }

    #[test]
    fn values_are_never_printed() {
        assert_eq!(format!("{:?}", Parameters::parse(b"password=hunter2&a=b").unwrap()), r#"["password", "a"]"#);
    }

    #[test]
    fn malformed_encodings_are_refused_and_not_repaired() {
        for text in [&b"a=%"[..], b"a=%4", b"a=%zz", b"a=%ff", b"a=\xff", b"%+1=1"] {
            assert_eq!(Parameters::parse(text), Err(FormError::Encoding), "{text:?}");
        }
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        assert!(Parameters::parse("a=1&".repeat(PAIRS_MAX).as_bytes()).is_ok());
        assert_eq!(Parameters::parse("a=1&".repeat(PAIRS_MAX + 1).as_bytes()), Err(FormError::TooMany));
    }

    proptest! {
        #[test]
        fn any_pairs_survive_the_way_through_the_encoding(pairs in prop::collection::vec((".{1,8}", ".{0,12}"), 0..10)) {
            let borrowed: Vec<_> = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let parsed = Parameters::parse(encode(&borrowed).as_bytes()).unwrap();
            prop_assert_eq!(parsed.0, pairs);
        }

        #[test]
        fn any_bytes_parse_or_are_refused_and_agree_with_a_second_parser(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(parsed) = Parameters::parse(&bytes) {
                let other: Vec<(String, String)> = form_urlencoded::parse(&bytes).into_owned().collect();
                prop_assert_eq!(parsed.0, other);
            }
        }
    }
}
