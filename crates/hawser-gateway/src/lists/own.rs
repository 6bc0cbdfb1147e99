//! What a session itself knows of lists: what they depend on, and which are its own.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use hawser_mcp::{Era, ListKind, RawJson, Revision};
use hawser_owner::{EndpointId, LocalOwner};
use tokio::time::Instant;

use super::cache::{ListCache, Place, View};
use super::resources::INDEX_AGAIN;
use super::{LOST_FOR, PATIENCE, PATIENCE_LOST};
use crate::claims::SessionKey;
use crate::session::Session;

/// A session's own part in its lists. It holds no list.
#[derive(Debug)]
pub(crate) struct SessionLists {
    cache: Arc<ListCache>,
    endpoint: EndpointId,
    owner: LocalOwner,
    key: SessionKey,
    view: View,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Where the session era's server announced a change within this session: what it lists may be for this session alone.
    own: HashSet<(usize, ListKind)>,
    looked_up: Option<Instant>,
    /// The backends whose lists were waited for in vain, and when.
    hanging: HashMap<usize, Instant>,
}

impl View {
    /// What a backend is told of the client: all that its lists may depend on.
    pub(crate) fn of(revision: Revision, capabilities: &RawJson, client_info: &RawJson) -> Self {
        let mut context = Context::new(&SHA256);
        let mut add = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_be_bytes());
            context.update(bytes);
        };
        add(revision.as_str().as_bytes());
        add(capabilities.bytes());
        // From 2026-07-28 on servers "SHOULD NOT use it to change their behavior" (schema, `_meta` of requests); some older
        // ones do.
        if revision.era() == Era::Legacy {
            add(client_info.bytes());
        }
        let mut view = [0; 16];
        view.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        Self(view)
    }
}

impl SessionLists {
    pub(crate) fn new(session: &Session) -> Self {
        let endpoint = session.endpoint();
        Self {
            cache: Arc::clone(endpoint.lists()),
            endpoint: endpoint.id(),
            owner: session.local_owner(),
            key: session.key(),
            view: session.view(),
            state: Mutex::default(),
        }
    }

    /// Whether it knows nothing that would be missed.
    pub(crate) fn is_empty(&self, now: Instant) -> bool {
        let state = self.lock();
        let recent = |at: &Instant, within| now.saturating_duration_since(*at) < within;
        state.own.is_empty()
            && !state.looked_up.as_ref().is_some_and(|at| recent(at, INDEX_AGAIN))
            && !state.hanging.values().any(|at| recent(at, LOST_FOR))
    }

    /// Where a backend's list is kept for this session.
    pub(super) fn place(&self, backend: usize, kind: ListKind) -> Place {
        let own = self.lock().own.contains(&(backend, kind));
        self.place_if(backend, kind, own)
    }

    fn place_if(&self, backend: usize, kind: ListKind, own: bool) -> Place {
        let session = own.then_some(self.key);
        Place { endpoint: self.endpoint, backend, kind, view: self.view, owner: self.owner, session }
    }

    /// A backend announced that a list changed. A server of the session era may mean this session alone, so from now on its
    /// lists are the session's own.
    pub(crate) fn changed(&self, backend: usize, kind: ListKind, era: Era) {
        if era == Era::Legacy {
            self.lock().own.insert((backend, kind));
        }
        self.cache.changed(&self.place(backend, kind), self.key);
    }

    /// The session with a backend is a new one, so nothing is the session's own any more there. If the old one was lost, the
    /// backend may be another one by now.
    pub(crate) fn reopened(&self, backend: usize, lost: bool) {
        for kind in ListKind::ALL {
            if self.lock().own.remove(&(backend, kind)) {
                self.cache.forget(&self.place_if(backend, kind, true));
            }
            if lost {
                self.cache.changed(&self.place_if(backend, kind, false), self.key);
            }
        }
    }

    /// Whether it is time to look up again what no list has; then it counts as done.
    pub(super) fn may_look_up(&self, again: Duration, now: Instant) -> bool {
        let mut state = self.lock();
        let due = state.looked_up.is_none_or(|at| now.saturating_duration_since(at) >= again);
        if due {
            state.looked_up = Some(now);
        }
        due
    }

    /// How long to wait for a backend's list.
    pub(super) fn patience(&self, backend: usize, now: Instant) -> Duration {
        let lost = self.lock().hanging.get(&backend).is_some_and(|at| now.saturating_duration_since(*at) < LOST_FOR);
        if lost { PATIENCE_LOST } else { PATIENCE }
    }

    /// Notes whether a backend answered in that time. Little patience proves nothing against it.
    pub(super) fn note_patience(&self, backend: usize, patience: Duration, answered: bool, now: Instant) {
        if answered {
            self.lock().hanging.remove(&backend);
        } else if patience == PATIENCE {
            self.lock().hanging.insert(backend, now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SessionLists {
    fn drop(&mut self) {
        let own = std::mem::take(&mut self.lock().own);
        for (backend, kind) in own {
            self.cache.forget(&self.place_if(backend, kind, true));
        }
    }
}
