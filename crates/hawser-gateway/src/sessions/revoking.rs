//! Ending many sessions at once, by whom or what they belong to.
//!
//! A row that says "all that was opened before this moment is over" is written first: it is consulted whenever a session is
//! restored, so that it also covers sessions whose rows are lost, and nodes that hold nothing of them. Then the nodes that hold
//! some are told, and the rows that are there become tombstones.

use aws_lc_rs::digest;
use bytes::Bytes;
use hawser_owner::{Principal, Timestamp};
use hawser_store::{Key, SCAN_ROWS_MAX, StoreError};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::announced::Announced;
use super::ended::{Before, EndedSession, Over, Whose};
use super::ending::TOMBSTONE_MARGIN;
use super::{Sessions, row};
use crate::audit;
use crate::claims::{SessionKey, hex};
use crate::endpoint::Endpoint;
use crate::record;

/// How much the clocks of nodes may differ. All sessions that were opened before a revocation are over although the clock of their
/// node was ahead by so much; who opens one within this time after it, at a node that has not heard of it yet, may have to again.
const CLOCKS_APART: Duration = Duration::from_secs(5);
/// Longer than any session may live, whatever is configured now or was before.
const LONGEST_LIFETIME: Duration = Duration::from_hours(366 * 24);
const VERSION: u32 = 1;

/// Which sessions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// The one of this name, in hexadecimal.
    Session(String),
    /// All of one owner.
    Owner(Principal),
    /// All that were opened under one grant of the embedded authorization server.
    Grant(String),
    /// All of one endpoint, by its path.
    Endpoint(String),
}

/// What was revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Revoked {
    /// How many sessions were found and ended. Sessions whose rows are lost are over as well, but cannot be counted.
    pub sessions: u64,
}

/// All before a moment is over.
#[derive(Serialize, Deserialize)]
struct RevokedRow {
    v: u32,
    before: Timestamp,
}

impl Sessions {
    /// Ends all these sessions, on every node.
    pub(crate) async fn revoke_selected(
        &self,
        selection: &Selection,
        reason: &'static str,
    ) -> Result<Revoked, StoreError> {
        let now = self.now();
        let before = Before { before: now.plus(CLOCKS_APART), until: now.plus(LONGEST_LIFETIME) };
        let announced = match selection {
            Selection::Session(name) => return self.revoke_session(name, reason).await,
            Selection::Owner(principal) => {
                let digests = self.ring().owner_digests(principal);
                Announced::Revoked(digests.iter().map(|digest| Whose::Owner(digest.to_hex())).collect(), before)
            }
            Selection::Endpoint(path) => Announced::Revoked(vec![Whose::Endpoint(path.clone())], before),
            Selection::Grant(grant) => Announced::Grant(grant.clone()),
        };
        if let Announced::Revoked(whose, before) = &announced {
            for whose in whose {
                self.write_revoked(whose, *before).await?;
            }
        }
        audit_revoked(&announced, reason);
        // The others do not wait until this node has looked through what it holds.
        let (announced_to_all, ()) = futures_util::join!(self.announce(&announced), self.hear(announced.clone()));
        announced_to_all?;
        self.bury_all(&announced, now).await
    }

    /// Ends one session, wherever it is, and whether or not anything is known of it.
    async fn revoke_session(&self, name: &str, reason: &'static str) -> Result<Revoked, StoreError> {
        let Some(key) = SessionKey::from_hex(name) else { return Ok(Revoked::default()) };
        let held = self.live.pin().get(&key).cloned();
        if let Some(session) = held.filter(|session| !session.is_pooled() && !session.is_terminated()) {
            self.terminate(&session, reason).await?;
            return Ok(Revoked { sessions: 1 });
        }
        let row = row(key)?;
        let found = self.config.store.get(&row).await?;
        if found.as_ref().is_some_and(|bytes| record::is_tombstone(bytes)) {
            return Ok(Revoked::default());
        }
        let shown = found.as_ref().and_then(|bytes| record::show(bytes));
        let sessions = u64::from(found.is_some());
        let longest = self.now().plus(LONGEST_LIFETIME);
        let ended = shown.map_or_else(
            || EndedSession { owner: String::new(), endpoint: String::new(), expires: longest },
            |shown| EndedSession {
                owner: shown.owner,
                endpoint: shown.endpoint,
                expires: shown.expires.unwrap_or(longest),
            },
        );
        let (tombstone, ttl) = self.tombstone(&ended);
        self.config.store.put(&row, tombstone, Some(ttl)).await?;
        audit::revoked("session", name, reason);
        let over = Over::Session(key, ended);
        self.hear(over.clone().into()).await;
        self.announce(&over.into()).await?;
        Ok(Revoked { sessions })
    }

    /// Makes tombstones of the rows of all these sessions.
    async fn bury_all(&self, announced: &Announced, now: Timestamp) -> Result<Revoked, StoreError> {
        let (mut revoked, mut after) = (Revoked::default(), None);
        loop {
            let page = self.config.store.scan("session", after.as_ref(), SCAN_ROWS_MAX).await?;
            for (key, bytes) in page.rows {
                let Some(shown) = record::show(&bytes).filter(|shown| !shown.terminated) else { continue };
                if !is_hit(&shown, announced) {
                    continue;
                }
                let expires = shown.expires.unwrap_or_else(|| now.plus(LONGEST_LIFETIME));
                let ended = EndedSession { owner: shown.owner, endpoint: shown.endpoint, expires };
                let (tombstone, ttl) = self.tombstone(&ended);
                self.config.store.put(&key, tombstone, Some(ttl)).await?;
                revoked.sessions += 1;
            }
            after = page.next;
            if after.is_none() {
                return Ok(revoked);
            }
            // A store that is in this process does not wait for anything.
            tokio::task::yield_now().await;
        }
    }

    /// The time that a session is opened at which is opened now: after all that is known to be over, by whatever clock.
    pub(super) fn opened_now(&self, endpoint: &Endpoint, principal: &Principal) -> Timestamp {
        let now = self.now();
        if !self.ended.holds_revocations() {
            return now;
        }
        let owners = self.ring().owner_digests(principal).into_iter().map(|digest| Whose::Owner(digest.to_hex()));
        let whose = owners.chain([Whose::Endpoint(endpoint.path().to_owned())]);
        let before = whose.filter_map(|whose| self.ended.revoked_before(&whose)).max();
        before.map_or(now, |before| now.max(before.plus(Duration::from_secs(1))))
    }

    /// Up to when all sessions of an owner or an endpoint are over, by the store.
    pub(super) async fn revoked_before(&self, whose: &Whose) -> Result<Option<Timestamp>, StoreError> {
        let found = self.config.store.get(&revoked_row(whose)?).await?;
        // What cannot be read was written to end something.
        Ok(found.map(|bytes| {
            serde_json::from_slice::<RevokedRow>(&bytes).map_or(Timestamp::from_seconds(u64::MAX), |row| row.before)
        }))
    }

    pub(super) async fn write_revoked(&self, whose: &Whose, before: Before) -> Result<(), StoreError> {
        let row = RevokedRow { v: VERSION, before: before.before };
        // A struct of two numbers always serialises; an empty row ends everything.
        let bytes = Bytes::from(serde_json::to_vec(&row).unwrap_or_default());
        let ttl = before.until.since(self.now()) + TOMBSTONE_MARGIN;
        self.config.store.put(&revoked_row(whose)?, bytes, Some(ttl)).await
    }
}

/// Owners are named by digests, endpoints by a digest of their path, which may be long.
fn revoked_row(whose: &Whose) -> Result<Key, StoreError> {
    let (family, id) = match whose {
        Whose::Owner(owner) => ("revoked-owner", owner.clone()),
        Whose::Endpoint(path) => ("revoked-endpoint", hex(digest::digest(&digest::SHA256, path.as_bytes()).as_ref())),
    };
    Key::new(family, &id).map_err(|error| hawser_store::Unavailable { reason: error.to_string() }.into())
}

fn is_hit(shown: &record::ShownRow, announced: &Announced) -> bool {
    match announced {
        Announced::Revoked(whose, before) => {
            shown.opened.is_none_or(|opened| opened <= before.before)
                && whose.iter().any(|whose| match whose {
                    Whose::Owner(owner) => *owner == shown.owner,
                    Whose::Endpoint(path) => *path == shown.endpoint,
                })
        }
        Announced::Grant(grant) => shown.grant.as_ref() == Some(grant),
        Announced::Ended(..) => false,
    }
}

fn audit_revoked(announced: &Announced, reason: &'static str) {
    match announced {
        Announced::Revoked(whose, _) => {
            for whose in whose {
                match whose {
                    Whose::Owner(owner) => audit::revoked("owner", owner, reason),
                    Whose::Endpoint(path) => audit::revoked("endpoint", path, reason),
                }
            }
        }
        Announced::Grant(grant) => audit::revoked("grant", grant, reason),
        Announced::Ended(..) => {}
    }
}
