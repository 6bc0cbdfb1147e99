//! What a client wants of the backends for as long as its session lasts: a log level, news of resources. Told to every backend
//! session that is open, remembered for those that are opened later, here and on other nodes.

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{RawJson, method};
use tracing::debug;

use crate::ask;
use crate::lists::has_capability;
use crate::session::Session;
use crate::upstream::Upstream;

/// Longest wait for backends to take a wish.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

/// `logging/setLevel`, with the client's own params: told to every backend that logs, now or when it is opened.
pub(crate) async fn set_log_level(session: &Arc<Session>, level: &str, params: RawJson) {
    session.set_log_level(level);
    // Told to who is open now; one that hangs is told when it is opened again.
    let upstreams = session.upstreams();
    let told =
        upstreams.iter().map(|upstream| tell(session, upstream, "logging", method::LOGGING_SET_LEVEL, params.clone()));
    futures_util::future::join_all(told).await;
}

/// Another node was told a log level by the client: so are the backend sessions here.
pub(crate) fn follow_log_level(session: &Arc<Session>, level: &str) {
    session.set_log_level(level);
    for upstream in session.upstreams() {
        follow(session, upstream, |session, upstream| async move {
            // The last one that was told, whichever this one was.
            let level = session.log_level().map(|level| serde_json::json!({ "level": level }));
            if let Some(params) = level.and_then(|params| RawJson::from_serialize(&params).ok()) {
                tell(&session, &upstream, "logging", method::LOGGING_SET_LEVEL, params).await;
            }
        });
    }
}

/// Another node has subscribed to a resource, or ended it, on behalf of the client: so does the backend session here.
pub(crate) fn follow_subscription(session: &Arc<Session>, backend: &str, uri: String, subscribed: bool) {
    let at = session.endpoint().backends().position(|known| known.name().as_str() == backend);
    let Some(upstream) = at.and_then(|at| session.upstream(at)) else { return };
    if !subscribed {
        upstream.forget_subscription(&uri);
    } else if upstream.note_subscription(&uri).is_err() {
        return;
    }
    follow(session, upstream, |session, upstream| async move {
        // What is wanted by now.
        let wanted = upstream.is_subscribed_to(&uri);
        let method = if wanted { method::RESOURCES_SUBSCRIBE } else { method::RESOURCES_UNSUBSCRIBE };
        if let Ok(params) = RawJson::from_serialize(&serde_json::json!({ "uri": uri })) {
            tell(&session, &upstream, "resources", method, params).await;
        }
    });
}

/// Tells a backend, if it is open, after all that it is being told already. What was told last is told last.
fn follow<F>(session: &Arc<Session>, upstream: Arc<Upstream>, telling: impl FnOnce(Arc<Session>, Arc<Upstream>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    if upstream.opened().is_none() {
        return;
    }
    let telling = telling(Arc::clone(session), Arc::clone(&upstream));
    tokio::spawn(async move {
        let _one_at_a_time = upstream.wishes_gate().lock().await;
        telling.await;
    });
}

async fn tell(session: &Arc<Session>, upstream: &Upstream, capability: &str, method: &str, params: RawJson) {
    let Some(opened) = upstream.opened() else { return };
    if !has_capability(&opened.server().capabilities, capability) {
        return;
    }
    match tokio::time::timeout(TOLD_WITHIN, ask::ask(session, upstream, method, Some(params))).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => debug!(%error, method, "a backend did not take what the client wants of it"),
        Err(_) => debug!(method, "a backend did not take in time what the client wants of it"),
    }
}
