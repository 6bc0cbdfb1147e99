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

/// `logging/setLevel`, with the client's own params where there are some: told to every backend that logs, now or when it is
/// opened.
pub(crate) async fn set_log_level(session: &Arc<Session>, level: &str, params: Option<RawJson>) {
    session.set_log_level(level);
    let Some(params) = params.or_else(|| RawJson::from_serialize(&serde_json::json!({ "level": level })).ok()) else {
        return;
    };
    // Told to who is open now; one that hangs is told when it is opened again.
    let upstreams = session.upstreams();
    let told =
        upstreams.iter().map(|upstream| tell(session, upstream, "logging", method::LOGGING_SET_LEVEL, params.clone()));
    futures_util::future::join_all(told).await;
}

/// Another node has subscribed to a resource, or ended it, on behalf of the client: so does the backend session here.
pub(crate) async fn follow_subscription(session: &Arc<Session>, backend: &str, uri: &str, subscribed: bool) {
    let at = session.endpoint().backends().position(|known| known.name().as_str() == backend);
    let Some(upstream) = at.and_then(|at| session.upstream(at)) else { return };
    let method = if subscribed { method::RESOURCES_SUBSCRIBE } else { method::RESOURCES_UNSUBSCRIBE };
    if subscribed {
        if upstream.note_subscription(uri).is_err() {
            return;
        }
    } else {
        upstream.forget_subscription(uri);
    }
    if let Ok(params) = RawJson::from_serialize(&serde_json::json!({ "uri": uri })) {
        tell(session, &upstream, "resources", method, params).await;
    }
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
