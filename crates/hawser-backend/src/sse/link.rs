//! One session over HTTP+SSE.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{Message, Request, Revision};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::address::address;
use super::stream::{EventStream, read};
use crate::config::BackendConfig;
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::multiplex::{Multiplex, MultiplexFlow};
use crate::state::{Ending, SessionState};
use crate::streamable::{Background, HttpClient, NotAccepted, PROTOCOL_VERSION, accept, in_background, send_failure};

/// How long closing waits for the stream's reader to let go of it.
const END_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the end of a POST may take whose answer has come already, so that its connection can be used again.
const LINGER_TIME_MAX: Duration = Duration::from_millis(250);

/// One session over HTTP+SSE.
pub(crate) struct SseLink {
    pub(super) shared: Arc<Multiplex>,
    client: Arc<HttpClient>,
    /// Where messages go.
    address: Uri,
    headers: OnceLock<HeaderMap>,
    background: Background,
    ended: CancellationToken,
}

/// Why there is no session over HTTP+SSE.
pub(crate) enum NoSse {
    /// The server does not speak this transport there.
    NotOffered(BackendError),
    /// It does, and yet no session came about.
    Failed(BackendError),
}

impl NoSse {
    pub(crate) fn into_error(self) -> BackendError {
        match self {
            Self::NotOffered(error) | Self::Failed(error) => error,
        }
    }
}

/// What belongs to one request. Whoever asks for the next item also drives the POST.
pub(crate) struct SseFlow {
    post: Option<Post>,
    flow: MultiplexFlow,
}

type Post = Pin<Box<dyn Future<Output = Result<(), BackendError>> + Send>>;

impl SseLink {
    /// Opens the stream and waits until it says where messages go.
    pub(crate) async fn connect(
        config: &Arc<BackendConfig>,
        client: &Arc<HttpClient>,
        state: Arc<SessionState>,
    ) -> Result<Arc<Self>, NoSse> {
        let after = config.connect_timeout;
        let opening = async {
            let mut stream = EventStream::open(config, client).await?;
            let endpoint = stream.endpoint(config).await?;
            Ok((stream, endpoint))
        };
        let timed_out = |_| Err(BackendError::TimedOut { backend: config.name.clone(), after });
        let (stream, endpoint) = timeout(after, opening).await.unwrap_or_else(timed_out).map_err(NoSse::NotOffered)?;
        let address = address(client.url(), &endpoint.data).map_err(|reason| {
            NoSse::Failed(BackendError::Protocol { backend: config.name.clone(), reason: reason.to_owned() })
        })?;
        let link = Arc::new(Self {
            shared: Multiplex::new(Arc::clone(config), state),
            client: Arc::clone(client),
            address,
            headers: OnceLock::new(),
            background: Background::default(),
            ended: CancellationToken::new(),
        });
        tokio::spawn(read(Arc::clone(&link), stream));
        Ok(link)
    }

    pub(crate) fn begin(self: &Arc<Self>, id: u64, request: &Request) -> Result<SseFlow, BackendError> {
        let flow = self.shared.begin(id, request)?;
        let (link, body) = (Arc::clone(self), request.to_bytes());
        let post = Box::pin(async move {
            // Before the first byte: the stream's end may come before the POST's own.
            link.shared.mark_sent(id, true);
            link.post(body).await
        });
        Ok(SseFlow { post: Some(post), flow })
    }

    pub(crate) async fn send(&self, message: &Message) -> Result<(), BackendError> {
        let after = self.shared.config.request_timeout;
        timeout(after, self.post(message.to_bytes()))
            .await
            .unwrap_or_else(|_| Err(BackendError::TimedOut { backend: self.shared.config.name.clone(), after }))
    }

    pub(crate) fn send_in_background(self: &Arc<Self>, message: Message) {
        let link = Arc::clone(self);
        self.background.send(&self.shared.config.name, async move { link.send(&message).await });
    }

    /// Posts a message: "accepted" is all that an answer to it can say.
    async fn post(&self, body: Bytes) -> Result<(), BackendError> {
        let config = &self.shared.config;
        let backend = || config.name.clone();
        let none = HeaderMap::new();
        let posting = self.client.post_to(&self.address, self.headers.get().unwrap_or(&none), body);
        let response = posting.await.map_err(|error| send_failure(&config.name, &error))?;
        // The address itself names the session.
        accept(response, true, &config.limits).await.map_err(|refused| match refused {
            NotAccepted::SessionGone => {
                self.shared.state.end(Ending::Forgotten);
                BackendError::SessionGone { backend: backend() }
            }
            NotAccepted::Refused(status) => BackendError::Refused { backend: backend(), status: status.as_u16() },
        })
    }

    /// What `initialize` settled. The first revisions have no header for it.
    pub(crate) fn settle(&self, revision: Revision) {
        self.shared.settle(revision);
        if revision >= Revision::V2025_06_18 {
            let header = (PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
            let _ = self.headers.set(HeaderMap::from_iter([header]));
        }
    }

    pub(super) fn note_ended(&self) {
        self.ended.cancel();
    }

    /// Waits until the stream is closed, which is all the goodbye that this transport knows.
    pub(crate) async fn ended(&self) {
        let _ = timeout(END_TIME_MAX, self.ended.cancelled()).await;
    }
}

impl fmt::Debug for SseLink {
    /// The address names the session, which is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseLink").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl SseFlow {
    /// The next item. Cancel safe.
    pub(crate) async fn next(&mut self) -> ExchangeItem {
        loop {
            let Some(post) = &mut self.post else { return self.flow.next().await };
            let posted = tokio::select! {
                // A server may answer on the stream before it accepts the POST.
                biased;
                item = self.flow.next() => return self.note(item),
                posted = post => posted,
            };
            self.post = None;
            if let Err(error) = posted {
                return ExchangeItem::Failed(error);
            }
        }
    }

    fn note(&mut self, item: ExchangeItem) -> ExchangeItem {
        if matches!(item, ExchangeItem::Response(_))
            && let Some(post) = self.post.take()
        {
            in_background(async move {
                let _ = timeout(LINGER_TIME_MAX, post).await;
            });
        }
        item
    }
}

impl fmt::Debug for SseFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SseFlow").field("posting", &self.post.is_some()).field("flow", &self.flow).finish()
    }
}
