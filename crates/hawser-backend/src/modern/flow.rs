//! One exchange with a modern server: as many requests as it takes.

use std::sync::Arc;

use hawser_mcp::{
    ErrorObject, ListKind, ListPage, Members, Notification, Outcome, RawJson, code, method, notification,
};
use http::HeaderMap;

use super::wire::Wire;
use super::{Modern, ProgressToken};
use crate::error::BackendError;
use crate::exchange::ExchangeItem;
use crate::hello::quote_error;
use crate::session::SessionCore;
use crate::state::Ending;

/// Most pages of `tools/list` that are read to learn how a tool's arguments are mirrored.
const PAGES_MAX: u32 = 64;

/// One exchange with a modern server. Dropping it before its end cancels it.
#[derive(Debug)]
pub(crate) struct ModernFlow {
    core: Arc<SessionCore>,
    modern: Arc<Modern>,
    method: String,
    params: Option<RawJson>,
    passed: HeaderMap,
    progress: Option<ProgressToken>,
    stage: Stage,
    /// The tools were listed again because of this exchange.
    refreshed: bool,
}

#[derive(Debug)]
enum Stage {
    /// The request itself, or a retry of it.
    Call(Wire),
    /// `tools/list`, since the server did not find the headers right.
    Refresh {
        wire: Wire,
        pages: u32,
    },
    /// What is to be said without asking anybody.
    Say(ExchangeItem),
    Over,
}

impl ModernFlow {
    pub(crate) fn new(
        core: &Arc<SessionCore>,
        modern: &Arc<Modern>,
        method: &str,
        params: Option<RawJson>,
        passed: &HeaderMap,
    ) -> Self {
        let params = modern.first(params);
        let mut flow = Self {
            core: Arc::clone(core),
            modern: Arc::clone(modern),
            method: method.to_owned(),
            progress: modern.token_for(params.as_ref()),
            params,
            passed: passed.clone(),
            stage: Stage::Over,
            refreshed: false,
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
                self.refresh(item, pages)
            }
            Stage::Say(_) => match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Say(item) => Some(item),
                _ => None,
            },
            Stage::Over => Some(ExchangeItem::Failed(BackendError::Closed { backend: self.core.config.name.clone() })),
        }
    }

    /// Cancels it, with a reason for the server.
    pub(crate) fn cancel(mut self, reason: Option<&str>) {
        if let Stage::Call(wire) | Stage::Refresh { wire, .. } = &mut self.stage {
            wire.give_reason(reason);
        }
    }

    /// What a session of the older era has and a stateless server has not.
    fn answer_here(&self) -> Option<Stage> {
        if !self.modern.adapted {
            return None;
        }
        let answer = match self.method.as_str() {
            method::PING => Ok(RawJson::empty_object()),
            method::LOGGING_SET_LEVEL => self.modern.set_level(self.params.as_ref()),
            _ => return None,
        };
        Some(Stage::Say(ExchangeItem::Response(
            answer.map_or_else(|error| Outcome::Error(error.to_raw()), Outcome::Result),
        )))
    }

    /// Sends the request as it is now, under a fresh id.
    fn call(&self) -> Stage {
        match self.modern.prepare(&self.method, self.params.as_ref(), self.progress.as_ref(), &self.passed) {
            Ok(prepared) => Stage::Call(Wire::new(&self.core, &self.method, prepared)),
            Err(error) => say_error(&error),
        }
    }

    fn heard(&mut self, item: ExchangeItem) -> Option<ExchangeItem> {
        match item {
            ExchangeItem::Notification(told) => self.told(told),
            // No modern server asks this way.
            ExchangeItem::Request(_) => None,
            ExchangeItem::Response(outcome) => self.answered(outcome),
            ExchangeItem::Failed(error) => Some(self.end(ExchangeItem::Failed(error))),
        }
    }

    /// Progress is told under the token that the client chose.
    fn told(&self, told: Notification) -> Option<ExchangeItem> {
        if told.method != notification::PROGRESS {
            return Some(ExchangeItem::Notification(told));
        }
        let token = self.progress.as_ref()?;
        let params = told.params.as_ref().and_then(|params| Members::read(params, &["progressToken"]).ok())?;
        if params.get("progressToken").as_ref() != Some(&token.ours) {
            return None;
        }
        let params = params.replace(&[("progressToken", &token.theirs)]);
        Some(ExchangeItem::Notification(Notification::new(told.method, Some(params))))
    }

    fn answered(&mut self, outcome: Outcome) -> Option<ExchangeItem> {
        let code = match &outcome {
            Outcome::Error(error) => quote_error(error).0,
            Outcome::Result(_) => 0,
        };
        if code == i64::from(code::UNSUPPORTED_PROTOCOL_VERSION) {
            // The server has changed: nothing was processed, and what it speaks is found out again.
            self.core.state.end(Ending::Forgotten);
            let gone = BackendError::SessionGone { backend: self.core.config.name.clone() };
            return Some(self.end(ExchangeItem::Failed(gone)));
        }
        // "The client SHOULD call `tools/list` to check for changes […], then retry the original request."
        let mirrored = self.modern.over_http && self.method == method::TOOLS_CALL;
        if code == i64::from(code::HEADER_MISMATCH) && mirrored && !self.refreshed {
            self.refreshed = true;
            self.stage = self.list_tools(None, 0);
            return None;
        }
        let outcome = match outcome {
            Outcome::Result(result) => Outcome::Result(self.learn(result)),
            error @ Outcome::Error(_) => error,
        };
        Some(self.end(ExchangeItem::Response(outcome)))
    }

    /// Learns how tools are called from every list of them, and leaves out those that cannot be called.
    fn learn(&self, result: RawJson) -> RawJson {
        if self.method != method::TOOLS_LIST || !self.modern.over_http {
            return result;
        }
        self.modern.shared.tools.learn(&self.core.config.name, &result).unwrap_or(result)
    }

    fn list_tools(&self, cursor: Option<&str>, pages: u32) -> Stage {
        let params = cursor.map(|cursor| RawJson::object(&[("cursor", &RawJson::string(cursor))]));
        match self.modern.prepare(method::TOOLS_LIST, params.as_ref(), None, &HeaderMap::new()) {
            Ok(prepared) => Stage::Refresh { wire: Wire::new(&self.core, method::TOOLS_LIST, prepared), pages },
            Err(error) => say_error(&error),
        }
    }

    /// Whatever the list brought, the request is sent once more: it has not been processed.
    fn refresh(&mut self, item: ExchangeItem, pages: u32) -> Option<ExchangeItem> {
        let cursor = match item {
            ExchangeItem::Notification(_) | ExchangeItem::Request(_) => return None,
            ExchangeItem::Response(Outcome::Result(list)) => {
                self.modern.shared.tools.learn(&self.core.config.name, &list);
                ListPage::read(ListKind::Tools, &list).ok().and_then(|page| page.next_cursor)
            }
            ExchangeItem::Response(Outcome::Error(_)) | ExchangeItem::Failed(_) => None,
        };
        self.stage = match cursor.filter(|_| pages < PAGES_MAX) {
            Some(cursor) => self.list_tools(Some(&cursor), pages + 1),
            None => self.call(),
        };
        None
    }

    fn end(&mut self, item: ExchangeItem) -> ExchangeItem {
        self.stage = Stage::Over;
        item
    }
}

fn say_error(error: &ErrorObject) -> Stage {
    Stage::Say(ExchangeItem::Response(Outcome::Error(error.to_raw())))
}
