//! The load balancer without stickiness: every request goes to the next node, whoever it is from.
//!
//! A node that says that it is not ready gets nothing, as long as there are others. One that cannot be connected to is passed
//! over, since nothing was sent to it. What breaks after a request was sent is
//! told as 502, and never sent again. Every answer says which node it is from.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpListener;

/// Which node an answer is from.
pub(crate) const NODE: &str = "x-soak-node";
/// How often nodes are asked whether they want work, and how long that may take.
const ASK_EVERY: Duration = Duration::from_millis(250);
const ASK_LIMIT: Duration = Duration::from_secs(2);
/// Shorter than nodes keep idle connections: none is used that its node is just closing.
const KEPT_IDLE: Duration = Duration::from_secs(5);
const BODY_LIMIT: usize = 8 << 20;

type Body = BoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// A node, and whether it wants work.
#[derive(Clone)]
struct Node {
    address: Authority,
    ready: Arc<AtomicBool>,
}

/// The balancer.
pub(crate) struct Front {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    nodes: RwLock<Vec<Node>>,
    next: AtomicUsize,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Front {
    /// Listens on a free port; there are no nodes yet.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for the balancer")?;
        let address = listener.local_addr()?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(KEPT_IDLE)
            .pool_timer(TokioTimer::new())
            .build(connector);
        let shared = Arc::new(Shared { nodes: RwLock::default(), next: AtomicUsize::new(0), client });
        let serving = Arc::clone(&shared);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&serving);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.pass(request).await) }
                });
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        Ok(Self { address, shared })
    }

    /// The one address that clients know.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where the nodes are, as `host:port`.
    pub(crate) fn set_nodes(&self, nodes: Vec<Authority>) {
        let node = |address| Node { address, ready: Arc::new(AtomicBool::new(true)) };
        let nodes: Vec<_> = nodes.into_iter().map(node).collect();
        for node in &nodes {
            tokio::spawn(Arc::clone(&self.shared).watch(node.clone()));
        }
        *self.shared.nodes.write().unwrap_or_else(PoisonError::into_inner) = nodes;
    }
}

impl Node {
    fn uri(&self, path: PathAndQuery) -> Option<Uri> {
        let mut uri = http::uri::Parts::default();
        (uri.scheme, uri.authority) = (Some(Scheme::HTTP), Some(self.address.clone()));
        uri.path_and_query = Some(path);
        Uri::from_parts(uri).ok()
    }
}

impl Shared {
    /// Asks a node again and again whether it wants work.
    async fn watch(self: Arc<Self>, node: Node) {
        let Some(uri) = node.uri(PathAndQuery::from_static("/readyz")) else { return };
        loop {
            let mut request = Request::new(Full::new(Bytes::new()));
            *request.uri_mut() = uri.clone();
            let asked = tokio::time::timeout(ASK_LIMIT, self.client.request(request)).await;
            // Who cannot be reached is found out by connecting; only a clear no counts here.
            let no = matches!(asked, Ok(Ok(answer)) if answer.status() == StatusCode::SERVICE_UNAVAILABLE);
            node.ready.store(!no, Ordering::Relaxed);
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn pass(&self, request: Request<Incoming>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await.map(http_body_util::Collected::to_bytes) else {
            return refusal(StatusCode::BAD_REQUEST, None);
        };
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner).clone();
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let path = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let mut places: Vec<_> = (0..nodes.len()).map(|more| first.wrapping_add(more) % nodes.len()).collect();
        // Who does not want work gets some only if nobody else takes it.
        places.sort_by_key(|place| !nodes.get(*place).is_some_and(|node| node.ready.load(Ordering::Relaxed)));
        for place in places {
            let Some(node) = nodes.get(place) else { continue };
            let Some(uri) = node.uri(path.clone()) else { continue };
            let mut forwarded = Request::new(Full::new(body.clone()));
            *forwarded.method_mut() = parts.method.clone();
            *forwarded.uri_mut() = uri;
            *forwarded.headers_mut() = parts.headers.clone();
            match self.client.request(forwarded).await {
                Ok(response) => return from_node(place, response),
                Err(error) if error.is_connect() => {}
                Err(_) => return refusal(StatusCode::BAD_GATEWAY, Some(place)),
            }
        }
        refusal(StatusCode::BAD_GATEWAY, None)
    }
}

fn from_node(node: usize, response: Response<Incoming>) -> Response<Body> {
    let mut response = response.map(|body| body.map_err(Into::into).boxed());
    response.headers_mut().insert(NODE, HeaderValue::from(node));
    response
}

fn refusal(status: StatusCode, node: Option<usize>) -> Response<Body> {
    let body = Full::new(Bytes::from_static(b"the balancer got no answer")).map_err(|never| match never {}).boxed();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    if let Some(node) = node {
        response.headers_mut().insert(NODE, HeaderValue::from(node));
    }
    response
}
