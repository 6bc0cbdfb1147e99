//! The JWS compact serialization (RFC 7515 section 7.1), read strictly and before any key is chosen.
//!
//! Header members that name keys (`jku`, `jwk`, `x5u`, `x5c`) are never read: keys come from the issuer's set alone
//! (RFC 8725 section 3.10).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::algorithm::SignatureAlgorithm;
use crate::members::{Members, MembersError};
use crate::reason::InvalidReason;

/// Longest token that is looked at, in bytes.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// A JWT that is well-formed and nothing more: no byte of it has been verified.
#[derive(Debug)]
pub(crate) struct UnverifiedToken<'a> {
    /// Header and payload as they were signed.
    pub(crate) signed: &'a str,
    /// The signature, base64url.
    pub(crate) signature: &'a str,
    pub(crate) header: Header,
    /// The claims, as JSON text.
    pub(crate) payload: Vec<u8>,
}

/// What is read of the JOSE header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) algorithm: SignatureAlgorithm,
    pub(crate) typ: Option<String>,
    pub(crate) kid: Option<String>,
}

impl From<MembersError> for InvalidReason {
    fn from(error: MembersError) -> Self {
        match error {
            MembersError::NotAnObject => Self::NotJwt,
            MembersError::Duplicate => Self::DuplicateMember,
        }
    }
}

impl<'a> UnverifiedToken<'a> {
    pub(crate) fn parse(token: &'a str) -> Result<Self, InvalidReason> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(InvalidReason::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(InvalidReason::NotJwt)?;
        let (header, payload) = signed.split_once('.').ok_or(InvalidReason::NotJwt)?;
        // One text per token: neither padding nor spare bits in the last character are accepted. A further dot is no
        // base64url character, so five segments (JWE) end here, too.
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| InvalidReason::NotJwt);
        if decode(signature)?.is_empty() {
            return Err(InvalidReason::NotJwt);
        }
        let header = Header::parse(&decode(header)?)?;
        Ok(Self { signed, signature, header, payload: decode(payload)? })
    }
}

impl Header {
    fn parse(bytes: &[u8]) -> Result<Self, InvalidReason> {
        let members = Members::parse(bytes)?;
        // RFC 7515 section 4.1.11: an extension marked critical and not understood refuses the token; none is understood.
        // RFC 7797 section 6: `b64` must be marked critical, so it never stands alone.
        if members.has("crit") || members.has("b64") {
            return Err(InvalidReason::CriticalExtension);
        }
        let algorithm = members
            .get::<String>("alg")
            .ok()
            .flatten()
            .and_then(|name| name.parse().ok())
            .ok_or(InvalidReason::Algorithm)?;
        let typ = members.get("typ").map_err(|_| InvalidReason::NotJwt)?;
        let kid = members.get("kid").map_err(|_| InvalidReason::NotJwt)?;
        Ok(Self { algorithm, typ, kid })
    }

    /// Is the `typ` one of these? Media types compare without case, and `application/` may be left out
    /// (RFC 7515 section 4.1.9). No `typ` is a JWT of no particular kind (RFC 7519 section 5.1).
    pub(crate) fn has_type(&self, accepted: &[String]) -> bool {
        let typ = subtype(self.typ.as_deref().unwrap_or("JWT"));
        accepted.iter().any(|accepted| subtype(accepted).eq_ignore_ascii_case(typ))
    }
}

fn subtype(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(json: &str) -> Result<Header, InvalidReason> {
        Header::parse(json.as_bytes())
    }

    #[test]
    fn rs11_crit_and_b64_are_refused_whatever_they_say() {
        for json in [
            r#"{"alg":"ES256","crit":["x"]}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","crit":null}"#,
            r#"{"alg":"ES256","b64":true}"#,
        ] {
            assert_eq!(header(json), Err(InvalidReason::CriticalExtension), "{json}");
        }
    }

    #[test]
    fn rs10_only_asymmetric_algorithms_have_names() {
        for alg in ["none", "None", "HS256", "HS384", "HS512", "es256", "ES256K", "RSA-OAEP", ""] {
            assert_eq!(header(&format!(r#"{{"alg":"{alg}"}}"#)), Err(InvalidReason::Algorithm), "{alg}");
        }
        for json in [r#"{"alg":["ES256"]}"#, r#"{"alg":null}"#, "{}"] {
            assert_eq!(header(json), Err(InvalidReason::Algorithm), "{json}");
        }
    }

    #[test]
    fn types_compare_as_media_types() {
        let accepted = ["at+jwt".to_owned()];
        for (typ, expected) in [
            ("at+jwt", true),
            ("AT+JWT", true),
            ("application/at+jwt", true),
            ("Application/At+Jwt", true),
            ("JWT", false),
            ("at+jwt ", false),
            ("application/", false),
            ("", false),
        ] {
            let header = header(&format!(r#"{{"alg":"ES256","typ":"{typ}"}}"#)).unwrap();
            assert_eq!(header.has_type(&accepted), expected, "{typ}");
        }
        let prefixed = header(r#"{"alg":"ES256","typ":"at+jwt"}"#).unwrap();
        assert!(prefixed.has_type(&["application/at+jwt".to_owned()]));
        let untyped = header(r#"{"alg":"ES256"}"#).unwrap();
        assert!(!untyped.has_type(&accepted));
        assert!(untyped.has_type(&["JWT".to_owned()]));
    }

    #[test]
    fn only_three_segments_of_canonical_base64url_are_a_token() {
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"ES256"}"#);
        let good = format!("{header}.e30.AAAA");
        assert_eq!(UnverifiedToken::parse(&good).unwrap().payload, b"{}");
        for bad in [
            format!("{header}.e30"),
            format!("{header}.e30."),
            format!("{header}.e30.AAAA."),
            format!("{header}.e30.AAAA.AAAA.AAAA"),
            format!("{header}.e31.AAAA"), // the same bytes as e30, with a spare bit set
            format!("{header}.e30=.AAAA"),
            format!("{header}.e30.AA AA"),
            format!(".{good}"),
        ] {
            assert_eq!(UnverifiedToken::parse(&bad).unwrap_err(), InvalidReason::NotJwt, "{bad}");
        }
        let long = format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX));
        assert_eq!(UnverifiedToken::parse(&long).unwrap_err(), InvalidReason::TooLong);
    }

    proptest! {
        #[test]
        fn any_text_parses_or_is_refused(text in ".{0,200}") {
            let _ = UnverifiedToken::parse(&text);
        }

        #[test]
        fn any_header_parses_or_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::parse(&bytes);
        }
    }
}
