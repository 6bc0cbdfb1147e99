//! Findings: the catalogue of what can be wrong, each with what was expected, by which text, and what to do.

use serde::Serialize;

use crate::operation::Operation;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A way in, or a way to break what works.
    Critical,
    /// Half of one.
    High,
    /// A conformant client stumbles, or an attacker learns something.
    Medium,
    /// Unclean.
    Low,
}

/// What is wrong: the id of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// A stranger's request was served on the owner's session.
    StrangerAdmitted,
    /// A request without a token was served on the owner's session.
    NoTokenAdmitted,
    /// A stranger's attempt ended the owner's session.
    OwnerLostSession,
    /// A stranger's attempt ended the owner's running call.
    OwnerCallCancelled,
    /// A stranger's attempt ended the owner's stream.
    OwnerStreamCut,
    /// The session does not work with the refreshed token.
    SessionDiesOnRefresh,
    /// The refreshed token names another principal.
    PrincipalChangesOnRefresh,
    /// A session id proposed by the client was adopted.
    ClientChosenSession,
    /// Two principals got the same session id.
    SessionShared,
    /// The session id is short enough to guess.
    SessionGuessable,
    /// An unknown session id is served.
    UnknownSessionServed,
    /// An altered session id is served.
    AlteredSessionServed,
    /// A deleted session is served.
    DeletedSessionServed,
    /// The refusal of a stranger differs from that of an unknown session.
    RefusalTells,
    /// The refusal is inside a 2xx answer.
    RefusalInBand,
    /// An unknown session is refused by another status than 404.
    UnknownSessionNot404,
    /// A missing token is refused by another status than 401.
    NoTokenNot401,
    /// The 401 does not say where to get a token.
    ChallengeIncomplete,
}

/// The constant part of a finding.
struct Entry {
    severity: Severity,
    expected: &'static str,
    citation: &'static str,
    remedy: &'static str,
}

const HIJACKING: &str =
    "MCP Security Best Practices, Session Hijacking (verify every inbound request; bind session ids to the user)";
const SESSIONS: &str = "MCP 2025-11-25 Transports, Session Management (a session that is not there is answered 404)";
const CHECK_EVERYWHERE: &str = "Check issuer and subject of the presented token against the session's owner in one place that POST of every kind of message, GET and DELETE all pass through.";

impl Fault {
    fn entry(self) -> Entry {
        let (severity, expected, citation, remedy) = match self {
            Self::StrangerAdmitted => (
                Severity::Critical,
                "another user's valid token on a session is refused, whatever the operation",
                HIJACKING,
                CHECK_EVERYWHERE,
            ),
            Self::NoTokenAdmitted => (
                Severity::Critical,
                "a request without a token is refused; a session id never authenticates",
                "MCP Authorization, Access Token Usage (a token on every request); Security Best Practices (no sessions for authentication)",
                "Authenticate every HTTP request before looking at the session.",
            ),
            Self::OwnerLostSession => (
                Severity::Critical,
                "a refused stranger leaves the owner's session as it was",
                HIJACKING,
                "Refuse the request, not the session: a mismatch must not terminate, delete or reset anything.",
            ),
            Self::OwnerCallCancelled => {
                (Severity::High, "another user cannot cancel a running call", HIJACKING, CHECK_EVERYWHERE)
            }
            Self::OwnerStreamCut => {
                (Severity::High, "another user cannot take over or close a stream", HIJACKING, CHECK_EVERYWHERE)
            }
            Self::SessionDiesOnRefresh => (
                Severity::Critical,
                "a session goes on with a refreshed token of the same issuer and subject",
                "RFC 6749 section 6; RFC 9700 section 4.14; MCP Transports, Session Management (sessions end by 404, not by a new token)",
                "Bind the session to issuer and subject, not to the bytes (or a hash) of the access token.",
            ),
            Self::PrincipalChangesOnRefresh => (
                Severity::High,
                "a refreshed token has the same issuer and subject",
                "RFC 6749 section 6 (a refresh keeps the authorization); RFC 9068 section 2.2",
                "Let the authorization server keep `iss` and `sub` for the lifetime of a grant.",
            ),
            Self::ClientChosenSession => (
                Severity::High,
                "session ids are minted by the server; one proposed by a client is not adopted",
                "MCP Security Best Practices, Session Hijacking (secure, non-deterministic ids); CWE-384 session fixation",
                "Ignore `Mcp-Session-Id` on `initialize` and mint a fresh id.",
            ),
            Self::SessionShared => (
                Severity::Critical,
                "every session has an id of its own",
                "MCP Transports, Session Management (globally unique ids)",
                "Mint each id from at least 128 random bits.",
            ),
            Self::SessionGuessable => (
                Severity::Medium,
                "session ids are long enough not to be guessed",
                "MCP Transports, Session Management (cryptographically secure ids)",
                "Mint each id from at least 128 random bits.",
            ),
            Self::UnknownSessionServed => (
                Severity::Medium,
                "a session id that never was is refused",
                SESSIONS,
                "Answer 404 to a session id that the server does not know, on every method.",
            ),
            Self::AlteredSessionServed => (
                Severity::High,
                "a session id with one character changed is refused",
                SESSIONS,
                "Compare or authenticate the whole session id.",
            ),
            Self::DeletedSessionServed => (
                Severity::High,
                "a session is gone after DELETE",
                SESSIONS,
                "Answer 404 after termination, on every method and every node.",
            ),
            Self::RefusalTells => (
                Severity::Medium,
                "a stranger's refusal is the same answer, bytes and headers, as for a session that never was",
                "MCP Transports, Session Management (404); OWASP ASVS, uniform error responses",
                "Answer the same 404 to unknown, ended and foreign sessions; keep the reason in the audit log.",
            ),
            Self::RefusalInBand => (
                Severity::Medium,
                "a refusal is an HTTP status the client acts on",
                "MCP Transports, Session Management; MCP Tools, Error Handling (tool errors are for the model)",
                "Refuse with HTTP 404 before the message is dispatched.",
            ),
            Self::UnknownSessionNot404 => (
                Severity::Medium,
                "an unknown session is answered 404, which tells the client to initialize again",
                SESSIONS,
                "Answer 404; other statuses leave clients stuck with a dead session.",
            ),
            Self::NoTokenNot401 => (
                Severity::Low,
                "a missing token is answered 401",
                "MCP Authorization, Error Handling; RFC 6750 section 3.1",
                "Authenticate before looking at session and message.",
            ),
            Self::ChallengeIncomplete => (
                Severity::Low,
                "the 401 carries `WWW-Authenticate: Bearer` with `resource_metadata`",
                "RFC 9728 section 5.1; MCP Authorization, Authorization Server Location",
                "Add the URL of the protected resource metadata to the challenge.",
            ),
        };
        Entry { severity, expected, citation, remedy }
    }
}

/// Something wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// What.
    pub id: Fault,
    /// How bad.
    pub severity: Severity,
    /// By which operations it shows; none where it is not about one.
    pub operations: Vec<Operation>,
    /// What was expected.
    pub expected: &'static str,
    /// By which text.
    pub citation: &'static str,
    /// What happened, in the first case met.
    pub observed: String,
    /// What to do.
    pub remedy: &'static str,
}

/// Adds a fault; one that was met before only gains the operation. Says whether it is new.
pub(crate) fn add(
    findings: &mut Vec<Finding>,
    id: Fault,
    operation: Option<Operation>,
    observed: impl Into<String>,
) -> bool {
    if let Some(known) = findings.iter_mut().find(|finding| finding.id == id) {
        let new = operation.filter(|operation| !known.operations.contains(operation));
        known.operations.extend(new);
        return false;
    }
    let Entry { severity, expected, citation, remedy } = id.entry();
    let operations = operation.into_iter().collect();
    findings.push(Finding { id, severity, operations, expected, citation, observed: observed.into(), remedy });
    true
}
