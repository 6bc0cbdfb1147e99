//! One exchange with a modern server: as many requests as it takes.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use hawser_mcp::{
    ErrorObject, ListKind, ListPage, Members, Notification, Outcome, RawJson, code, method, notification,
};
use http::HeaderMap;
use tokio::time::{Duration, Instant, sleep_until};

use super::answers::Round;
use super::task::TaskRun;
use super::wire::{Port, Wire};
use super::{Modern, ProgressToken};
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::hello::quote_error;
use crate::state::Ending;

/// Most pages of `tools/list` that are read to learn how a tool's arguments are mirrored.
const PAGES_MAX: u32 = 64;

/// One exchange with a modern server. Dropping it before its end cancels it.
pub(crate) struct ModernFlow {
    pub(super) port: Port,
    pub(super) modern: Arc<Modern>,
    /// What the exchange is to the questions that belong to it.
    pub(super) exchange: u64,
    pub(super) method: String,
    /// What the client sent.
    pub(super) params: Option<RawJson>,
    /// The same with what a retry adds.
    pub(super) current: Option<RawJson>,
    passed: HeaderMap,
    progress: Option<ProgressToken>,
    /// The furthest that the client was told of.
    furthest: f64,
    pub(super) stage: Stage,
    /// The tools were listed again because of this exchange.
    refreshed: bool,
    /// How often the server asked for input.
    pub(super) rounds: u32,
    /// What the server made of the call, until it has come to its end.
    pub(super) task: Option<TaskRun>,
    /// The server has begun to process the call: it asked for input, or made a task of it.
    pub(super) begun: bool,
}

pub(super) enum Stage {
    /// The request itself, or a retry of it.
    Call(Wire),
    /// `tools/list`, since the server did not find the headers right.
    Refresh {
        wire: Wire,
        pages: u32,
    },
    /// Questions to the client, and the state to send back with the answers.
    Ask {
        round: Round,
        state: Option<String>,
    },
    /// Nothing is to be done before this time.
    Pause {
        until: Instant,
    },
    /// `tasks/get`.
    Poll(Wire),
    /// `tasks/update`.
    Update(Wire),
    /// What the link itself does for an answer.
    Work(Pin<Box<dyn Future<Output = Outcome> + Send + Sync>>),
    /// What is to be said without asking anybody.
    Say(ExchangeItem),
    Over,
}

impl ModernFlow {
    pub(crate) fn new(
        port: Port,
        modern: &Arc<Modern>,
        exchange: u64,
        method: &str,
        params: Option<RawJson>,
        passed: &HeaderMap,
    ) -> Self {
        let params = modern.first(params);
        let mut flow = Self {
            port,
            modern: Arc::clone(modern),
            exchange,
            method: method.to_owned(),
            progress: modern.token_for(params.as_ref()),
            current: params.clone(),
            params,
            passed: passed.clone(),
            furthest: f64::NEG_INFINITY,
            stage: Stage::Over,
            refreshed: false,
            rounds: 0,
            task: None,
            begun: false,
        };
        flow.stage = flow.answer_here().unwrap_or_else(|| flow.call());
        flow
    }

    /// The next item; `None` is a sign of life. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<ExchangeItem> {
        match &mut self.stage {
            Stage::Call(wire) => {
                let item = wire.next().await;
                self.heard(item)
            }
            Stage::Refresh { wire, pages } => {
                let (item, pages) = (wire.next().await, *pages);
                self.refresh(item, pages);
                None
            }
            Stage::Ask { round, .. } => {
                let turn = round.next().await;
                self.turn(turn)
            }
            Stage::Pause { until } => {
                // Our own waiting is no silence of the server.
                let slice = self.port.config.request_timeout / 2;
                sleep_until((*until).min(Instant::now() + slice)).await;
                if Instant::now() >= *until {
                    self.go_on();
                }
                None
            }
            Stage::Poll(wire) => {
                let item = wire.next().await;
                self.polled(item)
            }
            Stage::Update(wire) => {
                let item = wire.next().await;
                self.updated(item)
            }
            Stage::Work(work) => {
                let outcome = work.await;
                Some(self.end(ExchangeItem::Response(outcome)))
            }
            Stage::Say(_) => match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Say(item) => Some(item),
                _ => None,
            },
            Stage::Over => Some(ExchangeItem::Failed(BackendError::Closed { backend: self.port.config.name.clone() })),
        }
    }

    /// Cancels it, with a reason for the server.
    pub(crate) fn cancel(mut self, reason: Option<&str>) {
        if let Stage::Call(wire) | Stage::Refresh { wire, .. } | Stage::Poll(wire) | Stage::Update(wire) =
            &mut self.stage
        {
            wire.give_reason(reason);
        }
    }

    /// What a session of the older era has and a stateless server has not.
    fn answer_here(&self) -> Option<Stage> {
        let answer = match self.method.as_str() {
            method::PING if self.modern.adapted => Ok(RawJson::empty_object()),
            // Whoever holds the session decides its level, in either era; every request is stamped with it.
            method::LOGGING_SET_LEVEL => self.modern.set_level(self.params.as_ref()),
            method::RESOURCES_SUBSCRIBE => return Some(self.subscribe()),
            method::RESOURCES_UNSUBSCRIBE => return Some(self.unsubscribe()),
            _ => return None,
        };
        Some(Stage::Say(ExchangeItem::Response(
            answer.map_or_else(|error| Outcome::Error(error.to_raw()), Outcome::Result),
        )))
    }

    /// Sends the request as it is now, under a fresh id.
    pub(super) fn call(&self) -> Stage {
        match self.modern.prepare(&self.method, self.current.as_ref(), self.progress.as_ref(), &self.passed) {
            Ok(prepared) => Stage::Call(Wire::new(&self.port, &self.method, prepared)),
            Err(error) => say_error(&error),
        }
    }

    /// Sends a request of the link's own.
    pub(super) fn send(&self, method: &str, params: Option<&RawJson>) -> Result<Wire, ErrorObject> {
        let prepared = self.modern.prepare(method, params, None, &HeaderMap::new())?;
        Ok(Wire::new(&self.port, method, prepared))
    }

    fn heard(&mut self, item: ExchangeItem) -> Option<ExchangeItem> {
        match item {
            ExchangeItem::Notification(told) => self.told(told),
            // No modern server asks this way.
            ExchangeItem::Request(_) | ExchangeItem::LargeResult => None,
            ExchangeItem::Response(outcome) => self.answered(outcome),
            ExchangeItem::Failed(error) => Some(self.end(ExchangeItem::Failed(error))),
        }
    }

    /// Progress is told under the token that the client chose.
    fn told(&mut self, told: Notification) -> Option<ExchangeItem> {
        if told.method != notification::PROGRESS {
            return Some(ExchangeItem::Notification(told));
        }
        let token = self.progress.as_ref()?;
        let params = told.params.as_ref().and_then(|params| Members::read(params, &["progressToken"]).ok())?;
        if params.get("progressToken").as_ref() != Some(&token.ours) {
            return None;
        }
        // "The `progress` value MUST increase with each notification", but a server counts each of its rounds anew.
        let progress = params.get("progress").and_then(|progress| progress.read::<f64>().ok());
        if self.begun && progress.is_some_and(|progress| progress <= self.furthest) {
            return None;
        }
        self.furthest = progress.map_or(self.furthest, |progress| progress.max(self.furthest));
        let params = params.replace(&[("progressToken", &token.theirs)]);
        Some(ExchangeItem::Notification(Notification::new(told.method, Some(params))))
    }

    fn answered(&mut self, outcome: Outcome) -> Option<ExchangeItem> {
        if let Some(gone) = self.unspoken(&outcome) {
            return Some(gone);
        }
        let code = error_code(&outcome);
        // "The client SHOULD call `tools/list` to check for changes […], then retry the original request."
        let mirrored = self.modern.over_http && self.method == method::TOOLS_CALL;
        if code == i64::from(code::HEADER_MISMATCH) && mirrored && !self.refreshed {
            self.refreshed = true;
            self.stage = self.list_tools(None, 0);
            return None;
        }
        match outcome {
            Outcome::Result(result) if self.modern.adapted => self.resolve(result),
            Outcome::Result(result) => Some(self.complete(result)),
            error @ Outcome::Error(_) => Some(self.end(ExchangeItem::Response(error))),
        }
    }

    /// The server does not speak this version any more: nothing was processed, and what it speaks is found out again.
    pub(super) fn unspoken(&mut self, outcome: &Outcome) -> Option<ExchangeItem> {
        if error_code(outcome) != i64::from(code::UNSUPPORTED_PROTOCOL_VERSION) {
            return None;
        }
        self.port.state.end(Ending::Forgotten);
        let gone = BackendError::SessionGone { backend: self.port.config.name.clone() };
        Some(self.end(ExchangeItem::Failed(gone)))
    }

    /// A result goes to the client. From every list of tools it is learnt how they are called.
    pub(super) fn complete(&mut self, result: RawJson) -> ExchangeItem {
        let result = if self.method == method::TOOLS_LIST && self.modern.over_http {
            self.modern.shared.tools.learn(&self.port.config.name, &result).unwrap_or(result)
        } else {
            result
        };
        self.end(ExchangeItem::Response(Outcome::Result(result)))
    }

    fn list_tools(&self, cursor: Option<&str>, pages: u32) -> Stage {
        let params = cursor.map(|cursor| RawJson::object(&[("cursor", &RawJson::string(cursor))]));
        self.send(method::TOOLS_LIST, params.as_ref())
            .map_or_else(|error| say_error(&error), |wire| Stage::Refresh { wire, pages })
    }

    /// Whatever the list brought, the request is sent once more: it has not been processed.
    fn refresh(&mut self, item: ExchangeItem, pages: u32) {
        let cursor = match item {
            ExchangeItem::Notification(_) | ExchangeItem::Request(_) | ExchangeItem::LargeResult => return,
            ExchangeItem::Response(Outcome::Result(list)) => {
                self.modern.shared.tools.learn(&self.port.config.name, &list);
                ListPage::read(ListKind::Tools, &list).ok().and_then(|page| page.next_cursor)
            }
            ExchangeItem::Response(Outcome::Error(_)) | ExchangeItem::Failed(_) => None,
        };
        self.stage = match cursor.filter(|_| pages < PAGES_MAX) {
            Some(cursor) => self.list_tools(Some(&cursor), pages + 1),
            None => self.call(),
        };
    }

    pub(super) fn pause(&mut self, pause: Duration) {
        self.stage = Stage::Pause { until: Instant::now() + pause };
    }

    pub(super) fn end(&mut self, item: ExchangeItem) -> ExchangeItem {
        self.stage = Stage::Over;
        match item {
            ExchangeItem::Failed(error) if self.begun && error.was_not_processed() => {
                ExchangeItem::Failed(self.lost(&error))
            }
            item => item,
        }
    }

    /// Not processed is only the last of several requests. Who took that for the whole call would begin it a second time.
    fn lost(&self, error: &BackendError) -> BackendError {
        self.port.note_failure(error);
        BackendError::Lost {
            backend: self.port.config.name.clone(),
            reason: format!("the call had begun when the way to its answer was cut off: {error}"),
        }
    }
}

fn error_code(outcome: &Outcome) -> i64 {
    match outcome {
        Outcome::Error(error) => quote_error(error).0,
        Outcome::Result(_) => 0,
    }
}

pub(super) fn say_error(error: &ErrorObject) -> Stage {
    Stage::Say(ExchangeItem::Response(Outcome::Error(error.to_raw())))
}

impl Drop for ModernFlow {
    fn drop(&mut self) {
        self.cancel_task();
    }
}

impl fmt::Debug for ModernFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match self.stage {
            Stage::Call(_) => "call",
            Stage::Refresh { .. } => "refresh",
            Stage::Ask { .. } => "ask",
            Stage::Pause { .. } => "pause",
            Stage::Poll(_) => "poll",
            Stage::Update(_) => "update",
            Stage::Work(_) => "work",
            Stage::Say(_) => "say",
            Stage::Over => "over",
        };
        f.debug_struct("ModernFlow").field("method", &self.method).field("stage", &stage).finish_non_exhaustive()
    }
}
