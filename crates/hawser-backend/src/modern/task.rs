//! A task that a modern server made of a call of a legacy client: the link waits for its end (Tasks extension, Task Polling).
//! Pure decisions.

use std::collections::HashSet;
use std::time::Duration;

use hawser_mcp::task::{Task, TaskStatus};
use hawser_mcp::{ErrorObject, InputRequest, Outcome, RawJson, code};

use crate::error::BackendError;
use crate::hello::clip;

/// Between two polls, where the server names no time.
const POLL_DEFAULT: Duration = Duration::from_secs(1);
/// Not even a server that says `pollIntervalMs: 0` is asked more often, nor less often than this.
const POLL_MIN: Duration = Duration::from_millis(50);
const POLL_MAX: Duration = Duration::from_mins(5);
/// Failures in a row to ask how a task is.
const FAILURES_MAX: u32 = 5;
/// Most questions of one task.
const KEYS_MAX: usize = 256;

/// A task that is waited for.
#[derive(Debug)]
pub(crate) struct TaskRun {
    id: String,
    poll: Duration,
    failures: u32,
    /// "Clients SHOULD track `inputRequests` keys to avoid responding to requests more than once."
    asked: HashSet<String>,
}

/// What a state of the task asks for.
#[derive(Debug)]
pub(crate) enum Next {
    /// Look again after the poll interval.
    Wait,
    /// Put these questions to the client.
    Ask(Vec<(String, InputRequest)>),
    /// This is the answer to the call.
    Answer(Outcome),
    /// The server breaks the rules.
    Broken(String),
}

impl TaskRun {
    /// Reads what a server made of a call.
    pub(crate) fn of(result: &RawJson) -> Result<Self, String> {
        let task = Task::read(result).map_err(|error| error.to_string())?;
        let poll = poll_interval(&task);
        Ok(Self { id: task.task_id, poll, failures: 0, asked: HashSet::new() })
    }

    pub(crate) const fn poll(&self) -> Duration {
        self.poll
    }

    /// The params of `tasks/get` and `tasks/cancel`.
    pub(crate) fn params(&self) -> RawJson {
        RawJson::object(&[("taskId", &RawJson::string(&self.id))])
    }

    /// The params of `tasks/update`.
    pub(crate) fn answers(&self, answers: &[(String, RawJson)]) -> RawJson {
        let members: Vec<(&str, &RawJson)> = answers.iter().map(|(key, answer)| (key.as_str(), answer)).collect();
        RawJson::object(&[("taskId", &RawJson::string(&self.id)), ("inputResponses", &RawJson::object(&members))])
    }

    /// Takes in a `tasks/get` result.
    pub(crate) fn see(&mut self, result: &RawJson) -> Next {
        self.failures = 0;
        let task = match Task::read(result) {
            Ok(task) if task.task_id == self.id => task,
            Ok(_) => return Next::Broken("it told of another task than it was asked about".to_owned()),
            Err(error) => return Next::Broken(error.to_string()),
        };
        self.poll = poll_interval(&task);
        match task.status {
            TaskStatus::Working => Next::Wait,
            TaskStatus::InputRequired => self.ask(task.input_requests),
            TaskStatus::Completed => Next::Answer(Outcome::Result(task.result.unwrap_or_else(RawJson::empty_object))),
            TaskStatus::Failed => Next::Answer(Outcome::Error(task.error.unwrap_or_else(RawJson::empty_object))),
            TaskStatus::Cancelled => {
                let why = task.status_message.as_deref().map(clip).unwrap_or_default();
                let text = if why.is_empty() {
                    "the server cancelled the task that it made of the request".to_owned()
                } else {
                    format!("the server cancelled the task that it made of the request: {why}")
                };
                Next::Answer(Outcome::Error(ErrorObject::new(code::INTERNAL_ERROR, text).to_raw()))
            }
        }
    }

    fn ask(&mut self, requests: Vec<(String, InputRequest)>) -> Next {
        let fresh: Vec<_> = requests.into_iter().filter(|(key, _)| !self.asked.contains(key)).collect();
        self.asked.extend(fresh.iter().map(|(key, _)| key.clone()));
        if self.asked.len() > KEYS_MAX {
            Next::Broken(format!("a task asked more than {KEYS_MAX} questions"))
        } else if fresh.is_empty() {
            Next::Wait
        } else {
            Next::Ask(fresh)
        }
    }

    /// Whether to look again after the server could not be asked: looking changes nothing.
    pub(crate) fn survives(&mut self, error: &BackendError) -> bool {
        self.failures += 1;
        let passing = matches!(
            error,
            BackendError::Unreachable { .. }
                | BackendError::Lost { .. }
                | BackendError::Refused { status: 429 | 500..=599, .. }
        );
        passing && self.failures <= FAILURES_MAX
    }
}

fn poll_interval(task: &Task) -> Duration {
    task.poll_interval_ms.map_or(POLL_DEFAULT, Duration::from_millis).clamp(POLL_MIN, POLL_MAX)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::name::BackendName;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn state(status: &str, more: &str) -> RawJson {
        raw(&format!(r#"{{"taskId":"t","status":"{status}","createdAt":"x","lastUpdatedAt":"x","ttlMs":null{more}}}"#))
    }

    fn run() -> TaskRun {
        TaskRun::of(&state("working", r#","pollIntervalMs":5"#)).unwrap()
    }

    #[test]
    fn the_poll_interval_is_honoured_within_bounds_and_may_change() {
        let mut run = run();
        assert_eq!(run.poll(), POLL_MIN);
        for (ms, expected) in [(2_000, Duration::from_secs(2)), (999_999_999, POLL_MAX)] {
            assert!(matches!(run.see(&state("working", &format!(r#","pollIntervalMs":{ms}"#))), Next::Wait));
            assert_eq!(run.poll(), expected);
        }
        run.see(&state("working", ""));
        assert_eq!(run.poll(), POLL_DEFAULT);
    }

    #[test]
    fn each_question_is_put_once() {
        let mut run = run();
        let asks = |keys: &[&str]| {
            let requests: Vec<String> =
                keys.iter().map(|key| format!(r#""{key}":{{"method":"roots/list"}}"#)).collect();
            state("input_required", &format!(r#","inputRequests":{{{}}}"#, requests.join(",")))
        };
        let Next::Ask(first) = run.see(&asks(&["a"])) else { panic!("not asked") };
        assert_eq!(first[0].0, "a");
        assert!(matches!(run.see(&asks(&["a"])), Next::Wait));
        let Next::Ask(second) = run.see(&asks(&["a", "b"])) else { panic!("not asked") };
        assert_eq!(second.len(), 1);
        let mut asked = 2;
        let broken = (0..100).any(|round| {
            let keys: Vec<String> = (0..8).map(|n| format!("{round}-{n}")).collect();
            asked += 8;
            matches!(run.see(&asks(&keys.iter().map(String::as_str).collect::<Vec<_>>())), Next::Broken(_))
        });
        assert!(broken && asked <= KEYS_MAX + 8, "it may not ask for ever");
    }

    #[test]
    fn the_end_of_a_task_is_the_answer() {
        let end = |text: RawJson| match run().see(&text) {
            Next::Answer(Outcome::Result(value) | Outcome::Error(value)) => value.as_str().to_owned(),
            other => panic!("{other:?}"),
        };
        assert_eq!(end(state("completed", r#","result":{"isError":true}"#)), r#"{"isError":true}"#);
        assert_eq!(end(state("failed", r#","error":{"code":1,"message":"m"}"#)), r#"{"code":1,"message":"m"}"#);
        assert!(end(state("cancelled", r#","statusMessage":"why""#)).contains("why"));
    }

    #[test]
    fn another_task_or_nonsense_ends_the_waiting() {
        for wrong in [r#"{"taskId":"u","status":"working"}"#, r#"{"taskId":"t","status":"x"}"#, "{}", "7"] {
            assert!(matches!(run().see(&raw(wrong)), Next::Broken(_)), "{wrong}");
        }
        assert!(TaskRun::of(&raw("{}")).is_err());
    }

    #[test]
    fn a_server_that_is_away_for_a_moment_is_asked_again() {
        let backend = BackendName::new("x").unwrap();
        let away = BackendError::Lost { backend: backend.clone(), reason: String::new() };
        let mut run = run();
        assert!((0..FAILURES_MAX).all(|_| run.survives(&away)) && !run.survives(&away));
        run.see(&state("working", ""));
        assert!(run.survives(&away), "it was back in between");
        assert!(!run.survives(&BackendError::SessionGone { backend }));
    }
}
