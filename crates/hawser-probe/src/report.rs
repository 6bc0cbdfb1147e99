//! The report: what was examined, what came of it, what could not be examined and why. Serialises to JSON as it stands.

use serde::Serialize;

use crate::finding::Finding;
use crate::judge::State;
use crate::operation::Operation;
use crate::session::ServerInfo;

/// Everything one examination has to say.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The address examined.
    pub target: String,
    /// Who the server says it is.
    pub server: Option<ServerInfo>,
    /// The negotiated revision.
    pub revision: Option<String>,
    /// What kind of server it is.
    pub nature: Nature,
    /// The session's owner, as far as its token tells.
    pub owner: Option<Person>,
    /// The other principal.
    pub stranger: Option<Person>,
    /// The tool that was called.
    pub tool: Option<String>,
    /// What refreshing the owner's token did.
    pub refresh: Refresh,
    /// Every attempt, in order.
    pub attempts: Vec<Attempt>,
    /// What is wrong, worst first.
    pub findings: Vec<Finding>,
    /// What could not be examined.
    pub not_examined: Vec<Gap>,
    /// HTTP requests sent.
    pub requests: u64,
    /// How long it took.
    pub elapsed_ms: u64,
}

/// What kind of server was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Nature {
    /// Whether a token is needed.
    pub authorization: Authorization,
    /// Whether there are sessions.
    pub sessions: Sessions,
}

/// Whether a token is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Authorization {
    /// `initialize` without a token is answered 401.
    Required,
    /// `initialize` without a token is served.
    NotRequired,
    /// Neither was seen.
    Unknown,
}

/// Whether there are sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sessions {
    /// `initialize` assigns a session id.
    Issued,
    /// A legacy server that assigns none.
    Stateless,
    /// A server of the revisions from 2026-07-28 on only, which have no sessions.
    ModernOnly,
    /// No session could be opened.
    Unknown,
}

/// A principal as its access token names it; `None` for opaque tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Person {
    /// How the caller called it.
    pub name: String,
    /// `iss`.
    pub issuer: Option<String>,
    /// `sub`.
    pub subject: Option<String>,
}

/// What refreshing the owner's token did.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Refresh {
    /// Whether a refresh took place.
    pub done: bool,
    /// Whether the new token has other bytes.
    pub new_bytes: Option<bool>,
    /// Whether the issuer is the same; `None`: the tokens are opaque.
    pub same_issuer: Option<bool>,
    /// Whether the subject is the same; `None`: the tokens are opaque.
    pub same_subject: Option<bool>,
    /// For each operation, whether it works on the same session with the new token.
    pub operations: Vec<Survival>,
}

/// Whether one operation survives a refresh.
#[derive(Debug, Clone, Serialize)]
pub struct Survival {
    /// The operation.
    pub operation: Operation,
    /// Whether the answer is of the kind it was before the refresh.
    pub survived: bool,
    /// Status of the answer.
    pub status: Option<u16>,
    /// What to know beside.
    pub note: String,
}

/// Who attempted, with which session id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Attacker {
    /// Another principal's valid token on the owner's session.
    Stranger,
    /// No token on the owner's session.
    NoToken,
    /// The owner's token with a session id that never was.
    MadeUpSession,
    /// The owner's token with the session id, one character changed.
    AlteredSession,
    /// The owner's token with the session id after its DELETE.
    DeletedSession,
}

impl Attacker {
    /// All, in the order of the report.
    pub const ALL: [Self; 5] =
        [Self::NoToken, Self::MadeUpSession, Self::AlteredSession, Self::Stranger, Self::DeletedSession];

    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Stranger => "another user on the owner's session",
            Self::NoToken => "no token on the owner's session",
            Self::MadeUpSession => "a session id that never was",
            Self::AlteredSession => "the session id, one character changed",
            Self::DeletedSession => "the session id after its DELETE",
        }
    }
}

/// One attempt.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Who, with which id.
    pub attacker: Attacker,
    /// What was tried.
    pub operation: Operation,
    /// What it came to.
    pub state: State,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Whether the answer is the one for an unknown session, byte for byte; `None` where that was not compared.
    pub like_unknown: Option<bool>,
    /// Whether the owner's session still works; `None` where that was not tried.
    pub owner_works: Option<bool>,
    /// What to know beside.
    pub note: String,
}

/// Something that could not be examined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// What.
    pub what: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// A report on `target` that says nothing yet.
    pub(crate) fn empty(target: &url::Url) -> Self {
        let nature = Nature { authorization: Authorization::Unknown, sessions: Sessions::Unknown };
        Self {
            target: crate::wire::printable(target),
            server: None,
            revision: None,
            nature,
            owner: None,
            stranger: None,
            tool: None,
            refresh: Refresh::default(),
            attempts: Vec::new(),
            findings: Vec::new(),
            not_examined: Vec::new(),
            requests: 0,
            elapsed_ms: 0,
        }
    }

    /// The attempts of one kind.
    pub fn attempts_by(&self, attacker: Attacker) -> impl Iterator<Item = &Attempt> {
        self.attempts.iter().filter(move |attempt| attempt.attacker == attacker)
    }
}
