//! How sessions end: by their owner, by revocation, by time, or with the node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hawser_identity::Authenticated;
use hawser_owner::Timestamp;
use hawser_store::StoreError;
use tracing::warn;

use super::ended::{EndedSession, Over};
use super::{Sessions, row};
use crate::audit;
use crate::claims::SessionKey;
use crate::credential::{Credential, Revocation};
use crate::record::{self, StoredSession};
use crate::relay::NodeName;
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
    /// Ends a session for good, everywhere: the tombstone is durable before anything else happens, then the other nodes are told.
    pub(crate) async fn terminate(&self, session: &Arc<Session>, reason: &'static str) -> Result<(), StoreError> {
        let ended = Self::ended_of(session);
        {
            let _ordered = self.shard(session.key()).lock().await;
            let (tombstone, ttl) = self.tombstone(&ended);
            self.config.store.put(&row(session.key())?, tombstone, Some(ttl)).await?;
            self.cut_off(session, reason);
        }
        let over = Over::Session(session.key(), ended);
        if let Err(error) = self.announce(&over.clone().into()).await {
            warn!(%error, "other nodes could not be told that a session is over; they are told when the store is back");
            self.owe(over);
        }
        Ok(())
    }

    /// Ends a session on this node, for good.
    pub(super) fn cut_off(&self, session: &Arc<Session>, reason: &'static str) {
        if !session.is_pooled() {
            self.ended.note(session.key(), Self::ended_of(session), self.now());
        }
        // Another object may have taken its place meanwhile: restored, before the tombstone was there.
        let held = self.live.pin().get(&session.key()).cloned().filter(|held| !Arc::ptr_eq(held, session));
        for ended in held.iter().chain([session]) {
            if ended.mark_terminated() {
                audit::terminated(ended.endpoint().name(), ended.owner(), reason);
            }
            self.release(ended);
        }
    }

    /// What is remembered of a session that is over.
    pub(super) fn ended_of(session: &Session) -> EndedSession {
        EndedSession {
            owner: session.owner().to_hex(),
            endpoint: session.endpoint().path().to_owned(),
            expires: session.expires(),
        }
    }

    /// A tombstone, and how long it stays: longer than the id of its session is good.
    pub(super) fn tombstone(&self, ended: &EndedSession) -> (Bytes, Duration) {
        let now = self.now();
        let tombstone = record::tombstone(&ended.owner, &ended.endpoint, ended.expires, now);
        (tombstone, ended.expires.since(now) + TOMBSTONE_MARGIN)
    }

    /// A credential was revoked: its streams and calls end, wherever they are, and with `sessions` also every session that was
    /// opened under the grant.
    pub(crate) fn revoke(&self, revocation: &Revocation<'_>, sessions: bool) {
        self.revoked.note(revocation);
        for session in self.workshop.at_work() {
            session.revoke(revocation);
        }
        if sessions {
            self.terminate_grant(revocation.grant);
        }
    }

    /// Whether a credential was revoked a moment ago: after the present request was authenticated, and maybe before anything of
    /// it could be found. To be asked when it can be.
    pub(crate) fn was_just_revoked(&self, credential: &Credential) -> bool {
        self.revoked.hit(credential)
    }

    /// Cut off at once; the tombstones follow. Until they are written the revoked grant itself keeps its sessions from being
    /// restored.
    fn terminate_grant(&self, grant: &str) {
        for session in self.opened_under(grant) {
            self.cut_off(&session, "grant_revoked");
            self.owe(Over::Session(session.key(), Self::ended_of(&session)));
        }
    }

    /// The sessions of this node that were opened under a grant.
    pub(super) fn opened_under(&self, grant: &str) -> Vec<Arc<Session>> {
        let live = |key: SessionKey| self.live.pin().get(&key).cloned();
        self.grants.of(grant).into_iter().filter_map(live).collect()
    }

    /// How long a stream may live that is opened now: its client opens it again with the token that it holds then.
    pub(crate) fn stream_lives(&self, authenticated: &Authenticated) -> Option<Duration> {
        authenticated.expires().map(|expires| expires.since(self.now()) + TOKEN_GRACE)
    }

    /// Drops sessions whose time is up from memory, and what sessions do not need any more. Their ids are refused by time alone, so
    /// there is no hurry: each sweep looks at so many of all sessions and goes on where the last one stopped, in steps between
    /// which others get their turn.
    pub(crate) async fn sweep(&self) {
        self.workshop.forget_the_gone();
        let mut put_by = BTreeSet::new();
        for some in self.workshop.at_work().chunks(AT_A_STEP) {
            for session in some {
                put_by.extend(session.present_work().map(|work| work.pending.put_by()).into_iter().flatten());
                session.tidy();
            }
            tokio::task::yield_now().await;
        }
        self.let_go_of_all_unsealed();
        for node in put_by {
            self.lose_questions(node).await;
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

    fn let_go_of_all_unsealed(&self) {
        for session in self.workshop.at_work() {
            self.let_go_of_unsealed(&session);
        }
    }

    /// Lets go of a session whose key was removed from the ring: nobody can present its id, and no revocation of its owner names it.
    /// It is not over: should the key come back, it is made anew from its id.
    pub(super) fn let_go_of_unsealed(&self, session: &Arc<Session>) {
        if !session.is_pooled() && !self.ring().has(session.sealed_under()) {
            self.release(session);
        }
    }

    /// What a node put to a client is declined when that node has ended.
    async fn lose_questions(&self, node: NodeName) {
        if self.nodes().is_gone(node).await {
            for some in self.workshop.at_work().chunks(AT_A_STEP) {
                some.iter().filter_map(|session| session.present_work()).for_each(|work| work.pending.lose(node));
                tokio::task::yield_now().await;
            }
        }
    }

    async fn release_over(&self, some: Vec<Arc<Session>>) {
        let now = self.now();
        for session in some.into_iter().filter(|session| is_over(session, now)) {
            // On a node of several the session may be in use elsewhere: its streams here are not to end then.
            if self.config.store.is_shared() && now < session.expires() && self.look_for_use(&session).await.is_err() {
                continue;
            }
            let _ordered = self.shard(session.key()).lock().await;
            if is_over(&session, now) && (now >= session.expires() || session.close_if_idle()) {
                self.release(&session);
            }
        }
    }

    /// Looks whether another node noted a later use of a session than is known here. `false` if there is nothing to look at.
    pub(super) async fn look_for_use(&self, session: &Arc<Session>) -> Result<bool, StoreError> {
        if session.is_pooled() {
            return Ok(true);
        }
        let Some(found) = self.config.store.get(&row(session.key())?).await? else { return Ok(false) };
        match record::read(&found, session.owner(), session.endpoint().path()) {
            StoredSession::Live(stored) => {
                let now = self.now();
                session.used_elsewhere(Session::at_the_latest(stored.last_used, session.idle_seconds(), now));
            }
            StoredSession::Terminated | StoredSession::Foreign => self.cut_off(session, "ended_elsewhere"),
            StoredSession::Newer => {}
        }
        Ok(true)
    }
}

/// A session that works is not idle, however long ago its owner last sent something.
pub(super) fn is_over(session: &Session, now: Timestamp) -> bool {
    let idle = now.since(session.last_used()).as_secs() > session.idle_seconds() && session.is_idle();
    // A pooled session is nobody's handle, so no time is up for the calls in it.
    let aged = now >= session.expires() && (!session.is_pooled() || session.is_idle());
    aged || idle
}
