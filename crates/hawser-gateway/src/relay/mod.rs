//! Between nodes: a request that is about something another node holds is carried there, by the store's channels.
//!
//! What a handle leads to may live on one node only: a question that waits for its answer, a parked call, an event log. A node that
//! is brought such a handle of another node [forwards](Relay::forward) the request. The other node [serves](Serves) it as if it had
//! come over HTTP: it authenticates, admits and answers anew, so there is no second way in. Its answer comes back in numbered pieces
//! with a bounded window ([`flow`]), in letters that only nodes with the same key ring can write ([`letter`]).
//!
//! Nodes need no addresses of each other, and none of this is there unless the store is shared.

mod answer;
mod chunks;
mod draining;
mod flow;
mod frame;
mod letter;
mod listening;
mod name;
mod outbox;
mod presence;
mod replays;
mod request;
mod serving;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
mod wire;

use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::FusedFuture;
use hawser_owner::{Clock, Entropy, EntropyError, KeyRing};
use hawser_store::Store;
use http::Response;
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::debug;

use self::answer::{Answer, Asked};
use self::flow::{Asking, Break};
use self::frame::{ExchangeId, Frame, TELL_BYTES_MAX, Word};
use self::letter::{Channel, Writer};
use self::listening::Heard;
use self::outbox::{Outbox, Postman, outbox};
use self::serving::{Requests, Serving};
use crate::reply::Body;

pub use self::name::{NodeName, NodeNameError};
pub use self::request::Relayed;

/// A node that does not say within this time that it has a request is not there.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(1);
/// Requests that others answer for this node, and as many that this node answers for others.
pub(crate) const EXCHANGES_MAX: usize = 2048;
/// Pieces that may wait in each direction beyond the window that every exchange has: with those, 192 MiB in the worst case, if all
/// clients stop reading in the middle of something large.
const WIDER_MAX: usize = 4096;
/// How often exchanges are looked through for what is due.
const TICK: Duration = Duration::from_millis(250);

/// Answers requests that other nodes bring.
#[async_trait]
pub trait Serves: Send + Sync + 'static {
    /// Answers one, as if it had come over HTTP. Dropped if the caller leaves.
    async fn serve(&self, from: NodeName, request: Relayed) -> Response<Body>;
}

/// Hears what other nodes [tell all](Relay::tell_all).
pub trait Hears: Send + Sync + 'static {
    /// Takes a message; must not block.
    fn hear(&self, from: NodeName, message: Bytes);
}

/// Why another node did not answer. Except where it says otherwise, it has not begun with the request and never will, although that
/// may still come.
#[derive(Debug, Error, Clone, Copy, PartialEq, Eq)]
pub enum NotReached {
    /// There is no such node, or not any more.
    #[error("there is no node {0}")]
    NoAnswer(NodeName),
    /// The node did not say that it has the request, although it runs, or did a moment ago: it may be cut off from the store.
    #[error("the node {0} does not answer now")]
    Silent(NodeName),
    /// The request could not be sent.
    #[error("the request for the node {0} could not be sent: the store is unavailable")]
    Store(NodeName),
    /// Too many requests are under way between nodes, or the node is stopping: the request was not taken.
    #[error("too many requests are under way to other nodes, or at the node {0}")]
    Busy(NodeName),
    /// The node had the request and was lost, or gave up, before its answer began. The request may have been processed.
    #[error("the node {0} was lost while it had the request")]
    Lost(NodeName),
}

/// What a relay works with.
pub struct RelayDependencies {
    /// Seals what nodes say to each other.
    pub ring: Arc<KeyRing>,
    /// Carries it.
    pub store: Arc<dyn Store>,
    /// Tells the time.
    pub clock: Clock,
    /// Gives randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Largest body of a request that is taken from another node.
    pub request_body: usize,
}

/// This node's way to the others.
pub struct Relay {
    shared: Arc<Shared>,
    postman: tokio::sync::Mutex<Postman>,
    writer: Writer,
}

struct Shared {
    name: NodeName,
    ring: Arc<KeyRing>,
    store: Arc<dyn Store>,
    clock: Clock,
    entropy: Arc<dyn Entropy>,
    outbox: Outbox,
    asked: Mutex<BTreeMap<ExchangeId, Arc<Asked>>>,
    places: Arc<Semaphore>,
    /// Pieces that may be unread beyond what each answer may have unread.
    wider: Arc<Semaphore>,
    serving: Serving,
}

impl Shared {
    /// Every change of the map is one call that cannot leave it half changed.
    fn asked(&self) -> MutexGuard<'_, BTreeMap<ExchangeId, Arc<Asked>>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What another node says about a request of this one.
    fn answered(&self, from: NodeName, exchange: ExchangeId, word: Word) {
        let asked = self.asked().get(&exchange).filter(|asked| asked.to == from).cloned();
        let reply = match asked {
            Some(asked) => asked.change(|flow| flow.hear(Instant::now(), word)),
            // It is over, and the other node does not know yet.
            None => (word != Word::Gone).then_some(Word::Leave),
        };
        if let Some(reply) = reply {
            self.outbox.say(Channel::Node(from), Frame::Of(exchange, reply));
        }
    }

    /// Messages to this node may have been lost: what should have come is asked for, and what was sent is told.
    fn missed(&self) {
        let now = Instant::now();
        self.each_asked(|_, flow| flow.missed(now));
        self.serving.each(|flow| Ok(Some(flow.beat(now))));
    }

    fn each_asked(&self, change: impl Fn(&Asked, &mut Asking) -> Option<Word>) {
        let all: Vec<_> = self.asked().iter().map(|(id, asked)| (*id, Arc::clone(asked))).collect();
        for (id, asked) in all {
            if let Some(word) = asked.change(|flow| change(&asked, flow)) {
                self.outbox.say(Channel::Node(asked.to), Frame::Of(id, word));
            }
        }
    }
}

/// Waits for something while another thing is done, as far as it gets.
async fn beside<T>(done: &mut Pin<&mut impl FusedFuture<Output = ()>>, awaited: impl Future<Output = T>) -> T {
    let mut awaited = pin!(awaited);
    loop {
        tokio::select! {
            biased;
            it = &mut awaited => return it,
            () = &mut *done, if !done.is_terminated() => {}
        }
    }
}

impl Relay {
    /// A node with a new name. It can be reached once [`Relay::run`] runs.
    pub fn new(dependencies: RelayDependencies) -> Result<Self, EntropyError> {
        let RelayDependencies { ring, store, clock, entropy, request_body } = dependencies;
        let name = NodeName::random(entropy.as_ref())?;
        let (outbox, postman) = outbox();
        let writer = Writer::new(name, Arc::clone(&ring), Arc::clone(&entropy));
        let serving = Serving::new(outbox.clone(), request_body);
        let shared = Shared {
            name,
            ring,
            store,
            clock,
            entropy,
            outbox,
            asked: Mutex::default(),
            places: Arc::new(Semaphore::new(EXCHANGES_MAX)),
            wider: Arc::new(Semaphore::new(WIDER_MAX)),
            serving,
        };
        Ok(Self { shared: Arc::new(shared), postman: tokio::sync::Mutex::new(postman), writer })
    }

    /// This node's name: what handles carry that lead to it.
    pub fn name(&self) -> NodeName {
        self.shared.name
    }

    /// Has another node answer this request. Returns when its answer begins, however long that takes; the body follows as it is
    /// read. A caller that leaves drops this future or the response, and the other node drops what it was doing.
    pub async fn forward(&self, to: NodeName, request: Relayed) -> Result<Response<Body>, NotReached> {
        if to == self.shared.name {
            return Err(NotReached::NoAnswer(to));
        }
        let place = Arc::clone(&self.shared.places).try_acquire_owned().map_err(|_| NotReached::Busy(to))?;
        let mut id = [0; 8];
        self.shared.entropy.fill(&mut id).map_err(|_| NotReached::Busy(to))?;
        let id = ExchangeId(u64::from_be_bytes(id));
        let asked = Arc::new(Asked::new(to, request.is_call()));
        self.shared.asked().insert(id, Arc::clone(&asked));
        let answer = Answer::new(id, asked, Arc::clone(&self.shared), place);

        // The other node says that it is there when the first letter has come; the rest may take longer.
        let mut sending = pin!(self.send(to, id, &request).fuse());
        let acknowledged = beside(&mut sending, tokio::time::timeout(ACKNOWLEDGED_WITHIN, answer.accepted())).await;
        match acknowledged {
            Ok(Ok(())) => {}
            Ok(Err(Break::Unsent)) => return Err(NotReached::Store(to)),
            Ok(Err(_)) => return Err(NotReached::Busy(to)),
            Err(_) if !answer.withdraw() => {}
            Err(_) => {
                return Err(match self.shared.is_present(to).await {
                    Ok(true) => NotReached::Silent(to),
                    Ok(false) => NotReached::NoAnswer(to),
                    Err(_) => NotReached::Store(to),
                });
            }
        }
        beside(&mut sending, answer.response()).await.map_err(|reason| {
            debug!(node = %to, ?reason, "a relayed request was lost");
            NotReached::Lost(to)
        })
    }

    async fn send(&self, to: NodeName, id: ExchangeId, request: &Relayed) {
        let all = request.to_parts();
        let parts = u16::try_from(all.len()).unwrap_or(u16::MAX);
        for (part, bytes) in (0..parts).zip(all) {
            let word = Word::Request { part, parts, bytes };
            self.shared.outbox.send(Channel::Node(to), Frame::Of(id, word)).await;
        }
    }

    /// Tells all other nodes something short, at best effort; never waits. `false` if it certainly is told to none: it is too long,
    /// or too much waits to be told.
    pub fn tell_all(&self, message: Bytes) -> bool {
        let taken = message.len() <= TELL_BYTES_MAX && self.shared.outbox.tell(message);
        if !taken {
            debug!("something was not told to the other nodes");
        }
        taken
    }

    /// Whether a node is there, as far as the store knows; `None` if that cannot be asked.
    pub async fn is_present(&self, node: NodeName) -> Option<bool> {
        self.shared.is_present(node).await.ok()
    }

    /// Listens, answers and sends. Runs until dropped; only one at a time.
    pub async fn run(&self, serves: Arc<dyn Serves>, hears: Arc<dyn Hears>) {
        let mut postman = self.postman.lock().await;
        let unsent = |exchange: ExchangeId, _: &_| {
            let asked = self.shared.asked().get(&exchange).cloned();
            if let Some(asked) = asked {
                asked.change(|flow| flow.give_up(Break::Unsent));
            }
        };
        let mut serving = Requests::new(Arc::clone(&self.shared), serves);
        tokio::join!(
            postman.run(&self.shared.store, &self.writer, &self.shared.clock, unsent),
            self.shared.listen(Channel::Node(self.shared.name), |heard| match heard {
                Heard::Frame(from, frame) => serving.take(from, frame),
                Heard::Missed => self.shared.missed(),
            }),
            self.shared.listen(Channel::Nodes, |heard| {
                if let Heard::Frame(from, Frame::Tell(message)) = heard {
                    hears.hear(from, message);
                }
            }),
            self.ticks(),
            self.shared.stay(),
        );
    }

    async fn ticks(&self) {
        let mut every = tokio::time::interval(TICK);
        loop {
            every.tick().await;
            let now = Instant::now();
            self.shared.each_asked(|_, flow| flow.tick(now));
            self.shared.serving.each(|flow| flow.tick(now));
        }
    }
}
