//! Sessions that this node does not hold: after a restart, or because another node opened them.
//!
//! Whose a session is was decided from its seal before anything here runs. What the store is asked for is whether it is over.
//! Where the store cannot be asked, or has lost its rows, the seal is enough: the session is served, and looked up later.

use std::sync::Arc;

use hawser_identity::Authenticated;
use hawser_mcp::RawJson;
use hawser_owner::{Proven, Standing, Timestamp};
use hawser_store::StoreError;
use tracing::warn;

use super::ended::Whose;
use super::{AdmitError, Sessions, row};
use crate::audit;
use crate::checked::Checked;
use crate::claims::SessionClaims;
use crate::client_kind::Declared;
use crate::endpoint::Endpoint;
use crate::gate::Entered;
use crate::places::Place;
use crate::record::{self, SessionRecord, StoredParts, StoredSession};
use crate::session::Session;

/// What is found of a session.
enum Found {
    /// It is over, or nobody's.
    Over(Standing),
    /// To be made of this.
    Parts(Box<StoredParts>, Checked),
}

impl Sessions {
    /// Brings a session back that this node does not hold.
    pub(super) async fn restore(
        &self,
        proven: &Proven<SessionClaims>,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
    ) -> Result<Result<Entered, Standing>, AdmitError> {
        let claims = *proven.claims();
        if self.was_ended(proven, endpoint) {
            return Ok(Err(Standing::Terminated));
        }
        // Before the lock: making room takes the lock of another session.
        let place = self.place(authenticated).await?;
        let _ordered = self.shard(claims.key).lock().await;
        let held = self.live.pin().get(&claims.key).cloned();
        if let Some(session) = held.filter(|session| session.is_terminated() || !session.is_ended()) {
            if session.is_terminated() {
                return Ok(Err(Standing::Terminated));
            }
            return Entered::into(&session).map(Ok).ok_or(AdmitError::NotNow);
        }
        match self.found(proven, endpoint).await? {
            Found::Over(standing) => Ok(Err(standing)),
            Found::Parts(parts, checked) => self.revive(proven, endpoint, *parts, checked, place).await,
        }
    }

    fn was_ended(&self, proven: &Proven<SessionClaims>, endpoint: &Endpoint) -> bool {
        self.ended.holds(proven.claims().key, &proven.owner().to_hex(), endpoint.path(), proven.issued())
    }

    /// What the store has of a session.
    async fn found(&self, proven: &Proven<SessionClaims>, endpoint: &Endpoint) -> Result<Found, AdmitError> {
        // Before anything is read: what is missed from now on is not in what is read.
        let round = self.upkeep.round();
        let key = row(proven.claims().key)?;
        let (found, revoked) = futures_util::future::join(
            self.config.store.get(&key),
            self.is_revoked_as_a_whole(&proven.owner().to_hex(), endpoint.path(), proven.issued()),
        )
        .await;
        let asked_all = revoked.is_ok();
        if revoked.unwrap_or(false) {
            return Ok(Found::Over(Standing::Terminated));
        }
        let bytes = match found {
            Ok(Some(bytes)) => bytes,
            // A sealed id without a row has lost it. The seal still proves whose it is, and the row is written again when it is
            // looked up.
            Ok(None) => return Ok(Found::Parts(Box::new(StoredParts::unknown(self.now())), Checked::by_seal())),
            Err(StoreError::Unavailable(error)) => {
                warn!(endpoint = endpoint.name(), %error, "a session is served by its seal alone");
                audit::served_by_seal(endpoint.name(), proven.owner());
                return Ok(Found::Parts(Box::new(StoredParts::unknown(self.now())), Checked::by_seal()));
            }
            Err(error) => return Err(error.into()),
        };
        match record::read(&bytes, proven.owner(), endpoint.path()) {
            StoredSession::Live(parts) => {
                let checked = if asked_all { Checked::now(round) } else { Checked::not_yet() };
                Ok(Found::Parts(parts, checked))
            }
            StoredSession::Terminated => Ok(Found::Over(Standing::Terminated)),
            // A node of a later release serves it.
            StoredSession::Newer => Err(AdmitError::NotNow),
            StoredSession::Foreign => {
                // Removed by being replaced: a deleted row would let the next request claim the id by its seal alone. Only what
                // was read is replaced.
                let ended = super::ended::EndedSession {
                    owner: proven.owner().to_hex(),
                    endpoint: endpoint.path().to_owned(),
                    expires: proven.expires(),
                };
                let (tombstone, ttl) = self.tombstone(&ended);
                self.config.store.compare_and_set(&key, Some(&bytes), Some(tombstone), Some(ttl)).await?;
                audit::foreign_record(endpoint.name(), proven.owner());
                Ok(Found::Over(Standing::ForeignRecord))
            }
        }
    }

    /// Makes a session of what was found, unless its time is up or its grant was revoked.
    async fn revive(
        &self,
        proven: &Proven<SessionClaims>,
        endpoint: &Arc<Endpoint>,
        stored: StoredParts,
        checked: Checked,
        place: Place,
    ) -> Result<Result<Entered, Standing>, AdmitError> {
        let claims = *proven.claims();
        let idle_seconds = u64::from(claims.idle_seconds);
        let now = self.now();
        let last_used = Session::at_the_latest(stored.last_used, idle_seconds, now);
        if now.since(last_used).as_secs() > idle_seconds {
            return Ok(Err(Standing::Live { last_used, idle_seconds }));
        }
        let record = SessionRecord {
            owner: proven.owner(),
            endpoint: endpoint.path().to_owned(),
            opened: proven.issued(),
            expires: proven.expires(),
            last_used,
            grant: stored.grant,
            capabilities: stored.capabilities.unwrap_or_else(|| claims.capabilities.to_capabilities()),
            client_info: stored.client_info.unwrap_or_else(unknown_client),
            log_level: stored.log_level,
            subscriptions: stored.subscriptions,
        };
        let declared = Declared {
            revision: claims.revision,
            capabilities: record.capabilities.clone(),
            client_info: record.client_info.clone(),
        };
        let client = self.clients.of(&declared);
        let session = self.session((claims, proven.owner_key()), endpoint, record, (client, checked), place, None)?;
        // Entered before anybody can find it, and set it aside as the one that was not used for longest.
        let entered = Entered::into(&session).ok_or(AdmitError::NotNow)?;
        self.insert(&session);
        // Asked when the session can already be found: a revocation that comes from now on ends it by itself.
        let over = match self.is_revoked(session.grant()).await {
            Ok(revoked) => revoked || self.was_ended(proven, endpoint),
            Err(StoreError::Unavailable(_)) => {
                session.checked.doubt();
                self.was_ended(proven, endpoint)
            }
            Err(error) => {
                self.release(&session);
                return Err(error.into());
            }
        };
        if over {
            self.cut_off(&session, "revoked");
            self.owe(super::ended::Over::Session(session.key(), Self::ended_of(&session)));
            return Ok(Err(Standing::Terminated));
        }
        self.nodes().who_listens(&session);
        Ok(Ok(entered))
    }

    /// Whether all earlier sessions of an owner or an endpoint are over.
    pub(super) async fn is_revoked_as_a_whole(
        &self,
        owner: &str,
        endpoint: &str,
        opened: Timestamp,
    ) -> Result<bool, StoreError> {
        let (owner, endpoint) = (Whose::Owner(owner.to_owned()), Whose::Endpoint(endpoint.to_owned()));
        let (owner, endpoint) =
            futures_util::future::try_join(self.revoked_before(&owner), self.revoked_before(&endpoint)).await?;
        Ok([owner, endpoint].into_iter().flatten().any(|before| opened <= before))
    }
}

fn unknown_client() -> RawJson {
    RawJson::from_serialize(&serde_json::json!({ "name": "unknown", "version": "0" }))
        .unwrap_or_else(|_| RawJson::empty_object())
}
