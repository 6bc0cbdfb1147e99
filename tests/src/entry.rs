//! The one address in front of several nodes: a reverse proxy that knows nothing of sessions and gives each request to the next node.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

/// In every answer: the number of the node that gave it.
pub const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// What HTTP says of one connection, and is not passed on.
const HOP_BY_HOP: [HeaderName; 4] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::UPGRADE, HeaderName::from_static("keep-alive")];
/// A connection is used again within this time only: nodes close quiet ones.
const QUIET_MAX: Duration = Duration::from_secs(2);

type Body = UnsyncBoxBody<Bytes, hyper::Error>;
type Connection = SendRequest<Incoming>;

/// The proxy, running. It can be given its nodes later.
pub struct Entry {
    url: Url,
    spread: Arc<Spread>,
    server: JoinHandle<()>,
}

#[derive(Default)]
struct Spread(Mutex<State>);

#[derive(Default)]
struct State {
    nodes: Vec<SocketAddr>,
    next: usize,
    only: Option<usize>,
    /// Connections that wait for another request, and since when.
    idle: HashMap<SocketAddr, Vec<(Connection, Instant)>>,
}

impl Entry {
    /// Starts one on a free loopback port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("binding")?;
        let url = Url::parse(&format!("http://{}", listener.local_addr()?))?;
        let spread = Arc::<Spread>::default();
        let server = tokio::spawn(serve(listener, Arc::clone(&spread)));
        Ok(Self { url, spread, server })
    }

    /// Its address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Sets where the nodes are; their numbers are their places here.
    pub fn lead_to(&self, nodes: Vec<SocketAddr>) {
        self.spread.lock().nodes = nodes;
    }

    /// From now on gives all requests to one node, whether it is there or not; or to all in turn again.
    pub fn only(&self, node: Option<usize>) {
        self.spread.lock().only = node;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Spread {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The nodes to be tried for a request, in their order.
    fn turn(&self) -> Vec<(usize, SocketAddr)> {
        let mut state = self.lock();
        let numbered: Vec<_> = state.nodes.iter().copied().enumerate().collect();
        if let Some(only) = state.only {
            return numbered.get(only).copied().into_iter().collect();
        }
        let first = state.next % numbered.len().max(1);
        state.next = first + 1;
        let (before, from) = numbered.split_at(first);
        [from, before].concat()
    }

    fn idle(&self, node: SocketAddr) -> Option<Connection> {
        let mut state = self.lock();
        let idle = state.idle.get_mut(&node)?;
        idle.retain(|(connection, since)| !connection.is_closed() && since.elapsed() < QUIET_MAX);
        let at = idle.iter().rposition(|(connection, _)| connection.is_ready())?;
        Some(idle.swap_remove(at).0)
    }

    fn keep(&self, node: SocketAddr, connection: Connection) {
        self.lock().idle.entry(node).or_default().push((connection, Instant::now()));
    }
}

async fn serve(listener: TcpListener, spread: Arc<Spread>) {
    // Aborted with the listener: a connection of a proxy that is gone must not go on.
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            // For want of file descriptors, most likely.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let spread = Arc::clone(&spread);
        connections.spawn(async move {
            let service = service_fn(move |request| {
                let spread = Arc::clone(&spread);
                async move { Ok::<_, Infallible>(pass(&spread, request).await) }
            });
            // A client that leaves is an error of its connection, and drops what was done for it.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// Gives a request to the first node in turn that takes a connection.
async fn pass(spread: &Arc<Spread>, mut request: Request<Incoming>) -> Response<Body> {
    for name in HOP_BY_HOP {
        request.headers_mut().remove(name);
    }
    for (number, node) in spread.turn() {
        loop {
            let idle = spread.idle(node);
            let used = idle.is_some();
            let connection = match idle {
                Some(connection) => Some(connection),
                None => connect(node).await.ok(),
            };
            let Some(mut connection) = connection else { break };
            match connection.try_send_request(request).await {
                Ok(response) => return passed(spread, number, node, connection, response),
                // The node had closed it: nothing of the request was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) if used => request = unsent,
                    _ => return failed(&format!("node {number}: {}", error.into_error())),
                },
            }
        }
    }
    failed("no node is there")
}

async fn connect(node: SocketAddr) -> Result<Connection> {
    let stream = TcpStream::connect(node).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Ends when the sender and the body of its last answer are dropped.
    tokio::spawn(connection);
    Ok(sender)
}

fn passed(
    spread: &Arc<Spread>,
    number: usize,
    node: SocketAddr,
    connection: Connection,
    response: Response<Incoming>,
) -> Response<Body> {
    let (mut head, body) = response.into_parts();
    for name in HOP_BY_HOP {
        head.headers.remove(name);
    }
    head.headers.insert(SERVED_BY, HeaderValue::from(number));
    let body = Passing { body, connection: Some((Arc::clone(spread), node, connection)) };
    Response::from_parts(head, body.boxed_unsync())
}

fn failed(reason: &str) -> Response<Body> {
    let body = Full::new(Bytes::from(format!("{reason}\n"))).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::BAD_GATEWAY;
    response
}

/// A node's body on its way to the client. Dropped before its end, it takes the connection to the node with it.
struct Passing {
    body: Incoming,
    connection: Option<(Arc<Spread>, SocketAddr, Connection)>,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if matches!(polled, Poll::Ready(None))
            && let Some((spread, node, connection)) = self.connection.take()
        {
            spread.keep(node, connection);
        }
        polled
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use anyhow::ensure;
    use axum::Router;
    use axum::routing::{get, post};
    use futures_util::StreamExt as _;
    use tokio::sync::mpsc;

    use super::*;

    /// A node that says of each answer that is dropped.
    struct Node {
        address: SocketAddr,
        dropped: mpsc::UnboundedReceiver<()>,
        _server: JoinSet<()>,
    }

    impl Node {
        async fn start() -> Result<Self> {
            let (sender, dropped) = mpsc::unbounded_channel();
            let guard = move || {
                let sender = sender.clone();
                OnDrop(Box::new(move || {
                    let _ = sender.send(());
                }))
            };
            let stream = {
                let guard = guard.clone();
                get(async move || {
                    let guard = guard();
                    let first = futures_util::stream::iter([Ok::<_, Infallible>("first")]);
                    axum::body::Body::from_stream(first.chain(futures_util::stream::pending()).inspect(move |_| {
                        let _ = &guard;
                    }))
                })
            };
            let wait = get(async move || {
                let _guard = guard();
                std::future::pending::<()>().await;
            });
            let count = Arc::new(AtomicUsize::new(0));
            let counted = get(async move || count.fetch_add(1, Ordering::Relaxed).to_string());
            let router = Router::new()
                .route("/count", counted)
                .route("/echo", post(async |body: Bytes| body))
                .route("/stream", stream)
                .route("/wait", wait);
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let address = listener.local_addr()?;
            let mut server = JoinSet::new();
            server.spawn(async move {
                let _ = axum::serve(listener, router).await;
            });
            Ok(Self { address, dropped, _server: server })
        }
    }

    struct OnDrop(Box<dyn Fn() + Send + Sync>);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    fn served_by(response: &reqwest::Response) -> Option<&str> {
        response.headers().get(SERVED_BY)?.to_str().ok()
    }

    #[tokio::test]
    async fn each_request_goes_to_the_next_node_that_is_there() -> Result<()> {
        let nodes = [Node::start().await?, Node::start().await?];
        let nobody = TcpListener::bind("127.0.0.1:0").await?.local_addr()?;
        let entry = Entry::start().await?;
        entry.lead_to(vec![nodes[0].address, nobody, nodes[1].address]);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut by = Vec::new();
        for _ in 0..60 {
            let response = client.get(entry.url().join("/count")?).send().await?;
            by.push(served_by(&response).unwrap_or_default().to_owned());
            response.text().await?;
        }
        ensure!(by.iter().filter(|by| *by == "0").count() == 20 && by.iter().all(|by| by != "1"), "{by:?}");
        entry.only(Some(0));
        let body = "x".repeat(1 << 20);
        let response = client.post(entry.url().join("/echo")?).body(body.clone()).send().await?;
        ensure!(served_by(&response) == Some("0"));
        ensure!(response.text().await? == body);
        entry.only(Some(1));
        ensure!(client.get(entry.url().join("/count")?).send().await?.status() == StatusCode::BAD_GATEWAY);
        Ok(())
    }

    #[tokio::test]
    async fn a_client_that_leaves_is_gone_at_the_node_as_well() -> Result<()> {
        let mut node = Node::start().await?;
        let entry = Entry::start().await?;
        entry.lead_to(vec![node.address]);
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut response = client.get(entry.url().join("/stream")?).send().await?;
        ensure!(response.chunk().await?.as_deref() == Some(b"first".as_slice()));
        drop(response);
        node.dropped.recv().await.context("the stream was not dropped")?;
        let waiting = client.get(entry.url().join("/wait")?).send();
        let patience = Duration::from_millis(200);
        ensure!(tokio::time::timeout(patience, waiting).await.is_err());
        node.dropped.recv().await.context("the request was not dropped")?;
        Ok(())
    }
}
