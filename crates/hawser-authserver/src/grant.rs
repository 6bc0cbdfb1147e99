//! Grants: one row each, from the authorization code to the last refresh.
//!
//! The row is the only thing that redemption, refresh and revocation race on, and each of them is one compare-and-set of
//! it. So exactly one redemption wins, a revocation cannot be undone by a refresh that started before it, and nothing is
//! half done if the process dies in between.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::Timestamp;
use hawser_store::{StoreError, Unavailable};
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use crate::family::{Decision, FIRST_GENERATION, Family, Policy, Rotation, SameHead};
use crate::refresh_token::{GrantId, RefreshToken};
use crate::rows::{Loaded, Row};
use crate::secret::{digest_text, random_text, same};
use crate::server::AuthServer;
use crate::token_error::TokenError;
use crate::{resource, scope};

/// How often a compare-and-set is tried: far more than refreshes of one family race in earnest.
const ATTEMPTS: usize = 128;
/// Rows outlive what they are about by this much, so that nodes' clocks may differ.
const MARGIN: Duration = Duration::from_mins(5);

/// Whether a grant still stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantStanding {
    /// Tokens of it are good.
    Active,
    /// Tokens of it are not: it was revoked, has ended, or never was.
    Revoked,
}

/// What a user granted a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Grant {
    pub(crate) subject: String,
    pub(crate) client: String,
    pub(crate) scope: Vec<String>,
    /// Canonical resource identifier.
    pub(crate) resource: String,
    pub(crate) auth_time: Timestamp,
    pub(crate) code: CodeRecord,
    pub(crate) stage: Stage,
}

/// What is known about the grant's authorization code. Kept after its redemption, to recognise a second one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CodeRecord {
    pub(crate) digest: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) expires: Timestamp,
}

/// Where a grant is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The code is out and not redeemed.
    Pending,
    /// The code was redeemed.
    Issued {
        family: Family,
        /// The family's MAC key, sealed for this row.
        key: String,
    },
}

impl Row for Grant {
    const FAMILY: &'static str = "as-grant";
}

impl Row for DeniedToken {
    const FAMILY: &'static str = "as-denied";
}

/// An access token that was revoked on its own.
#[derive(Serialize, Deserialize)]
pub(crate) struct DeniedToken {
    exp: u64,
}

/// A code as a client presents it.
pub(crate) struct CodePresentation<'a> {
    pub(crate) code: &'a str,
    pub(crate) client: &'a str,
    pub(crate) client_refreshes: bool,
    pub(crate) redirect_uri: Option<&'a str>,
    pub(crate) verifier: &'a str,
    pub(crate) resources: Vec<&'a str>,
}

/// A refresh as a client asks for it.
pub(crate) struct RefreshPresentation<'a> {
    pub(crate) token: RefreshToken,
    pub(crate) client: &'a str,
    pub(crate) rotation: Rotation,
    pub(crate) scope: Option<&'a str>,
    pub(crate) resources: Vec<&'a str>,
}

/// What tokens are to be issued.
pub(crate) struct Issue {
    pub(crate) id: String,
    pub(crate) grant: Grant,
    /// The scope of the access token; the grant keeps its own.
    pub(crate) scope: Vec<String>,
    pub(crate) generation: u64,
    pub(crate) ends: Timestamp,
    pub(crate) refresh_token: String,
}

impl Grant {
    fn row_expires(&self) -> Timestamp {
        match &self.stage {
            Stage::Pending => self.code.expires.plus(MARGIN),
            Stage::Issued { family, .. } => family.absolute_expires.plus(MARGIN),
        }
    }

    fn family(&self) -> Option<&Family> {
        match &self.stage {
            Stage::Pending => None,
            Stage::Issued { family, .. } => Some(family),
        }
    }

    fn with_family(&self, family: Family) -> Self {
        let mut next = self.clone();
        if let Stage::Issued { family: old, .. } = &mut next.stage {
            *old = family;
        }
        next
    }

    fn targets(&self, named: &[&str], server: &AuthServer) -> Result<(), TokenError> {
        if !named.is_empty() && resource::meant(named.iter().copied(), &server.config.resources)? != self.resource {
            return Err(TokenError::InvalidTarget(resource::TargetError));
        }
        Ok(())
    }
}

impl AuthServer {
    /// Stores a grant that waits for the redemption of its code, and makes the code.
    pub(crate) async fn begin_grant(&self, mut grant: Grant) -> Result<String, TokenError> {
        let mut id = [0; GrantId::BYTES];
        self.entropy.fill(&mut id)?;
        let id = GrantId::from_bytes(id).to_text();
        let code = format!("{id}.{}", random_text::<32>(&*self.entropy)?);
        grant.code.digest = digest_text(code.as_bytes());
        let ttl = grant.row_expires().since(self.now());
        if !self.rows.create(&id, &grant, Some(ttl)).await? {
            return Err(TokenError::Internal);
        }
        Ok(code)
    }

    async fn grant(&self, id: &str) -> Result<Option<Loaded<Grant>>, StoreError> {
        let Some(id) = GrantId::parse(id) else { return Ok(None) };
        let loaded = self.rows.get::<Grant>(&id.to_text()).await?;
        Ok(loaded.filter(|grant| self.now() < grant.row.row_expires()))
    }

    async fn replace_grant(&self, id: &str, loaded: &Loaded<Grant>, new: &Grant) -> Result<bool, StoreError> {
        // What has not changed need not be written: reading it was the transaction.
        if *new == loaded.row {
            return Ok(true);
        }
        let mut ttl = new.row_expires().since(self.now()).max(Duration::from_secs(1));
        if new.family().is_some_and(|family| family.revoked) {
            // Whoever remembers something that was opened under the grant may ask long after the grant itself is over.
            ttl = ttl.max(self.config.revocation_memory);
        }
        let replaced = self.rows.replace(id, loaded, new, Some(ttl)).await?;
        if !replaced {
            tokio::task::yield_now().await;
        }
        Ok(replaced)
    }

    /// Redeems a code (OAuth 2.1 section 4.1.3). A presentation that is not valid in every part changes nothing; a second
    /// valid one ends the grant (section 7.5.3).
    pub(crate) async fn redeem(&self, presented: &CodePresentation<'_>) -> Result<Issue, TokenError> {
        let (id, _) = presented.code.split_once('.').ok_or(TokenError::InvalidGrant)?;
        for _ in 0..ATTEMPTS {
            let loaded = self.grant(id).await?.ok_or(TokenError::InvalidGrant)?;
            let grant = &loaded.row;
            let genuine = same(&grant.code.digest, &digest_text(presented.code.as_bytes()))
                && grant.client == presented.client
                && presented.redirect_uri.is_none_or(|uri| uri == grant.code.redirect_uri)
                && same(&grant.code.challenge, &digest_text(presented.verifier.as_bytes()));
            if !genuine {
                return Err(TokenError::InvalidGrant);
            }
            grant.targets(&presented.resources, self)?;
            if grant.stage != Stage::Pending {
                self.revoke(id, "code_replayed").await?;
                return Err(TokenError::InvalidGrant);
            }
            if self.now() >= grant.code.expires || !self.knows_subject(&grant.subject) {
                return Err(TokenError::InvalidGrant);
            }
            let (next, family_key) = self.issued(id, grant, presented.client_refreshes)?;
            if self.replace_grant(id, &loaded, &next).await? {
                self.audit().issued(id, &next, FIRST_GENERATION, "code");
                let scope = next.scope.clone();
                return issue(id, next, scope, &family_key);
            }
        }
        Err(TokenError::Unavailable)
    }

    fn issued(&self, id: &str, grant: &Grant, refreshes: bool) -> Result<(Grant, Zeroizing<Vec<u8>>), TokenError> {
        let mut key = Zeroizing::new(vec![0; 32]);
        self.entropy.fill(&mut key)?;
        let sealed = self.ring.seal_row(&seal_label(id, grant), &key, &*self.entropy)?;
        let (idle, lifetime) = if refreshes {
            (self.config.refresh_idle, self.config.refresh_lifetime)
        } else {
            (self.config.access_token_lifetime, self.config.access_token_lifetime)
        };
        let family = Family::start(self.now(), idle, lifetime);
        let stage = Stage::Issued { family, key: URL_SAFE_NO_PAD.encode(sealed.0) };
        Ok((Grant { stage, ..grant.clone() }, key))
    }

    /// Refreshes (OAuth 2.1 section 4.3). The family's state after the decision is written before anything is answered.
    pub(crate) async fn refresh(&self, presented: &RefreshPresentation<'_>) -> Result<Issue, TokenError> {
        let id = presented.token.grant.to_text();
        let policy =
            Policy { grace: self.config.refresh_grace, idle: self.config.refresh_idle, rotation: presented.rotation };
        for _ in 0..ATTEMPTS {
            let loaded = self.grant(&id).await?.ok_or(TokenError::InvalidGrant)?;
            let grant = &loaded.row;
            let family_key = self.family_key(&id, grant)?.ok_or(TokenError::InvalidGrant)?;
            let family = grant.family().ok_or(TokenError::InvalidGrant)?;
            if !presented.token.verify(&family_key) || grant.client != presented.client {
                return Err(TokenError::InvalidGrant);
            }
            let now = self.now();
            let decision = family.decide(presented.token.generation, now, &policy);
            match decision {
                Decision::Rotate | Decision::SameHead(_) => {}
                Decision::Reuse => {
                    // Revoking reads again: should the family have moved on since, the token is only older.
                    self.revoke(&id, "refresh_token_reused").await?;
                    return Err(TokenError::InvalidGrant);
                }
                Decision::Expired | Decision::Revoked => return Err(TokenError::InvalidGrant),
            }
            if !self.knows_subject(&grant.subject) {
                return Err(TokenError::InvalidGrant);
            }
            grant.targets(&presented.resources, self)?;
            let scope = scope::narrowed(presented.scope, &grant.scope)?;
            let next = grant.with_family(family.after(decision, now, &policy));
            if self.replace_grant(&id, &loaded, &next).await? {
                self.audit_refresh(&id, &next, presented.token.generation, decision);
                return issue(&id, next, scope, &family_key);
            }
        }
        Err(TokenError::Unavailable)
    }

    fn audit_refresh(&self, id: &str, grant: &Grant, presented: u64, decision: Decision) {
        let head = grant.family().map_or(0, |family| family.head);
        self.audit().issued(id, grant, head, "refresh");
        match decision {
            Decision::SameHead(SameHead::Grace) => self.audit().replayed(id, grant, presented, "grace"),
            Decision::SameHead(SameHead::LostResponse) => self.audit().replayed(id, grant, presented, "lost_response"),
            _ => {}
        }
    }

    /// The family's key; `None` while the code is not redeemed. A key that does not open is an outage of ours (the key ring
    /// was replaced), not a fault of the client, but the grant is lost all the same.
    fn family_key(&self, id: &str, grant: &Grant) -> Result<Option<Zeroizing<Vec<u8>>>, TokenError> {
        let Stage::Issued { key, .. } = &grant.stage else { return Ok(None) };
        let sealed = URL_SAFE_NO_PAD.decode(key).map_err(|_| TokenError::InvalidGrant)?;
        self.ring.open_row(&seal_label(id, grant), &sealed).map(Some).map_err(|_| {
            tracing::error!(grant = id, "the key of a grant does not open under this key ring");
            TokenError::InvalidGrant
        })
    }

    /// The grant that a genuine refresh token of this client belongs to, of whatever generation.
    pub(crate) async fn grant_of_refresh_token(
        &self,
        token: &RefreshToken,
        client: &str,
    ) -> Result<Option<String>, TokenError> {
        let id = token.grant.to_text();
        let Some(loaded) = self.grant(&id).await? else { return Ok(None) };
        let Ok(Some(key)) = self.family_key(&id, &loaded.row) else { return Ok(None) };
        Ok((token.verify(&key) && loaded.row.client == client).then_some(id))
    }

    /// Ends a grant for good and tells everyone. Ending it once more tells everyone once more.
    pub(crate) async fn revoke(&self, id: &str, reason: &str) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(loaded) = self.grant(id).await? else { return Ok(()) };
            let Some(family) = loaded.row.family() else { return Ok(()) };
            if !family.revoked {
                let next = loaded.row.with_family(family.after(Decision::Reuse, self.now(), &REVOKING));
                if !self.replace_grant(id, &loaded, &next).await? {
                    continue;
                }
                self.audit().revoked(id, &next, reason);
            }
            let message = json!({ "grant": id, "reason": reason, "sessions": true });
            return self.revocations().announce(message.to_string().into()).await;
        }
        Err(Unavailable { reason: "a grant changed too often to be revoked".to_owned() }.into())
    }

    /// Ends a grant whose code may not have been redeemed yet: then it never will be.
    pub(crate) async fn end_grant(&self, id: &str, reason: &str) -> Result<(), StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(loaded) = self.grant(id).await? else { return Ok(()) };
            if loaded.row.stage != Stage::Pending {
                return self.revoke(id, reason).await;
            }
            if self.rows.remove(id, &loaded).await? {
                return Ok(());
            }
        }
        Err(Unavailable { reason: "a grant changed too often to be ended".to_owned() }.into())
    }

    /// Refuses one access token from now on, and tells everyone. The grant stands.
    pub(crate) async fn deny_access_token(&self, id: &str, jti: &str, exp: u64) -> Result<(), StoreError> {
        let ttl = Timestamp::from_seconds(exp).since(self.now()) + MARGIN;
        self.rows.put(&digest_text(jti.as_bytes()), &DeniedToken { exp }, Some(ttl)).await?;
        let message = json!({ "grant": id, "jti": jti, "reason": "token_revoked", "sessions": false });
        self.revocations().announce(message.to_string().into()).await
    }

    pub(crate) async fn standing(&self, id: &str) -> Result<GrantStanding, StoreError> {
        let loaded = self.grant(id).await?;
        Ok(loaded.map_or(GrantStanding::Revoked, |loaded| self.standing_of(&loaded.row)))
    }

    /// Reads the row whatever its age: a revocation is remembered longer than the grant would have lived.
    pub(crate) async fn revoked(&self, id: &str) -> Result<bool, StoreError> {
        let Some(id) = GrantId::parse(id) else { return Ok(false) };
        let loaded = self.rows.get::<Grant>(&id.to_text()).await?;
        Ok(loaded.is_some_and(|loaded| {
            loaded.row.family().is_some_and(|family| family.revoked) || !self.knows_subject(&loaded.row.subject)
        }))
    }

    fn standing_of(&self, grant: &Grant) -> GrantStanding {
        let stands = grant.family().is_some_and(|family| !family.revoked && self.now() < family.absolute_expires)
            && self.knows_subject(&grant.subject);
        if stands { GrantStanding::Active } else { GrantStanding::Revoked }
    }

    /// Marks a generation as seen, and tells whether the access token stands.
    pub(crate) async fn accept(&self, id: &str, generation: u64, jti: &str) -> Result<GrantStanding, StoreError> {
        if self.rows.get::<DeniedToken>(&digest_text(jti.as_bytes())).await?.is_some() {
            return Ok(GrantStanding::Revoked);
        }
        for _ in 0..ATTEMPTS {
            let Some(loaded) = self.grant(id).await? else { return Ok(GrantStanding::Revoked) };
            let Some(family) = loaded.row.family() else { return Ok(GrantStanding::Revoked) };
            if generation > family.head || self.standing_of(&loaded.row) == GrantStanding::Revoked {
                return Ok(GrantStanding::Revoked);
            }
            let next = loaded.row.with_family(family.after_use_of(generation));
            if self.replace_grant(id, &loaded, &next).await? {
                return Ok(GrantStanding::Active);
            }
        }
        Err(Unavailable { reason: "a grant changed too often to be read".to_owned() }.into())
    }
}

/// The id of the grant that a code of ours belongs to.
pub(crate) fn grant_of_code(code: &str) -> &str {
    code.split_once('.').map_or(code, |(id, _)| id)
}

/// A policy for the end of a family, which depends on none.
const REVOKING: Policy = Policy { grace: Duration::ZERO, idle: Duration::ZERO, rotation: Rotation::EveryUse };

/// Associated data of the sealed family key: it opens in this grant's row, for this client and user alone.
fn seal_label(id: &str, grant: &Grant) -> String {
    format!("{}/{id}/{}/{}", Grant::FAMILY, grant.client, grant.subject)
}

/// The tokens of a grant's head.
fn issue(id: &str, grant: Grant, scope: Vec<String>, family_key: &[u8]) -> Result<Issue, TokenError> {
    let family = grant.family().ok_or(TokenError::Internal)?;
    let (generation, ends) = (family.head, family.absolute_expires);
    let parsed = GrantId::parse(id).ok_or(TokenError::Internal)?;
    let refresh_token = RefreshToken::mint(family_key, parsed, generation);
    Ok(Issue { id: id.to_owned(), grant, scope, generation, ends, refresh_token })
}
