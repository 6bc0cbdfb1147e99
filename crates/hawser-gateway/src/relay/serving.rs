//! Requests that other nodes bring: put together, answered by a task each, and the answer sent as far as it is read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::chunks::Chunks;
use super::flow::{Answering, PeerGone, WIDER};
use super::frame::{ExchangeId, Frame, PART_BYTES_MAX, Piece, Window, Word};
use super::letter::Channel;
use super::name::NodeName;
use super::outbox::Outbox;
use super::request::Relayed;
use super::{EXCHANGES_MAX, Serves, Shared, WIDER_MAX};

/// A request of which the next part is missing for so long is given up.
const COMING_MAX: Duration = Duration::from_secs(2);
/// Bytes of requests that have not come whole.
const COMING_BYTES: usize = 64 * 1024 * 1024;
/// What a head may add to a request.
const HEAD_BYTES_MAX: usize = 128 * 1024;

type Key = (NodeName, ExchangeId);

/// The requests of other nodes.
pub(super) struct Serving {
    outbox: Outbox,
    request_bytes: usize,
    under_way: Mutex<UnderWay>,
    /// Pieces that may be kept beyond what each answer may keep.
    wider: Arc<Semaphore>,
}

#[derive(Default)]
struct UnderWay {
    exchanges: BTreeMap<Key, Exchange>,
    coming_bytes: usize,
    /// Nothing more is taken.
    closed: bool,
}

enum Exchange {
    Coming(Coming),
    Served(Arc<Served>),
}

struct Coming {
    since: Instant,
    next: u16,
    parts: u16,
    bytes: BytesMut,
}

/// An answer on its way.
struct Served {
    flow: Mutex<Answering>,
    /// The other side has read something.
    moved: Notify,
    /// The other side has left.
    left: CancellationToken,
}

/// What came of a part.
enum Part {
    /// There is more to come.
    More,
    /// The request is complete.
    Whole(Bytes, Arc<Served>),
    /// It is not taken.
    Refused,
}

impl Serving {
    pub(super) fn new(outbox: Outbox, request_body: usize) -> Self {
        let request_bytes = request_body.saturating_add(HEAD_BYTES_MAX);
        Self { outbox, request_bytes, under_way: Mutex::default(), wider: Arc::new(Semaphore::new(WIDER_MAX)) }
    }

    /// Changes every answer that is on its way; an error means that the other side is gone.
    pub(super) fn each(&self, change: impl Fn(&mut Answering) -> Result<Option<Word>, PeerGone>) {
        let mut words = Vec::new();
        {
            let mut under_way = self.lock();
            under_way.drop_late(Instant::now());
            for (key, exchange) in &under_way.exchanges {
                let Exchange::Served(served) = exchange else { continue };
                match change(&mut served.lock()) {
                    Ok(Some(word)) => words.push((*key, word)),
                    Ok(None) => {}
                    Err(PeerGone) => served.left.cancel(),
                }
            }
        }
        for (key, word) in words {
            self.say(key, word);
        }
    }

    fn part(&self, key: Key, part: u16, parts: u16, bytes: &Bytes) -> Part {
        let now = Instant::now();
        let mut under_way = self.lock();
        let UnderWay { exchanges, coming_bytes, closed } = &mut *under_way;
        let full = *closed
            || exchanges.len() >= EXCHANGES_MAX
            || *coming_bytes + bytes.len() > COMING_BYTES.max(self.request_bytes);
        let mut coming = match exchanges.entry(key) {
            Entry::Vacant(_) if part != 0 || full || self.is_too_long(parts) => return Part::Refused,
            Entry::Vacant(_) => Coming { since: now, next: 0, parts, bytes: BytesMut::new() },
            Entry::Occupied(known) if matches!(known.get(), Exchange::Served(_)) => return Part::More,
            Entry::Occupied(known) => match known.remove() {
                Exchange::Coming(coming) => coming,
                Exchange::Served(_) => return Part::More,
            },
        };
        *coming_bytes = coming_bytes.saturating_sub(coming.bytes.len());
        let fits = coming.bytes.len() + bytes.len() <= self.request_bytes;
        if (part, parts) != (coming.next, coming.parts) || !fits || full {
            return Part::Refused;
        }
        coming.bytes.extend_from_slice(bytes);
        coming.next += 1;
        coming.since = now;
        if coming.next < coming.parts {
            *coming_bytes += coming.bytes.len();
            exchanges.insert(key, Exchange::Coming(coming));
            return Part::More;
        }
        let served = Arc::new(Served {
            flow: Mutex::new(Answering::new(now)),
            moved: Notify::new(),
            left: CancellationToken::new(),
        });
        exchanges.insert(key, Exchange::Served(Arc::clone(&served)));
        Part::Whole(coming.bytes.freeze(), served)
    }

    fn window(&self, key: Key, window: Window) {
        let Some(served) = self.served(key) else {
            // Who asks wants to know whether somebody is there, while its request is on its way.
            self.say(key, if self.is_coming(key) { Word::Accepted } else { Word::Gone });
            return;
        };
        served.lock().window(Instant::now(), window);
        served.moved.notify_one();
    }

    fn left(&self, key: Key) {
        match self.served(key) {
            Some(served) => served.left.cancel(),
            None => self.lock().remove(key),
        }
    }

    fn is_coming(&self, key: Key) -> bool {
        matches!(self.lock().exchanges.get(&key), Some(Exchange::Coming(_)))
    }

    /// Whether a request of so many parts, all full but the last, is longer than one may be.
    fn is_too_long(&self, parts: u16) -> bool {
        usize::from(parts.saturating_sub(1)).saturating_mul(PART_BYTES_MAX) > self.request_bytes
    }

    fn served(&self, key: Key) -> Option<Arc<Served>> {
        match self.lock().exchanges.get(&key) {
            Some(Exchange::Served(served)) => Some(Arc::clone(served)),
            Some(Exchange::Coming(_)) | None => None,
        }
    }

    /// Takes nothing more; whether everything that was taken is answered and read.
    pub(super) fn close(&self) -> bool {
        let mut under_way = self.lock();
        under_way.closed = true;
        under_way.exchanges.is_empty()
    }

    /// Whether nothing more is taken.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Tells who waits for an answer that none will come.
    pub(super) fn give_up(&self) {
        let left: Vec<_> = self.lock().exchanges.keys().copied().collect();
        for key in left {
            self.say(key, Word::Gone);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().exchanges.is_empty()
    }

    fn say(&self, key: Key, word: Word) {
        self.outbox.say(Channel::Node(key.0), Frame::Of(key.1, word));
    }

    /// No code that can panic runs between two changes that belong together.
    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    fn remove(&mut self, key: Key) {
        if let Some(Exchange::Coming(coming)) = self.exchanges.remove(&key) {
            self.coming_bytes = self.coming_bytes.saturating_sub(coming.bytes.len());
        }
    }

    fn drop_late(&mut self, now: Instant) {
        let late = |exchange: &Exchange| match exchange {
            Exchange::Coming(coming) => now.duration_since(coming.since) >= COMING_MAX,
            Exchange::Served(_) => false,
        };
        let late: Vec<_> = self.exchanges.iter().filter(|(_, exchange)| late(exchange)).map(|(key, _)| *key).collect();
        for key in late {
            self.remove(key);
        }
    }
}

impl Served {
    /// A flow is only changed by its own methods, none of which can panic half way.
    fn lock(&self) -> MutexGuard<'_, Answering> {
        self.flow.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes what comes on this node's channel, and holds the tasks that answer.
pub(super) struct Requests {
    shared: Arc<Shared>,
    serves: Arc<dyn Serves>,
    /// Dropped with the relay, and every answer with it.
    tasks: JoinSet<()>,
}

impl Requests {
    pub(super) fn new(shared: Arc<Shared>, serves: Arc<dyn Serves>) -> Self {
        Self { shared, serves, tasks: JoinSet::new() }
    }

    pub(super) fn take(&mut self, from: NodeName, frame: Frame) {
        // What is told to all comes on the channel of all.
        let Frame::Of(exchange, word) = frame else { return };
        let key = (from, exchange);
        match word {
            Word::Request { part, parts, bytes } => self.request(key, part, parts, &bytes),
            Word::Window(window) => self.shared.serving.window(key, window),
            Word::Leave => self.shared.serving.left(key),
            Word::Accepted | Word::Piece(..) | Word::Sent(_) | Word::Gone => self.shared.answered(from, exchange, word),
        }
    }

    fn request(&mut self, key: Key, part: u16, parts: u16, bytes: &Bytes) {
        while self.tasks.try_join_next().is_some() {}
        let (bytes, served) = match self.shared.serving.part(key, part, parts, bytes) {
            // Said of each part: who sends a large one hears that somebody is there, however long the rest takes.
            Part::More => return self.shared.serving.say(key, Word::Accepted),
            Part::Refused => return self.shared.serving.say(key, Word::Gone),
            Part::Whole(bytes, served) => (bytes, served),
        };
        let answering = UnderAnswer { key, served, shared: Arc::clone(&self.shared) };
        let Some(request) = Relayed::read(&bytes) else { return };
        self.shared.serving.say(key, answering.served.lock().beat(Instant::now()));
        let gateway = Arc::clone(&self.serves);
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                () = answering.served.left.cancelled() => {}
                () = answering.answer(gateway.as_ref(), request) => {}
            }
        });
    }
}

/// One answer, from the request to its last piece. Forgotten when dropped.
struct UnderAnswer {
    key: Key,
    served: Arc<Served>,
    shared: Arc<Shared>,
}

impl UnderAnswer {
    async fn answer(&self, serves: &dyn Serves, request: Relayed) {
        while !self.served.lock().is_wanted() {
            self.served.moved.notified().await;
        }
        let (head, body) = serves.serve(self.key.0, request).await.into_parts();
        self.served.lock().push(Piece::Head(head.status, head.headers));
        let mut chunks = Chunks::new(body);
        let mut wider = None;
        loop {
            self.send_all().await;
            let (room, done) = {
                let flow = self.served.lock();
                (flow.has_room(), flow.is_done())
            };
            if done {
                return;
            }
            // What has to be sent again does not wait for what comes next.
            tokio::select! {
                biased;
                () = self.served.moved.notified() => {}
                piece = chunks.next(), if room => {
                    if piece.is_full() && wider.is_none() {
                        wider = Arc::clone(&self.shared.serving.wider).try_acquire_many_owned(WIDER).ok();
                        if wider.is_some() {
                            self.served.lock().widen();
                        }
                    }
                    self.served.lock().push(piece);
                }
            }
        }
    }

    async fn send_all(&self) {
        loop {
            let Some(word) = self.served.lock().pop(Instant::now()) else { return };
            self.shared.outbox.send(Channel::Node(self.key.0), Frame::Of(self.key.1, word)).await;
        }
    }
}

impl Drop for UnderAnswer {
    fn drop(&mut self) {
        self.shared.serving.lock().remove(self.key);
        // Broken off on this side: nobody should wait until it is noticed.
        if !self.served.left.is_cancelled() && !self.served.lock().is_done() {
            self.shared.serving.say(self.key, Word::Gone);
        }
    }
}
