//! The verdict on a call: succeeded, to be retried, lost with a clean word, or lost. A pure function of what the client
//! saw and what went wrong at that time. What nothing explains is lost, however politely it was said.

use std::time::Instant;

use serde::Serialize;

use crate::exchange::{Attempt, End, shown};
use crate::timeline::{Cause, Timeline};

/// Why a client is right to try again.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Retry {
    /// 503 with `Retry-After`, or no node that could be connected to: nothing was done.
    Unavailable,
    /// 401 for a token whose time is up.
    Unauthorized,
    /// 404 for a session that was ended: by its owner, or by an administrator.
    Ended,
}

/// What came of a call.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// The answer, and the right one.
    Succeeded,
    /// The client was told to try again.
    Retried(Retry),
    /// It was in flight where something was killed, and the client knows that it is lost.
    LostCleanly(Cause, String),
    /// Anything else.
    Lost(String),
}

/// What the judge has to know besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// The backend that it was for.
    pub(crate) backend: Option<usize>,
    /// When the token that was presented ends.
    pub(crate) token_ends: Instant,
    /// Whether the session was over, or just about to be.
    pub(crate) session_over: bool,
    /// How many nodes there are.
    pub(crate) nodes: usize,
}

/// Judges an attempt that did not end with the right result.
pub(crate) fn judge(attempt: &Attempt, circumstances: Circumstances, timeline: &Timeline) -> Verdict {
    let Circumstances { backend, token_ends, session_over, nodes } = circumstances;
    let cause = |nodes: &[usize]| timeline.cause(attempt.started, attempt.ended, nodes, backend);
    let everywhere: Vec<usize> = (0..nodes).collect();
    let cleanly = |what: &str| match cause(&attempt.nodes) {
        Some(cause) => Verdict::LostCleanly(cause, what.to_owned()),
        None => Verdict::Lost(format!("{what}, with nothing wrong that explains it")),
    };
    match &attempt.end {
        // An error that names the backend is the backend's, whatever else goes on.
        End::Response(response)
            if shown(response).contains("backend `") && cause(&[]) == Some(Cause::BackendRestarted) =>
        {
            Verdict::LostCleanly(Cause::BackendRestarted, format!("error: {}", shown(response)))
        }
        End::Response(response) if response.get("error").is_some() => cleanly(&format!("error: {}", shown(response))),
        End::Response(response) => cleanly(&format!("another result: {}", shown(response))),
        End::Status { status: 401, .. } if token_ends <= attempt.ended => Verdict::Retried(Retry::Unauthorized),
        End::Status { status: 401, body, .. } => Verdict::Lost(format!("401 for a token that is good: {body}")),
        End::Status { status: 404, .. } if session_over => Verdict::Retried(Retry::Ended),
        End::Status { status: 404, body, .. } => Verdict::Lost(format!("404, the session is lost: {body}")),
        End::Status { status: 503, retry_after: false, body } => {
            Verdict::Lost(format!("503 without Retry-After: {body}"))
        }
        // Any node may be the one that the answer waits for.
        End::Status { status: 503, body, .. } => match cause(&everywhere) {
            Some(_) => Verdict::Retried(Retry::Unavailable),
            None => Verdict::Lost(format!("503 with nothing wrong that explains it: {body}")),
        },
        End::Status { status: 410, body, .. } => cleanly(&format!("410: {body}")),
        End::Status { status, body, .. } if body.contains("\"error\"") && *status < 500 => {
            cleanly(&format!("{status}: {body}"))
        }
        End::Status { status, body, .. } => Verdict::Lost(format!("status {status}: {body}")),
        End::NotReached => match cause(&everywhere) {
            Some(_) => Verdict::Retried(Retry::Unavailable),
            None => Verdict::Lost("no node could be connected to, and none was stopped".to_owned()),
        },
        End::Cut(_) => cleanly("the connection broke"),
        End::Truncated => Verdict::Lost("the answer ended without a response, as if it were complete".to_owned()),
        End::Silence => {
            let seconds = attempt.ended.saturating_duration_since(attempt.started).as_secs();
            Verdict::Lost(format!("no answer in {seconds} s"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::{Circumstances, Retry, Verdict, judge};
    use crate::exchange::{Attempt, End};
    use crate::plan::Kind;
    use crate::timeline::{Cause, Timeline, Touches};

    fn after(end: End, nodes: &[usize]) -> Attempt {
        let mut attempt = Attempt::begin();
        for node in nodes {
            attempt.touch(Some(*node));
        }
        attempt.end(end)
    }

    fn status(status: u16, retry_after: bool) -> End {
        End::Status { status, retry_after, body: "{\"error\":{}}".to_owned() }
    }

    #[test]
    fn without_a_fault_everything_but_an_answer_is_lost() {
        let timeline = Timeline::new();
        let fine = Circumstances {
            backend: Some(0),
            token_ends: Instant::now() + Duration::from_mins(1),
            session_over: false,
            nodes: 3,
        };
        for end in [
            End::Response(json!({ "error": { "code": -32603 } })),
            status(401, false),
            status(404, false),
            status(410, false),
            status(429, true),
            status(500, false),
            status(503, true),
            End::NotReached,
            End::Cut(None),
            End::Truncated,
            End::Silence,
        ] {
            let verdict = judge(&after(end.clone(), &[0]), fine, &timeline);
            assert!(matches!(verdict, Verdict::Lost(_)), "{end:?}: {verdict:?}");
        }
        let over = Circumstances { session_over: true, ..fine };
        assert_eq!(judge(&after(status(404, false), &[0]), over, &timeline), Verdict::Retried(Retry::Ended));
        let expired = Circumstances { token_ends: Instant::now(), ..fine };
        assert_eq!(judge(&after(status(401, false), &[0]), expired, &timeline), Verdict::Retried(Retry::Unauthorized));
    }

    #[test]
    fn a_killed_node_excuses_what_it_had_in_flight_if_that_is_told() {
        let timeline = Timeline::new();
        timeline.end(timeline.begin(Kind::KillNode, Touches::Killed(1), "node 1"));
        let fine = Circumstances {
            backend: None,
            token_ends: Instant::now() + Duration::from_mins(1),
            session_over: false,
            nodes: 3,
        };
        let of = |end: End, nodes: &[usize]| judge(&after(end, nodes), fine, &timeline);
        for (end, nodes) in [(End::Cut(None), [0, 1]), (status(410, false), [1, 1])] {
            let verdict = of(end.clone(), &nodes);
            assert!(matches!(verdict, Verdict::LostCleanly(Cause::NodeKilled, _)), "{end:?}: {verdict:?}");
        }
        assert_eq!(of(status(503, true), &[0]), Verdict::Retried(Retry::Unavailable));
        for (end, nodes) in [
            (End::Cut(None), &[0]),
            (status(404, false), &[1]),
            (status(503, false), &[1]),
            (End::Truncated, &[1]),
            (End::Silence, &[1]),
        ] {
            assert!(matches!(of(end.clone(), nodes), Verdict::Lost(_)), "{end:?}");
        }
    }
}
