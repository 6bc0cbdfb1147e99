//! `/healthz` and `/readyz`: for whoever keeps the process running and sends it work.
//!
//! They are asked by their bare address and without a credential (a kubelet, a load balancer), so no `Host` is demanded of
//! them. They tell nothing about anybody: whether the process lives, whether it takes work, whether its store answers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Method, Response, StatusCode};
use hawser_store::{Key, Store};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use super::lifecycle::{Lifecycle, Phase};

/// The process lives.
pub(crate) const HEALTH: &str = "/healthz";
/// It takes work.
pub(crate) const READINESS: &str = "/readyz";
/// What the store said is believed for this long: whoever asks more often costs it nothing.
const BELIEVED: Duration = Duration::from_secs(1);
/// Longest wait for the store.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers probes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Health {
    life: Lifecycle,
    store: Arc<dyn Store>,
    last: Arc<Mutex<Option<(Instant, bool)>>>,
}

impl Health {
    pub(crate) fn new(life: Lifecycle, store: Arc<dyn Store>) -> Self {
        Self { life, store, last: Arc::default() }
    }

    /// Whether a path is that of a probe.
    pub(crate) fn answers(path: &str) -> bool {
        matches!(path, HEALTH | READINESS)
    }

    /// Answers a probe.
    pub(crate) async fn answer(&self, method: &Method, path: &str) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if path == HEALTH {
            return json_response(StatusCode::OK, &json!({ "status": "alive" }));
        }
        let phase = self.phase();
        let status = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        // A store that is away is no reason to send nobody here: sessions that are known are served, and no other node would do
        // better.
        let store = if self.store_answers().await { "reachable" } else { "unreachable" };
        json_response(status, &json!({ "status": phase.as_str(), "store": store }))
    }

    pub(crate) fn phase(&self) -> Phase {
        self.life.phase()
    }

    /// Whether the store answered a moment ago. Those who ask at the same time share one look.
    pub(crate) async fn store_answers(&self) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, answered)) = *last
            && at.elapsed() < BELIEVED
        {
            return answered;
        }
        let answered = match Key::new("health", "probe") {
            Ok(key) => matches!(timeout(PATIENCE, self.store.get(&key)).await, Ok(Ok(_))),
            Err(_) => false,
        };
        *last = Some((Instant::now(), answered));
        answered
    }
}

fn json_response(status: StatusCode, body: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
