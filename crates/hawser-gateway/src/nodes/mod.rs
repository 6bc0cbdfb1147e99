//! What the nodes tell each other of a session that several of them serve.
//!
//! A session is live on every node that a request of its owner reached. Most of it needs no word between them: whoever has the key
//! ring can serve it. What is said here is what one node alone knows: that the client listens at it, that the client no longer
//! wants an answer, what it subscribed to. Nothing of it decides whose a session is, and none of it is certain to arrive: what is
//! lost costs a notification, never a session. Where no other node can be, nothing is said.

mod hear;
mod told;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use hawser_mcp::RawJson;

use crate::claims::SessionKey;
use crate::endpoint::Endpoint;
use crate::hearsay::Topic;
use crate::relay::{NodeName, Relay};
use crate::session::Session;

use self::told::{LISTS_AT_ONCE, Line, PASSED_ON_BYTES_MAX};

pub(crate) use self::told::{ListNews, Told};

/// Carries short messages to all other nodes.
pub(crate) trait Tells: Send + Sync {
    /// Does not wait; what cannot be sent is lost.
    fn tell_all(&self, message: Bytes);
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

    /// Tells one node something of a session.
    fn tell(&self, to: NodeName, session: SessionKey, told: Told) {
        self.send(Some(to), session, told);
    }

    /// Tells all others.
    pub(crate) fn tell_all(&self, session: SessionKey, told: Told) {
        self.send(None, session, told);
    }

    fn send(&self, to: Option<NodeName>, session: SessionKey, told: Told) {
        if let Some(others) = &self.others {
            others.tell_all(Line { to, session, told }.to_bytes());
        }
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
    /// Passes a notification on to the node where the client listens; `false` if that is none but this.
    pub(crate) fn pass_on(&self, message: &Bytes) -> bool {
        let Some(at) = self.listener_elsewhere() else { return false };
        let Some(message) = short(message) else { return false };
        self.nodes().tell(at.node, self.key(), Told::Message { message });
        true
    }

    /// Passes a question on to the node where the client listens; `None` if that is none but this, or nothing is to be put. What
    /// it is depends on the client that will read it.
    pub(crate) fn pass_question_on(&self, make: impl FnOnce(Option<&str>) -> Option<(u64, Bytes)>) -> Option<()> {
        let at = self.listener_elsewhere()?;
        let (number, message) = make(at.client_id.as_deref())?;
        let Some(message) = short(&message) else {
            self.work().pending.decline(number);
            return Some(());
        };
        self.nodes().tell(at.node, self.key(), Told::Question { number, client_id: at.client_id, message });
        Some(())
    }
}

fn short(message: &Bytes) -> Option<RawJson> {
    (message.len() <= PASSED_ON_BYTES_MAX).then(|| RawJson::parse(message).ok())?
}

impl Tells for Relay {
    fn tell_all(&self, message: Bytes) {
        Self::tell_all(self, message);
    }
}
