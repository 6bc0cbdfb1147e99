//! An owner of the stateless era: calls without a session, calls that are answered with a question and retried, a stream
//! that listens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hawser_tests::{MODERN, encode_header, retry_of};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::exchange::{Attempt, End, Next, Reply, Shown, shown};
use crate::judge::{Circumstances, Verdict, judge};
use crate::ledger::{Op, one};
use crate::legacy::{carried_out, text, tool};
use crate::listening;
use crate::lists;
use crate::owner::{Owner, Token};
use crate::random::Random;
use crate::settings::Part;
use crate::timeline::Cause;
use crate::world::{BACKENDS, Phase, World};

const KEY: &str = "io.modelcontextprotocol";
/// Between two tries of what may be tried again.
const AGAIN: Duration = Duration::from_millis(250);
/// More rounds than any tool has.
const ROUNDS: usize = 6;

/// The owner.
pub(crate) struct Modern {
    pub(crate) who: Arc<Owner>,
    pub(crate) world: Arc<World>,
}

/// Lives until the run is over.
pub(crate) async fn live(who: Arc<Owner>, world: Arc<World>, seed: u64) {
    let chance = |actor: &str| Random::of(seed, &format!("{} {actor}", who.name));
    let modern = Modern { who: Arc::clone(&who), world: Arc::clone(&world) };
    let stream = async {
        if world.settings.has(Part::Streams) {
            listening::listen(&modern, chance("stream")).await;
        }
    };
    tokio::join!(who.keep_fresh(&world, chance("tokens")), modern.go_on(chance("calls")), stream);
}

/// A request as it must be.
pub(crate) fn request(world: &World, token: Option<&str>, id: u64, method: &str, params: &Value) -> RequestBuilder {
    let mut params = params.clone();
    if let Value::Object(members) = &mut params {
        let meta = members.entry("_meta").or_insert_with(|| json!({}));
        meta[format!("{KEY}/protocolVersion")] = json!(MODERN);
        meta[format!("{KEY}/clientInfo")] = json!({ "name": "soak", "version": "1" });
        meta[format!("{KEY}/clientCapabilities")] = json!({ "elicitation": {} });
    }
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
    let shown = Shown { token, revision: Some(MODERN), ..Shown::default() };
    let request = world.wire.post(shown, &message).header("mcp-method", method);
    match params.get("name").and_then(Value::as_str).filter(|_| method == "tools/call") {
        Some(name) => request.header("mcp-name", encode_header(name)),
        None => request,
    }
}

impl Modern {
    async fn go_on(&self, mut random: Random) {
        let world = &self.world;
        let has = |part| world.settings.has(part);
        loop {
            let (least, most) = world.thinking();
            if !world.pause(least, most, &mut random, &[Phase::Everything, Phase::Plain]).await {
                return;
            }
            match (world.phase(), random.below(100)) {
                (Phase::Everything, 0..10) if has(Part::Lists) => self.list(&mut random).await,
                (Phase::Everything, 10..40) if has(Part::Parked) => self.parked(&mut random).await,
                _ => self.call(&mut random).await,
            }
        }
    }

    /// Opens a stream that is told of changes.
    pub(crate) async fn listen(&self, until: Instant) -> (Token, Result<Reply, End>) {
        let token = self.who.token();
        let params = json!({ "notifications": { "toolsListChanged": true } });
        let request = request(&self.world, Some(&token.text), self.world.number(), "subscriptions/listen", &params);
        let reply = self.world.wire.send(request, until).await;
        (token, reply)
    }

    /// A request, to its response.
    pub(crate) async fn ask(
        &self,
        method: &str,
        params: &Value,
        attempt: &mut Attempt,
        until: Instant,
    ) -> (Token, End) {
        let (token, id) = (self.who.token(), self.world.number());
        let request = request(&self.world, Some(&token.text), id, method, params);
        let reply = self.world.wire.send(request, until).await;
        attempt.answered(method, &reply);
        let end = match reply {
            Err(end) => end,
            Ok(mut reply) => match reply.status {
                200 => response(&mut reply, id, until).await,
                _ => reply.refusal(until).await,
            },
        };
        (token, end)
    }

    pub(crate) fn judge(&self, attempt: &Attempt, token: &Token, backend: Option<usize>) -> Verdict {
        let nodes = usize::from(self.world.settings.nodes);
        let circumstances =
            Circumstances { backend, token_ends: self.who.end_of(token, &self.world), session_over: false, nodes };
        let verdict = judge(attempt, circumstances, &self.world.timeline);
        if let (End::Response(response), true) = (&attempt.end, self.who.is_new_since(attempt.started)) {
            // What was begun as one client is not another's to go on with.
            return Verdict::LostCleanly(Cause::LoginForgotten, shown(response));
        }
        verdict
    }

    fn settle(
        &self,
        op: Op,
        backend: Option<usize>,
        attempt: &Attempt,
        token: &Token,
        fits: impl Fn(&Value) -> bool,
    ) -> Verdict {
        let world = &self.world;
        let verdict = match attempt.result() {
            Some(result) if fits(result) => Verdict::Succeeded,
            _ => self.judge(attempt, token, backend),
        };
        if verdict == Verdict::Succeeded && world.phase() == Phase::Plain {
            one(&world.plain_calls);
        }
        world.ledger.settle(op, &self.who.name, attempt, &verdict, &world.timeline);
        verdict
    }

    async fn call(&self, random: &mut Random) {
        let (backend, key) = (random.below(BACKENDS.len()), self.key());
        let params = json!({ "name": tool(backend, "test_side_effects"), "arguments": { "key": key } });
        let mut attempt = Attempt::begin();
        let (token, end) = self.ask("tools/call", &params, &mut attempt, World::limit()).await;
        let attempt = attempt.end(end);
        self.settle(Op::Call, Some(backend), &attempt, &token, |result| text(result) == carried_out(&key));
    }

    async fn list(&self, random: &mut Random) {
        let list = lists::choose(random);
        let (mut cursor, mut names, mut again) = (None::<String>, Vec::new(), 0);
        loop {
            let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({ "cursor": cursor }));
            let mut attempt = Attempt::begin();
            let (token, end) = self.ask(list.method, &params, &mut attempt, World::limit()).await;
            let attempt = attempt.end(end);
            let next = attempt.result().and_then(|result| list.take(result, &mut names));
            if let Some(next) = next {
                self.world.loot.cursor(list.cursor(true, &next));
                cursor = Some(next);
                continue;
            }
            // While a backend comes and goes, nodes differ in what they list.
            let changed = cursor.is_some() && lists::has_changed(&attempt);
            if changed && again < lists::BEGUN_AGAIN_MAX {
                again += 1;
                (cursor, names) = (None, Vec::new());
                continue;
            }
            self.settle(Op::List, list.missing(&names), &attempt, &token, |_| list.complete(&names));
            return;
        }
    }

    /// A call that asks, once or twice: each answer goes to whatever node is next.
    async fn parked(&self, random: &mut Random) {
        let (backend, key, twice) = (random.below(BACKENDS.len()), self.key(), random.chance(30));
        let params = if twice {
            json!({ "name": tool(backend, "test_input_required_result_multi_round"), "arguments": {} })
        } else {
            json!({ "name": tool(backend, "test_side_effects"), "arguments": { "key": key, "ask": true } })
        };
        let said = if twice { format!("{key} likes {key}") } else { carried_out(&key) };
        let content = json!({ "ok": true, "name": key, "color": key });
        let answers = |_: &str, _: &Value| json!({ "action": "accept", "content": content });
        let until = World::limit();
        let mut attempt = Attempt::begin();
        let (mut token, mut end) = self.ask("tools/call", &params, &mut attempt, until).await;
        let mut rounds = 0;
        while let Some(asked) = asked(&end).filter(|_| rounds < ROUNDS) {
            rounds += 1;
            let Ok(retry) = retry_of(&params, asked, &answers) else { break };
            self.world.loot.state(&retry);
            tokio::time::sleep(random.millis(0, 3_000)).await;
            (token, end) = self.insist(&retry, &mut attempt, until).await;
        }
        let attempt = attempt.end(end);
        let verdict =
            self.settle(Op::Parked, Some(backend), &attempt, &token, |result| text(result) == said && rounds > 0);
        let tally = &self.world.ledger.tally;
        match verdict {
            Verdict::Succeeded => one(&tally.parked_completed),
            Verdict::LostCleanly(..) => one(&tally.parked_lost_cleanly),
            Verdict::Retried(_) | Verdict::Lost(_) => {}
        }
    }

    /// Sends a retry until somebody takes it. What is sent twice is done once: its state is good for one.
    async fn insist(&self, retry: &Value, attempt: &mut Attempt, until: Instant) -> (Token, End) {
        loop {
            let (token, end) = self.ask("tools/call", retry, attempt, until).await;
            let again = match &end {
                End::Status { status: 401, .. } => self.who.end_of(&token, &self.world) <= Instant::now(),
                End::Status { status: 503, retry_after, .. } => *retry_after,
                End::NotReached | End::Cut(_) => true,
                _ => false,
            };
            if !again || Instant::now() + AGAIN >= until {
                return (token, end);
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    fn key(&self) -> String {
        format!("{}:{}", self.who.name, self.world.number())
    }
}

fn asked(end: &End) -> Option<&Value> {
    match end {
        End::Response(response) => response.get("result").filter(|result| result["resultType"] == "input_required"),
        _ => None,
    }
}

/// Reads to the response of this request.
async fn response(reply: &mut Reply, id: u64, until: Instant) -> End {
    loop {
        match reply.next(until).await {
            Next::Message(message) if message["id"] == id && message.get("method").is_none() => {
                return End::Response(message);
            }
            // Somebody else's response would be worse than none.
            Next::Message(message) if message.get("method").is_none() => {
                return End::Response(json!({ "result": { "of another request": message } }));
            }
            Next::Message(_) => {}
            Next::Ended => return End::Truncated,
            Next::Broken => return End::Cut(reply.node),
            Next::Silence => return End::Silence,
        }
    }
}
