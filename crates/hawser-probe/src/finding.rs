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
    #[serde(rename = "unknown_session_not_404")]
    UnknownSessionNot404,
    /// A missing token is refused by another status than 401.
    #[serde(rename = "no_token_not_401")]
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
    /// The name it has in the JSON report.
    pub fn name(self) -> String {
        serde_json::to_value(self).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    }

    fn entry(self) -> Entry {
        match self {
            Self::StrangerAdmitted => STRANGER_ADMITTED,
            Self::NoTokenAdmitted => NO_TOKEN_ADMITTED,
            Self::OwnerLostSession => OWNER_LOST_SESSION,
            Self::OwnerCallCancelled => OWNER_CALL_CANCELLED,
            Self::OwnerStreamCut => OWNER_STREAM_CUT,
            Self::SessionDiesOnRefresh => SESSION_DIES_ON_REFRESH,
            Self::PrincipalChangesOnRefresh => PRINCIPAL_CHANGES_ON_REFRESH,
            Self::ClientChosenSession => CLIENT_CHOSEN_SESSION,
            Self::SessionShared => SESSION_SHARED,
            Self::SessionGuessable => SESSION_GUESSABLE,
            Self::UnknownSessionServed => UNKNOWN_SESSION_SERVED,
            Self::AlteredSessionServed => ALTERED_SESSION_SERVED,
            Self::DeletedSessionServed => DELETED_SESSION_SERVED,
            Self::RefusalTells => REFUSAL_TELLS,
            Self::RefusalInBand => REFUSAL_IN_BAND,
            Self::UnknownSessionNot404 => UNKNOWN_SESSION_NOT_404,
            Self::NoTokenNot401 => NO_TOKEN_NOT_401,
            Self::ChallengeIncomplete => CHALLENGE_INCOMPLETE,
        }
    }
}

const STRANGER_ADMITTED: Entry = Entry {
    severity: Severity::Critical,
    expected: "another user's valid token on a session is refused, whatever the operation",
    citation: HIJACKING,
    remedy: CHECK_EVERYWHERE,
};

const NO_TOKEN_ADMITTED: Entry = Entry {
    severity: Severity::Critical,
    expected: "a request without a token is refused; a session id never authenticates",
    citation: "MCP Authorization, Access Token Usage (a token on every request); Security Best Practices (no sessions for authentication)",
    remedy: "Authenticate every HTTP request before looking at the session.",
};

const OWNER_LOST_SESSION: Entry = Entry {
    severity: Severity::Critical,
    expected: "a refused stranger leaves the owner's session as it was",
    citation: HIJACKING,
    remedy: "Refuse the request, not the session: a mismatch must not terminate, delete or reset anything.",
};

const OWNER_CALL_CANCELLED: Entry = Entry {
    severity: Severity::High,
    expected: "another user cannot cancel a running call",
    citation: HIJACKING,
    remedy: CHECK_EVERYWHERE,
};

const OWNER_STREAM_CUT: Entry = Entry {
    severity: Severity::High,
    expected: "another user cannot take over or close a stream",
    citation: HIJACKING,
    remedy: CHECK_EVERYWHERE,
};

const SESSION_DIES_ON_REFRESH: Entry = Entry {
    severity: Severity::Critical,
    expected: "a session goes on with a refreshed token of the same issuer and subject",
    citation: "RFC 6749 section 6; RFC 9700 section 4.14; MCP Transports, Session Management (sessions end by 404, not by a new token)",
    remedy: "Bind the session to issuer and subject, not to the bytes (or a hash) of the access token.",
};

const PRINCIPAL_CHANGES_ON_REFRESH: Entry = Entry {
    severity: Severity::High,
    expected: "a refreshed token has the same issuer and subject",
    citation: "RFC 6749 section 6 (a refresh keeps the authorization); RFC 9068 section 2.2",
    remedy: "Let the authorization server keep `iss` and `sub` for the lifetime of a grant.",
};

const CLIENT_CHOSEN_SESSION: Entry = Entry {
    severity: Severity::High,
    expected: "session ids are minted by the server; one proposed by a client is not adopted",
    citation: "MCP Security Best Practices, Session Hijacking (secure, non-deterministic ids); CWE-384 session fixation",
    remedy: "Ignore `Mcp-Session-Id` on `initialize` and mint a fresh id.",
};

const SESSION_SHARED: Entry = Entry {
    severity: Severity::Critical,
    expected: "every session has an id of its own",
    citation: "MCP Transports, Session Management (globally unique ids)",
    remedy: "Mint each id from at least 128 random bits.",
};

const SESSION_GUESSABLE: Entry = Entry {
    severity: Severity::Medium,
    expected: "session ids are long enough not to be guessed",
    citation: "MCP Transports, Session Management (cryptographically secure ids)",
    remedy: "Mint each id from at least 128 random bits.",
};

const UNKNOWN_SESSION_SERVED: Entry = Entry {
    severity: Severity::High,
    expected: "a session id that never was is refused",
    citation: SESSIONS,
    remedy: "Answer 404 to a session id that the server does not know, on every method.",
};

const ALTERED_SESSION_SERVED: Entry = Entry {
    severity: Severity::High,
    expected: "a session id with one character changed is refused",
    citation: SESSIONS,
    remedy: "Compare or authenticate the whole session id.",
};

const DELETED_SESSION_SERVED: Entry = Entry {
    severity: Severity::High,
    expected: "a session is gone after DELETE",
    citation: SESSIONS,
    remedy: "Answer 404 after termination, on every method and every node.",
};

const REFUSAL_TELLS: Entry = Entry {
    severity: Severity::Medium,
    expected: "a stranger's refusal is the same answer, bytes and headers, as for a session that never was",
    citation: "MCP Transports, Session Management (404); OWASP ASVS, uniform error responses",
    remedy: "Answer the same 404 to unknown, ended and foreign sessions; keep the reason in the audit log.",
};

const REFUSAL_IN_BAND: Entry = Entry {
    severity: Severity::Medium,
    expected: "a refusal is an HTTP status the client acts on",
    citation: "MCP Transports, Session Management; MCP Tools, Error Handling (tool errors are for the model)",
    remedy: "Refuse with HTTP 404 before the message is dispatched.",
};

const UNKNOWN_SESSION_NOT_404: Entry = Entry {
    severity: Severity::Medium,
    expected: "an unknown session is answered 404, which tells the client to initialize again",
    citation: SESSIONS,
    remedy: "Answer 404; other statuses leave clients stuck with a dead session.",
};

const NO_TOKEN_NOT_401: Entry = Entry {
    severity: Severity::Low,
    expected: "a missing token is answered 401",
    citation: "MCP Authorization, Error Handling; RFC 6750 section 3.1",
    remedy: "Authenticate before looking at session and message.",
};

const CHALLENGE_INCOMPLETE: Entry = Entry {
    severity: Severity::Low,
    expected: "the 401 carries `WWW-Authenticate: Bearer` with `resource_metadata`",
    citation: "RFC 9728 section 5.1; MCP Authorization, Authorization Server Location",
    remedy: "Add the URL of the protected resource metadata to the challenge.",
};

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
