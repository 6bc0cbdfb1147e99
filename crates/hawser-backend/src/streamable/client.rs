//! The HTTP client of one backend: one origin, one pool, its credentials.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hawser_mcp::Limits;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use tower::Service;
use url::Url;

use super::per_runtime::PerRuntime;
use super::verdict::{Verdict, judge};
use crate::config::{BackendConfig, ConfigError};
use crate::error::BackendError;
#[cfg(feature = "in-process")]
use crate::in_process::{Dial, Dialer};
use crate::name::BackendName;

/// Idle connections kept per backend and core.
const IDLE_MAX: usize = 32;
/// Below the five seconds after which common servers close an idle connection, so that none is used while it closes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);
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
    sender: Sender,
    url: Url,
    uri: Uri,
    headers: HeaderMap,
}

/// Who carries requests: hyper's client over the connections of the system.
enum Sender {
    System(PerRuntime<Client<Within<HttpsConnector<HttpConnector>>, Full<Bytes>>>),
    #[cfg(feature = "in-process")]
    InProcess(PerRuntime<Client<Within<Dialer>, Full<Bytes>>>),
}

impl HttpClient {
    pub(crate) fn new(config: &BackendConfig, url: &Url, headers: &HeaderMap) -> Result<Self, ConfigError> {
        let backend = || config.name.clone();
        let tls = tls_config(url.scheme() == "https")
            .map_err(|error| ConfigError::Tls { backend: backend(), reason: error.to_string() })?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(TCP_KEEPALIVE));
        let https =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
        Self::over(Sender::System(clients(config, https)), config, url, headers)
    }

    /// One whose connections are made by `dial`.
    #[cfg(feature = "in-process")]
    pub(crate) fn in_process(
        config: &BackendConfig,
        url: &Url,
        headers: &HeaderMap,
        dial: Arc<dyn Dial>,
    ) -> Result<Self, ConfigError> {
        Self::over(Sender::InProcess(clients(config, Dialer(dial))), config, url, headers)
    }

    fn over(sender: Sender, config: &BackendConfig, url: &Url, headers: &HeaderMap) -> Result<Self, ConfigError> {
        let backend = || config.name.clone();
        let uri: Uri = url
            .as_str()
            .parse()
            .map_err(|_| ConfigError::Url { backend: backend(), problem: "cannot be used in a request" })?;
        let mut headers = headers.clone();
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        headers.entry(USER_AGENT).or_insert(PRODUCT);
        Ok(Self { sender, url: url.clone(), uri, headers })
    }

    /// The configured address.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// Sends a message. Nothing happens until the future is polled.
    pub(crate) fn post(&self, session: &HeaderMap, body: Bytes) -> ResponseFuture {
        self.post_to(&self.uri, session, body)
    }

    /// Sends a message to another address, which must be of the same origin: the configured headers go along.
    pub(crate) fn post_to(&self, uri: &Uri, session: &HeaderMap, body: Bytes) -> ResponseFuture {
        let mut request = self.request(Method::POST, session, Full::new(body));
        request.uri_mut().clone_from(uri);
        request.headers_mut().insert(CONTENT_TYPE, JSON);
        request.headers_mut().insert(ACCEPT, ACCEPT_BOTH);
        self.send(request)
    }

    /// Opens a stream, or takes one up after an event.
    pub(crate) fn get(&self, session: &HeaderMap, last_event_id: Option<HeaderValue>) -> ResponseFuture {
        let mut request = self.request(Method::GET, session, Full::default());
        request.headers_mut().insert(ACCEPT, ACCEPT_STREAM);
        if let Some(id) = last_event_id {
            request.headers_mut().insert(LAST_EVENT_ID, id);
        }
        self.send(request)
    }

    /// Ends a session.
    pub(crate) fn delete(&self, session: &HeaderMap) -> ResponseFuture {
        self.send(self.request(Method::DELETE, session, Full::default()))
    }

    fn send(&self, request: Request<Full<Bytes>>) -> ResponseFuture {
        match &self.sender {
            Sender::System(clients) => clients.get().request(request),
            #[cfg(feature = "in-process")]
            Sender::InProcess(clients) => clients.get().request(request),
        }
    }

    fn request(&self, method: Method, session: &HeaderMap, body: Full<Bytes>) -> Request<Full<Bytes>> {
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        headers.extend(session.iter().map(|(name, value)| (name.clone(), value.clone())));
        request
    }
}

impl fmt::Debug for HttpClient {
    /// The URL's path and query may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient").field("host", &self.uri.host()).finish_non_exhaustive()
    }
}

fn clients<C>(config: &BackendConfig, connector: C) -> PerRuntime<Client<Within<C>, Full<Bytes>>>
where
    C: Clone + Send + Sync + 'static,
    Within<C>: Connect + Clone,
{
    let connector = Within { connector, time_max: config.connect_timeout };
    PerRuntime::new(move || {
        Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIME_MAX)
            .pool_max_idle_per_host(IDLE_MAX)
            .build(connector.clone())
    })
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
pub(crate) async fn accept(response: Response<Incoming>, in_session: bool, limits: &Limits) -> Result<(), NotAccepted> {
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
async fn read_up_to(mut body: Incoming, bytes_max: usize) -> Bytes {
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
pub(crate) fn send_failure(backend: &BackendName, error: &hyper_util::client::legacy::Error) -> BackendError {
    let source = std::error::Error::source(error);
    let unsent = source.and_then(|source| source.downcast_ref::<hyper::Error>()).is_some_and(hyper::Error::is_canceled);
    let (backend, reason) = (backend.clone(), causes(error));
    if error.is_connect() || unsent {
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

/// A connector with a limit on the whole way to a usable connection, name lookup and TLS included.
#[derive(Clone)]
struct Within<C> {
    connector: C,
    time_max: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.connector.call(uri);
        let time_max = self.time_max;
        Box::pin(async move {
            match tokio::time::timeout(time_max, connecting).await {
                Ok(connected) => connected.map_err(Into::into),
                Err(_) => Err(format!("no connection within {} s", time_max.as_secs_f64()).into()),
            }
        })
    }
}
