//! The examination: two principals, one session, every operation, every wrong hand.
//!
//! The order matters. First what works for the owner, then what survives a refresh, then everybody who must be refused, each
//! followed by a look whether the owner still works. What cannot be undone comes last: the stranger's DELETE, then the owner's.

mod attempt;
mod enter;
mod outsiders;
mod owner;
mod refresh;
mod stranger;

use std::time::Duration;

use tokio::time::Instant;
use url::Url;

pub(crate) use enter::Holder;
pub use enter::{Entry, Given};
pub(crate) use outsiders::made_up;

use crate::finding::{self, Fault};
use crate::judge::Outcome;
use crate::mcp::Mcp;
use crate::menu::{Menu, ToolCall};
use crate::observer::{Event, Observer};
use crate::operation::{Aim, Operation};
use crate::report::{Attacker, Attempt, Authorization, Gap, Report, Sessions, Survival};
use crate::session::Session;
use crate::wire::{Limits, Wire, WireError};

/// What to examine.
#[derive(Debug, Clone)]
pub struct Target {
    /// The MCP endpoint.
    pub url: Url,
    /// What may be spent.
    pub limits: Limits,
    /// The tool to call; without one, a harmless one is looked for.
    pub tool: Option<ToolCall>,
    /// A harmless tool that takes a second or more, to see whether a stranger can cancel it.
    pub slow_tool: Option<ToolCall>,
}

/// The two principals.
#[derive(Debug, Clone)]
pub struct Principals {
    /// Who opens the session.
    pub owner: Entry,
    /// Who must not be let in.
    pub stranger: Entry,
}

/// Why there is no examination at all. What is merely not examinable is in the report.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The server cannot be reached.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A principal could not get a token.
    #[error("{who}: {source}")]
    Login {
        /// Which principal.
        who: String,
        /// Which step failed.
        source: crate::oauth::OAuthError,
    },
    /// Both principals are the same one.
    #[error("both principals are {0}; the examination needs two different users")]
    SamePrincipal(String),
}

/// Examines `target` with `principals`, telling `observer` everything as it happens.
pub async fn examine(
    target: &Target,
    principals: &Principals,
    observer: &mut dyn Observer,
) -> Result<Report, ExamineError> {
    let mut examiner = Examiner::enter(target, principals, observer).await?;
    if examiner.open().await? {
        examiner.learn().await;
        examiner.refresh().await;
        examiner.no_token().await;
        examiner.made_up_session().await;
        examiner.altered_session().await;
        examiner.stranger().await;
        examiner.deleted_session().await;
    }
    examiner.close().await;
    Ok(examiner.report)
}

/// The state of one examination.
pub(crate) struct Examiner<'a> {
    target: &'a Target,
    pub(crate) mcp: Mcp,
    pub(crate) owner: Holder,
    pub(crate) stranger: Option<Holder>,
    pub(crate) session: Session,
    pub(crate) menu: Menu,
    /// How the owner's own attempts were answered.
    baseline: Vec<(Operation, Outcome)>,
    aim: Aim,
    /// Whether a GET stream of the owner stays open by itself.
    stream_stays: bool,
    /// Whether the present session was opened with a token that was refreshed since.
    session_is_older_than_token: bool,
    next_id: u64,
    reopenings: u32,
    started: Instant,
    pub(crate) observer: &'a mut dyn Observer,
    pub(crate) report: Report,
}

impl Examiner<'_> {
    fn wire(&self) -> &Wire {
        self.mcp.wire()
    }

    pub(crate) fn stage(&mut self, title: &str) {
        self.observer.event(&Event::Stage { title });
    }

    fn gap(&mut self, what: impl Into<String>, why: impl Into<String>) {
        let gap = Gap { what: what.into(), why: why.into() };
        if !self.report.not_examined.contains(&gap) {
            self.observer.event(&Event::NotExamined(&gap));
            self.report.not_examined.push(gap);
        }
    }

    fn fault(&mut self, id: Fault, operation: Option<Operation>, observed: impl Into<String>) {
        let new = finding::add(&mut self.report.findings, id, operation, observed);
        if let Some(finding) = self.report.findings.last().filter(|_| new) {
            self.observer.event(&Event::Finding(finding));
        }
    }

    fn attempted(&mut self, attempt: Attempt) {
        self.observer.event(&Event::Attempt(&attempt));
        self.report.attempts.push(attempt);
    }

    fn survived(&mut self, survival: Survival) {
        self.observer.event(&Event::Survival(&survival));
        self.report.refresh.operations.push(survival);
    }

    /// Ids start high and are never reused, so that no two parts of the examination meet in one.
    fn take_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn baseline(&self, operation: Operation) -> Option<Outcome> {
        self.baseline.iter().find(|(of, _)| *of == operation).map(|(_, outcome)| *outcome)
    }

    /// Whether the time for the whole is used up; what is left out then is reported.
    fn late(&mut self, what: &str) -> bool {
        let late = self.started.elapsed() > self.target.limits.total;
        if late {
            let seconds = self.target.limits.total.as_secs();
            self.gap(what, format!("the {seconds} s for the whole examination were used up"));
        }
        late
    }

    /// Ends what the examination opened, and completes the report.
    pub(crate) async fn close(&mut self) {
        let wire = self.wire().clone();
        self.owner.leave(&wire).await;
        if let Some(stranger) = &self.stranger {
            stranger.leave(&wire).await;
        }
        self.report.findings.sort_by_key(|finding| finding.severity);
        self.report.requests = wire.sent();
        self.report.elapsed_ms = millis(self.started.elapsed());
    }

    /// Whether a token is demanded at all.
    fn is_guarded(&self) -> bool {
        self.report.nature.authorization == Authorization::Required
    }

    /// Whether anonymous callers are served.
    fn serves_anybody(&self) -> bool {
        self.report.nature.authorization == Authorization::NotRequired
    }

    fn set_sessions(&mut self, sessions: Sessions) {
        self.report.nature.sessions = sessions;
    }

    fn note_gaps_for_attacker(&mut self, attacker: Attacker, why: &str) {
        self.gap(attacker.words(), why);
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
