//! Why a credential was refused, for the audit log. Clients learn none of this: on the wire all of them are the same
//! `invalid_token` (RFC 6750 section 3.1).

use std::fmt;

/// Why a bearer token was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// The scheme of the `Authorization` field is not `Bearer`.
    UnsupportedScheme,
    /// No token behind the scheme, or characters that no token has.
    Malformed,
    /// Longer than any token may be.
    TooLong,
    /// Not three segments of base64url around a JSON header and JSON claims.
    NotJwt,
    /// A member name occurs twice in the header or the claims.
    DuplicateMember,
    /// The header has `crit` or `b64`: extensions that are not understood here.
    CriticalExtension,
    /// The header's `typ` is not one that this issuer's access tokens have.
    TokenType,
    /// The header's `alg` is not in the issuer's list.
    Algorithm,
    /// `iss` is missing or not a string.
    IssuerClaim,
    /// `iss` is nobody we trust.
    UnknownIssuer,
    /// No key of the issuer fits the header.
    UnknownKey,
    /// The signature does not hold.
    Signature,
    /// The subject is missing.
    SubjectMissing,
    /// The subject is not a string, or empty, too long or with a NUL.
    Subject,
    /// `aud` is missing or of the wrong type.
    AudienceClaim,
    /// `aud` does not contain this resource.
    Audience,
    /// `exp` is missing.
    ExpiryMissing,
    /// `exp` has passed.
    Expired,
    /// `nbf` is ahead.
    NotYetValid,
    /// `iat` is ahead.
    IssuedInFuture,
    /// Another claim has the wrong type.
    Claim,
    /// An ID token, a refresh token or a logout token, not an access token.
    NotAccessToken,
    /// The tenant claim is missing or not the demanded one.
    Tenant,
    /// Bound to a key (`cnf`) whose possession was not proved.
    SenderConstrained,
    /// A token of the embedded authorization server without its private claims.
    LocalClaims,
    /// The grant or the token was revoked.
    Revoked,
}

impl InvalidReason {
    /// The name used in audit events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnsupportedScheme => "unsupported_scheme",
            Self::Malformed => "malformed",
            Self::TooLong => "too_long",
            Self::NotJwt => "not_jwt",
            Self::DuplicateMember => "duplicate_member",
            Self::CriticalExtension => "critical_extension",
            Self::TokenType => "token_type",
            Self::Algorithm => "algorithm",
            Self::IssuerClaim => "issuer_claim",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::SubjectMissing => "subject_missing",
            Self::Subject => "subject",
            Self::AudienceClaim => "audience_claim",
            Self::Audience => "audience",
            Self::ExpiryMissing => "expiry_missing",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::IssuedInFuture => "issued_in_future",
            Self::Claim => "claim",
            Self::NotAccessToken => "not_access_token",
            Self::Tenant => "tenant",
            Self::SenderConstrained => "sender_constrained",
            Self::LocalClaims => "local_claims",
            Self::Revoked => "revoked",
        }
    }

    /// What an administrator may want to do about it, where that is known.
    pub const fn hint(self) -> Option<&'static str> {
        match self {
            Self::SubjectMissing => Some(
                "the issuer sent no subject claim; Keycloak 25 and later omit `sub` unless the client has the `basic` scope",
            ),
            Self::Audience => {
                Some("the issuer must put this endpoint's URL into `aud`; Keycloak needs an audience mapper for that")
            }
            Self::TokenType => Some("see the issuer's token_types; access tokens should have typ at+jwt (RFC 9068)"),
            Self::SenderConstrained => Some("the token is bound to a key, and proof of possession is not supported"),
            _ => None,
        }
    }
}

impl fmt::Display for InvalidReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a request's credentials could not even be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MalformedReason {
    /// More than one `Authorization` field: which one is meant is not ours to guess.
    SeveralAuthorizations,
}

impl MalformedReason {
    /// The name used in audit events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SeveralAuthorizations => "several_authorizations",
        }
    }
}

impl fmt::Display for MalformedReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
