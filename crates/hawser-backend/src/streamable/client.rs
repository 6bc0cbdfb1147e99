//! The HTTP client of one backend: one origin, one pool, its credentials.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hawser_mcp::Limits;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::{ClientConfig, RootCertStore};
use url::Url;

use super::connections::{Connect, Connections, Responding, ResponseBody, SendError, over_the_system};
use super::per_runtime::PerRuntime;
use super::verdict::{Verdict, judge};
use crate::config::{BackendConfig, ConfigError};
use crate::error::BackendError;
#[cfg(feature = "in-process")]
use crate::in_process::Dial;
use crate::name::BackendName;

/// A quiet stream's peer is asked for a sign of life this often.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// How much of a refusal is read.
pub(super) const REFUSAL_BYTES_MAX: usize = 64 * 1024;

const ACCEPT_BOTH: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");
const ACCEPT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PRODUCT: HeaderValue = HeaderValue::from_static(concat!("hawser/", env!("CARGO_PKG_VERSION")));

/// "The client MUST include it on all subsequent requests" (Transports, Session Management).
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
/// Required after `initialize` since 2025-06-18.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// Where a broken stream is taken up again (Transports, Resumability and Redelivery).
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// One backend's client. It follows no redirect: the credentials go to the configured origin only.
pub(crate) struct HttpClient {
    connections: PerRuntime<Arc<Connections>>,
    url: Url,
    /// Path and query of the endpoint.
    target: Uri,
    headers: HeaderMap,
}

impl HttpClient {
    pub(crate) fn new(config: &BackendConfig, url: &Url, headers: &HeaderMap) -> Result<Self, ConfigError> {
        let tls = tls_config(url.scheme() == "https")
            .map_err(|error| ConfigError::Tls { backend: config.name.clone(), reason: error.to_string() })?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Self::over(config, url, headers, |origin| over_the_system(https, origin))
    }

    /// One whose connections are made by `dial`.
    #[cfg(feature = "in-process")]
    pub(crate) fn in_process(
        config: &BackendConfig,
        url: &Url,
        headers: &HeaderMap,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, ConfigError> {
        Self::over(config, url, headers, |origin| crate::in_process::over_pipes(dial, origin))
    }

    fn over(
        config: &BackendConfig,
        url: &Url,
        headers: &HeaderMap,
        connect: impl FnOnce(Uri) -> Connect,
    ) -> Result<Self, ConfigError> {
        let unusable = || ConfigError::Url { backend: config.name.clone(), problem: "cannot be used in a request" };
        let uri: Uri = url.as_str().parse().map_err(|_| unusable())?;
        let mut headers = headers.clone();
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        headers.entry(USER_AGENT).or_insert(PRODUCT);
        headers.entry(HOST).or_insert(host(url).ok_or_else(unusable)?);
        let target = target(&uri);
        let (connect, time_max) = (connect(uri), config.connect_timeout);
        let connections = PerRuntime::new(move || Connections::new(Arc::clone(&connect), time_max));
        Ok(Self { connections, url: url.clone(), target, headers })
    }

    /// The configured address.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a message. Nothing happens until the future is polled.
    pub(crate) fn post(&self, session: &HeaderMap, body: Bytes) -> Responding {
        self.send_post(self.target.clone(), session, body)
    }

    /// Sends a message to another address, which must be of the same origin: the configured headers go along.
    pub(crate) fn post_to(&self, uri: &Uri, session: &HeaderMap, body: Bytes) -> Responding {
        self.send_post(target(uri), session, body)
    }

    fn send_post(&self, target: Uri, session: &HeaderMap, body: Bytes) -> Responding {
        let mut request = self.request(Method::POST, session, Full::new(body));
        *request.uri_mut() = target;
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().insert(ACCEPT, ACCEPT_BOTH);
        self.send(request)
    }

    /// Opens a stream, or takes one up after an event.
    pub(crate) fn get(&self, session: &HeaderMap, last_event_id: Option<HeaderValue>) -> Responding {
        let mut request = self.request(Method::GET, session, Full::default());
        request.headers_mut().insert(ACCEPT, ACCEPT_STREAM);
        if let Some(id) = last_event_id {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        self.send(request)
    }

    /// Ends a session.
    pub(crate) fn delete(&self, session: &HeaderMap) -> Responding {
        self.send(self.request(Method::DELETE, session, Full::default()))
    }

    fn send(&self, request: Request<Full<Bytes>>) -> Responding {
        Box::pin(self.connections.get().send(request))
    }

    fn request(&self, method: Method, session: &HeaderMap, body: Full<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.extend(session.iter().map(|(name, value)| (name.clone(), value.clone())));
        request
    }
}

impl fmt::Debug for HttpClient {
    /// The URL's path and query may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("host", &self.url.host_str()).finish_non_exhaustive()
    }
}

/// A request's target in origin form (RFC 9112 section 3.2.1).
fn target(uri: &Uri) -> Uri {
    uri.path_and_query().cloned().map_or_else(Uri::default, Uri::from)
}

/// The `Host` of requests to this address (RFC 9112 section 3.2).
fn host(url: &Url) -> Option<HeaderValue> {
    let host = url.host_str()?;
    let text = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    HeaderValue::try_from(text).ok()
}

/// The platform decides which servers to trust. A plain `http` backend needs no roots, so none are loaded for it.
fn tls_config(needed: bool) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(if needed {
        builder.try_with_platform_verifier()?.with_no_client_auth()
    } else {
        builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    })
}

/// Why a message that expects no answer of its own was not taken.
pub(crate) enum NotAccepted {
    /// The session is over.
    SessionGone,
    /// Just a status.
    Refused(StatusCode),
}

/// "If the server accepts the input, it MUST return 202"; any other success is taken for one, too.
pub(crate) async fn accept(
    response: Response<ResponseBody>,
    in_session: bool,
    limits: &Limits,
) -> Result<(), NotAccepted> {
    let status = response.status();
    let body = read_up_to(response.into_body(), REFUSAL_BYTES_MAX).await;
    if status.is_success() {
        return Ok(());
    }
    match judge(status, in_session, &body, limits, None) {
        Verdict::SessionGone => Err(NotAccepted::SessionGone),
        Verdict::Answer(_) | Verdict::Refused => Err(NotAccepted::Refused(status)),
    }
}

/// The start of a body; what follows is not read.
async fn read_up_to(mut body: ResponseBody, bytes_max: usize) -> Bytes {
    let mut read = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        let room = bytes_max.saturating_sub(read.len());
        read.extend_from_slice(data.get(..room).unwrap_or(&data));
        if read.len() >= bytes_max {
            break;
        }
    }
    read.freeze()
}

/// What a failed exchange of HTTP messages means for the message: whether any of it may have been read.
pub(crate) fn send_failure(backend: &BackendName, error: &SendError) -> BackendError {
    let (backend, reason) = (backend.clone(), causes(error));
    if error.is_unsent() {
        BackendError::Unreachable { backend, reason }
    } else {
        BackendError::Lost { backend, reason }
    }
}

/// An error and its causes, innermost last.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
