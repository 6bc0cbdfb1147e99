//! An owner of the session era: one session at a time, a standing stream, questions answered on other connections, streams
//! left and taken up again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::exchange::{Attempt, End, Next, Reply, Shown, shown};
use crate::judge::{Circumstances, Retry, Verdict, judge};
use crate::ledger::{Op, one};
use crate::listening;
use crate::lists::{self, List};
use crate::owner::{Owner, Token};
use crate::random::Random;
use crate::session::{STALENESS, Session};
use crate::settings::Part;
use crate::timeline::Cause;
use crate::world::{BACKENDS, Phase, World};

const REVISION: &str = "2025-11-25";
/// Between two tries of what may be tried again.
const AGAIN: Duration = Duration::from_millis(250);

/// How long an answer is offered again and again: longer than the store is ever out of reach.
const INSIST: Duration = Duration::from_secs(12);

/// The owner.
pub(crate) struct Legacy {
    pub(crate) who: Arc<Owner>,
    pub(crate) world: Arc<World>,
    session: watch::Sender<Option<Arc<Session>>>,
}

/// How a call is made.
#[derive(Default)]
struct Manner<'a> {
    /// What a question is answered with, and how long the person thinks about it.
    answer: Option<(&'a Value, Duration)>,
    /// Leave after the first message, and take the stream up again.
    leave: bool,
}

/// A call and what was seen on its way.
pub(crate) struct Asked {
    pub(crate) attempt: Attempt,
    token: Token,
    progress: Vec<f64>,
}

/// Lives until the run is over.
pub(crate) async fn live(who: Arc<Owner>, world: Arc<World>, seed: u64) {
    let chance = |actor: &str| Random::of(seed, &format!("{} {actor}", who.name));
    let legacy = Legacy { who: Arc::clone(&who), world: Arc::clone(&world), session: watch::Sender::new(None) };
    let legacy = Arc::new(legacy);
    world.introduce(&legacy);
    let stream = async {
        if world.settings.has(Part::Streams) {
            listening::stand(&legacy, chance("stream")).await;
        }
    };
    tokio::join!(who.keep_fresh(&world, chance("tokens")), legacy.go_on(chance("calls")), stream);
}

impl Legacy {
    /// The session of the moment.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session.borrow().clone()
    }

    /// The same, and every later one.
    pub(crate) fn sessions(&self) -> watch::Receiver<Option<Arc<Session>>> {
        self.session.subscribe()
    }

    /// Forgets a session that is over; the next thing to do is to open another.
    pub(crate) fn drop_session(&self, session: &Arc<Session>) {
        self.session.send_if_modified(|now| {
            let same = now.as_ref().is_some_and(|now| Arc::ptr_eq(now, session));
            if same {
                *now = None;
            }
            same
        });
    }

    async fn go_on(&self, mut random: Random) {
        let world = &self.world;
        loop {
            let (least, most) = world.thinking();
            if !world.pause(least, most, &mut random, &[Phase::Everything, Phase::Plain]).await {
                return;
            }
            match (self.session(), world.phase()) {
                (None, Phase::Everything) => self.open().await,
                (None, _) => {}
                (Some(session), Phase::Everything) => self.something(&session, &mut random).await,
                (Some(session), _) => self.call(&session, &mut random).await,
            }
        }
    }

    async fn something(&self, session: &Arc<Session>, random: &mut Random) {
        let has = |part| self.world.settings.has(part);
        if session.is_stale() && random.chance(50) {
            // As clients do.
            return self.list(session, lists::TOOLS).await;
        }
        match random.below(100) {
            0..10 if has(Part::Lists) => self.list(session, lists::choose(random)).await,
            10..25 if has(Part::Questions) => self.question(session, random).await,
            25..40 if has(Part::Resumption) => self.resumed(session, random).await,
            40..43 if has(Part::Sessions) => self.delete(session).await,
            _ => self.call(session, random).await,
        }
    }

    /// What a request of this session shows.
    fn shown<'a>(token: &'a Token, session: &'a Session, last_event_id: Option<&'a str>) -> Shown<'a> {
        Shown { token: Some(&token.text), session: Some(&session.id), revision: Some(REVISION), last_event_id }
    }

    /// Opens the standing stream, or takes it up.
    pub(crate) async fn stream(
        &self,
        session: &Session,
        event: Option<&str>,
        until: Instant,
    ) -> (Token, Result<Reply, End>) {
        let token = self.who.token();
        let request = self.world.wire.request(Method::GET, Self::shown(&token, session, event));
        let reply = self.world.wire.send(request.header("accept", "text/event-stream"), until).await;
        (token, reply)
    }

    async fn open(&self) {
        let (world, until) = (&self.world, World::limit());
        let token = self.who.token();
        let params = json!({
            "protocolVersion": REVISION,
            "capabilities": { "elicitation": {} },
            "clientInfo": { "name": "soak", "version": "1" },
        });
        let message = json!({ "jsonrpc": "2.0", "id": world.number(), "method": "initialize", "params": params });
        let request = world.wire.post(Shown { token: Some(&token.text), ..Shown::default() }, &message);
        let mut attempt = Attempt::begin();
        let mut opened = None;
        let end = match world.wire.send(request, until).await {
            Err(end) => end,
            Ok(mut reply) => {
                attempt.touch(reply.node);
                opened = reply.headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
                match reply.status {
                    200 => response(&mut reply, until).await,
                    _ => reply.refusal(until).await,
                }
            }
        };
        let attempt = attempt.end(end);
        let session = opened.filter(|_| attempt.result().is_some());
        let verdict = if session.is_some() { Verdict::Succeeded } else { self.judge(&attempt, &token, None, None) };
        world.ledger.settle(Op::Open, &self.who.name, &attempt, &verdict, &world.timeline);
        if let Some(id) = session {
            let session = Arc::new(Session::new(id));
            let told = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
            let mut attempt = Attempt::begin();
            if let Err(end) = self.tell(&session, &told, &mut attempt, until).await {
                let attempt = attempt.end(end);
                let verdict = self.judge(&attempt, &self.who.token(), Some(&session), None);
                if let Verdict::Lost(reason) = verdict {
                    world.ledger.wrong(&self.who.name, &format!("initialized: {reason}"), &attempt, &world.timeline);
                }
            }
            one(&world.ledger.tally.sessions_opened);
            world.loot.session(&session);
            self.session.send_replace(Some(Arc::clone(&session)));
            // As clients do.
            self.list(&session, lists::TOOLS).await;
        }
    }

    /// Sends a message that is answered with 202, as often as it takes.
    async fn tell(&self, session: &Session, message: &Value, attempt: &mut Attempt, until: Instant) -> Result<(), End> {
        loop {
            let token = self.who.token();
            let request = self.world.wire.post(Self::shown(&token, session, None), message);
            let reply = self.world.wire.send(request, until).await;
            attempt.answered("answer", &reply);
            let end = match reply {
                Ok(reply) => match reply.status {
                    202 => return Ok(()),
                    _ => reply.refusal(until).await,
                },
                Err(end) => end,
            };
            let again = match &end {
                End::Status { status: 401, .. } => self.who.end_of(&token, &self.world) <= Instant::now(),
                End::Status { status: 503, retry_after, .. } => *retry_after,
                End::NotReached | End::Cut(_) => true,
                _ => false,
            };
            if !again || Instant::now() + AGAIN >= until {
                return Err(end);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// A request, to its response.
    async fn ask(&self, session: &Arc<Session>, method: &str, params: &Value, manner: &Manner<'_>) -> Asked {
        let (world, until) = (&self.world, World::limit());
        let (token, id) = (self.who.token(), world.number());
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let mut asked = Asked { attempt: Attempt::begin(), token, progress: Vec::new() };
        let request = world.wire.post(Self::shown(&asked.token, session, None), &message);
        let reply = world.wire.send(request, until).await;
        asked.attempt.answered(method, &reply);
        let end = match reply {
            Err(end) => end,
            Ok(reply) => {
                if reply.status == 200 {
                    self.read(session, reply, id, manner, &mut asked, until).await
                } else {
                    reply.refusal(until).await
                }
            }
        };
        asked.attempt = asked.attempt.end(end);
        asked
    }

    /// Reads an answer to its response, over as many connections as it takes.
    async fn read(
        &self,
        session: &Arc<Session>,
        mut reply: Reply,
        id: u64,
        manner: &Manner<'_>,
        asked: &mut Asked,
        until: Instant,
    ) -> End {
        let (mut leave, mut told) = (manner.leave, None);
        loop {
            let next = reply.next(until).await;
            if let Some(event) = reply.last_event_id.as_deref().filter(|event| told.as_deref() != Some(*event)) {
                told = Some(event.to_owned());
                self.world.loot.event(session, event);
            }
            match &next {
                Next::Message(message) => {
                    asked.attempt.note(message["method"].as_str().unwrap_or("response"));
                }
                other => asked.attempt.note(&format!("{other:?}")),
            }
            let resume = match next {
                Next::Silence => return End::Silence,
                Next::Message(message) if message["id"] == id && message.get("method").is_none() => {
                    return End::Response(message);
                }
                Next::Message(message) => {
                    if let (Some(question), Some(_)) = (message.get("id"), message["method"].as_str()) {
                        self.world.loot.question(session, question);
                        let (content, thinking) = manner.answer.unwrap_or((&Value::Null, Duration::ZERO));
                        tokio::time::sleep(thinking).await;
                        let answer = json!({ "action": "accept", "content": content });
                        let answer = json!({ "jsonrpc": "2.0", "id": question, "result": answer });
                        let insist = until.min(Instant::now() + INSIST);
                        match self.tell(session, &answer, &mut asked.attempt, insist).await {
                            // Whether the call is lost with its node is seen on its stream.
                            Ok(()) | Err(End::Status { status: 503, .. } | End::NotReached | End::Cut(_)) => {}
                            Err(end) => return end,
                        }
                    } else if let Some(progress) = message.pointer("/params/progress").and_then(Value::as_f64) {
                        asked.progress.push(progress);
                    }
                    // One can only come back to where one was.
                    reply.last_event_id.is_some() && std::mem::take(&mut leave)
                }
                Next::Ended if reply.last_event_id.is_none() => return End::Truncated,
                Next::Broken if reply.last_event_id.is_none() => return End::Cut(reply.node),
                Next::Ended | Next::Broken => true,
            };
            if resume {
                let event = reply.last_event_id.clone().unwrap_or_default();
                drop(reply);
                reply = match self.resume(session, &event, &mut asked.attempt, until).await {
                    Ok(reply) => reply,
                    Err(end) => return end,
                };
                reply.last_event_id.get_or_insert(event);
                one(&self.world.ledger.tally.streams_resumed);
            }
        }
    }

    /// Takes up the stream of a call.
    async fn resume(
        &self,
        session: &Session,
        event: &str,
        attempt: &mut Attempt,
        until: Instant,
    ) -> Result<Reply, End> {
        loop {
            tokio::time::sleep(AGAIN).await;
            let (token, reply) = self.stream(session, Some(event), until).await;
            attempt.answered("resume", &reply);
            let end = match reply {
                Ok(reply) => {
                    match reply.status {
                        200 if reply.is_stream() => return Ok(reply),
                        // It says that there is nothing more, and there was no response.
                        204 => return Err(End::Truncated),
                        _ => reply.refusal(until).await,
                    }
                }
                Err(end) => end,
            };
            let again = match &end {
                End::Status { status: 401, .. } => self.who.end_of(&token, &self.world) <= Instant::now(),
                End::Status { status: 503, retry_after, .. } => *retry_after,
                End::NotReached | End::Cut(_) => true,
                _ => false,
            };
            if !again || Instant::now() + AGAIN >= until {
                return Err(end);
            }
        }
    }

    pub(crate) fn judge(
        &self,
        attempt: &Attempt,
        token: &Token,
        session: Option<&Arc<Session>>,
        backend: Option<usize>,
    ) -> Verdict {
        let circumstances = Circumstances {
            backend,
            token_ends: self.who.end_of(token, &self.world),
            session_over: session.is_some_and(|session| session.may_be_over()),
            nodes: usize::from(self.world.settings.nodes),
        };
        let verdict = judge(attempt, circumstances, &self.world.timeline);
        if matches!(attempt.end, End::Status { status: 404, .. }) && self.who.is_new_since(attempt.started) {
            // What was begun as one client is not another's to go on with; the session stands.
            return Verdict::LostCleanly(Cause::LoginForgotten, "404 for another client".to_owned());
        }
        if let (End::Status { status: 404, .. }, Some(session)) = (&attempt.end, session) {
            if matches!(verdict, Verdict::Lost(_)) {
                one(&self.world.ledger.tally.sessions_lost);
            }
            self.drop_session(session);
        }
        verdict
    }

    /// Enters a call whose right result `fits`.
    fn settle(
        &self,
        op: Op,
        session: &Arc<Session>,
        backend: Option<usize>,
        asked: &Asked,
        fits: impl Fn(&Value) -> bool,
    ) {
        let world = &self.world;
        let verdict = match asked.attempt.result() {
            Some(result) if fits(result) => Verdict::Succeeded,
            _ => self.judge(&asked.attempt, &asked.token, Some(session), backend),
        };
        if verdict == Verdict::Succeeded {
            // Its end may have been asked for while the request was on its way.
            if session.must_be_over() && asked.attempt.started.elapsed() < STALENESS {
                one(&world.ledger.tally.served_after_end);
            }
            if world.phase() == Phase::Plain {
                one(&world.plain_calls);
            }
        }
        world.ledger.settle(op, &self.who.name, &asked.attempt, &verdict, &world.timeline);
    }

    async fn call(&self, session: &Arc<Session>, random: &mut Random) {
        let (backend, key) = (random.below(BACKENDS.len()), self.key());
        let params = json!({ "name": tool(backend, "test_side_effects"), "arguments": { "key": key } });
        let asked = self.ask(session, "tools/call", &params, &Manner::default()).await;
        self.settle(Op::Call, session, Some(backend), &asked, |result| text(result) == carried_out(&key));
    }

    async fn question(&self, session: &Arc<Session>, random: &mut Random) {
        let (backend, key) = (random.below(BACKENDS.len()), self.key());
        let content = json!({ "username": key, "email": "soak@example.com" });
        let params = json!({ "name": tool(backend, "test_elicitation"), "arguments": { "message": "Who are you?" } });
        let manner = Manner { answer: Some((&content, random.millis(0, 2_500))), leave: random.chance(25) };
        let asked = self.ask(session, "tools/call", &params, &manner).await;
        let fits =
            |result: &Value| text(result).starts_with("User response: action=accept") && text(result).contains(&key);
        self.settle(Op::Question, session, Some(backend), &asked, fits);
    }

    async fn resumed(&self, session: &Arc<Session>, random: &mut Random) {
        let backend = random.below(BACKENDS.len());
        let params = json!({
            "name": tool(backend, "test_tool_with_progress"), "arguments": {}, "_meta": { "progressToken": self.key() },
        });
        let manner = Manner { leave: true, ..Manner::default() };
        let mut asked = self.ask(session, "tools/call", &params, &manner).await;
        if asked.attempt.result().is_some() && asked.progress != [0.0, 50.0, 100.0] {
            // A result without all that came before it is not the right one.
            let seen = json!({ "result": { "progress": asked.progress } });
            asked.attempt.end = End::Response(seen);
        }
        self.settle(Op::Resumed, session, Some(backend), &asked, |result| text(result) == "Progress reported");
    }

    async fn list(&self, session: &Arc<Session>, list: List) {
        let (mut cursor, mut names, begun, mut again) = (None::<String>, Vec::new(), Instant::now(), 0);
        loop {
            let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let asked = self.ask(session, list.method, &params, &Manner::default()).await;
            let next = asked.attempt.result().and_then(|result| list.take(result, &mut names));
            if let Some(next) = next {
                self.world.loot.cursor(list.cursor(false, &next));
                cursor = Some(next);
                continue;
            }
            if asked.attempt.result().is_some() && list == lists::TOOLS {
                session.list(begun);
            }
            // A node that has just started knows nothing yet of a backend that is down.
            // While a backend comes and goes, nodes differ in what they list.
            let changed = cursor.is_some() && lists::has_changed(&asked.attempt);
            if changed && again < lists::BEGUN_AGAIN_MAX {
                again += 1;
                (cursor, names) = (None, Vec::new());
                continue;
            }
            self.settle(Op::List, session, list.missing(&names), &asked, |_| list.complete(&names));
            return;
        }
    }

    async fn delete(&self, session: &Arc<Session>) {
        let (world, until) = (&self.world, World::limit());
        let token = self.who.token();
        let mut attempt = Attempt::begin();
        session.ask_end();
        let mut tried = false;
        let end = loop {
            let request = world.wire.request(Method::DELETE, Self::shown(&token, session, None));
            let end = match world.wire.send(request, until).await {
                Ok(reply) => {
                    attempt.touch(reply.node);
                    match reply.status {
                        // An earlier try may have done it although its answer was lost.
                        204 | 200 => break None,
                        404 if tried => break None,
                        _ => reply.refusal(until).await,
                    }
                }
                Err(end) => end,
            };
            tried |= matches!(end, End::Cut(_));
            let again =
                matches!(end, End::NotReached | End::Cut(_) | End::Status { status: 503, retry_after: true, .. });
            if !again || token.ends <= Instant::now() || Instant::now() + AGAIN >= until {
                break Some(end);
            }
            tokio::time::sleep(AGAIN).await;
        };
        let verdict;
        let attempt = match end {
            None => {
                session.confirm_end();
                one(&world.ledger.tally.sessions_ended);
                verdict = Verdict::Succeeded;
                attempt.end(End::Response(Value::Null))
            }
            Some(end) => {
                let attempt = attempt.end(end);
                verdict = match self.judge(&attempt, &token, None, None) {
                    // Nobody but its owner ends it, and an administrator: then it is over, as it was meant to be.
                    Verdict::Lost(_) if matches!(attempt.end, End::Status { status: 404, .. }) => {
                        Verdict::Retried(Retry::Ended)
                    }
                    verdict => verdict,
                };
                attempt
            }
        };
        world.ledger.settle(Op::Delete, &self.who.name, &attempt, &verdict, &world.timeline);
        self.drop_session(session);
        if verdict == Verdict::Succeeded {
            self.haunt(session).await;
        }
    }

    /// What has ended must be refused everywhere, as soon as the staleness that is allowed is over.
    pub(crate) async fn haunt(&self, session: &Arc<Session>) {
        let world = &self.world;
        tokio::time::sleep(STALENESS + Duration::from_millis(200)).await;
        for _ in 0..world.settings.nodes {
            let token = self.who.token();
            let ping = json!({ "jsonrpc": "2.0", "id": world.number(), "method": "ping" });
            let mut attempt = Attempt::begin();
            let request = world.wire.post(Self::shown(&token, session, None), &ping);
            let Ok(reply) = world.wire.send(request, World::limit()).await else { continue };
            attempt.touch(reply.node);
            let attempt = attempt.end(End::Truncated);
            // A node that cannot reach the store cannot know.
            if reply.status == 200 && world.timeline.quiet(attempt.started, attempt.ended) {
                one(&world.ledger.tally.served_after_end);
                let what = "a session that its owner ended is served";
                world.ledger.wrong(&self.who.name, what, &attempt, &world.timeline);
            }
        }
    }

    fn key(&self) -> String {
        format!("{}:{}", self.who.name, self.world.number())
    }
}

/// Reads to the first response, whatever else comes.
async fn response(reply: &mut Reply, until: Instant) -> End {
    loop {
        match reply.next(until).await {
            Next::Message(message) if message.get("method").is_none() => return End::Response(message),
            Next::Message(_) => {}
            Next::Ended => return End::Truncated,
            Next::Broken => return End::Cut(reply.node),
            Next::Silence => return End::Silence,
        }
    }
}

/// A tool of a backend as the gateway calls it.
pub(crate) fn tool(backend: usize, name: &str) -> String {
    format!("{}_{name}", BACKENDS.get(backend).copied().unwrap_or_default())
}

/// What a side effect says that ran once.
pub(crate) fn carried_out(key: &str) -> String {
    format!("{key} was carried out 1 times")
}

/// The text of a tool's result; of one that is an error, that it is one.
pub(crate) fn text(result: &Value) -> String {
    let text = result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default();
    if result["isError"] == true { format!("isError: {}", shown(&text)) } else { text.to_owned() }
}
