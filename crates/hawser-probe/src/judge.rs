//! The judgement: pure functions from what was heard to what it means.

use std::collections::BTreeSet;

use http::HeaderMap;
use serde::Serialize;

use crate::operation::Operation;

/// What an attempt came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The server refused.
    Refused,
    /// The server did it.
    Accepted,
    /// The attempt says nothing here; a note says why.
    NotApplicable,
}

/// The kind of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A JSON-RPC result.
    Result,
    /// A tool's failure inside a result.
    ToolError,
    /// A JSON-RPC error under a 2xx status.
    RpcError(i64),
    /// 2xx without a response: what notifications and DELETE get.
    Accepted,
    /// An open event stream.
    Stream,
    /// Any other status.
    Http(u16),
    /// No answer in time.
    Silent,
}

impl Outcome {
    fn is_2xx(self) -> bool {
        !matches!(self, Self::Http(_) | Self::Silent)
    }

    fn is_error(self) -> bool {
        matches!(self, Self::ToolError | Self::RpcError(_))
    }
}

/// An answer, kept for comparison.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    /// The session id that was sent: an echo of it gives nothing away.
    pub(crate) sent: Option<String>,
    /// The session id that came back.
    pub(crate) session: Option<String>,
}

/// The note on an answer that even a made-up session gets.
pub(crate) const SERVED_WITHOUT_SESSION: &str = "answered the same without a session";

/// What a stranger's answer on the owner's session means, given the owner's own answer and that for an unknown session.
pub(crate) fn stranger(
    operation: Operation,
    owner: Option<Outcome>,
    unknown: &Heard,
    heard: &Heard,
) -> (State, &'static str) {
    let own_session = heard.session.is_some() && heard.session != heard.sent;
    match heard.outcome {
        Outcome::Silent => (State::NotApplicable, "no answer in time"),
        Outcome::Http(429) => (State::NotApplicable, "rate limited"),
        Outcome::Http(405) if operation.is_get() || operation == Operation::Delete => {
            (State::NotApplicable, "not offered by this server")
        }
        Outcome::Http(_) if owner == Some(heard.outcome) && heard.outcome != Outcome::Http(404) => {
            (State::NotApplicable, "the owner gets the same refusal")
        }
        Outcome::Http(_) => (State::Refused, ""),
        Outcome::Result if operation == Operation::Initialize && own_session => {
            (State::Refused, "got a new session of its own")
        }
        // Nothing of the owner's is in an answer that any made-up id gets.
        outcome if unknown.outcome == outcome && outcome.is_2xx() => (State::NotApplicable, SERVED_WITHOUT_SESSION),
        outcome if outcome.is_error() && owner != Some(outcome) => (State::Refused, "refused inside a 2xx answer"),
        outcome if outcome.is_error() => (State::Accepted, "let in: the same error as the owner gets"),
        _ => (State::Accepted, ""),
    }
}

/// What a request with a dead, unknown or altered session id, or without a token, came to.
pub(crate) fn outsider(operation: Operation, owner: Option<Outcome>, heard: &Heard) -> (State, &'static str) {
    let own_session = heard.session.is_some() && heard.session != heard.sent;
    match heard.outcome {
        Outcome::Silent => (State::NotApplicable, "no answer in time"),
        Outcome::Http(429) => (State::NotApplicable, "rate limited"),
        Outcome::Http(405) if operation.is_get() || operation == Operation::Delete => {
            (State::NotApplicable, "not offered by this server")
        }
        Outcome::Http(status) if owner == Some(heard.outcome) && !matches!(status, 401 | 404) => {
            (State::NotApplicable, "the owner gets the same refusal")
        }
        Outcome::Http(_) => (State::Refused, ""),
        Outcome::Result if operation == Operation::Initialize && own_session => (State::Refused, "got a new session"),
        outcome if outcome.is_error() && owner != Some(outcome) => (State::Refused, "refused inside a 2xx answer"),
        _ => (State::Accepted, ""),
    }
}

/// In which parts `heard` differs from the two answers for unknown sessions. Parts in which those two differ from each other
/// vary by themselves and are left out, as is the date.
pub(crate) fn differences(heard: &Heard, unknown: [&Heard; 2]) -> BTreeSet<String> {
    let [first, second] = unknown;
    let mut varying = compare(first, second);
    varying.insert("header date".to_owned());
    compare(heard, first).difference(&varying).cloned().collect()
}

fn compare(one: &Heard, other: &Heard) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    if one.status != other.status {
        out.insert("status".to_owned());
    }
    for name in one.headers.keys().chain(other.headers.keys()) {
        if values(one, name) != values(other, name) {
            out.insert(format!("header {name}"));
        }
    }
    if without_echo(one, &one.body) != without_echo(other, &other.body) {
        out.insert("body".to_owned());
    }
    out
}

fn values(heard: &Heard, name: &http::HeaderName) -> Vec<Vec<u8>> {
    heard.headers.get_all(name).iter().map(|value| without_echo(heard, value.as_bytes())).collect()
}

/// The bytes with the session id that was sent replaced: echoing it back tells the sender nothing.
fn without_echo(heard: &Heard, bytes: &[u8]) -> Vec<u8> {
    let Some(sent) = heard.sent.as_deref().filter(|sent| !sent.is_empty()) else { return bytes.to_vec() };
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((byte, tail)) = rest.split_first() {
        if let Some(after) = rest.strip_prefix(sent.as_bytes()) {
            out.extend_from_slice(b"{session}");
            rest = after;
        } else {
            out.push(*byte);
            rest = tail;
        }
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn heard(outcome: Outcome, sent: &str, body: &str, headers: &[(&'static str, &str)]) -> Heard {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect();
        let status = match outcome {
            Outcome::Http(status) => status,
            _ => 200,
        };
        Heard { outcome, status: Some(status), headers, body: body.into(), sent: Some(sent.into()), session: None }
    }

    fn plain(outcome: Outcome) -> Heard {
        heard(outcome, "sid", "", &[])
    }

    #[test]
    fn a_stranger_is_judged_by_what_the_owner_and_nobody_get() {
        let judge = |owner, unknown, got| stranger(Operation::ToolsCall, Some(owner), &plain(unknown), &plain(got)).0;
        let (ok, gone) = (Outcome::Result, Outcome::Http(404));
        assert_eq!(judge(ok, gone, gone), State::Refused);
        assert_eq!(judge(ok, gone, Outcome::Http(403)), State::Refused);
        assert_eq!(judge(ok, gone, ok), State::Accepted);
        assert_eq!(
            judge(ok, gone, Outcome::ToolError),
            State::Refused,
            "the seed's answer: a refusal, in the wrong place"
        );
        assert_eq!(judge(Outcome::RpcError(-32601), gone, Outcome::RpcError(-32601)), State::Accepted, "past the door");
        assert_eq!(judge(ok, ok, ok), State::NotApplicable, "sessions are ignored");
        assert_eq!(judge(ok, gone, Outcome::Silent), State::NotApplicable);
        assert_eq!(judge(ok, gone, Outcome::Http(500)), State::Refused);
    }

    #[test]
    fn echoes_dates_and_what_varies_by_itself_are_no_difference() {
        let gone = Outcome::Http(404);
        let first = heard(gone, "s1", "no s1", &[("date", "1"), ("x-request-id", "a")]);
        let second = heard(gone, "s2", "no s2", &[("date", "2"), ("x-request-id", "b")]);
        let same = heard(gone, "s3", "no s3", &[("date", "3"), ("x-request-id", "c")]);
        assert!(differences(&same, [&first, &second]).is_empty());
        let other = heard(Outcome::Http(403), "s3", "not yours", &[("x-owner", "alice"), ("x-request-id", "c")]);
        let parts: Vec<_> = differences(&other, [&first, &second]).into_iter().collect();
        assert_eq!(parts, ["body", "header x-owner", "status"]);
    }
}
