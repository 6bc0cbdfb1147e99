//! The stateless era, client side (MCP 2026-07-28): every request carries who asks and what it can do, on HTTP also in
//! headers; there is no session, and what a server wants to know comes as a result.
//!
//! A client of the same era gets results as they are. For a client of the session era the link is an adapter: the session
//! looks like one of its own era.

mod adapter;
mod answers;
mod flow;
mod metadata;
mod subscriptions;
mod task;
mod tools;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hawser_mcp::{
    ErrorObject, LOG_LEVELS, Members, RawJson, RequestMeta, Response, Revision, Stamp, code, meta_key, stamp_request,
    with_input_responses,
};
use http::HeaderMap;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use answers::Answers;
pub(crate) use flow::ModernFlow;
use subscriptions::Subscriptions;
use tools::Tools;
pub(crate) use wire::{Port, cancelled};

use crate::capabilities;
use crate::hello::ClientHello;

/// Most `tasks/cancel` that are on their way at a time.
const CANCELLING_MAX: usize = 64;

/// What all sessions with one backend share.
#[derive(Debug)]
pub(crate) struct Shared {
    tools: Tools,
    /// "Progress tokens MUST be unique across all active requests", and several clients share a backend.
    tokens: AtomicU64,
    cancelling: Arc<Semaphore>,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            tools: Tools::default(),
            tokens: AtomicU64::new(1),
            cancelling: Arc::new(Semaphore::new(CANCELLING_MAX)),
        }
    }
}

/// What one session says of its client with every request.
#[derive(Debug)]
pub(crate) struct Modern {
    revision: Revision,
    client_info: RawJson,
    capabilities: RawJson,
    /// The client is of the session era.
    adapted: bool,
    /// Whether requests have headers.
    over_http: bool,
    /// What an adapted client set for its session.
    level: Mutex<Option<String>>,
    answers: Arc<Answers>,
    subscriptions: Subscriptions,
    shared: Arc<Shared>,
}

/// A request as it goes out.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) params: RawJson,
    pub(crate) headers: HeaderMap,
}

/// A client's progress token, and the one that stands for it.
#[derive(Clone, Debug)]
pub(crate) struct ProgressToken {
    ours: RawJson,
    theirs: RawJson,
}

impl Modern {
    pub(crate) fn new(
        client: &ClientHello,
        revision: Revision,
        server_capabilities: &RawJson,
        over_http: bool,
        shared: Arc<Shared>,
    ) -> Self {
        let adapted = client.revision.is_legacy();
        let capabilities =
            if adapted { capabilities::for_adapted(&client.capabilities) } else { client.capabilities.clone() };
        Self {
            revision,
            client_info: client.client_info.clone(),
            capabilities,
            adapted,
            over_http,
            level: Mutex::default(),
            answers: Arc::default(),
            subscriptions: Subscriptions::new(server_capabilities),
            shared,
        }
    }

    /// The client answers what it was asked.
    pub(crate) fn deliver(&self, response: Response) {
        self.answers.deliver(response);
    }

    /// From now on what the server tells of its lists is wanted.
    pub(crate) fn listen(self: &Arc<Self>, port: &Port) {
        self.subscriptions.listen();
        subscriptions::start(port, self);
    }

    /// Whether the server has told of all changes of its lists since then.
    pub(crate) fn has_heard_since(&self, since: Instant) -> bool {
        self.subscriptions.has_heard_since(since)
    }

    /// Whether the server tells of such changes of its lists, once it has said.
    pub(crate) async fn hears(&self, method: &str) -> bool {
        self.subscriptions.hears(method).await
    }

    /// A request ready to be sent; the error answers one that cannot be.
    pub(crate) fn prepare(
        &self,
        method: &str,
        params: Option<&RawJson>,
        token: Option<&ProgressToken>,
        passed: &HeaderMap,
    ) -> Result<Prepared, ErrorObject> {
        let invalid = |error: String| ErrorObject::new(code::INVALID_PARAMS, error);
        let level = if self.adapted {
            self.level.lock().unwrap_or_else(PoisonError::into_inner).clone()
        } else {
            RequestMeta::read(params).map_err(|error| invalid(error.to_string()))?.log_level
        };
        let stamp = Stamp {
            revision: self.revision,
            client_info: &self.client_info,
            client_capabilities: &self.capabilities,
            log_level: level.as_deref(),
            progress_token: token.map(|token| &token.ours),
        };
        let params =
            stamp_request(params, &stamp).map_err(|error| invalid(format!("the params are ambiguous: {error}")))?;
        let headers = if self.over_http {
            metadata::headers(self.revision, method, &params, &self.shared.tools, passed)?
        } else {
            HeaderMap::new()
        };
        Ok(Prepared { params, headers })
    }

    /// A token of our own for a request that wants to be told of its progress.
    fn token_for(&self, params: Option<&RawJson>) -> Option<ProgressToken> {
        // Whatever else is wrong with `_meta`: no token of a client's may meet another's.
        let meta = Members::read(params?, &[]).ok()?.get("_meta")?;
        let theirs = Members::read(&meta, &[]).ok()?.get(meta_key::PROGRESS_TOKEN)?;
        let ours = RawJson::number(self.shared.tokens.fetch_add(1, Ordering::Relaxed));
        Some(ProgressToken { ours, theirs })
    }

    /// What a client sends, without what only a retry of ours may say.
    fn first(&self, params: Option<RawJson>) -> Option<RawJson> {
        match params {
            Some(params) if self.adapted => Some(with_input_responses(&params, &[], None).unwrap_or(params)),
            params => params,
        }
    }

    /// `logging/setLevel` of an adapted client: the level goes with each of its requests from now on.
    fn set_level(&self, params: Option<&RawJson>) -> Result<RawJson, ErrorObject> {
        let level = params.and_then(|params| Members::read(params, &["level"]).ok()?.string("level"));
        let level = level.filter(|level| LOG_LEVELS.contains(&level.as_str()));
        let level = level.ok_or_else(|| {
            ErrorObject::new(code::INVALID_PARAMS, "`level` must be one of the levels from \"debug\" to \"emergency\"")
        })?;
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = Some(level);
        Ok(RawJson::empty_object())
    }
}
