//! What a legacy client is spared: a result that asks for input becomes questions, a task is waited for, and all of it is one
//! exchange (MCP 2026-07-28, Multi Round-Trip Requests; Tasks extension).

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{
    ErrorObject, InputRequest, InputRequired, Members, Outcome, RawJson, ResultType, can_be_asked, code, method,
    result_type, with_input_responses,
};
use tokio::time::timeout;

use super::answers::{Round, Turn};
use super::flow::{ModernFlow, Stage, say_error};
use super::subscriptions;
use super::task::{Next, TaskRun};
use crate::error::BackendError;
use crate::exchange::ExchangeItem;

/// How often a server may ask for input before one call ends.
const ROUNDS_MAX: u32 = 16;
/// Before a retry that brings the server nothing but its own state; doubled each time.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// How long a server is given to take note that a task is not wanted any more.
const CANCEL_TIME_MAX: Duration = Duration::from_secs(10);

impl ModernFlow {
    /// Reads a result by what it says it is. "Clients MUST treat unrecognized values as invalid."
    pub(super) fn resolve(&mut self, result: RawJson) -> Option<ExchangeItem> {
        let may_ask = matches!(self.method.as_str(), method::TOOLS_CALL | method::PROMPTS_GET | method::RESOURCES_READ);
        // Whatever comes of it, the server has had the request.
        self.begun = true;
        match result_type(&result) {
            Ok(ResultType::Complete) => Some(self.complete(result)),
            Ok(ResultType::InputRequired) if may_ask => self.input_required(&result),
            Ok(ResultType::Task) if self.method == method::TOOLS_CALL => match TaskRun::of(&result) {
                Ok(task) => {
                    let poll = task.poll();
                    self.task = Some(task);
                    self.pause(poll);
                    None
                }
                Err(reason) => Some(self.broken(&reason)),
            },
            Ok(other) => {
                let other = match other {
                    ResultType::Other(name) => format!("{:?}", crate::hello::clip(&name)),
                    known => format!("{known:?}"),
                };
                Some(self.broken(&format!("a result of the type {other} does not answer {}", self.method)))
            }
            Err(error) => Some(self.broken(&format!("a result cannot be read: {error}"))),
        }
    }

    fn input_required(&mut self, result: &RawJson) -> Option<ExchangeItem> {
        let required = match InputRequired::read(result) {
            Ok(required) => required,
            Err(error) => return Some(self.broken(&format!("it asks for input: {error}"))),
        };
        if required.input_requests.is_empty() {
            // "The client MAY retry the original request immediately." Not for ever, and not all at once.
            self.rounds += 1;
            if self.rounds > ROUNDS_MAX {
                return Some(self.asks_too_often());
            }
            self.retry(&[], required.request_state.as_deref());
            let pause = RETRY_PAUSE.saturating_mul(1 << self.rounds.min(5));
            self.pause(pause);
            return None;
        }
        self.ask(required.input_requests, required.request_state)
    }

    fn ask(&mut self, requests: Vec<(String, InputRequest)>, state: Option<String>) -> Option<ExchangeItem> {
        self.rounds += 1;
        if self.rounds > ROUNDS_MAX {
            return Some(self.asks_too_often());
        }
        let undeclared = requests
            .iter()
            .find(|(_, request)| !can_be_asked(&self.modern.capabilities, &request.method, request.params.as_ref()))
            .map(|(_, request)| request.method.clone());
        if let Some(undeclared) = undeclared {
            return Some(self.broken(&format!("it asks {undeclared} of a client that cannot answer")));
        }
        let round = Round::new(&self.port, &self.modern.answers, self.exchange, requests);
        self.stage = Stage::Ask { round, state };
        None
    }

    /// What comes of the questions.
    pub(super) fn turn(&mut self, turn: Turn) -> Option<ExchangeItem> {
        match turn {
            Turn::Ask(item) => return Some(item),
            Turn::Answered => {}
            Turn::Abandoned(error) => self.stage = say_error(&error),
            Turn::Done(answers) => {
                let Stage::Ask { state, .. } = std::mem::replace(&mut self.stage, Stage::Over) else { return None };
                if let Some(task) = &self.task {
                    let params = task.answers(&answers);
                    self.stage = self
                        .send(method::TASKS_UPDATE, Some(&params))
                        .map_or_else(|error| say_error(&error), Stage::Update);
                } else {
                    self.retry(&answers, state.as_deref());
                    self.stage = self.call();
                }
            }
        }
        None
    }

    /// Adds to the request what the retry brings: "both affect only the client's retry of the original request".
    fn retry(&mut self, answers: &[(String, RawJson)], state: Option<&str>) {
        let empty = RawJson::empty_object();
        let params = self.params.as_ref().unwrap_or(&empty);
        // Params that cannot be read were refused before they were sent.
        self.current = with_input_responses(params, answers, state).ok().or_else(|| self.params.clone());
    }

    /// After a pause: the retry, or another look at the task.
    pub(super) fn go_on(&mut self) {
        self.stage = match &self.task {
            None => self.call(),
            Some(task) => {
                self.send(method::TASKS_GET, Some(&task.params())).map_or_else(|error| say_error(&error), Stage::Poll)
            }
        };
    }

    /// What `tasks/get` brought.
    pub(super) fn polled(&mut self, item: ExchangeItem) -> Option<ExchangeItem> {
        let task = self.task.as_mut()?;
        match item {
            ExchangeItem::Notification(_) | ExchangeItem::Request(_) | ExchangeItem::LargeResult => None,
            ExchangeItem::Response(Outcome::Result(state)) => match task.see(&state) {
                Next::Wait => self.look_again(),
                Next::Ask(requests) => self.ask(requests, None),
                Next::Answer(outcome) => {
                    self.task = None;
                    Some(self.end(ExchangeItem::Response(outcome)))
                }
                Next::Broken(reason) => Some(self.broken(&reason)),
            },
            ExchangeItem::Response(error @ Outcome::Error(_)) => {
                // It is not there any more.
                self.task = None;
                self.unspoken(&error).or_else(|| Some(self.end(ExchangeItem::Response(error))))
            }
            ExchangeItem::Failed(error) if task.survives(&error) => self.look_again(),
            ExchangeItem::Failed(error) => Some(self.end(ExchangeItem::Failed(error))),
        }
    }

    /// What `tasks/update` brought: "the client SHOULD continue observing the task's status".
    pub(super) fn updated(&mut self, item: ExchangeItem) -> Option<ExchangeItem> {
        match item {
            ExchangeItem::Notification(_) | ExchangeItem::Request(_) | ExchangeItem::LargeResult => None,
            ExchangeItem::Response(Outcome::Result(_)) => self.look_again(),
            ExchangeItem::Response(error) => {
                self.unspoken(&error).or_else(|| Some(self.end(ExchangeItem::Response(error))))
            }
            failed @ ExchangeItem::Failed(_) => Some(self.end(failed)),
        }
    }

    fn look_again(&mut self) -> Option<ExchangeItem> {
        let poll = self.task.as_ref()?.poll();
        self.pause(poll);
        None
    }

    fn asks_too_often(&mut self) -> ExchangeItem {
        self.broken(&format!("it asked for input more than {ROUNDS_MAX} times"))
    }

    fn broken(&mut self, reason: &str) -> ExchangeItem {
        let backend = self.port.config.name.clone();
        self.end(ExchangeItem::Failed(BackendError::Protocol { backend, reason: reason.to_owned() }))
    }

    /// Tells the server that nobody waits for the task any more. "`notifications/cancelled` MUST NOT be used" for it.
    pub(super) fn cancel_task(&mut self) {
        let Some(task) = self.task.take() else { return };
        if self.port.state.ending().is_some() {
            return;
        }
        let (Ok(mut wire), Ok(permit), Ok(runtime)) = (
            self.send(method::TASKS_CANCEL, Some(&task.params())),
            Arc::clone(&self.modern.shared.cancelling).try_acquire_owned(),
            tokio::runtime::Handle::try_current(),
        ) else {
            tracing::debug!(backend = %self.port.config.name, "a task that nobody waits for goes on");
            return;
        };
        runtime.spawn(async move {
            let told =
                async { while !matches!(wire.next().await, ExchangeItem::Response(_) | ExchangeItem::Failed(_)) {} };
            let _ = timeout(CANCEL_TIME_MAX, told).await;
            drop(permit);
        });
    }

    /// `resources/subscribe`: answered when the server has said whether it will tell.
    pub(super) fn subscribe(&self) -> Stage {
        let Some(uri) = self.uri() else { return no_uri() };
        subscriptions::start(&self.port, &self.modern);
        let modern = Arc::clone(&self.modern);
        Stage::Work(Box::pin(async move {
            if modern.subscriptions.subscribe(&uri).await {
                return Outcome::Result(RawJson::empty_object());
            }
            let error = ErrorObject::new(code::INVALID_PARAMS, "the server does not tell of changes of this resource");
            Outcome::Error(error.to_raw())
        }))
    }

    /// `resources/unsubscribe`: nothing need be waited for.
    pub(super) fn unsubscribe(&self) -> Stage {
        let Some(uri) = self.uri() else { return no_uri() };
        self.modern.subscriptions.unsubscribe(&uri);
        Stage::Say(ExchangeItem::Response(Outcome::Result(RawJson::empty_object())))
    }

    fn uri(&self) -> Option<String> {
        Members::read(self.params.as_ref()?, &["uri"]).ok()?.string("uri")
    }
}

fn no_uri() -> Stage {
    say_error(&ErrorObject::new(code::INVALID_PARAMS, "`uri` must be a string"))
}
