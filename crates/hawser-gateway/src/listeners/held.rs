//! Resources of session-era backends that listeners wait for: subscribed to by the first, unsubscribed from when the last has
//! left.
//!
//! Each backend's subscriptions change one at a time, so that a goodbye never overtakes a new wish.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use hawser_backend::BackendSession;
use hawser_mcp::{Outcome, RawJson, method};
use tokio::time::{Instant, timeout_at};

use crate::ask::{ask, outcome};
use crate::session::Session;
use crate::upstream::Upstream;

/// Longest wait for one backend to take a listener's subscriptions.
const SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait for a backend to end all that is to end.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);
/// Requests to one backend at a time.
const AT_A_TIME: usize = 16;

/// How many listeners of a session wait for which resource.
#[derive(Debug, Default)]
pub(crate) struct HeldResources {
    counts: Mutex<HashMap<(usize, String), usize>>,
    /// Passed by who changes what a backend is asked for.
    gates: Mutex<HashMap<usize, Arc<tokio::sync::Mutex<()>>>>,
}

/// One listener's share in them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    session: Weak<Session>,
    backend: usize,
    uris: Vec<String>,
}

impl HeldResources {
    /// Whether nothing is held, nor being changed.
    pub(crate) fn is_empty(&self) -> bool {
        let gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        gates.values().all(|gate| Arc::strong_count(gate) == 1) && self.lock().is_empty()
    }

    fn gate(&self, backend: usize) -> Arc<tokio::sync::Mutex<()>> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(gates.entry(backend).or_default())
    }

    fn add(&self, backend: usize, uri: &str) {
        *self.lock().entry((backend, uri.to_owned())).or_default() += 1;
    }

    /// Counts one listener less; `true` if it was the last.
    fn remove(&self, backend: usize, uri: &str) -> bool {
        let mut counts = self.lock();
        let place = (backend, uri.to_owned());
        let Some(count) = counts.get_mut(&place) else { return false };
        *count -= 1;
        let last = *count == 0;
        if last {
            counts.remove(&place);
        }
        last
    }

    fn is_held(&self, backend: usize, uri: &str) -> bool {
        self.lock().contains_key(&(backend, uri.to_owned()))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(usize, String), usize>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Subscribes to resources of a session-era backend, as far as it takes that.
pub(crate) async fn hold(session: &Arc<Session>, upstream: &Upstream, uris: Vec<String>) -> Hold {
    let (work, backend) = (session.work(), upstream.position());
    let resources = &work.listeners.held;
    // Counted before anything is awaited: who gives up now must not leave a subscription behind.
    for uri in &uris {
        resources.add(backend, uri);
    }
    let mut hold = Hold { session: Weak::clone(session.weak()), backend, uris };
    let gate = resources.gate(backend);
    let _one_at_a_time = gate.lock().await;
    let until = Instant::now() + SUBSCRIBED_WITHIN;
    let mut asked = Vec::with_capacity(hold.uris.len());
    for uri in &hold.uris {
        asked.push(subscribe(session, upstream, uri.clone(), until));
    }
    let taken: HashSet<String> =
        stream::iter(asked).buffer_unordered(AT_A_TIME).filter_map(future::ready).collect().await;
    hold.uris.retain(|uri| {
        let taken = taken.contains(uri);
        if !taken {
            resources.remove(backend, uri);
        }
        taken
    });
    hold
}

/// Subscribes to one resource; `None` if the backend does not take that.
async fn subscribe(session: &Arc<Session>, upstream: &Upstream, uri: String, until: Instant) -> Option<String> {
    if upstream.is_subscribed_to(&uri) {
        return Some(uri);
    }
    // Noted first: a backend session that is opened from now on is told as well.
    upstream.note_subscription(&uri).ok()?;
    let params = RawJson::object(&[("uri", &RawJson::string(&uri))]);
    let asked = ask(session, upstream, method::RESOURCES_SUBSCRIBE, Some(params));
    let taken = matches!(timeout_at(until, asked).await, Ok(Ok(Outcome::Result(_))));
    if !taken {
        upstream.forget_subscription(&uri);
    }
    taken.then_some(uri)
}

impl Hold {
    /// What is subscribed to.
    pub(crate) fn uris(&self) -> &[String] {
        &self.uris
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let Some(session) = self.session.upgrade() else { return };
        let work = session.work();
        let held = &work.listeners.held;
        let mut free = std::mem::take(&mut self.uris);
        free.retain(|uri| held.remove(self.backend, uri));
        if free.is_empty() || session.is_ended() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (weak, backend) = (Weak::clone(&self.session), self.backend);
            runtime.spawn(async move {
                let _ = tokio::time::timeout(RELEASED_WITHIN, release(weak, backend, free)).await;
            });
        }
    }
}

/// Ends subscriptions that nobody waits for any more. A backend that does not take it tells what nobody is told.
async fn release(weak: Weak<Session>, backend: usize, free: Vec<String>) {
    let Some(session) = weak.upgrade() else { return };
    let Some(upstream) = session.upstream(backend) else { return };
    let work = session.work();
    let held = &work.listeners.held;
    let gate = held.gate(backend);
    let _one_at_a_time = gate.lock().await;
    let opened = upstream.opened();
    let mut ended = Vec::new();
    for uri in free {
        if upstream.is_subscribed_to(&uri) && !held.is_held(backend, &uri) {
            upstream.forget_subscription(&uri);
            ended.extend(opened.as_ref().map(|opened| unsubscribe(&weak, backend, opened, uri)));
        }
    }
    stream::iter(ended).buffer_unordered(AT_A_TIME).collect::<()>().await;
}

async fn unsubscribe(owner: &Weak<Session>, backend: usize, from: &BackendSession, uri: String) {
    let params = RawJson::object(&[("uri", &RawJson::string(&uri))]);
    if let Ok(exchange) = from.request(method::RESOURCES_UNSUBSCRIBE, Some(params)).await {
        let _ = outcome(exchange, Some((owner, backend, from))).await;
    }
}
