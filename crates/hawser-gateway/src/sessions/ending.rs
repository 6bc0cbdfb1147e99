//! How sessions end: by their owner, by revocation, by time, or with the node.

use std::sync::Arc;
use std::sync::atomic::Ordering;
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
/// Most sessions that are looked at in one go.
pub(super) const AT_A_STEP: usize = 512;
/// Most sessions that are looked at in one sweep.
const SWEPT_MAX: usize = 128 * 1024;

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
        for session in self.workshop.at_work() {
            session.revoke(revocation);
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
        let opened = self.grants.of(grant);
        let live = |key: SessionKey| self.live.pin().get(&key).cloned();
        for session in opened.into_iter().filter_map(live) {
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
        let mut last = None;
        while let Some(grant) = self.grants.next_grant(last.as_deref()) {
            match grants.is_revoked(&grant).await {
                Ok(true) => self.terminate_grant(&grant).await,
                Ok(false) => {}
                Err(error) => warn!(%error, "the grant of a session could not be looked up"),
            }
            last = Some(grant);
        }
    }

    /// Drops sessions whose time is up from memory, and what sessions do not need any more. Their ids are refused by time alone, so
    /// there is no hurry: each sweep looks at so many of all sessions and goes on where the last one stopped, in steps between
    /// which others get their turn.
    pub(crate) async fn sweep(&self) {
        for some in self.workshop.at_work().chunks(AT_A_STEP) {
            for session in some {
                session.tidy();
            }
            tokio::task::yield_now().await;
        }
        let first = self.swept.load(Ordering::Relaxed);
        let mut at = first;
        for _ in 0..SWEPT_MAX / AT_A_STEP {
            let (some, next) = self.places.from(at, AT_A_STEP);
            self.release_over(some).await;
            at = next.unwrap_or(0);
            if next.is_none() && first == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        self.swept.store(at, Ordering::Relaxed);
    }

    async fn release_over(&self, some: Vec<Arc<Session>>) {
        let now = self.now();
        for session in some.into_iter().filter(|session| is_over(session, now)) {
            let _ordered = self.shard(session.key()).lock().await;
            if is_over(&session, now) {
                self.release(&session);
            }
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
