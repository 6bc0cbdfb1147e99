//! Sessions without an id: what the gateway holds between a modern client, which has no session, and backends that need one.
//!
//! A modern request brings nothing but its credential and what it says of itself. What it finds here is found by exactly that:
//! owner, client, declared capabilities, log level. So nobody can present anything that leads to another's, and a legacy
//! backend is only ever told capabilities that the present client has (MCP 2026-07-28, Statelessness; Versioning).

use std::sync::Arc;
use std::time::Duration;

use hawser_identity::Authenticated;
use hawser_mcp::{RawJson, Revision};
use hawser_owner::{EndpointId, LocalOwner, Owned, PrincipalKind, SealError};

use super::{OpenError, Sessions, is_over};
use crate::checked::Checked;
use crate::claims::{CapabilityBits, SessionClaims, SessionKey};
use crate::client_kind::Declared;
use crate::endpoint::Endpoint;
use crate::gate::Entered;
use crate::record::SessionRecord;
use crate::session::Session;

/// How long a pooled session may go unused: opening its backends anew costs little.
const IDLE: Duration = Duration::from_mins(10);

/// What a modern client says of itself with every request.
#[derive(Clone, Debug)]
pub(crate) struct Presence {
    pub(crate) capabilities: RawJson,
    pub(crate) client_info: RawJson,
    pub(crate) log_level: Option<String>,
}

/// What a pooled session is found by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolKey {
    endpoint: EndpointId,
    shared: bool,
    owner: LocalOwner,
    client_id: Option<String>,
    capabilities: RawJson,
    client_info: RawJson,
    log_level: Option<String>,
}

impl PoolKey {
    /// Whether callers who are not the same person find it.
    pub(crate) const fn is_shared(&self) -> bool {
        self.shared
    }
}

impl Sessions {
    /// The pooled session of whoever sent the present request, a new one if there is none.
    pub(crate) async fn pooled(
        &self,
        endpoint: &Arc<Endpoint>,
        authenticated: &Authenticated,
        presence: Presence,
    ) -> Result<Owned<Entered>, OpenError> {
        if self.is_closing() {
            return Err(OpenError::Stopping);
        }
        let now = self.now();
        let expires = now.plus(self.config.policy.lifetime);
        let anonymous = authenticated.principal().kind() == PrincipalKind::Anonymous;
        let owned = self.ring().own(authenticated.principal(), expires, |owner| PoolKey {
            endpoint: endpoint.id(),
            shared: anonymous && !self.config.policy.one_person,
            owner,
            client_id: authenticated.client_id().map(str::to_owned),
            capabilities: presence.capabilities,
            client_info: presence.client_info,
            log_level: presence.log_level,
        });
        if let Some(session) = self.find_pooled(&owned) {
            session.touch(now);
            return Ok(owned.map(|_| session));
        }
        let place = self.place(authenticated).await?;
        let _one_at_a_time = self.pool_gate.lock().await;
        if let Some(session) = self.find_pooled(&owned) {
            return Ok(owned.map(|_| session));
        }
        let mut key = SessionKey([0; 16]);
        self.entropy().fill(&mut key.0).map_err(SealError::from)?;
        let claims = SessionClaims {
            key,
            revision: Revision::LATEST_MODERN,
            capabilities: CapabilityBits::of(&owned.capabilities),
            idle_seconds: u32::try_from(IDLE.as_secs()).unwrap_or(u32::MAX),
        };
        let record = SessionRecord {
            owner: owned.owner(),
            endpoint: endpoint.path().to_owned(),
            opened: now,
            expires,
            last_used: now,
            grant: None,
            capabilities: owned.capabilities.clone(),
            client_info: owned.client_info.clone(),
            log_level: owned.log_level.clone(),
            subscriptions: std::collections::BTreeMap::new(),
        };
        let declared = Declared {
            revision: claims.revision,
            capabilities: owned.capabilities.clone(),
            client_info: owned.client_info.clone(),
        };
        let (client, pooled) = (self.clients.of(&declared), Some((*owned).clone()));
        let checked = Checked::now(self.upkeep.round());
        let session = self.session((claims, owned.owner_key()), endpoint, record, (client, checked), place, pooled)?;
        let entered = Entered::into(&session).ok_or(OpenError::TooMany)?;
        self.insert(&session);
        let replaced = self.pool.pin().insert((*owned).clone(), Arc::clone(&session)).cloned();
        if let Some(replaced) = replaced {
            self.release(&replaced);
        }
        Ok(owned.map(|_| entered))
    }

    fn find_pooled(&self, key: &PoolKey) -> Option<Entered> {
        let found = self.pool.pin().get(key).cloned()?;
        let stands = !found.is_ended() && !is_over(&found, self.now());
        stands.then(|| Entered::into(&found)).flatten()
    }

    /// Takes a session out of the pool, if it is the one that is there.
    pub(super) fn forget_pooled(&self, session: &Arc<Session>) {
        if let Some(key) = session.pool_key() {
            let _ = self.pool.pin().remove_if(key, |_, held| Arc::ptr_eq(held, session));
        }
    }
}
