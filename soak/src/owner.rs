//! Who somebody is, and the token that they show at the moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hawser_probe::oauth::Grant;
use serde_json::Value;

use crate::exchange::{Attempt, End};
use crate::issuer::Issuer;
use crate::judge::{Circumstances, Verdict, judge};
use crate::ledger::{Op, one};
use crate::random::Random;
use crate::world::{Phase, World};

/// How long access tokens are good.
pub(crate) const TOKEN_LASTS: Duration = Duration::from_secs(40);
/// Before a refresh that did not succeed is tried again.
const AGAIN: (u64, u64) = (200, 600);

/// An access token and when it ends.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) ends: Instant,
}

impl Token {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), ends: Instant::now() + TOKEN_LASTS }
    }
}

/// Where tokens come from.
enum Source {
    /// The gateway's own authorization server: a grant whose refresh tokens are rotated.
    Embedded { endpoint: String, client: String, resource: String, refresh: Mutex<String> },
    /// Another issuer: a token is minted for each refresh.
    External { issuer: Arc<Issuer>, subject: String, audience: String },
}

/// Somebody.
pub(crate) struct Owner {
    pub(crate) name: String,
    source: Source,
    token: Mutex<Token>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Owner {
    /// Somebody who has logged in at the gateway.
    pub(crate) fn embedded(name: &str, grant: &Grant) -> Result<Self> {
        let refresh = grant.tokens.refresh.as_ref().context("no refresh token")?.expose().to_owned();
        let source = Source::Embedded {
            endpoint: grant.discovered.server.token_endpoint.clone(),
            client: grant.client.id.clone(),
            resource: grant.discovered.resource.clone(),
            refresh: Mutex::new(refresh),
        };
        let token = Mutex::new(Token::new(grant.tokens.access.expose()));
        Ok(Self { name: name.to_owned(), source, token })
    }

    /// Somebody whom another issuer knows as `subject`.
    pub(crate) fn external(name: &str, subject: &str, issuer: &Arc<Issuer>, audience: &str) -> Result<Self> {
        let token = Mutex::new(Token::new(&issuer.mint(subject, audience, TOKEN_LASTS)?));
        let (subject, audience) = (subject.to_owned(), audience.to_owned());
        let source = Source::External { issuer: Arc::clone(issuer), subject, audience };
        Ok(Self { name: name.to_owned(), source, token })
    }

    /// The token of the moment.
    pub(crate) fn token(&self) -> Token {
        lock(&self.token).clone()
    }

    /// Refreshes again and again until the run is over.
    pub(crate) async fn keep_fresh(&self, world: &World, mut random: Random) {
        let mean = world.settings.refresh;
        let (mut least, mut most) = (mean / 2, mean + mean / 2);
        while world.pause(least, most, &mut random, &[Phase::Everything]).await {
            (least, most) = if self.refresh(world).await { (mean / 2, mean + mean / 2) } else { AGAIN };
        }
    }

    /// Refreshes once; whether there is a new token.
    async fn refresh(&self, world: &World) -> bool {
        let Source::Embedded { endpoint, client, resource, refresh } = &self.source else {
            return self.minted(world);
        };
        let before = lock(refresh).clone();
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", before.as_str()),
            ("client_id", client.as_str()),
            ("resource", resource.as_str()),
        ];
        let mut attempt = Attempt::begin();
        let until = World::limit();
        let end = match world.wire.send(world.wire.http().post(endpoint).form(&form), until).await {
            Ok(reply) => {
                attempt.touch(reply.node);
                self.answered(refresh, reply, until).await
            }
            Err(end) => Err(end),
        };
        let (end, verdict) = match end {
            Ok(()) => (End::Response(Value::Null), Some(Verdict::Succeeded)),
            Err(end) => (end, None),
        };
        let attempt = attempt.end(end);
        let circumstances = Circumstances {
            backend: None,
            token_ends: attempt.started,
            session_over: false,
            nodes: usize::from(world.settings.nodes),
        };
        let verdict = match (&attempt.end, verdict) {
            (_, Some(verdict)) => verdict,
            (End::Status { status: 400..=499, body, .. }, _) => {
                one(&world.ledger.tally.logins_lost);
                Verdict::Lost(format!("the login is lost: {body}"))
            }
            // A refresh is safe to repeat: the successor of a token is one.
            _ => match judge(&attempt, circumstances, &world.timeline) {
                Verdict::LostCleanly(_) => Verdict::Retried(crate::judge::Retry::Unavailable),
                verdict => verdict,
            },
        };
        world.ledger.settle(Op::Refresh, &self.name, &attempt, &verdict, &world.timeline);
        verdict == Verdict::Succeeded
    }

    async fn answered(
        &self,
        refresh: &Mutex<String>,
        mut reply: crate::exchange::Reply,
        until: Instant,
    ) -> Result<(), End> {
        if reply.status != 200 {
            return Err(reply.refusal(until).await);
        }
        let tokens = match reply.next(until).await {
            crate::exchange::Next::Message(tokens) => tokens,
            crate::exchange::Next::Silence => return Err(End::Silence),
            _ => return Err(End::Cut),
        };
        let text = |name: &str| tokens.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(access) = text("access_token") else { return Err(End::Truncated) };
        if let Some(next) = text("refresh_token") {
            *lock(refresh) = next;
        }
        *lock(&self.token) = Token::new(&access);
        Ok(())
    }

    fn minted(&self, world: &World) -> bool {
        let Source::External { issuer, subject, audience } = &self.source else { return false };
        match issuer.mint(subject, audience, TOKEN_LASTS) {
            Ok(token) => *lock(&self.token) = Token::new(&token),
            Err(error) => world.ledger.wrong_now(&self.name, &format!("no token: {error}"), &world.timeline),
        }
        true
    }
}
