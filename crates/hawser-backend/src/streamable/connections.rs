//! Connections to one origin, kept for the next request.
//!
//! Whoever waits for an answer drives the connection that it comes over: no task of the connection's own is woken for a request and
//! again for its answer, which costs more than reading and writing them. What is idle is driven by nobody; that it was closed is
//! found out when it is taken.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::Full;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{Connection, SendRequest};
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use thiserror::Error;
use tokio::time::{Instant, sleep, timeout};
use tower::ServiceExt as _;

use super::background::in_background;

/// Idle connections kept per backend and core.
const IDLE_MAX: usize = 32;
/// Below the five seconds after which common servers close an idle connection, so that none is used while it closes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(4);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The bytes of a connection.
pub(crate) trait Io: Read + Write + Send + Unpin {}
impl<T: Read + Write + Send + Unpin> Io for T {}
type Stream = Box<dyn Io>;

/// A connection that is being made.
pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;
/// Makes connections to one origin.
pub(crate) type Connect = Arc<dyn Fn() -> Connecting + Send + Sync>;

/// Connects to the origin of this URI, over TLS if it says so.
pub(super) fn over_the_system(connector: HttpsConnector<HttpConnector>, origin: Uri) -> Connect {
    Arc::new(move || {
        let connecting = connector.clone().oneshot(origin.clone());
        Box::pin(async move { connecting.await.map(|stream| Box::new(stream) as Stream) })
    })
}

/// An answer that is on its way. Nothing happens until it is polled.
pub(crate) type Responding = Pin<Box<dyn Future<Output = Result<Response<ResponseBody>, SendError>> + Send>>;

/// Why there is no answer.
#[derive(Debug, Error)]
pub(crate) enum SendError {
    /// There is no connection.
    #[error("no connection")]
    Connect(#[source] BoxError),
    /// The connection broke.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

impl SendError {
    /// Whether the server certainly has seen nothing of the request.
    pub(crate) fn is_unsent(&self) -> bool {
        match self {
            Self::Connect(_) => true,
            Self::Http(error) => error.is_canceled(),
        }
    }
}

/// The connections of one runtime to one origin.
pub(super) struct Connections {
    connect: Connect,
    connect_time_max: Duration,
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// The last used one is last.
    #[expect(clippy::vec_box, reason = "they are large, and move between here and the answers that come over them")]
    kept: Vec<Box<Connected>>,
    /// Whether a task looks after them.
    watched: bool,
}

/// One connection, and how to put a request on it.
struct Connected {
    sender: SendRequest<Full<Bytes>>,
    /// `None` when it is over.
    connection: Option<Connection<Stream, Full<Bytes>>>,
    idle_since: Instant,
}

impl Connections {
    pub(super) fn new(connect: Connect, connect_time_max: Duration) -> Arc<Self> {
        Arc::new(Self { connect, connect_time_max, idle: Mutex::default() })
    }

    /// Sends a request, whose URI is in origin form (RFC 9112 section 3.2.1), over an idle connection or a new one.
    pub(super) async fn send(
        self: Arc<Self>,
        mut request: Request<Full<Bytes>>,
    ) -> Result<Response<ResponseBody>, SendError> {
        loop {
            let (mut connected, is_new) = match self.take() {
                Some(connected) => (connected, false),
                None => (self.connect().await?, true),
            };
            let mut answer = std::pin::pin!(connected.sender.try_send_request(request));
            let connection = &mut connected.connection;
            let answered =
                std::future::poll_fn(|context| poll_over(connection, context, |context| answer.as_mut().poll(context)));
            let mut refused = match answered.await {
                Ok(response) => return Ok(response.map(|body| ResponseBody::new(body, connected, &self))),
                Err(refused) => refused,
            };
            // It was closed just then: the server has seen nothing of the request.
            match refused.take_message() {
                Some(unsent) if !is_new => request = unsent,
                _ => return Err(refused.into_error().into()),
            }
        }
    }

    async fn connect(&self) -> Result<Box<Connected>, SendError> {
        let limit = self.connect_time_max;
        let too_late = |_| Err(format!("no connection within {} s", limit.as_secs_f64()).into());
        let stream = timeout(limit, (self.connect)()).await.unwrap_or_else(too_late).map_err(SendError::Connect)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        Ok(Box::new(Connected { sender, connection: Some(connection), idle_since: Instant::now() }))
    }

    /// The connection that was used last, of those that are still open.
    fn take(&self) -> Option<Box<Connected>> {
        loop {
            let mut connected = self.lock().kept.pop()?;
            if connected.idle_since.elapsed() < IDLE_TIME_MAX && connected.is_usable() {
                return Some(connected);
            }
        }
    }

    /// Keeps a connection whose answer has been read.
    fn keep(self: &Arc<Self>, mut connected: Box<Connected>) {
        if !connected.is_usable() {
            return;
        }
        connected.idle_since = Instant::now();
        let mut idle = self.lock();
        if idle.kept.len() < IDLE_MAX {
            idle.kept.push(connected);
        }
        if !std::mem::replace(&mut idle.watched, true) {
            in_background(watch(Arc::downgrade(self)));
        }
    }

    /// Closes what was idle for too long; `false` if nothing is left.
    fn close_old(&self) -> bool {
        let mut idle = self.lock();
        let old = idle.kept.iter().take_while(|connected| connected.idle_since.elapsed() >= IDLE_TIME_MAX).count();
        let closed: Vec<_> = idle.kept.drain(..old).collect();
        idle.watched = !idle.kept.is_empty();
        let watched = idle.watched;
        drop(idle);
        drop(closed);
        watched
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes connections when they have been idle for too long, until there is none.
async fn watch(connections: Weak<Connections>) {
    loop {
        sleep(IDLE_TIME_MAX).await;
        let Some(connections) = connections.upgrade() else { return };
        if !connections.close_old() {
            return;
        }
    }
}

impl Connected {
    /// Whether a request can be sent now.
    fn is_usable(&mut self) -> bool {
        drive(&mut self.connection, &mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// Reads and writes as far as that goes.
fn drive(connection: &mut Option<Connection<Stream, Full<Bytes>>>, context: &mut Context<'_>) {
    // How it ended is told to who waits for the answer.
    if let Some(open) = connection
        && Pin::new(open).poll(context).is_ready()
    {
        *connection = None;
    }
}

/// Polls what comes over a connection, and drives the connection meanwhile. Both are one task, so what passes between them must not
/// wake it: it is polled without a waker, and the connection alone has one when there is nothing more to do.
fn poll_over<T>(
    connection: &mut Option<Connection<Stream, Full<Bytes>>>,
    context: &mut Context<'_>,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Poll<T> {
    let mut unwoken = Context::from_waker(Waker::noop());
    drive(connection, &mut unwoken);
    if let Poll::Ready(done) = poll(&mut unwoken) {
        return Poll::Ready(done);
    }
    // What was asked for just now may be there already.
    drive(connection, context);
    poll(&mut unwoken)
}

/// The body of an answer. Its connection is kept for others when it has been read to its end, and closed when it is dropped before.
pub(crate) struct ResponseBody {
    body: Incoming,
    over: Option<(Box<Connected>, Arc<Connections>)>,
}

impl ResponseBody {
    fn new(body: Incoming, connected: Box<Connected>, connections: &Arc<Connections>) -> Self {
        let mut body = Self { body, over: Some((connected, Arc::clone(connections))) };
        body.let_go_at_end();
        body
    }

    fn let_go_at_end(&mut self) {
        if self.body.is_end_stream()
            && let Some((connected, connections)) = self.over.take()
        {
            connections.keep(connected);
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some((connected, _)) = &mut this.over else { return Pin::new(&mut this.body).poll_frame(context) };
        let body = &mut this.body;
        let frame =
            ready!(poll_over(&mut connected.connection, context, |context| Pin::new(&mut *body).poll_frame(context)));
        match &frame {
            Some(Ok(_)) => this.let_go_at_end(),
            Some(Err(_)) => this.over = None,
            None => {
                if let Some((connected, connections)) = this.over.take() {
                    connections.keep(connected);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("ended", &self.is_end_stream()).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use http_body_util::BodyExt as _;
    use hyper_rustls::HttpsConnectorBuilder;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    const LAST_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello";
    const EMPTY_ANSWER: &[u8] = b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n";

    struct Server {
        listener: TcpListener,
        connections: Arc<Connections>,
    }

    impl Server {
        async fn start() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let origin = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
            let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
            let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
            let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
            let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
            Self { listener, connections: Connections::new(over_the_system(connector, origin), Duration::from_secs(5)) }
        }

        async fn accept(&self) -> TcpStream {
            self.listener.accept().await.unwrap().0
        }

        /// Sends a request, whose answer comes over this connection of the server.
        async fn ask(&self, over: &mut TcpStream, answer: &[u8]) -> Result<Response<ResponseBody>, SendError> {
            let answering = async {
                read_request(over).await;
                over.write_all(answer).await.unwrap();
            };
            tokio::join!(Arc::clone(&self.connections).send(request()), answering).0
        }

        /// The same for the first request, for which there is no connection yet.
        async fn ask_first(&self, answer: &[u8]) -> (Response<ResponseBody>, TcpStream) {
            let answering = async {
                let mut over = self.accept().await;
                read_request(&mut over).await;
                over.write_all(answer).await.unwrap();
                over
            };
            let (answered, over) = tokio::join!(Arc::clone(&self.connections).send(request()), answering);
            (answered.unwrap(), over)
        }

        fn idle(&self) -> usize {
            self.connections.lock().kept.len()
        }
    }

    fn request() -> Request<Full<Bytes>> {
        Request::post("/mcp").header("host", "localhost").body(Full::from("question")).unwrap()
    }

    async fn read_request(over: &mut TcpStream) {
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\nquestion") {
            assert_ne!(over.read_buf(&mut read).await.unwrap(), 0, "the request ended early");
        }
    }

    async fn text(answer: Response<ResponseBody>) -> Bytes {
        answer.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn one_request_after_the_other_goes_over_one_connection() {
        let server = Server::start().await;
        let (answer, mut over) = server.ask_first(ANSWER).await;
        assert_eq!(text(answer).await, "hello");
        for _ in 0..3 {
            assert_eq!(server.idle(), 1);
            assert_eq!(text(server.ask(&mut over, ANSWER).await.unwrap()).await, "hello");
        }
        // Nobody has to read what is empty.
        drop(server.ask(&mut over, EMPTY_ANSWER).await.unwrap());
        assert_eq!(server.idle(), 1);
    }

    #[tokio::test]
    async fn a_connection_is_nobody_elses_until_its_answer_is_read() {
        let server = Server::start().await;
        let (first, mut one) = server.ask_first(ANSWER).await;
        let (second, _other) = server.ask_first(ANSWER).await;
        assert_eq!(server.idle(), 0);
        // What is dropped before its end closes its connection.
        drop(second);
        assert_eq!(text(first).await, "hello");
        assert_eq!(server.idle(), 1);
        assert_eq!(text(server.ask(&mut one, ANSWER).await.unwrap()).await, "hello");
    }

    #[tokio::test]
    async fn a_connection_that_is_closed_is_not_used_again() {
        let server = Server::start().await;
        let (answer, _over) = server.ask_first(LAST_ANSWER).await;
        assert_eq!(text(answer).await, "hello");
        assert_eq!(server.idle(), 0);
        let (answer, over) = server.ask_first(ANSWER).await;
        assert_eq!(text(answer).await, "hello");
        assert_eq!(server.idle(), 1);
        drop(over);
        // Whatever is heard after this, the end of that connection was heard before.
        let address = server.listener.local_addr().unwrap();
        let (mut hears, mut says) = (TcpStream::connect(address).await.unwrap(), server.accept().await);
        says.write_all(b"!").await.unwrap();
        hears.read_u8().await.unwrap();
        let (answer, _over) = server.ask_first(ANSWER).await;
        assert_eq!(text(answer).await, "hello");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_an_error_and_its_connection_is_gone() {
        let server = Server::start().await;
        let (answer, over) = server.ask_first(&ANSWER[..ANSWER.len() - 1]).await;
        drop(over);
        assert!(answer.into_body().collect().await.is_err());
        assert_eq!(server.idle(), 0);
        let asking = async {
            let mut over = server.accept().await;
            read_request(&mut over).await;
        };
        let (lost, ()) = tokio::join!(Arc::clone(&server.connections).send(request()), asking);
        assert!(!lost.unwrap_err().is_unsent());
    }

    #[tokio::test]
    async fn without_a_server_nothing_was_sent() {
        let Server { listener, connections } = Server::start().await;
        drop(listener);
        assert!(connections.send(request()).await.unwrap_err().is_unsent());
    }

    #[tokio::test]
    async fn a_body_that_comes_in_pieces_wakes_who_reads_it() {
        let server = Server::start().await;
        let (answer, mut over) = server.ask_first(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        let mut body = answer.into_body();
        for _ in 0..3 {
            let sending = async {
                // It is waited for by then.
                tokio::task::yield_now().await;
                over.write_all(b"5\r\nhello\r\n").await.unwrap();
            };
            let (frame, ()) = tokio::join!(body.frame(), sending);
            assert_eq!(frame.unwrap().unwrap().into_data().unwrap(), "hello");
        }
        let (end, sent) = tokio::join!(body.frame(), over.write_all(b"0\r\n\r\n"));
        sent.unwrap();
        assert!(end.is_none());
        assert_eq!(server.idle(), 1);
    }

    #[tokio::test]
    async fn what_is_idle_for_too_long_is_closed() {
        let server = Server::start().await;
        let (answer, mut over) = server.ask_first(ANSWER).await;
        assert_eq!(text(answer).await, "hello");
        assert_eq!(server.idle(), 1);
        tokio::time::pause();
        tokio::task::yield_now().await;
        tokio::time::advance(IDLE_TIME_MAX + Duration::from_millis(1)).await;
        assert_eq!(over.read_buf(&mut Vec::new()).await.unwrap(), 0);
        assert_eq!(server.idle(), 0);
    }
}
