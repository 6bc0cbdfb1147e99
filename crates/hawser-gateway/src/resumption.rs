//! Streams that clients of the session era may take up again, whatever their backend can do (MCP 2025-11-25, Transports, Sending
//! Messages 6 and Resumability and Redelivery).
//!
//! Every event carries an id: a sealed position in one stream of one session, good for one owner at one client. A client that
//! leaves has not cancelled anything: its call goes on, and what it says waits in the [event log](crate::event_log).

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hawser_identity::Authenticated;
use hawser_mcp::{Notification, RawJson, Revision, encode_sse, encode_sse_priming, notification};
use hawser_owner::{Binding, Principal, Refusal, Refused};
use tracing::debug;

use crate::allowance::UnreadPlace;
use crate::claims::{ClientTag, EventClaims};
use crate::credential::Credential;
use crate::dispatch::Caller;
use crate::event_log::{EventLog, NotResumed, Reader, StreamKind, StreamNumber};
use crate::outbox::StandingReader;
use crate::reply::{Item, Work};
use crate::session::Session;
use crate::sessions::Sessions;

/// Writes the events of one stream, each with its id.
pub(crate) struct EventWriter {
    sessions: Arc<Sessions>,
    session: Arc<Session>,
    principal: Principal,
    client: ClientTag,
    kind: StreamKind,
    stream: StreamNumber,
}

impl EventWriter {
    pub(crate) fn new(
        sessions: &Arc<Sessions>,
        session: &Arc<Session>,
        principal: &Principal,
        client_id: Option<&str>,
        kind: StreamKind,
        stream: StreamNumber,
    ) -> Self {
        let (sessions, session, principal) = (Arc::clone(sessions), Arc::clone(session), principal.clone());
        Self { sessions, session, principal, client: ClientTag::of(client_id), kind, stream }
    }

    pub(crate) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// A message as an event.
    pub(crate) fn event(&self, position: u64, message: &[u8]) -> Bytes {
        encode_sse(self.id(position).as_deref(), message)
    }

    /// The event that lets a client take the stream up again before anything was said on it, and tells it when to: for the
    /// revision that knows it, since clients of older ones read empty data as a broken message.
    pub(crate) fn priming(&self, position: u64) -> Option<Bytes> {
        if !knows_polling(self.session.revision()) {
            return None;
        }
        let retry = u64::try_from(self.session.work().events.retry().as_millis()).unwrap_or(u64::MAX);
        self.id(position).map(|id| encode_sse_priming(&id, retry))
    }

    fn id(&self, position: u64) -> Option<String> {
        let session = &*self.session;
        let binding = Binding {
            endpoint: session.endpoint().id(),
            principal: &self.principal,
            issued: self.sessions.now(),
            expires: session.expires(),
        };
        let claims = EventClaims {
            session: session.key(),
            node: session.node(),
            epoch: session.epoch(),
            kind: self.kind,
            stream: self.stream,
            position,
            client: self.client,
        };
        match self.sessions.ring().mint(&binding, claims, self.sessions.entropy()) {
            Ok((id, _)) => Some(id),
            Err(error) => {
                debug!(%error, "an event goes out without an id");
                None
            }
        }
    }
}

/// Whether a revision has priming events, `retry`, and connections that end before their stream (SEP-1699).
pub(crate) fn knows_polling(revision: Revision) -> bool {
    revision == Revision::V2025_11_25
}

/// Whoever is answered with a stream that can be taken up again.
#[derive(Clone)]
pub(crate) struct Resumable(Arc<Caller>);

impl Resumable {
    pub(crate) const fn new(caller: Arc<Caller>) -> Self {
        Self(caller)
    }

    pub(crate) fn session(&self) -> &Arc<Session> {
        &self.0.session
    }

    pub(crate) fn credential(&self) -> &Credential {
        &self.0.credential
    }

    /// Writes the events of a call's stream.
    pub(crate) fn writer(&self, stream: StreamNumber) -> EventWriter {
        let client_id = self.0.credential.client_id();
        EventWriter::new(&self.0.sessions, &self.0.session, self.0.principal(), client_id, StreamKind::Call, stream)
    }
}

/// Room for a call to go on without a connection that the gateway itself ends; `None` if it has to keep the connection.
pub(crate) fn room_to_be_polled(log: &EventLog) -> Option<UnreadPlace> {
    // From one that is being closed nobody could have the rest.
    log.is_open().then(|| log.share().take_unread())?
}

/// Lets a call go on after its client has left, in the place that it has or that there is. Where too many do already it is given
/// up.
pub(crate) fn go_on(log: &Arc<EventLog>, stream: Option<StreamNumber>, work: Work, place: Option<UnreadPlace>) {
    let place = place.or_else(|| log.share().take_unread());
    let (Some(place), Ok(runtime)) = (place, tokio::runtime::Handle::try_current()) else {
        debug!("a call was given up: its client has left, and as many such calls go on as may");
        if let Some(stream) = stream {
            log.discard(stream);
        }
        return;
    };
    let finished = Finished { log: Arc::clone(log), stream };
    runtime.spawn(async move {
        let mut work = work;
        poll_fn(|context| poll_into(&finished.log, stream, &mut work, context)).await;
        drop((finished, place));
    });
}

/// Says that nothing more comes on a stream when this is dropped, whatever the reason: nobody shall wait for it in vain.
struct Finished {
    log: Arc<EventLog>,
    stream: Option<StreamNumber>,
}

impl Drop for Finished {
    fn drop(&mut self) {
        if let Some(stream) = self.stream {
            self.log.finish(stream);
        }
    }
}

/// Works on, and keeps what is said for whoever takes up the stream.
fn poll_into(log: &EventLog, stream: Option<StreamNumber>, work: &mut Work, context: &mut Context<'_>) -> Poll<()> {
    loop {
        if let Some(stream) = stream {
            ready!(log.poll_read(stream, context));
        }
        match (ready!(work.poll_item(context)), stream) {
            (None, _) => return Poll::Ready(()),
            (Some(Item::Message(message) | Item::Final(_, message)), Some(stream)) => log.append(stream, message),
            (Some(_), _) => {}
        }
    }
}

/// What a client gets that wants a stream back.
pub(crate) enum Resumed {
    /// The stream of a call.
    Call(Reader),
    /// A GET stream, which is the session's newest again.
    Standing(StandingReader),
    /// The GET stream is lost, and with it what was said on it. A client that is refused would never listen again (as the
    /// official ones give up after a few refusals), so it gets a new one, which begins with all that may have changed meanwhile.
    StandingLost,
    /// The stream is over, and the client has had all of it.
    Complete,
    /// The rest of the call's stream is lost.
    Gone,
}

/// Reads a presented event id: a position in one of the session's streams that this very client read.
pub(crate) fn open_id(
    sessions: &Sessions,
    session: &Session,
    authenticated: &Authenticated,
    presented: &str,
) -> Result<EventClaims, Refused> {
    let endpoint = session.endpoint().id();
    let proven = sessions.ring().open::<EventClaims>(presented, endpoint, authenticated.principal(), sessions.now())?;
    let refused = |reason| Refused { reason, owner: Some(proven.owner()), presented_by: session.owner() };
    let claims = *proven.claims();
    if claims.client != ClientTag::of(authenticated.client_id()) {
        return Err(refused(Refusal::OtherClient));
    }
    if claims.session != session.key() {
        return Err(refused(Refusal::Unknown));
    }
    Ok(claims)
}

/// Takes up the stream at that position.
pub(crate) fn resume(session: &Arc<Session>, claims: &EventClaims, credential: &Credential) -> Resumed {
    let work = session.work();
    let log = &work.events;
    let found = if claims.node == session.node() && claims.epoch == session.epoch() {
        log.resume(claims.stream, claims.position, credential)
    } else {
        Err(NotResumed::Gone)
    };
    match (found, claims.kind) {
        (Ok((reader, work)), StreamKind::Call) => {
            if let Some(work) = work.and_then(|work| work.take()) {
                go_on(log, Some(claims.stream), work, None);
            }
            Resumed::Call(reader)
        }
        (Ok((reader, _)), StreamKind::Standing) => Resumed::Standing(work.outbox.enter(reader, credential)),
        (Err(NotResumed::Complete), _) => Resumed::Complete,
        (Err(NotResumed::Gone), StreamKind::Call) => Resumed::Gone,
        (Err(NotResumed::Gone), StreamKind::Standing) => Resumed::StandingLost,
    }
}

/// All that a client may have missed: every list may have changed, and every resource that it is subscribed to.
pub(crate) fn may_have_changed(session: &Session) -> Vec<Bytes> {
    let capabilities = session.endpoint().profiles().capabilities(session.revision().era());
    let changes = [
        ("tools", notification::TOOLS_LIST_CHANGED),
        ("prompts", notification::PROMPTS_LIST_CHANGED),
        ("resources", notification::RESOURCES_LIST_CHANGED),
    ];
    let announced = |of: &str| capabilities.get(of).and_then(|of| of.get("listChanged")) == Some(&true.into());
    let lists = changes.into_iter().filter(|(of, _)| announced(of));
    let lists = lists.map(|(_, method)| Notification::new(method, None).to_bytes());
    let subscribed = session.upstreams().into_iter().flat_map(|upstream| upstream.subscriptions());
    let updated = subscribed.map(|uri| {
        let params = RawJson::from_serialize(&serde_json::json!({ "uri": uri })).ok();
        Notification::new(notification::RESOURCES_UPDATED, params).to_bytes()
    });
    lists.chain(updated).collect()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;
    use crate::allowance::Allowance;
    use crate::config::ReplayLimits;

    const SOON: Duration = Duration::from_secs(10);

    fn log(limits: ReplayLimits) -> Arc<EventLog> {
        EventLog::new(Allowance::new(limits).share(None))
    }

    /// Work that says something, waits, and answers; it tells when it is over, one way or the other.
    fn work() -> (Work, oneshot::Sender<()>, oneshot::Receiver<()>) {
        let (go, gone_on) = oneshot::channel();
        let (over, told) = oneshot::channel::<()>();
        let work = Work::new(|out| async move {
            let _over = over;
            out.message(Bytes::from_static(b"said")).await;
            if gone_on.await.is_ok() {
                out.finish(Bytes::from_static(b"answer")).await;
            }
        });
        (work, go, told)
    }

    async fn next(reader: &mut Reader) -> Option<Bytes> {
        let event = timeout(SOON, poll_fn(|context| reader.poll_event(context))).await.unwrap();
        event.map(|(_, message)| message)
    }

    #[tokio::test]
    async fn what_goes_on_without_a_reader_is_there_for_the_next() {
        let log = log(ReplayLimits::default());
        let stream = log.open(StreamKind::Call, &Credential::default(), None).stream();
        let (work, go, told) = work();
        go_on(&log, Some(stream), work, None);
        let (mut reader, _) = log.resume(stream, 0, &Credential::default()).unwrap();
        assert_eq!(next(&mut reader).await.as_deref(), Some(&b"said"[..]));
        go.send(()).unwrap();
        assert_eq!(next(&mut reader).await.as_deref(), Some(&b"answer"[..]));
        assert_eq!(next(&mut reader).await, None);
        assert!(timeout(SOON, told).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_call_is_given_up_where_as_many_go_on_as_may() {
        let log = log(ReplayLimits { session_unread: 1, ..ReplayLimits::default() });
        let (first, go, told) = work();
        go_on(&log, None, first, None);
        let stream = log.open(StreamKind::Call, &Credential::default(), None).stream();
        let (second, _go, given_up) = work();
        go_on(&log, Some(stream), second, None);
        assert!(timeout(SOON, given_up).await.unwrap().is_err());
        assert_eq!(log.resume(stream, 0, &Credential::default()).unwrap_err(), NotResumed::Gone);
        go.send(()).unwrap();
        assert!(timeout(SOON, told).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn a_call_that_breaks_down_leaves_nobody_waiting() {
        let log = log(ReplayLimits::default());
        let mut reader = log.open(StreamKind::Call, &Credential::default(), None);
        let broken = Work::new(|_out| async { panic!("a call that breaks down, as this test wants it") });
        go_on(&log, Some(reader.stream()), broken, None);
        assert_eq!(next(&mut reader).await, None);
    }

    #[tokio::test]
    async fn a_call_that_is_polled_has_its_place_before_its_connection_ends() {
        let log = log(ReplayLimits { session_unread: 1, ..ReplayLimits::default() });
        let place = room_to_be_polled(&log);
        assert!(place.is_some() && room_to_be_polled(&log).is_none(), "the next keeps its connection");
        let stream = log.open(StreamKind::Call, &Credential::default(), None).stream();
        let (work, go, told) = work();
        go_on(&log, Some(stream), work, place);
        go.send(()).unwrap();
        assert!(timeout(SOON, told).await.unwrap().is_err());
        assert!(log.resume(stream, 0, &Credential::default()).is_ok(), "it was not given up");
        log.close();
        assert!(room_to_be_polled(&log).is_none(), "nobody could come back");
    }
}
