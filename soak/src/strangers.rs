//! Strangers: people with valid tokens of their own, or with none, or with made-up ones, who have all handles of all owners.
//! Nothing that they send may be taken, at no time, whatever is broken at that moment.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::exchange::{Attempt, End, Next, Reply, Shown, shown};
use crate::issuer::Issuer;
use crate::ledger::one;
use crate::legacy::tool;
use crate::modern;
use crate::owner::{Owner, TOKEN_LASTS};
use crate::random::Random;
use crate::world::{BACKENDS, Phase, World};

/// How the keys of side effects begin that must never be seen.
pub(crate) const STOLEN: &str = "stolen:";
const REVISION: &str = "2025-11-25";
const PAUSE: (u64, u64) = (50, 250);
/// Refusing needs no store and no backend: it takes no time.
const LIMIT: Duration = Duration::from_secs(20);

/// A stranger.
pub(crate) struct Stranger {
    pub(crate) who: Arc<Owner>,
    pub(crate) world: Arc<World>,
    pub(crate) issuer: Arc<Issuer>,
    /// Subjects of owners at the external issuer.
    pub(crate) subjects: Arc<Vec<String>>,
}

/// What counts as having been let in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    /// Any status of success.
    ByStatus,
    /// A response with a result.
    ByResult,
}

/// An attack, ready to be sent.
struct Attack {
    what: &'static str,
    request: RequestBuilder,
    taken: Taken,
}

impl Stranger {
    /// Attacks until the run is over.
    pub(crate) async fn live(&self, mut random: Random) {
        let attacks = async {
            while self.world.pause(PAUSE.0, PAUSE.1, &mut random, &[Phase::Everything]).await {
                if let Some(attack) = self.choose(&mut random) {
                    self.carry_out(attack).await;
                }
            }
        };
        let seed = Random::of(1, &self.who.name);
        tokio::join!(self.who.keep_fresh(&self.world, seed), attacks);
    }

    fn choose(&self, random: &mut Random) -> Option<Attack> {
        match random.below(4) {
            0 => self.state_or_cursor(random),
            1 => self.credential(random),
            _ => self.session(random),
        }
    }

    /// Somebody's session, with a valid token that is not theirs.
    fn session(&self, random: &mut Random) -> Option<Attack> {
        let (wire, loot) = (&self.world.wire, &self.world.loot);
        let token = self.who.token();
        let stolen = loot.any_session(random)?;
        let shown = |session, last_event_id| Shown {
            token: Some(&token.text),
            session: Some(session),
            revision: Some(REVISION),
            last_event_id,
        };
        let get = |shown| wire.request(Method::GET, shown).header("accept", "text/event-stream");
        let (what, request) = match random.below(7) {
            0 => ("a call on a stolen session", wire.post(shown(&stolen.id, None), &self.call(random))),
            1 => ("the standing stream of a stolen session", get(shown(&stolen.id, None))),
            2 => {
                let (session, event) = loot.any_event(random)?;
                ("a stolen stream", get(shown(&session.id, Some(&event))))
            }
            3 => ("DELETE of a stolen session", wire.request(Method::DELETE, shown(&stolen.id, None))),
            4 => {
                let (session, question) = loot.any_question(random)?;
                let result = json!({ "action": "accept", "content": { "username": STOLEN, "email": STOLEN } });
                let answer = json!({ "jsonrpc": "2.0", "id": question, "result": result });
                ("an answer to a stolen question", wire.post(shown(&session.id, None), &answer))
            }
            5 => {
                let forged = flipped(&stolen.id, random);
                ("a forged session", wire.post(shown(&forged, None), &self.call(random)))
            }
            _ => {
                let told = json!({
                    "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": random.below(10_000) },
                });
                ("cancelling on a stolen session", wire.post(shown(&stolen.id, None), &told))
            }
        };
        Some(Attack { what, request, taken: Taken::ByStatus })
    }

    /// Handles of the stateless era.
    fn state_or_cursor(&self, random: &mut Random) -> Option<Attack> {
        let (world, loot) = (&self.world, &self.world.loot);
        let token = self.who.token();
        let modern =
            |method: &str, params: &Value| modern::request(world, Some(&token.text), world.number(), method, params);
        let (what, request) = match random.below(3) {
            0 => ("a stolen requestState", modern("tools/call", &loot.any_state(random)?)),
            1 => {
                let mut retry = loot.any_state(random)?;
                let state = retry["requestState"].as_str().unwrap_or_default().to_owned();
                retry["requestState"] = flipped(&state, random).into();
                ("a forged requestState", modern("tools/call", &retry))
            }
            _ => {
                let stolen = loot.any_cursor(random)?;
                let what = if stolen.modern { "a stolen cursor" } else { "a stolen cursor of the session era" };
                (what, modern(stolen.method, &json!({ "cursor": stolen.text })))
            }
        };
        Some(Attack { what, request, taken: Taken::ByResult })
    }

    /// The right handle with a credential that is none.
    fn credential(&self, random: &mut Random) -> Option<Attack> {
        let world = &self.world;
        let stolen = world.loot.any_session(random)?;
        let audience = world.wire.url().as_str();
        let subject = random.pick(&self.subjects)?;
        let own = self.who.token().text;
        let (what, token) = match random.below(5) {
            0 => ("no token", None),
            1 => ("a token that is over", Some(self.issuer.mint(subject, audience, Duration::ZERO).ok()?)),
            2 => {
                let elsewhere = format!("{audience}/elsewhere");
                ("a token for another resource", Some(self.issuer.mint(subject, &elsewhere, TOKEN_LASTS).ok()?))
            }
            3 => ("a token with another's subject written into it", Some(resubjected(&own, subject)?)),
            _ => ("a token with a wrong signature", Some(flipped(&own, random))),
        };
        let session = random.chance(70).then_some(stolen.id.as_str());
        let request = if session.is_some() {
            let shown = Shown { token: token.as_deref(), session, revision: Some(REVISION), last_event_id: None };
            world.wire.post(shown, &self.call(random))
        } else {
            let params = json!({ "name": tool(0, "test_side_effects"), "arguments": { "key": self.key() } });
            modern::request(world, token.as_deref(), world.number(), "tools/call", &params)
        };
        Some(Attack { what, request, taken: Taken::ByStatus })
    }

    fn key(&self) -> String {
        format!("{STOLEN}{}:{}", self.who.name, self.world.number())
    }

    fn call(&self, random: &mut Random) -> Value {
        let params = json!({
            "name": tool(random.below(BACKENDS.len()), "test_side_effects"), "arguments": { "key": self.key() },
        });
        json!({ "jsonrpc": "2.0", "id": self.world.number(), "method": "tools/call", "params": params })
    }

    async fn carry_out(&self, attack: Attack) {
        let (world, until) = (&self.world, Instant::now() + LIMIT);
        let mut attempt = Attempt::begin();
        one(&world.ledger.tally.stranger_calls);
        let (accepted, odd) = match world.wire.send(attack.request, until).await {
            Err(End::Silence) => (None, Some("no answer".to_owned())),
            Err(_) => (None, None),
            Ok(reply) => {
                attempt.touch(reply.node);
                judged(reply, attack.taken, until).await
            }
        };
        let attempt = attempt.end(End::Truncated);
        if let Some(accepted) = accepted {
            one(&world.ledger.tally.strangers_accepted);
            let what = format!("a stranger was let in with {}: {accepted}", attack.what);
            world.ledger.wrong(&self.who.name, &what, &attempt, &world.timeline);
        }
        if let Some(odd) = odd {
            one(&world.ledger.tally.stranger_odd);
            world.ledger.wrong(
                &self.who.name,
                &format!("{} is answered oddly: {odd}", attack.what),
                &attempt,
                &world.timeline,
            );
        }
    }
}

/// Whether it was let in, and what is odd about how it was refused.
async fn judged(mut reply: Reply, taken: Taken, until: Instant) -> (Option<String>, Option<String>) {
    let status = reply.status;
    match (status, taken) {
        (200..=299, Taken::ByStatus) => (Some(format!("status {status}")), None),
        (200..=299, Taken::ByResult) => match reply.next(until).await {
            Next::Message(message) if message.get("error").is_some() => (None, None),
            Next::Message(message) => (Some(shown(&message)), None),
            other => (None, Some(format!("{status} and {other:?}"))),
        },
        // 503 is said where the store is needed to know; the balancer's 502 is not the gateway's.
        (400 | 401 | 404 | 502 | 503, _) => (None, None),
        _ => (None, Some(format!("status {status}"))),
    }
}

/// The same text with one letter or digit replaced by another.
fn flipped(text: &str, random: &mut Random) -> String {
    let mut bytes = text.as_bytes().to_vec();
    // Not the last ones: of these some bits mean nothing.
    let at = random.below(bytes.len().saturating_sub(4));
    if let Some(byte) = bytes.get_mut(at) {
        *byte = if *byte == b'A' { b'B' } else { b'A' };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// A token whose claims were changed after it was signed.
fn resubjected(token: &str, subject: &str) -> Option<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut parts = token.split('.');
    let (header, claims, signature) = (parts.next()?, parts.next()?, parts.next()?);
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims["sub"] = subject.into();
    Some(format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string())))
}
