//! The listener: connections in, requests to the gateway or to the authorization server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use futures_util::FutureExt as _;
use hawser_authserver::ClientAddress;
use hawser_gateway::Gateway;
use hyper::body::Incoming;
use hyper::server::conn::http1::Connection;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use super::body::Body;
use super::client_address::client_address;
use super::cores::Cores;
use super::health::Health;
use super::lifecycle::Lifecycle;

/// Longest wait for a request's head: a client that sends it byte by byte holds nothing for long.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest request head in bytes, and the read buffer of a connection.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Most connections at a time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 16 * 1024;
/// How long a connection that was accepted last has to send its request, before connections are told to end.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How often it is looked whether all have.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Pause after the system refused a connection, for instance for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What answers requests.
pub(super) struct Service {
    pub(super) gateway: Gateway,
    pub(super) router: Router,
    pub(super) trusted_proxies: Box<[IpNet]>,
    pub(super) health: Health,
    pub(super) life: Lifecycle,
}

impl Service {
    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        let mut response = self.dispatch(request, peer).await;
        if self.life.is_draining() {
            // The next request is to open a connection to whoever is there then (RFC 9112 section 9.6).
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    async fn dispatch(&self, mut request: Request<Incoming>, peer: SocketAddr) -> Response<Body> {
        if Health::answers(request.uri().path()) {
            return self.health.answer(request.method(), request.uri().path()).await.map(Body::Router);
        }
        if let Some(endpoint) = self.gateway.endpoint(request.uri().path()) {
            return endpoint.handle(request).await.map(Body::Gateway);
        }
        if let Some(refusal) = self.gateway.refuse_host(&request) {
            return refusal.map(Body::Gateway);
        }
        let caller = client_address(peer.ip(), request.headers(), &self.trusted_proxies);
        request.extensions_mut().insert(ClientAddress(caller));
        match self.router.clone().oneshot(request.map(axum::body::Body::new)).await {
            Ok(response) => response.map(Body::Router),
            Err(never) => match never {},
        }
    }
}

/// Accepts connections until told to stop, then waits until requests in progress have ended.
pub(super) async fn serve(listener: TcpListener, service: Service, cores: Arc<Cores>, stop: CancellationToken) {
    let service = Arc::new(service);
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let silent = Arc::<AtomicUsize>::default();
    let accept = |stream: TcpStream, peer, place: Option<OwnedSemaphorePermit>| {
        let (service, silent, watcher) = (Arc::clone(&service), Silent::new(&silent), graceful.watcher());
        let stream = stream.into_std();
        cores.run(move || async move {
            let _place = place;
            // From one reactor to another.
            let connected = match stream.and_then(TcpStream::from_std) {
                Ok(stream) => watcher.watch(connection(stream, peer, service, silent)).await,
                Err(error) => return debug!(%error, "a connection could not be taken over"),
            };
            if let Err(error) = connected {
                debug!(%error, "a connection ended");
            }
        });
    };
    loop {
        let place = tokio::select! {
            () = stop.cancelled() => break,
            place = Arc::clone(&places).acquire_owned() => place,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => accept(stream, peer, place.ok()),
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // What waits in the listener's queue would be reset, with requests that are on their way already.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        accept(stream, peer, None);
    }
    drop(listener);
    // A connection without a request is closed as soon as it is told to end, also if its first one is just coming.
    let spoken = async {
        while silent.load(Ordering::Acquire) > 0 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    let _ = tokio::time::timeout(FIRST_REQUEST, spoken).await;
    graceful.shutdown().await;
}

/// A connection that has sent no request yet is counted for as long as this lives.
struct Silent(Arc<AtomicUsize>);

impl Silent {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(count))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The service of one connection: it knows the peer.
struct PerConnection {
    service: Arc<Service>,
    peer: SocketAddr,
    silent: Mutex<Option<Silent>>,
}

impl hyper::service::Service<Request<Incoming>> for PerConnection {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        drop(self.silent.lock().unwrap_or_else(PoisonError::into_inner).take());
        let service = Arc::clone(&self.service);
        let peer = self.peer;
        Box::pin(async move { Ok(service.answer(request, peer).await) })
    }
}

fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    service: Arc<Service>,
    silent: Silent,
) -> Connection<TokioIo<TcpStream>, PerConnection> {
    // Small messages must not wait for more to come.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection keeps its small messages waiting");
    }
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), PerConnection { service, peer, silent: Mutex::new(Some(silent)) })
}
