//! Sessions as an administrator sees them: what the store has of them, and whether this node holds them.

use hawser_owner::Timestamp;
use hawser_store::{SCAN_ROWS_MAX, ScanCursor, StoreError};

use super::{Selection, Sessions, row};
use crate::claims::SessionKey;
use crate::record::{self, ShownRow};

/// Pages of the store that one page of sessions is taken from. Few sessions may be meant among many.
const SCANS_MAX: usize = 16;

/// A session, without its id: that opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionInfo {
    /// Its name, in hexadecimal.
    pub name: String,
    /// Whose it is, as a digest in hexadecimal.
    pub owner: String,
    /// The path of its endpoint.
    pub endpoint: String,
    /// When it was opened, if its row says.
    pub opened: Option<Timestamp>,
    /// When it was last used, to within a sixteenth of its idle time.
    pub last_used: Timestamp,
    /// When its lifetime ends, if its row says.
    pub expires: Option<Timestamp>,
    /// What the client said of itself: a JSON object.
    pub client_info: Option<String>,
    /// The grant under which it was opened, if the embedded authorization server made it.
    pub grant: Option<String>,
    /// Whether it was ended for good.
    pub terminated: bool,
    /// Whether the answering node holds it in memory.
    pub live: bool,
}

/// Some of the sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionPage {
    /// May be fewer than were asked for, even none, although there are more.
    pub sessions: Vec<SessionInfo>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<String>,
}

impl Sessions {
    /// The sessions that are not over by their rows, in no particular order.
    pub(crate) async fn list(
        &self,
        selection: Option<&Selection>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<SessionPage, StoreError> {
        if let Some(Selection::Session(name)) = selection {
            let shown = self.show(name).await?.filter(|info| !info.terminated);
            return Ok(SessionPage { sessions: shown.into_iter().collect(), next: None });
        }
        let owners = match selection {
            Some(Selection::Owner(principal)) => self.ring().owner_digests(principal),
            _ => Vec::new(),
        };
        let owners: Vec<_> = owners.iter().map(hawser_owner::OwnerDigest::to_hex).collect();
        let meant = |shown: &ShownRow| match selection {
            None | Some(Selection::Session(_)) => true,
            Some(Selection::Owner(_)) => owners.contains(&shown.owner),
            Some(Selection::Grant(grant)) => shown.grant.as_ref() == Some(grant),
            Some(Selection::Endpoint(path)) => *path == shown.endpoint,
        };
        let limit = limit.clamp(1, SCAN_ROWS_MAX);
        let mut page = SessionPage::default();
        let mut cursor = after.map(ScanCursor::parse).transpose()?;
        for _ in 0..SCANS_MAX {
            let scanned = self.config.store.scan("session", cursor.as_ref(), limit - page.sessions.len()).await?;
            for (key, bytes) in scanned.rows {
                let shown = record::show(&bytes).filter(|shown| !shown.terminated && meant(shown));
                let name = key.as_str().strip_prefix("session/").and_then(SessionKey::from_hex);
                page.sessions.extend(name.zip(shown).map(|(name, shown)| self.info(name, shown)));
            }
            page.next = scanned.next.as_ref().map(|next| next.as_str().to_owned());
            cursor = scanned.next;
            if cursor.is_none() || page.sessions.len() >= limit {
                break;
            }
            // A store that is in this process does not wait for anything.
            tokio::task::yield_now().await;
        }
        Ok(page)
    }

    /// The session of this name, if the store has a row of it; also one that is over.
    pub(crate) async fn show(&self, name: &str) -> Result<Option<SessionInfo>, StoreError> {
        let Some(key) = SessionKey::from_hex(name) else { return Ok(None) };
        let found = self.config.store.get(&row(key)?).await?;
        Ok(found.and_then(|bytes| record::show(&bytes)).map(|shown| self.info(key, shown)))
    }

    fn info(&self, key: SessionKey, shown: ShownRow) -> SessionInfo {
        let live = self.live.pin().get(&key).is_some_and(|session| !session.is_terminated());
        SessionInfo {
            name: key.to_hex(),
            owner: shown.owner,
            endpoint: shown.endpoint,
            opened: shown.opened,
            last_used: shown.last_used,
            expires: shown.expires,
            client_info: shown.client_info.map(|info| info.as_str().to_owned()),
            grant: shown.grant,
            terminated: shown.terminated,
            live,
        }
    }
}
