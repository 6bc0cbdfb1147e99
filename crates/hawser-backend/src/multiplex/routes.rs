//! Which exchange a message belongs to. Nothing on a shared way in says so, except the ids of responses and the tokens of
//! progress notifications.

use std::collections::HashMap;

use hawser_mcp::{Members, Message, RawJson, RequestId, Response, meta_key, notification};
use tokio::sync::oneshot;

use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::queue;

/// Notifications about the server as a whole, whatever is in flight.
const SERVER_WIDE: [&str; 5] = [
    notification::TOOLS_LIST_CHANGED,
    notification::PROMPTS_LIST_CHANGED,
    notification::RESOURCES_LIST_CHANGED,
    notification::RESOURCES_UPDATED,
    notification::ELICITATION_COMPLETE,
];

/// The exchanges in flight.
#[derive(Debug, Default)]
pub(super) struct Routes {
    entries: HashMap<u64, Route>,
    closed: bool,
}

/// One exchange in flight.
#[derive(Debug)]
pub(super) struct Route {
    /// What comes before the end.
    pub(super) messages: queue::Sender,
    /// The end.
    pub(super) end: oneshot::Sender<ExchangeItem>,
    /// `params._meta.progressToken` of the request.
    pub(super) progress_token: Option<RawJson>,
    /// Whether it is a `subscriptions/listen`, to which only belongs what carries its id (2026-07-28).
    pub(super) listens: bool,
    /// Whether the server can have read any of the request.
    pub(super) sent: bool,
}

/// Whom a notification or a request of the server is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It belongs to this exchange.
    Exchange(u64),
    /// It ends this subscription.
    Ends(u64),
    /// It belongs to none.
    Everybody,
    /// It names a subscription that there is not.
    Nobody,
}

impl Routes {
    /// Adds an exchange, unless the server is gone already.
    pub(super) fn add(&mut self, id: u64, route: Route) -> bool {
        if !self.closed {
            self.entries.insert(id, route);
        }
        !self.closed
    }

    /// Forgets an exchange.
    pub(super) fn remove(&mut self, id: u64) {
        self.entries.remove(&id);
    }

    /// Notes whether the server can have read any of a request.
    pub(super) fn mark_sent(&mut self, id: u64, sent: bool) {
        if let Some(route) = self.entries.get_mut(&id) {
            route.sent = sent;
        }
    }

    /// Ends an exchange with an item; `false` if it is not in flight.
    pub(super) fn end(&mut self, id: u64, item: ExchangeItem) -> bool {
        // The holder may have gone meanwhile.
        self.entries.remove(&id).map(|route| route.end.send(item)).is_some()
    }

    /// Ends the exchange that a response answers; `false` if there is none.
    pub(super) fn respond(&mut self, response: Response) -> bool {
        match response.id.as_ref().and_then(RequestId::as_number) {
            Some(id) => self.end(id, ExchangeItem::Response(response.outcome)),
            None => false,
        }
    }

    /// The exchange, if exactly one is in flight. Subscriptions do not count: what belongs to them says so.
    pub(super) fn only(&self) -> Option<u64> {
        let mut ids = self.entries.iter().filter(|(_, route)| !route.listens).map(|(id, _)| *id);
        ids.next().filter(|_| ids.next().is_none())
    }

    /// Whom a notification or a request of the server is for.
    pub(super) fn owner(&self, message: &Message) -> Owner {
        let exchange = |id: Option<u64>| id.map_or(Owner::Everybody, Owner::Exchange);
        let Message::Notification(told) = message else { return exchange(self.only()) };
        if let Some(id) = told.params.as_ref().and_then(subscription_id) {
            return id.as_number().filter(|id| self.listens(*id)).map_or(Owner::Nobody, Owner::Exchange);
        }
        match told.method.as_str() {
            notification::PROGRESS => {
                let token = told.params.as_ref().and_then(|params| member(params, "progressToken"));
                let mut entries = self.entries.iter();
                let found = entries.find(|(_, route)| token.is_some() && route.progress_token == token);
                exchange(found.map(|(id, _)| *id))
            }
            notification::CANCELLED => match self.torn_down(told.params.as_ref()) {
                Some(id) => Owner::Ends(id),
                None => exchange(self.only()),
            },
            other if SERVER_WIDE.contains(&other) => Owner::Everybody,
            _ => exchange(self.only()),
        }
    }

    fn listens(&self, id: u64) -> bool {
        self.entries.get(&id).is_some_and(|route| route.listens)
    }

    /// "A server MUST send `notifications/cancelled` referencing a `subscriptions/listen` request ID when it tears down that
    /// subscription stream" (2026-07-28, Cancellation); Subscriptions has it send a result instead. Either will do.
    fn torn_down(&self, cancelled: Option<&RawJson>) -> Option<u64> {
        let id = RequestId::from_raw(member(cancelled?, "requestId")?)?.as_number()?;
        self.listens(id).then_some(id)
    }

    /// Where an exchange's messages go.
    pub(super) fn messages(&self, id: u64) -> Option<queue::Sender> {
        self.entries.get(&id).map(|route| route.messages.clone())
    }

    /// Ends everything in flight, each by whether it was sent, and lets nothing new in.
    pub(super) fn close(&mut self, mut failure: impl FnMut(bool) -> BackendError) {
        self.closed = true;
        for (_, route) in self.entries.drain() {
            let _ = route.end.send(ExchangeItem::Failed(failure(route.sent)));
        }
    }
}

/// The token by which a request wants to be told of its progress.
pub(super) fn progress_token(params: Option<&RawJson>) -> Option<RawJson> {
    member(&member(params?, "_meta")?, "progressToken")
}

/// The subscription that a notification says it belongs to.
fn subscription_id(params: &RawJson) -> Option<RequestId> {
    RequestId::from_raw(member(&member(params, "_meta")?, meta_key::SUBSCRIPTION_ID)?)
}

fn member(object: &RawJson, name: &str) -> Option<RawJson> {
    Members::read(object, &[]).ok()?.get(name)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;
    use hawser_mcp::{Notification, Outcome, Request};

    use super::*;
    use crate::name::BackendName;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn route(token: Option<&str>) -> (Route, oneshot::Receiver<ExchangeItem>) {
        let (end, ended) = oneshot::channel();
        let (messages, _) = queue::queue(1, 1_000);
        (Route { messages, end, progress_token: token.map(raw), listens: false, sent: false }, ended)
    }

    fn progress(token: &str) -> Message {
        let params = raw(&format!(r#"{{"progress":1,"progressToken":{token}}}"#));
        Message::Notification(Notification::new(notification::PROGRESS, Some(params)))
    }

    #[test]
    fn progress_goes_where_its_token_points_by_type_and_text() {
        let mut routes = Routes::default();
        assert!(routes.add(1, route(Some("7")).0));
        assert!(routes.add(2, route(Some(r#""7""#)).0));
        assert_eq!(routes.owner(&progress("7")), Owner::Exchange(1));
        assert_eq!(routes.owner(&progress(r#""7""#)), Owner::Exchange(2));
        routes.remove(2);
        assert_eq!(
            routes.owner(&progress(r#""7""#)),
            Owner::Everybody,
            "a finished exchange's progress is not the other's"
        );
    }

    #[test]
    fn other_messages_go_to_the_only_exchange_except_news_of_the_server() {
        let mut routes = Routes::default();
        let log = Message::Notification(Notification::new(notification::MESSAGE, None));
        let ask = Message::Request(Request { id: RequestId::number(1), method: "roots/list".to_owned(), params: None });
        let news = Message::Notification(Notification::new(notification::TOOLS_LIST_CHANGED, None));
        assert_eq!(routes.owner(&log), Owner::Everybody);
        assert!(routes.add(1, route(None).0));
        let owners = [&log, &ask, &news].map(|message| routes.owner(message));
        assert_eq!(owners, [Owner::Exchange(1), Owner::Exchange(1), Owner::Everybody]);
        assert!(routes.add(2, route(None).0));
        assert_eq!([&log, &ask].map(|message| routes.owner(message)), [Owner::Everybody; 2]);
    }

    #[test]
    fn a_subscription_gets_what_carries_its_id_and_ends_as_its_server_says() {
        let mut routes = Routes::default();
        assert!(routes.add(1, route(None).0));
        assert!(routes.add(2, Route { listens: true, ..route(None).0 }));
        let told = |name: &str, params: &str| Message::Notification(Notification::new(name, Some(raw(params))));
        let marked = |id: &str| {
            let params = format!(r#"{{"_meta":{{"io.modelcontextprotocol/subscriptionId":{id}}},"uri":"x:y"}}"#);
            told(notification::RESOURCES_UPDATED, &params)
        };
        assert_eq!(routes.owner(&marked("2")), Owner::Exchange(2));
        for wrong in ["1", "3", r#""2""#] {
            assert_eq!(routes.owner(&marked(wrong)), Owner::Nobody, "{wrong}");
        }
        assert_eq!(routes.owner(&told(notification::MESSAGE, "{}")), Owner::Exchange(1), "a subscription is no call");
        assert_eq!(routes.owner(&told(notification::CANCELLED, r#"{"requestId":2}"#)), Owner::Ends(2));
        assert_eq!(routes.owner(&told(notification::CANCELLED, r#"{"requestId":1}"#)), Owner::Exchange(1));
    }

    #[test]
    fn responses_match_by_strict_id_and_only_once() {
        let mut routes = Routes::default();
        let (route, mut ended) = route(None);
        assert!(routes.add(7, route));
        let answer = |id| Response { id, outcome: Outcome::Result(RawJson::empty_object()) };
        assert!(!routes.respond(answer(Some(RequestId::string("7")))));
        assert!(!routes.respond(answer(Some(RequestId::number(8)))));
        assert!(!routes.respond(answer(None)));
        assert!(routes.respond(answer(Some(RequestId::number(7)))));
        assert!(!routes.respond(answer(Some(RequestId::number(7)))), "a duplicate finds nobody");
        assert!(matches!(ended.try_recv(), Ok(ExchangeItem::Response(_))));
    }

    #[test]
    fn the_end_of_the_server_ends_everything_and_admits_nothing_more() {
        let mut routes = Routes::default();
        let ((sent, mut sent_end), (unsent, mut unsent_end)) = (route(None), route(None));
        assert!(routes.add(1, sent) && routes.add(2, unsent));
        routes.mark_sent(1, true);
        let backend = BackendName::new("x").unwrap();
        routes.close(|sent| {
            let (backend, reason) = (backend.clone(), String::new());
            if sent { BackendError::Lost { backend, reason } } else { BackendError::Gone { backend, reason } }
        });
        assert!(matches!(sent_end.try_recv(), Ok(ExchangeItem::Failed(BackendError::Lost { .. }))));
        assert!(matches!(unsent_end.try_recv(), Ok(ExchangeItem::Failed(BackendError::Gone { .. }))));
        assert!(!routes.add(3, route(None).0));
    }

    #[test]
    fn a_request_names_its_token_in_meta() {
        assert_eq!(progress_token(Some(&raw(r#"{"_meta":{"progressToken":"a"}}"#))), Some(raw(r#""a""#)));
        assert_eq!(progress_token(Some(&raw(r#"{"_meta":7,"progressToken":"a"}"#))), None);
        assert_eq!(progress_token(None), None);
    }
}
