//! How sessions end: by their owner, by revocation, by time, or with the node.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use hawser_identity::Authenticated;
use hawser_owner::{OwnerDigest, Timestamp};
use hawser_store::StoreError;
use tracing::warn;

use super::{Sessions, row};
use crate::audit;
use crate::claims::SessionKey;
use crate::credential::{Credential, Revocation};
use crate::record;
use crate::session::Session;

/// A tombstone outlives the handle by this much, for clocks that differ.
pub(super) const TOMBSTONE_MARGIN: Duration = Duration::from_mins(5);
/// A stream of notifications may outlive its access token by this much.
const TOKEN_GRACE: Duration = Duration::from_secs(30);

impl Sessions {
    /// Ends a session for good: the tombstone is durable before anything else happens.
    pub(crate) async fn terminate(&self, session: &Arc<Session>, reason: &'static str) -> Result<(), StoreError> {
        let _ordered = self.shard(session.key()).lock().await;
        self.bury(session.key(), session.owner(), session.endpoint().path()).await?;
        audit::terminated(session.endpoint().name(), session.owner(), reason);
        session.mark_terminated();
        // Another object may have taken its place meanwhile: restored, before the tombstone was there.
        let held = self.live.pin().get(&session.key()).cloned().filter(|held| !Arc::ptr_eq(held, session));
        for ended in held.iter().chain([session]) {
            ended.mark_terminated();
            self.release(ended);
        }
        Ok(())
    }

    /// A credential was revoked: its streams and calls end, wherever they are, and with `sessions` also every session that was
    /// opened under the grant.
    pub(crate) async fn revoke(&self, revocation: &Revocation<'_>, sessions: bool) {
        self.revoked.note(revocation);
        for session in self.live.pin().values() {
            session.outbox.revoke(revocation);
            session.listeners.revoke(revocation);
            session.in_flight.revoke(revocation);
            session.parked.revoke(revocation);
        }
        if sessions {
            self.terminate_grant(revocation.grant).await;
        }
    }

    /// Whether a credential was revoked a moment ago: after the present request was authenticated, and maybe before anything of
    /// it could be found. To be asked when it can be.
    pub(crate) fn was_just_revoked(&self, credential: &Credential) -> bool {
        self.revoked.hit(credential)
    }

    async fn terminate_grant(&self, grant: &str) {
        let opened: Vec<_> =
            self.live.pin().values().filter(|session| session.grant() == Some(grant)).cloned().collect();
        for session in opened {
            // Cut off at once; the tombstone follows. Should the store fail now, the revoked grant itself still keeps the
            // session from being restored.
            session.mark_terminated();
            if let Err(error) = self.terminate(&session, "grant_revoked").await {
                warn!(%error, "a session under a revoked grant could not be buried; it stays closed on this node");
            }
        }
    }

    /// How long a stream may live that is opened now: its client opens it again with the token that it holds then.
    pub(crate) fn stream_lives(&self, authenticated: &Authenticated) -> Option<Duration> {
        authenticated.expires().map(|expires| expires.since(self.now()) + TOKEN_GRACE)
    }

    /// Ends every session whose grant is found revoked.
    pub(crate) async fn recheck_grants(&self) {
        let Some(grants) = &self.config.grants else { return };
        let opened_under: HashSet<String> =
            self.live.pin().values().filter_map(|session| session.grant().map(str::to_owned)).collect();
        for grant in opened_under {
            match grants.is_revoked(&grant).await {
                Ok(true) => self.terminate_grant(&grant).await,
                Ok(false) => {}
                Err(error) => warn!(%error, "the grant of a session could not be looked up"),
            }
        }
    }

    /// Drops sessions whose time is up from memory. Their ids are refused by time alone.
    pub(crate) async fn sweep(&self) {
        let now = self.now();
        let over: Vec<_> = self.live.pin().values().filter(|session| is_over(session, now)).cloned().collect();
        for session in over {
            let _ordered = self.shard(session.key()).lock().await;
            if is_over(&session, now) {
                self.release(&session);
            }
        }
        for session in self.live.pin().values() {
            session.pending.expire();
            session.events.expire();
            session.parked.expire();
        }
    }

    pub(super) async fn bury(&self, key: SessionKey, owner: OwnerDigest, endpoint: &str) -> Result<(), StoreError> {
        let ttl = self.config.policy.lifetime + TOMBSTONE_MARGIN;
        self.config.store.put(&row(key)?, record::tombstone(owner, endpoint, self.now()), Some(ttl)).await
    }
}

/// A session that works is not idle, however long ago its owner last sent something.
pub(super) fn is_over(session: &Session, now: Timestamp) -> bool {
    let idle = now.since(session.last_used()).as_secs() > session.idle_seconds() && session.is_idle();
    // A pooled session is nobody's handle, so no time is up for the calls in it.
    let aged = now >= session.expires() && (!session.is_pooled() || session.is_idle());
    aged || idle
}
