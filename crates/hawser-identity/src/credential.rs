//! Finding the bearer token in the header fields (RFC 6750 section 2.1).

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::challenge::AuthenticateError;
use crate::reason::{InvalidReason, MalformedReason};
use crate::token::TOKEN_BYTES_MAX;

/// The presented bearer token; `None` if the request brings no credential at all.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<Option<&str>, AuthenticateError> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let Some(field) = fields.next() else { return Ok(None) };
    if fields.next().is_some() {
        return Err(AuthenticateError::MalformedRequest(MalformedReason::SeveralAuthorizations));
    }
    let field = field.to_str().map_err(|_| InvalidReason::Malformed)?;
    let (scheme, token) = field.split_once(' ').unwrap_or((field, ""));
    // RFC 9110 section 11.1: schemes compare without case.
    if !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(InvalidReason::UnsupportedScheme.into());
    }
    let token = token.trim_start_matches(' ');
    if token.len() > TOKEN_BYTES_MAX {
        return Err(InvalidReason::TooLong.into());
    }
    if is_token68(token) { Ok(Some(token)) } else { Err(InvalidReason::Malformed.into()) }
}

/// `b64token` of RFC 6750, `token68` of RFC 9110. A comma is none, so a list of credentials is not one either.
fn is_token68(token: &str) -> bool {
    let stem = token.trim_end_matches('=');
    !stem.is_empty()
        && stem
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/'))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn with(field: &[u8]) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_bytes(field).unwrap())])
    }

    #[test]
    fn rs4_the_scheme_has_no_case() {
        for field in ["Bearer a.b.c", "bearer a.b.c", "bEaReR a.b.c", "BEARER   a.b.c"] {
            assert_eq!(bearer(&with(field.as_bytes())), Ok(Some("a.b.c")), "{field}");
        }
    }

    #[test]
    fn rs5_two_authorization_fields_are_refused_even_if_equal() {
        let mut headers = with(b"Bearer a.b.c");
        headers.append(AUTHORIZATION, HeaderValue::from_static("Bearer a.b.c"));
        let several = AuthenticateError::MalformedRequest(MalformedReason::SeveralAuthorizations);
        assert_eq!(bearer(&headers), Err(several));
    }

    #[test]
    fn whatever_is_no_token_is_refused_and_never_nothing() {
        let malformed = [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer   ",
            b"Bearer a b",
            b"Bearer a, Bearer b",
            b"Bearer a,b",
            b"Bearer =",
            b"Bearer \xff",
            b"Bearer\ta",
            b"Bearer a=b",
            b"",
        ];
        for field in malformed {
            assert!(matches!(bearer(&with(field)), Err(AuthenticateError::Invalid(_))), "{field:?}");
        }
        assert_eq!(bearer(&with(b"Basic YTpi")), Err(InvalidReason::UnsupportedScheme.into()));
        let long = format!("Bearer {}", "a".repeat(TOKEN_BYTES_MAX + 1));
        assert_eq!(bearer(&with(long.as_bytes())), Err(InvalidReason::TooLong.into()));
        assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    }

    proptest! {
        #[test]
        fn any_field_is_read_or_refused(field in proptest::collection::vec(0x20_u8..=0x7e, 0..64)) {
            let headers = with(&field);
            prop_assert_ne!(bearer(&headers), Ok(None));
        }
    }
}
