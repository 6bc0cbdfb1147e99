//! What a GET of the session era is answered with: a stream for what belongs to no call, or one that is taken up again.

use std::sync::Arc;
use std::time::Duration;

use hawser_identity::Authenticated;
use hawser_owner::Owned;
use http::{Response, StatusCode};

use crate::audit;
use crate::claims::EventClaims;
use crate::credential::Credential;
use crate::event_log::{StreamKind, StreamNumber};
use crate::gate::Entered;
use crate::outbox::StandingReader;
use crate::refusal::Rejection;
use crate::reply::{self, Body, Got};
use crate::resumption::{self, EventWriter, Resumed};
use crate::session::Session;
use crate::sessions::Sessions;

/// What taking up a stream is called in the audit log.
pub(crate) const RESUMING: &str = "GET with Last-Event-ID";

/// A GET, and who sent it.
pub(crate) struct Get<'a> {
    pub(crate) sessions: &'a Arc<Sessions>,
    pub(crate) authenticated: &'a Authenticated,
    pub(crate) keep_alive: Duration,
}

impl Get<'_> {
    /// A new stream.
    pub(crate) fn begin(&self, session: &Owned<Entered>) -> Result<Response<Body>, Rejection> {
        if self.sessions.is_draining() {
            return Err(Rejection::Unavailable);
        }
        let reader = session.work().outbox.open(&Credential::of(self.authenticated));
        Ok(self.listen(session, reader, 0))
    }

    /// The position that the event id `last` names, if this client may read on from there.
    pub(crate) fn position(&self, session: &Owned<Entered>, last: &str) -> Result<EventClaims, Rejection> {
        let opened = resumption::open_id(self.sessions, session, self.authenticated, last);
        opened.map_err(|refused| {
            audit::refused(session.endpoint().name(), RESUMING, &refused, self.authenticated);
            Rejection::NoSession
        })
    }

    /// The stream that goes on from there.
    pub(crate) fn resume(&self, session: &Owned<Entered>, claims: &EventClaims) -> Result<Response<Body>, Rejection> {
        let credential = Credential::of(self.authenticated);
        match resumption::resume(session, claims, &credential) {
            Resumed::Standing(_) | Resumed::StandingLost if self.sessions.is_draining() => Err(Rejection::Unavailable),
            Resumed::Standing(reader) => Ok(self.listen(session, reader, claims.position)),
            Resumed::StandingLost => {
                let reader = session.work().outbox.open_with(&credential, resumption::may_have_changed(session));
                Ok(self.listen(session, reader, 0))
            }
            Resumed::Call(reader) => {
                let stream = (StreamKind::Call, reader.stream());
                Ok(self.stream(session, Got::Call(reader), stream, claims.position))
            }
            // What browsers take for "do not come again" (WHATWG HTML, 9.2.3), and other clients for an end.
            Resumed::Complete => Ok(reply::empty(StatusCode::NO_CONTENT)),
            Resumed::Gone => Err(Rejection::EventsGone),
        }
    }

    /// A stream for what belongs to no call, and whatever makes backends say it.
    fn listen(&self, session: &Arc<Session>, reader: StandingReader, position: u64) -> Response<Body> {
        session.listen();
        for upstream in session.upstreams() {
            if upstream.has_subscriptions() && upstream.opened().is_none() {
                // Restored with subscriptions: the client waits for what only an open backend session can say.
                upstream.recover(session);
            }
        }
        self.sessions.nodes().listens_here(session, self.authenticated.client_id());
        let stream = (StreamKind::Standing, reader.stream());
        self.stream(session, Got::Standing(reader), stream, position)
    }

    fn stream(
        &self,
        session: &Arc<Session>,
        from: Got,
        (kind, stream): (StreamKind, StreamNumber),
        position: u64,
    ) -> Response<Body> {
        let (principal, client_id) = (self.authenticated.principal(), self.authenticated.client_id());
        let writer = EventWriter::new(self.sessions, session, principal, client_id, kind, stream);
        // A revocation that came just before the stream could be found would not end it.
        let revoked = self.sessions.was_just_revoked(&Credential::of(self.authenticated));
        let lives = if revoked { Some(Duration::ZERO) } else { self.sessions.stream_lives(self.authenticated) };
        reply::get_stream(from, position, writer, lives, self.keep_alive)
    }
}
