//! Relays over one store that can be told to misbehave.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_owner::{KeyRing, KeyRingDocument, SystemEntropy, Timestamp};
use hawser_store::{Key, MemoryStore, ScanCursor, ScanPage, Store, StoreError, Subscription, Unavailable};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::relay::letter::{Channel, Writer};
use crate::relay::{Hears, NodeName, Relay, RelayDependencies, Relayed, Serves};
use crate::reply::{Body, BrokenAnswer};

/// How long a store takes that is slow.
pub(super) const SLOW: Duration = Duration::from_millis(900);

/// What becomes of a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Comes,
    IsLost,
    ComesTwice,
    /// Until it is said that what is late comes.
    IsLate,
    /// After [`SLOW`].
    IsSlow,
    Fails,
}

type Fates = Box<dyn Fn(usize, &str) -> Fate + Send + Sync>;

/// A store that several nodes share.
pub(super) struct SharedStore {
    memory: MemoryStore,
    published: AtomicUsize,
    fates: Mutex<Fates>,
    late: Mutex<Vec<(String, Bytes)>>,
}

impl SharedStore {
    fn new() -> Arc<Self> {
        let fates = Mutex::new(Box::new(|_: usize, _: &str| Fate::Comes) as Fates);
        Arc::new(Self { memory: MemoryStore::new(), published: AtomicUsize::new(0), fates, late: Mutex::default() })
    }

    /// Decides by the number of the message and its channel.
    pub(super) fn misbehave(&self, fates: impl Fn(usize, &str) -> Fate + Send + Sync + 'static) {
        *self.fates.lock().unwrap() = Box::new(fates);
    }

    /// From now on everything comes, what is late first.
    pub(super) async fn recover(&self) {
        self.misbehave(|_, _| Fate::Comes);
        let late = std::mem::take(&mut *self.late.lock().unwrap());
        for (channel, message) in late {
            self.memory.publish(&channel, message).await.unwrap();
        }
    }

    pub(super) fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for SharedStore {
    async fn get(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.memory.get(key).await
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Option<Duration>) -> Result<(), StoreError> {
        self.memory.put(key, value, ttl).await
    }

    async fn compare_and_set(
        &self,
        key: &Key,
        expected: Option<&[u8]>,
        new: Option<Bytes>,
        ttl: Option<Duration>,
    ) -> Result<bool, StoreError> {
        self.memory.compare_and_set(key, expected, new, ttl).await
    }

    async fn delete(&self, key: &Key) -> Result<(), StoreError> {
        self.memory.delete(key).await
    }

    async fn take(&self, key: &Key) -> Result<Option<Bytes>, StoreError> {
        self.memory.take(key).await
    }

    async fn increment(&self, key: &Key, ttl: Duration) -> Result<u64, StoreError> {
        self.memory.increment(key, ttl).await
    }

    async fn scan(&self, family: &str, after: Option<&ScanCursor>, limit: usize) -> Result<ScanPage, StoreError> {
        self.memory.scan(family, after, limit).await
    }

    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), StoreError> {
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        let fate = self.fates.lock().unwrap()(number, channel);
        match fate {
            Fate::Comes => self.memory.publish(channel, message).await,
            Fate::IsLost => Ok(()),
            Fate::ComesTwice => {
                self.memory.publish(channel, message.clone()).await?;
                self.memory.publish(channel, message).await
            }
            Fate::IsLate => {
                self.late.lock().unwrap().push((channel.to_owned(), message));
                Ok(())
            }
            Fate::IsSlow => {
                tokio::time::sleep(SLOW).await;
                self.memory.publish(channel, message).await
            }
            Fate::Fails => Err(Unavailable { reason: "told to".to_owned() }.into()),
        }
    }

    async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        self.memory.subscribe(channel).await
    }

    fn is_shared(&self) -> bool {
        true
    }
}

type Served = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;

struct Answers<F>(F);

#[async_trait]
impl<F: Fn(Relayed) -> Served + Send + Sync + 'static> Serves for Answers<F> {
    async fn serve(&self, _from: NodeName, request: Relayed) -> Response<Body> {
        (self.0)(request).await
    }
}

struct Ears(mpsc::UnboundedSender<(NodeName, Bytes)>);

impl Hears for Ears {
    fn hear(&self, from: NodeName, message: Bytes) {
        let _ = self.0.send((from, message));
    }
}

/// A running node.
pub(super) struct Node {
    pub(super) relay: Arc<Relay>,
    pub(super) heard: mpsc::UnboundedReceiver<(NodeName, Bytes)>,
    running: JoinHandle<()>,
}

impl Node {
    pub(super) fn name(&self) -> NodeName {
        self.relay.name()
    }

    /// From one moment to the next, with nothing said to anybody.
    pub(super) fn kill(&self) {
        self.running.abort();
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

pub(super) struct World {
    pub(super) store: Arc<SharedStore>,
    pub(super) ring: Arc<KeyRing>,
}

pub(super) const NOW: Timestamp = Timestamp::from_seconds(1_800_000_000);

impl World {
    pub(super) fn new() -> Self {
        Self { store: SharedStore::new(), ring: ring() }
    }

    /// A node that answers like this; listening.
    pub(super) async fn node<A>(&self, answers: impl Fn(Relayed) -> A + Send + Sync + 'static) -> Node
    where
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        Node::start(Arc::clone(&self.store) as Arc<dyn Store>, &self.ring, answers).await
    }

    /// A node that is asked nothing.
    pub(super) async fn asker(&self) -> Node {
        self.node(|_| async { unreachable!("nobody asks this node") }).await
    }

    /// Writes letters as a node of this name would.
    pub(super) fn writer(&self, from: NodeName) -> Writer {
        Writer::new(from, Arc::clone(&self.ring), Arc::new(SystemEntropy::new()))
    }

    pub(super) async fn put_on(&self, channel: Channel, letter: Bytes) {
        self.store.memory.publish(&channel.name(), letter).await.unwrap();
    }
}

impl Node {
    pub(super) async fn start<A>(
        store: Arc<dyn Store>,
        ring: &Arc<KeyRing>,
        answers: impl Fn(Relayed) -> A + Send + Sync + 'static,
    ) -> Self
    where
        A: Future<Output = Response<Body>> + Send + 'static,
    {
        let relay = Relay::new(RelayDependencies {
            ring: Arc::clone(ring),
            store,
            clock: Arc::new(|| NOW),
            entropy: Arc::new(SystemEntropy::new()),
            request_body: 4 << 20,
        });
        let relay = Arc::new(relay.unwrap());
        let (ears, heard) = mpsc::unbounded_channel();
        let serves = Arc::new(Answers(move |request| Box::pin(answers(request)) as Served));
        let running = tokio::spawn({
            let relay = Arc::clone(&relay);
            async move { relay.run(serves, Arc::new(Ears(ears))).await }
        });
        // Subscribes before it waits for anything.
        tokio::task::yield_now().await;
        Self { relay, heard, running }
    }
}

pub(super) fn ring() -> Arc<KeyRing> {
    Arc::new(KeyRing::try_from(&KeyRingDocument::generate(&SystemEntropy::new()).unwrap()).unwrap())
}

pub(super) fn request(body: impl Into<Bytes>) -> Relayed {
    let (parts, ()) = Request::post("/mcp").header("authorization", "Bearer t").body(()).unwrap().into_parts();
    Relayed::of(&parts, body.into()).unwrap()
}

pub(super) fn stream_request() -> Relayed {
    let (parts, ()) = Request::get("/mcp").body(()).unwrap().into_parts();
    Relayed::of(&parts, Bytes::new()).unwrap()
}

/// The body of a request, as the other node sees it.
pub(super) async fn body_of(request: Relayed) -> Bytes {
    request.into_request().unwrap().into_body().collect().await.unwrap().to_bytes()
}

pub(super) async fn read(response: Response<Body>) -> Result<Bytes, BrokenAnswer> {
    response.into_body().collect().await.map(http_body_util::Collected::to_bytes)
}
