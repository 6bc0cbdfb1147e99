//! What is done with what other nodes tell.

use std::sync::Arc;

use bytes::Bytes;
use hawser_mcp::{Limits, Message, RawJson, RequestId, parse_message};
use tracing::debug;

use super::{Line, ListNews, ListensAt, Nodes, Told};
use crate::endpoint::Endpoint;
use crate::relay::NodeName;
use crate::session::Session;
use crate::sessions::Sessions;
use crate::wishes;

impl Sessions {
    /// Takes a message of another node.
    pub(crate) fn hear_node(self: &Arc<Self>, from: NodeName, message: &[u8], endpoints: &[Arc<Endpoint>]) {
        if let Some(news) = ListNews::read(message) {
            if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.path() == news.endpoint) {
                self.hear_list_news(endpoint, &news);
            }
            return;
        }
        let Some(line) = Line::read(message) else {
            return debug!(%from, "a message of another node could not be read; is it of another version?");
        };
        if line.to.is_some_and(|to| to != self.nodes().here()) {
            return;
        }
        if let Some(session) = self.live_session(line.session) {
            // An answer of one to who asked: a stream that was opened here meanwhile is newer, and so is one that was told to all.
            let is_late = line.to.is_some() && matches!(line.told, Told::Listens { .. }) && is_settled(&session);
            if !is_late {
                take(&session, self.nodes(), from, line.told);
            }
        }
    }
}

fn take(session: &Arc<Session>, nodes: &Nodes, from: NodeName, told: Told) {
    match told {
        Told::Listens { client_id } => {
            session.set_listener_elsewhere(Some(ListensAt { node: from, client_id }));
            session.pass_kept_on();
        }
        Told::WhoListens => {
            if let Some(listener) = session.present_work().and_then(|work| work.outbox.listener()) {
                nodes.tell(from, session.key(), Told::Listens { client_id: listener.client_id().map(str::to_owned) });
            }
        }
        Told::Message { message } => put_message(session, &message),
        Told::Question { number, client_id, message } => {
            let is_same = |reader: Option<&str>| (reader == client_id.as_deref()).then(|| message.bytes().clone());
            let work = session.present_work();
            let put = work.is_some_and(|work| work.outbox.send_with(|reader| is_same(reader.client_id)).is_ok());
            nodes.tell(from, session.key(), if put { Told::Put { number } } else { Told::NotPut { number } });
        }
        Told::Put { number } => {
            if let Some(work) = session.present_work() {
                work.pending.note_put(number, from);
            }
        }
        Told::NotPut { number } => session.put_here(number),
        Told::Cancelled { id, reason } => {
            if let (Some(id), Some(work)) = (RequestId::from_raw(id), session.present_work()) {
                work.in_flight.cancel(&id, reason);
            }
        }
        Told::ForBackends { message } => {
            if let Some(Message::Notification(told)) = read(&message) {
                for opened in session.upstreams().iter().filter_map(|upstream| upstream.opened()) {
                    opened.notify_in_background(told.clone());
                }
            }
        }
        Told::LogLevel { level } => wishes::follow_log_level(session, &level),
        Told::Subscription { backend, uri, subscribed } => {
            wishes::follow_subscription(session, &backend, uri, subscribed);
        }
    }
}

/// Whether it is known where the client listens.
fn is_settled(session: &Session) -> bool {
    session.listener_elsewhere().is_some() || session.present_work().is_some_and(|work| work.outbox.has_stream())
}

fn put_message(session: &Session, message: &RawJson) {
    if let Some(Message::Notification(told)) = read(message) {
        session.work().outbox.send_or_keep(&told.method, message.bytes());
    }
}

fn read(message: &RawJson) -> Option<Message> {
    parse_message(&Bytes::clone(message.bytes()), &Limits::default()).ok()
}
