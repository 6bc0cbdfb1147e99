//! Who somebody is, and the token that they show at the moment.

use std::ffi::OsString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use hawser_probe::oauth::Grant;
use serde_json::Value;

use crate::exchange::{Attempt, End, Next, Reply};
use crate::issuer::Issuer;
use crate::judge::{Circumstances, Retry, Verdict, judge};
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
    pub(crate) made: Instant,
    pub(crate) ends: Instant,
}

impl Token {
    /// One that was asked for at `made`: what the store forgets after that, it may be part of.
    fn new(text: &str, made: Instant) -> Self {
        Self { text: text.to_owned(), made, ends: made + TOKEN_LASTS }
    }
}

/// A grant of the gateway's own authorization server.
#[derive(Clone)]
struct Login {
    endpoint: String,
    client: String,
    resource: String,
    refresh: String,
    /// When it was asked for.
    made: Instant,
    /// Since when requests are made with it.
    used: Instant,
}

impl Login {
    fn new(grant: &Grant, made: Instant) -> Result<Self> {
        Ok(Self {
            endpoint: grant.discovered.server.token_endpoint.clone(),
            client: grant.client.id.clone(),
            resource: grant.discovered.resource.clone(),
            refresh: grant.tokens.refresh.as_ref().context("no refresh token")?.expose().to_owned(),
            made,
            used: Instant::now(),
        })
    }
}

/// Where tokens come from.
enum Source {
    /// The gateway's own authorization server: a grant whose refresh tokens are rotated.
    Embedded(Mutex<Login>),
    /// Another issuer: a token is minted for each refresh.
    External { issuer: Arc<Issuer>, subject: String, audience: String },
}

/// Somebody.
pub(crate) struct Owner {
    pub(crate) name: String,
    source: Source,
    token: Mutex<Token>,
}

/// Under which a refresh is made: no session and no backend can be why it failed.
fn circumstances(world: &World, attempt: &Attempt) -> Circumstances {
    let nodes = usize::from(world.settings.nodes);
    Circumstances { backend: None, token_ends: attempt.started, session_over: false, nodes }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Owner {
    /// Somebody who has logged in at the gateway.
    pub(crate) fn embedded(name: &str, grant: &Grant) -> Result<Self> {
        let made = Instant::now();
        let source = Source::Embedded(Mutex::new(Login::new(grant, made)?));
        let token = Mutex::new(Token::new(grant.tokens.access.expose(), made));
        Ok(Self { name: name.to_owned(), source, token })
    }

    /// Somebody whom another issuer knows as `subject`.
    pub(crate) fn external(name: &str, subject: &str, issuer: &Arc<Issuer>, audience: &str) -> Result<Self> {
        let made = Instant::now();
        let token = Mutex::new(Token::new(&issuer.mint(subject, audience, TOKEN_LASTS)?, made));
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
        let Source::Embedded(login) = &self.source else { return self.minted(world) };
        let before = lock(login).clone();
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", before.refresh.as_str()),
            ("client_id", before.client.as_str()),
            ("resource", before.resource.as_str()),
        ];
        let mut attempt = Attempt::begin();
        let until = World::limit();
        let end = match world.wire.send(world.wire.http().post(&before.endpoint).form(&form), until).await {
            Ok(reply) => {
                attempt.touch(reply.node);
                self.answered(login, reply, attempt.started, until).await.err()
            }
            Err(end) => Some(end),
        };
        // What the store has forgotten, a person has to say again: who they are.
        let forgotten = world.timeline.emptied().is_some_and(|emptied| before.made < emptied);
        let succeeded = end.is_none();
        let attempt = attempt.end(end.unwrap_or(End::Response(Value::Null)));
        let verdict = match &attempt.end {
            _ if succeeded => Verdict::Succeeded,
            End::Status { status: 400..=499, .. } if forgotten => {
                self.log_in_again(world, login).await;
                Verdict::Retried(Retry::Unauthorized)
            }
            End::Status { status: 400..=499, body, .. } => {
                one(&world.ledger.tally.logins_lost);
                Verdict::Lost(format!("the login is lost: {body}"))
            }
            // A refresh is safe to repeat: the successor of a token is one.
            _ => match judge(&attempt, circumstances(world, &attempt), &world.timeline) {
                Verdict::LostCleanly(..) => Verdict::Retried(Retry::Unavailable),
                verdict => verdict,
            },
        };
        world.ledger.settle(Op::Refresh, &self.name, &attempt, &verdict, &world.timeline);
        succeeded
    }

    async fn answered(
        &self,
        login: &Mutex<Login>,
        mut reply: Reply,
        asked: Instant,
        until: Instant,
    ) -> Result<(), End> {
        if reply.status != 200 {
            return Err(reply.refusal(until).await);
        }
        let tokens = match reply.next(until).await {
            Next::Message(tokens) => tokens,
            Next::Silence => return Err(End::Silence),
            _ => return Err(End::Cut(None)),
        };
        let text = |name: &str| tokens.get(name).and_then(Value::as_str).map(str::to_owned);
        let Some(access) = text("access_token") else { return Err(End::Truncated) };
        if let Some(next) = text("refresh_token") {
            lock(login).refresh = next;
        }
        *lock(&self.token) = Token::new(&access, asked);
        Ok(())
    }

    async fn log_in_again(&self, world: &World, login: &Mutex<Login>) {
        let begun = Instant::now();
        match world.logins.again(world.wire.url(), &self.name, world.timeline.emptied()).await {
            Ok(grant) => match Login::new(&grant, begun) {
                Ok(made) => {
                    *lock(login) = made;
                    *lock(&self.token) = Token::new(grant.tokens.access.expose(), begun);
                    one(&world.ledger.tally.logins_renewed);
                }
                Err(error) => world.ledger.wrong_now(&self.name, &format!("{error:#}"), &world.timeline),
            },
            // Tried again with the next refresh; somewhere else something may be wrong as well.
            Err(error) => {
                if world.timeline.quiet(Instant::now(), Instant::now()) {
                    world.ledger.wrong_now(&self.name, &format!("cannot log in again: {error:#}"), &world.timeline);
                }
            }
        }
    }

    /// How an administrator names them: flags of `hawser sessions`.
    pub(crate) fn selection(&self) -> Vec<OsString> {
        match &self.source {
            Source::Embedded(_) => ["--principal".into(), format!("user:{}", self.name).into()].into(),
            Source::External { issuer, subject, .. } => {
                ["--principal", subject, "--issuer", issuer.url()].map(OsString::from).into()
            }
        }
    }

    /// Whether somebody logged in anew since: as another client, to whom what the first one was in the middle of does not belong.
    pub(crate) fn is_new_since(&self, at: Instant) -> bool {
        matches!(&self.source, Source::Embedded(login) if lock(login).used > at)
    }

    /// When a token is good no more: at its end, or when the keys that it was signed with are forgotten.
    pub(crate) fn end_of(&self, token: &Token, world: &World) -> Instant {
        let forgotten = world.timeline.emptied().filter(|emptied| token.made < *emptied);
        match (&self.source, forgotten) {
            (Source::Embedded(_), Some(forgotten)) => forgotten.min(token.ends),
            _ => token.ends,
        }
    }

    fn minted(&self, world: &World) -> bool {
        let Source::External { issuer, subject, audience } = &self.source else { return false };
        let made = Instant::now();
        match issuer.mint(subject, audience, TOKEN_LASTS) {
            Ok(token) => *lock(&self.token) = Token::new(&token, made),
            Err(error) => world.ledger.wrong_now(&self.name, &format!("no token: {error}"), &world.timeline),
        }
        true
    }
}
