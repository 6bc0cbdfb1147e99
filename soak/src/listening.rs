//! Streams that stand: of a session of the session era, and of a stateless client. What they are told of changes is noted,
//! so that it can be seen later who was told and who was not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::exchange::{Attempt, End, Next, Reply};
use crate::judge::Verdict;
use crate::ledger::one;
use crate::legacy::Legacy;
use crate::modern::Modern;
use crate::random::Random;
use crate::session::Session;
use crate::world::{Phase, World};

/// Before a stream is opened again.
const AGAIN: (u64, u64) = (150, 700);
/// How long one is read at most: longer than any run that anybody waits for in front of it.
const LONG: Duration = Duration::from_hours(24 * 7);
/// The head of a stream comes soon.
const HEAD: Duration = Duration::from_secs(25);

/// Somebody who listens.
pub(crate) struct Listener {
    pub(crate) name: String,
    /// The session whose stream it is: what happens while the stream is away is told afterwards. A stateless client's stream has
    /// none.
    session: Option<Arc<Session>>,
    heard: Mutex<Heard>,
    gone: AtomicBool,
}

#[derive(Clone, Copy, Default)]
struct Heard {
    first: Option<Instant>,
    up: Option<Instant>,
    change: Option<Instant>,
    node: Option<usize>,
}

impl Listener {
    fn new(name: &str, session: Option<&Arc<Session>>) -> Arc<Self> {
        let (name, session) = (name.to_owned(), session.map(Arc::clone));
        Arc::new(Self { name, session, heard: Mutex::default(), gone: AtomicBool::new(false) })
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn up(&self, node: Option<usize>) {
        let mut heard = self.heard();
        heard.node = node;
        heard.up = Some(Instant::now());
        heard.first = heard.first.or(heard.up);
    }

    fn down(&self) {
        self.heard().up = None;
    }

    fn message(&self, message: &Value) {
        if message["method"] == "notifications/tools/list_changed" {
            self.heard().change = Some(Instant::now());
            if let Some(session) = &self.session {
                session.tell();
            }
        }
    }

    /// Whether what happens while the stream is away is told afterwards.
    pub(crate) fn resumes(&self) -> bool {
        self.session.is_some()
    }

    /// Whether it listens since before `at`, so that it is to hear of what changes from then on.
    pub(crate) fn listens_since(&self, at: Instant) -> bool {
        let heard = self.heard();
        let since = if self.resumes() { heard.first } else { heard.up };
        let listed = self.session.as_ref().is_none_or(|session| session.is_to_hear(at));
        listed && since.is_some_and(|since| since < at) && !self.is_gone()
    }

    /// Whether it has heard of a change since.
    pub(crate) fn heard_since(&self, at: Instant) -> bool {
        self.heard().change.is_some_and(|change| change >= at)
    }

    /// Who it is and how it stands, for a report.
    pub(crate) fn shown(&self) -> String {
        let heard = *self.heard();
        let ago = |time: Option<Instant>| {
            time.map_or("never".to_owned(), |time| format!("{:.1} s ago", time.elapsed().as_secs_f64()))
        };
        let kind = if self.resumes() { "session" } else { "listening" };
        let (up, change, node) = (ago(heard.up), ago(heard.change), heard.node);
        format!("{} ({kind}, at node {node:?} since {up}, last told {change})", self.name)
    }

    /// Whether it does not listen any more, and has to expect nothing.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }
}

/// While this is held, its listener is among those that are to be told.
struct Place<'a>(&'a World, Arc<Listener>);

impl<'a> Place<'a> {
    fn take(world: &'a World, name: &str, session: Option<&Arc<Session>>) -> Self {
        let listener = Listener::new(name, session);
        world.listeners().push(Arc::clone(&listener));
        Self(world, listener)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.1.gone.store(true, Ordering::Relaxed);
        self.0.listeners().retain(|other| !Arc::ptr_eq(other, &self.1));
    }
}

/// Keeps the standing stream of whatever session there is.
pub(crate) async fn stand(legacy: &Legacy, mut random: Random) {
    let mut sessions = legacy.sessions();
    loop {
        let next = tokio::select! {
            next = sessions.wait_for(Option::is_some) => next.ok().and_then(|session| session.clone()),
            () = legacy.world.end() => None,
        };
        let Some(session) = next else { return };
        let over = async {
            let mut sessions = legacy.sessions();
            let _ = sessions.wait_for(|now| now.as_ref().is_none_or(|now| !Arc::ptr_eq(now, &session))).await;
        };
        tokio::select! {
            () = stand_in(legacy, &session, &mut random) => {}
            () = over => {}
            () = legacy.world.end() => return,
        }
    }
}

async fn stand_in(legacy: &Legacy, session: &Arc<Session>, random: &mut Random) {
    let world = &legacy.world;
    let place = Place::take(world, &legacy.who.name, Some(session));
    let (mut last_event, mut opened) = (None::<String>, Instant::now());
    while world.pause(AGAIN.0, AGAIN.1, random, &[Phase::Everything, Phase::Plain, Phase::Hold]).await {
        let mut attempt = Attempt::begin();
        if legacy.who.is_new_since(opened) {
            // The id is of a stream of another client.
            (last_event, opened) = (None, attempt.started);
        }
        let (token, reply) = legacy.stream(session, last_event.as_deref(), Instant::now() + HEAD).await;
        let end = match reply {
            Ok(reply) => {
                attempt.touch(reply.node);
                if reply.status == 200 && reply.is_stream() {
                    let tally = &world.ledger.tally;
                    one(if last_event.is_some() { &tally.streams_resumed } else { &tally.streams_opened });
                    last_event = read(world, session, reply, &place.1).await.or(last_event);
                    continue;
                }
                reply.refusal(Instant::now() + HEAD).await
            }
            Err(end) => end,
        };
        let attempt = attempt.end(end);
        let over = matches!(attempt.end, End::Status { status: 404, .. });
        if let Verdict::Lost(reason) = legacy.judge(&attempt, &token, Some(session), None) {
            one(&world.ledger.tally.streams_lost);
            world.ledger.wrong(&legacy.who.name, &format!("standing stream: {reason}"), &attempt, &world.timeline);
        }
        if over {
            return;
        }
    }
}

/// Reads a stream to its end; the id of its last event.
async fn read(world: &World, session: &Arc<Session>, mut reply: Reply, listener: &Listener) -> Option<String> {
    listener.up(reply.node);
    loop {
        let next = reply.next(Instant::now() + LONG).await;
        if let Some(event) = &reply.last_event_id {
            world.loot.event(session, event);
        }
        match next {
            Next::Message(message) => listener.message(&message),
            Next::Ended | Next::Broken => break,
            Next::Silence => {
                one(&world.ledger.tally.streams_lost);
                world.ledger.wrong_now(&listener.name, "a standing stream fell silent", &world.timeline);
                break;
            }
        }
    }
    listener.down();
    reply.last_event_id
}

/// Listens as a stateless client does.
pub(crate) async fn listen(modern: &Modern, mut random: Random) {
    let world = &modern.world;
    while world.pause(AGAIN.0, AGAIN.1, &mut random, &[Phase::Everything, Phase::Plain, Phase::Hold]).await {
        let mut attempt = Attempt::begin();
        let (token, reply) = modern.listen(Instant::now() + HEAD).await;
        let end = match reply {
            Ok(reply) => {
                attempt.touch(reply.node);
                if reply.status == 200 && reply.is_stream() {
                    one(&world.ledger.tally.streams_opened);
                    tokio::select! {
                        () = heed(modern, reply) => {}
                        () = world.end() => return,
                    }
                    continue;
                }
                reply.refusal(Instant::now() + HEAD).await
            }
            Err(end) => end,
        };
        let attempt = attempt.end(end);
        if let Verdict::Lost(reason) = modern.judge(&attempt, &token, None) {
            one(&world.ledger.tally.streams_lost);
            world.ledger.wrong(&modern.who.name, &format!("listening: {reason}"), &attempt, &world.timeline);
        }
    }
}

async fn heed(modern: &Modern, mut reply: Reply) {
    let world = &modern.world;
    let place = Place::take(world, &modern.who.name, None);
    loop {
        match reply.next(Instant::now() + LONG).await {
            Next::Message(message) if message["method"] == "notifications/subscriptions/acknowledged" => {
                place.1.up(reply.node);
            }
            Next::Message(message) => place.1.message(&message),
            Next::Ended | Next::Broken => return,
            Next::Silence => {
                one(&world.ledger.tally.streams_lost);
                world.ledger.wrong_now(&modern.who.name, "a listening stream fell silent", &world.timeline);
                return;
            }
        }
    }
}
