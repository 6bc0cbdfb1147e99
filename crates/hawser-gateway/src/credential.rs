//! What of a credential outlives the request it came with: enough to find what has to end when it is revoked.

use hawser_identity::Authenticated;

/// The credential behind a stream or a running call. Cheap to clone: what it says is the verified token's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credential(Proof);

#[derive(Clone, Debug, Default)]
enum Proof {
    /// Nobody showed any.
    #[default]
    None,
    Verified(Authenticated),
    #[cfg(test)]
    Named {
        grant: std::sync::Arc<str>,
        token_id: std::sync::Arc<str>,
    },
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
        Self(Proof::Verified(authenticated.clone()))
    }

    #[cfg(test)]
    pub(crate) fn for_tests(grant: &str, token: &str) -> Self {
        Self(Proof::Named { grant: grant.into(), token_id: token.into() })
    }

    /// The client, which alone may answer what was put to it.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match &self.0 {
            Proof::Verified(authenticated) => authenticated.client_id(),
            Proof::None => None,
            #[cfg(test)]
            Proof::Named { .. } => None,
        }
    }

    fn grant(&self) -> Option<&str> {
        match &self.0 {
            Proof::None => None,
            Proof::Verified(authenticated) => authenticated.grant(),
            #[cfg(test)]
            Proof::Named { grant, .. } => Some(grant),
        }
    }

    fn token_id(&self) -> Option<&str> {
        match &self.0 {
            Proof::None => None,
            Proof::Verified(authenticated) => authenticated.token_id(),
            #[cfg(test)]
            Proof::Named { token_id, .. } => Some(token_id),
        }
    }

    /// Whether the revocation is of this credential.
    pub(crate) fn is_hit_by(&self, revocation: &Revocation<'_>) -> bool {
        self.grant() == Some(revocation.grant)
            && revocation.token_id.is_none_or(|token_id| self.token_id() == Some(token_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_hits_its_grant_or_its_token_alone() {
        let credential = Credential::for_tests;
        let grant = Revocation { grant: "g", token_id: None };
        let token = Revocation { grant: "g", token_id: Some("t") };
        assert!(credential("g", "t").is_hit_by(&grant) && credential("g", "u").is_hit_by(&grant));
        assert!(credential("g", "t").is_hit_by(&token) && !credential("g", "u").is_hit_by(&token));
        assert!(!credential("h", "t").is_hit_by(&grant) && !Credential::default().is_hit_by(&grant));
    }
}
