//! What of a credential outlives the request it came with: enough to find what has to end when it is revoked.

use hawser_identity::Authenticated;

/// The credential behind a stream or a running call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credential {
    /// The client, which alone may answer what was put to it.
    pub(crate) client_id: Option<String>,
    grant: Option<String>,
    token_id: Option<String>,
}

/// A revocation, as the embedded authorization server tells it.
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'a> {
    /// The grant.
    pub grant: &'a str,
    /// The one access token (`jti`) that was revoked, if not the whole grant.
    pub token_id: Option<&'a str>,
}

impl Credential {
    pub(crate) fn of(authenticated: &Authenticated) -> Self {
        Self {
            client_id: authenticated.client_id().map(str::to_owned),
            grant: authenticated.grant().map(str::to_owned),
            token_id: authenticated.token_id().map(str::to_owned),
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests(grant: &str, token: &str) -> Self {
        Self { client_id: None, grant: Some(grant.to_owned()), token_id: Some(token.to_owned()) }
    }

    /// Whether the revocation is of this credential.
    pub(crate) fn is_hit_by(&self, revocation: &Revocation<'_>) -> bool {
        self.grant.as_deref() == Some(revocation.grant)
            && revocation.token_id.is_none_or(|token_id| self.token_id.as_deref() == Some(token_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_hits_its_grant_or_its_token_alone() {
        let credential = |grant: &str, token: &str| Credential {
            client_id: None,
            grant: Some(grant.into()),
            token_id: Some(token.into()),
        };
        let grant = Revocation { grant: "g", token_id: None };
        let token = Revocation { grant: "g", token_id: Some("t") };
        assert!(credential("g", "t").is_hit_by(&grant) && credential("g", "u").is_hit_by(&grant));
        assert!(credential("g", "t").is_hit_by(&token) && !credential("g", "u").is_hit_by(&token));
        assert!(!credential("h", "t").is_hit_by(&grant) && !Credential::default().is_hit_by(&grant));
    }
}
