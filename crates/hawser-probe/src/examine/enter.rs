//! Entering: what the server demands, and tokens for the two principals.

use tokio::time::Instant;

use super::{ExamineError, Examiner, Principals, Target};
use crate::finding::Fault;
use crate::mcp::{Mcp, Presented};
use crate::menu::Menu;
use crate::oauth::{self, Challenge, Client, Grant, Login, OAuthError};
use crate::observer::{Event, Observer};
use crate::operation::Aim;
use crate::report::{Authorization, Person, Report};
use crate::secret::Secret;
use crate::session::{Opening, Session, initialize_body};
use crate::wire::{Wire, WireError};

/// How a principal comes by its token.
#[derive(Debug, Clone)]
pub enum Entry {
    /// By logging in at the server's authorization server.
    Login(Login),
    /// By tokens that are given.
    Given(Given),
    /// Not at all.
    Nobody,
}

/// Given tokens.
#[derive(Debug, Clone)]
pub struct Given {
    /// What to call this principal.
    pub name: String,
    /// The access token.
    pub access: Secret,
    /// Another access token of the same principal, standing for a refreshed one.
    pub refreshed: Option<Secret>,
    /// A refresh token and the client it was issued to; the token endpoint is found by discovery.
    pub refresh: Option<(Secret, Client)>,
}

/// A principal with its token.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) token: Option<Secret>,
    renewal: Renewal,
    /// Whether the grant is the probe's own, to be revoked at the end.
    own_grant: bool,
}

#[derive(Debug, Clone)]
enum Renewal {
    None,
    Given(Secret),
    Refresh(Secret, Client),
    Grant(Box<Grant>),
}

impl Holder {
    /// Gets a token for `entry`; `Ok(None)` for nobody.
    pub(crate) async fn enter(mcp: &Mcp, entry: &Entry) -> Result<Option<Self>, ExamineError> {
        match entry {
            Entry::Nobody => Ok(None),
            Entry::Given(given) => {
                let renewal = match (&given.refreshed, &given.refresh) {
                    (Some(token), _) => Renewal::Given(token.clone()),
                    (None, Some((token, client))) => Renewal::Refresh(token.clone(), client.clone()),
                    (None, None) => Renewal::None,
                };
                Ok(Some(Self {
                    name: given.name.clone(),
                    token: Some(given.access.clone()),
                    renewal,
                    own_grant: false,
                }))
            }
            Entry::Login(login) => {
                let refusal = mcp.post(Presented::default(), initialize_body(1), Some("1")).await?;
                let grant = login.run(mcp.wire(), mcp.url(), &refusal.answer.headers).await;
                let grant = grant.map_err(|source| ExamineError::Login { who: login.user.clone(), source })?;
                let token = Some(grant.tokens.access.clone());
                Ok(Some(Self {
                    name: login.user.clone(),
                    token,
                    renewal: Renewal::Grant(Box::new(grant)),
                    own_grant: true,
                }))
            }
        }
    }

    /// A principal without a token, for servers that ask for none.
    fn anonymous(name: &str) -> Self {
        Self { name: name.to_owned(), token: None, renewal: Renewal::None, own_grant: false }
    }

    /// Whether a new token can be had.
    pub(crate) fn can_renew(&self) -> bool {
        match &self.renewal {
            Renewal::None => false,
            Renewal::Given(_) | Renewal::Refresh(..) => true,
            Renewal::Grant(grant) => grant.tokens.refresh.is_some(),
        }
    }

    /// Replaces the token by a new one.
    pub(crate) async fn renew(&mut self, mcp: &Mcp) -> Result<(), ExamineError> {
        let failed = |source| ExamineError::Login { who: self.name.clone(), source };
        match &mut self.renewal {
            Renewal::None => {}
            Renewal::Given(token) => self.token = Some(token.clone()),
            Renewal::Refresh(token, client) => {
                let (token, client) = (token.clone(), client.clone());
                let refusal = mcp.post(Presented::default(), initialize_body(1), Some("1")).await?;
                let grant = Grant::resume(mcp.wire(), mcp.url(), &refusal.answer.headers, client, token).await;
                let grant = grant.map_err(failed)?;
                self.token = Some(grant.tokens.access.clone());
                self.renewal = Renewal::Grant(Box::new(grant));
            }
            Renewal::Grant(grant) => {
                grant.refresh(mcp.wire()).await.map_err(failed)?;
                self.token = Some(grant.tokens.access.clone());
            }
        }
        Ok(())
    }

    /// Revokes what a login of ours obtained. Given tokens are not ours to revoke.
    pub(crate) async fn leave(&self, wire: &Wire) {
        if let (Renewal::Grant(grant), true) = (&self.renewal, self.own_grant) {
            let outcome: Result<(), OAuthError> = grant.revoke(wire).await;
            // Nothing hangs on it: the tokens expire by themselves.
            drop(outcome);
        }
    }

    /// The client that a login registered.
    pub(crate) fn client_id(&self) -> Option<&str> {
        match &self.renewal {
            Renewal::Grant(grant) => Some(&grant.client.id),
            _ => None,
        }
    }

    pub(crate) fn person(&self) -> Person {
        let claims = self.token.as_ref().and_then(oauth::peek);
        let (issuer, subject) = claims.map(|claims| (claims.iss, claims.sub)).unwrap_or_default();
        Person { name: self.name.clone(), issuer, subject }
    }
}

impl<'a> Examiner<'a> {
    /// Asks what the server demands and gets both tokens.
    pub(crate) async fn enter(
        target: &'a Target,
        principals: &Principals,
        observer: &'a mut dyn Observer,
    ) -> Result<Self, ExamineError> {
        let mcp = Mcp::new(Wire::new(&target.url, target.limits)?, target.url.clone());
        let mut report = Report::empty(&target.url);
        observer.event(&Event::Stage { title: "Looking at the server" });
        let challenge = look(&mcp, &mut report).await?;
        let served = report.nature.authorization == Authorization::NotRequired;
        if matches!((&principals.owner, &principals.stranger), (Entry::Login(_), _) | (_, Entry::Login(_))) && !served {
            observer.event(&Event::Stage { title: "Logging in" });
        }
        let owner = enter_unless_served(&mcp, &principals.owner, served).await?;
        let stranger = enter_unless_served(&mcp, &principals.stranger, served).await?;
        let mut examiner = Self {
            target,
            mcp,
            owner: owner.unwrap_or_else(|| Holder::anonymous("nobody")),
            stranger,
            session: Session { id: None, revision: String::new(), server: None, capabilities: None },
            menu: Menu::default(),
            baseline: Vec::new(),
            aim: Aim::default(),
            stream_stays: false,
            session_is_older_than_token: false,
            next_id: 100,
            reopenings: 0,
            started: Instant::now(),
            observer,
            report,
        };
        examiner.introduce(challenge.as_ref())?;
        Ok(examiner)
    }

    fn introduce(&mut self, challenge: Option<&Challenge>) -> Result<(), ExamineError> {
        let incomplete =
            self.is_guarded() && challenge.and_then(|challenge| challenge.parameter("resource_metadata")).is_none();
        if incomplete {
            self.fault(Fault::ChallengeIncomplete, None, "`resource_metadata` is missing");
        }
        self.report.owner = self.owner.token.as_ref().map(|_| self.owner.person());
        self.report.stranger = self.stranger.as_ref().map(Holder::person);
        let Some((owner, stranger)) = self.report.owner.as_ref().zip(self.report.stranger.as_ref()) else {
            return Ok(());
        };
        let named = owner.subject.is_some() && owner.subject == stranger.subject && owner.issuer == stranger.issuer;
        let same_token = self.stranger.as_ref().is_some_and(|stranger| stranger.token == self.owner.token);
        if named || same_token {
            return Err(ExamineError::SamePrincipal(owner.name.clone()));
        }
        Ok(())
    }
}

/// A server that serves without a token names no authorization server to log in at.
async fn enter_unless_served(mcp: &Mcp, entry: &Entry, served: bool) -> Result<Option<Holder>, ExamineError> {
    if served && matches!(entry, Entry::Login(_)) { Ok(None) } else { Holder::enter(mcp, entry).await }
}

/// Sends `initialize` without a token, and ends the session that this may open.
async fn look(mcp: &Mcp, report: &mut Report) -> Result<Option<Challenge>, WireError> {
    match Session::open(mcp, None).await? {
        Opening::Open(session) => {
            report.nature.authorization = Authorization::NotRequired;
            if session.id.is_some() {
                mcp.delete(session.presented(None)).await?;
            }
            Ok(None)
        }
        Opening::Refused(reply) if reply.answer.status.as_u16() == 401 => {
            report.nature.authorization = Authorization::Required;
            let challenges = oauth::challenges(&reply.answer.headers);
            Ok(challenges.into_iter().find(|challenge| challenge.scheme == "bearer"))
        }
        Opening::Refused(_) => Ok(None),
    }
}
