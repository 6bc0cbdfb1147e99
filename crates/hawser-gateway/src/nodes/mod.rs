//! What the nodes tell each other of a session that several of them serve.
//!
//! A session is live on every node that a request of its owner reached. Most of it needs no word between them: whoever has the key
//! ring can serve it. What is said here is what one node alone knows: that the client listens at it, that the client no longer
//! wants an answer, what it subscribed to. Nothing of it decides whose a session is, and none of it is certain to arrive: what is
//! lost costs a notification, never a session. Where no other node can be, nothing is said.

mod hear;
mod told;

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hawser_mcp::RawJson;
use tokio::time::sleep;

use crate::claims::SessionKey;
use crate::endpoint::Endpoint;
use crate::hearsay::Topic;
use crate::in_flight::Attached;
use crate::pending::NotPut;
use crate::relay::{NodeName, Relay};
use crate::session::Session;

use self::told::{LISTS_AT_ONCE, Line};

pub(crate) use self::told::{ListNews, PASSED_ON_BYTES_MAX, Told};

/// How long another node may take to say that it has put a question.
const PUT_WITHIN: Duration = Duration::from_secs(2);

/// Carries short messages to all other nodes.
#[async_trait]
pub(crate) trait Tells: Send + Sync {
    /// Does not wait. `false` if it is not sent.
    fn tell_all(&self, message: Bytes) -> bool;

    /// Whether a node still runs; `None` if that cannot be known now.
    async fn is_present(&self, node: NodeName) -> Option<bool>;
}

/// This node and the others.
#[derive(Clone)]
pub(crate) struct Nodes {
    here: NodeName,
    others: Option<Arc<dyn Tells>>,
}

impl Nodes {
    /// A node, and the way to others if there can be any.
    pub(crate) fn new(here: NodeName, others: Option<Arc<dyn Tells>>) -> Self {
        Self { here, others }
    }

    /// This node.
    pub(crate) const fn here(&self) -> NodeName {
        self.here
    }

    /// Tells one node something of a session. `false` if it is not sent.
    fn tell(&self, to: NodeName, session: SessionKey, told: Told) -> bool {
        self.send(Some(to), session, told)
    }

    /// Tells all others.
    pub(crate) fn tell_all(&self, session: SessionKey, told: Told) {
        self.send(None, session, told.cut());
    }

    fn send(&self, to: Option<NodeName>, session: SessionKey, told: Told) -> bool {
        self.others.as_ref().is_some_and(|others| others.tell_all(Line { to, session, told }.to_bytes()))
    }

    /// Whether a node is known to have ended.
    pub(crate) async fn is_gone(&self, node: NodeName) -> bool {
        let Some(others) = &self.others else { return true };
        node != self.here && others.is_present(node).await == Some(false)
    }

    /// Lists changed that are not one owner's: for everyone, or for all anonymous callers.
    pub(crate) fn tell_lists(&self, endpoint: &Endpoint, everyone: bool, changed: impl Iterator<Item = Topic>) {
        let Some(others) = &self.others else { return };
        let named = |(backend, kind)| Some((endpoint.backend(backend)?.name().to_string(), kind));
        let changed: Vec<_> = changed.filter_map(named).collect();
        for some in changed.chunks(LISTS_AT_ONCE) {
            let news = ListNews { endpoint: endpoint.path().to_owned(), everyone, changed: some.to_vec() };
            others.tell_all(news.to_bytes());
        }
    }

    /// The client listens at this node from now on: what others keep for it, and hear for it, belongs here.
    pub(crate) fn listens_here(&self, session: &Session, client_id: Option<&str>) {
        session.set_listener_elsewhere(None);
        self.tell_all(session.key(), Told::Listens { client_id: client_id.map(str::to_owned) });
    }

    /// The session is live here from now on; it may be listened to somewhere else.
    pub(crate) fn who_listens(&self, session: &Session) {
        self.tell_all(session.key(), Told::WhoListens);
    }
}

impl fmt::Debug for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nodes").field("here", &self.here).finish_non_exhaustive()
    }
}

/// Where a client listens, if that is another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListensAt {
    pub(crate) node: NodeName,
    /// The client that opened the stream there.
    pub(crate) client_id: Option<String>,
}

impl Session {
    /// Passes a notification on to the node where the client listens; `false` if that is none but this, or it cannot be told now.
    pub(crate) fn pass_on(&self, message: &Bytes) -> bool {
        let Some(at) = self.listener_elsewhere() else { return false };
        let Some(message) = short(message) else { return false };
        self.nodes().tell(at.node, self.key(), Told::Message { message })
    }

    /// Passes what is kept here on to the node where the client listens; what cannot be is kept on.
    pub(crate) fn pass_kept_on(&self) {
        if self.listener_elsewhere().is_none() {
            return;
        }
        let Some(work) = self.present_work() else { return };
        let left: Vec<_> = work.outbox.take_kept().into_iter().filter(|kept| !self.pass_on(kept)).collect();
        work.outbox.keep(left);
    }

    /// Passes a question on to the node where the client listens; `None` if that is none but this, or nothing is to be put. What
    /// it is depends on the client that will read it.
    pub(crate) fn pass_question_on(&self, make: impl FnOnce(Option<&str>) -> Option<(u64, Bytes)>) -> Option<()> {
        let at = self.listener_elsewhere()?;
        let (number, message) = make(at.client_id.as_deref())?;
        self.work().pending.note_passed_on(number, at.node, message.clone());
        let told = short(&message).map(|message| Told::Question { number, client_id: at.client_id, message });
        if told.is_some_and(|told| self.nodes().tell(at.node, self.key(), told)) {
            let session = Weak::clone(self.weak());
            // Such questions are few, and as many as may wait. A node that has ended says nothing.
            tokio::spawn(async move {
                sleep(PUT_WITHIN).await;
                if let Some(session) = session.upgrade() {
                    session.put_here(number);
                }
            });
        } else {
            self.put_here(number);
        }
        Some(())
    }

    /// Puts a question here that no other node has put: to a stream of the same client, or with a call of it.
    fn put_here(&self, number: u64) {
        let Some(work) = self.present_work() else { return };
        let Some(NotPut { backend, client_id, message }) = work.pending.not_put(number) else { return };
        let of_client = |reader: Option<&str>| (reader == client_id.as_deref()).then(|| message.clone());
        let put = work.outbox.send_with(|reader| of_client(reader.client_id)).is_ok()
            || work.in_flight.attach(backend, |reader| of_client(reader).map(Attached::Message));
        if !put {
            work.pending.decline(number);
        }
    }
}

fn short(message: &Bytes) -> Option<RawJson> {
    (message.len() <= PASSED_ON_BYTES_MAX).then(|| RawJson::parse(message).ok())?
}

#[async_trait]
impl Tells for Relay {
    fn tell_all(&self, message: Bytes) -> bool {
        Self::tell_all(self, message)
    }

    async fn is_present(&self, node: NodeName) -> Option<bool> {
        Self::is_present(self, node).await
    }
}
