//! What becomes of a line.
//!
//! Requests run side by side. Everything else, and `initialize`, is passed on before the next line is read, so that it arrives
//! in the order in which the client wrote it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hawser_mcp::{
    Body as Frames, ErrorObject, Limits, Members, Message, Notification, Outcome, RawJson, Request as RpcRequest,
    RequestId, Response as RpcResponse, client_notification, code, method, notification, parse_body,
};
use http::{HeaderMap, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::answer::{Answer, response_to};
use super::flights::{Flight, Flights, NotBegun};
use super::head::{self, SESSION_ID, Session};
use super::lines::Output;
use super::listen::listen;
use super::tools::Tools;
use crate::config::Settings;
use crate::serve::LocalGateway;

/// Batches (2025-03-26) at a time.
const BATCHES_MAX: usize = 16;
/// Most pages of `tools/list` that are read to find out which arguments are mirrored into headers.
const PAGES_MAX: usize = 64;
/// How long the end of what was dropped may take.
const DROP_TIME_MAX: Duration = Duration::from_secs(1);

/// Lines to requests, answers to lines.
pub(super) struct Pump {
    gateway: LocalGateway,
    output: Output,
    limits: Limits,
    /// Of the session era, once there is one.
    session: Mutex<Option<Session>>,
    flights: Flights,
    batches: Arc<Semaphore>,
    tools: Tools,
    listening: AtomicBool,
    /// Calls that are worth waiting for at the end, and streams that never end by themselves.
    calls: TaskTracker,
    streams: TaskTracker,
    over: CancellationToken,
}

impl Pump {
    pub(super) fn new(gateway: LocalGateway, output: Output, settings: &Settings) -> Arc<Self> {
        Arc::new(Self {
            gateway,
            output,
            limits: Limits { depth: settings.limits.depth, ..Limits::default() },
            session: Mutex::default(),
            flights: Flights::default(),
            batches: Arc::new(Semaphore::new(BATCHES_MAX)),
            tools: Tools::default(),
            listening: AtomicBool::new(false),
            calls: TaskTracker::new(),
            streams: TaskTracker::new(),
            over: CancellationToken::new(),
        })
    }

    /// Takes a line.
    pub(super) async fn line(self: &Arc<Self>, line: Bytes) {
        match parse_body(&line, &self.limits) {
            Ok(Frames::Single(Message::Request(request))) => self.request(request, line).await,
            Ok(Frames::Single(Message::Notification(told))) => self.notification(&told, line).await,
            Ok(Frames::Single(Message::Response(_))) => self.tell(line).await,
            Ok(Frames::Batch(_)) => self.batch(line).await,
            Err(error) => self.refuse(None, &error.to_error()).await,
        }
    }

    /// A line was no message.
    pub(super) async fn unreadable(&self, reason: &str) {
        self.refuse(None, &ErrorObject::new(code::INVALID_REQUEST, reason)).await;
    }

    /// Lets calls finish for this long, then drops them.
    pub(super) async fn finish(&self, patience: Duration) {
        self.calls.close();
        self.streams.close();
        let _ = timeout(patience, self.calls.wait()).await;
        self.over.cancel();
        let _ = timeout(DROP_TIME_MAX, async { tokio::join!(self.calls.wait(), self.streams.wait()) }).await;
    }

    async fn request(self: &Arc<Self>, request: RpcRequest, line: Bytes) {
        let revision = head::modern_revision(&request);
        if revision.is_none() && request.method == method::INITIALIZE {
            return self.initialize(&request, line).await;
        }
        let flight = match self.flights.begin(&request.id, revision.is_some()) {
            Ok(flight) => flight,
            Err(NotBegun::IdInUse) => {
                let error = ErrorObject::new(code::INVALID_REQUEST, "a request with this id is still in flight");
                return self.refuse(Some(request.id), &error).await;
            }
            Err(NotBegun::TooMany) => {
                let error = ErrorObject::new(code::INTERNAL_ERROR, "too many requests are in flight");
                return self.refuse(Some(request.id), &error).await;
            }
        };
        let tasks = if request.method == method::SUBSCRIPTIONS_LISTEN { &self.streams } else { &self.calls };
        let pump = Arc::clone(self);
        self.begin(tasks, async move {
            tokio::select! {
                () = flight.dropped() => {}
                () = pump.over.cancelled() => {}
                () = async {
                    match &revision {
                        Some(revision) => pump.modern(revision, &request, line, &flight).await,
                        None => pump.legacy(&request, line, &flight).await,
                    }
                } => {}
            }
        })
        .await;
    }

    /// Begins work before the next line is read, so that a cancellation finds what it cancels, and goes on beside.
    async fn begin(&self, tasks: &TaskTracker, work: impl Future<Output = ()> + Send + 'static) {
        let mut work: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(work);
        let begun = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
        if begun.is_pending() {
            tasks.spawn(work);
        }
    }

    async fn initialize(&self, request: &RpcRequest, line: Bytes) {
        let response = self.gateway.handle(self.post(head::legacy(self.session().as_ref()), line)).await;
        let id = response.headers().get(SESSION_ID).cloned();
        let answer = Answer::read(response).await;
        self.deliver(answer, &request.id, None, |result| {
            let named = Members::read(result, &[]).ok().and_then(|members| members.string("protocolVersion"));
            let revision = named.and_then(|name| HeaderValue::try_from(name).ok());
            if let Some(id) = id {
                *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(Session { id, revision });
            }
        })
        .await;
    }

    async fn legacy(&self, request: &RpcRequest, line: Bytes, flight: &Flight) {
        let answer = self.ask(head::legacy(self.session().as_ref()), line).await;
        self.deliver(answer, &request.id, Some(flight), |_| {}).await;
    }

    async fn modern(&self, revision: &str, request: &RpcRequest, line: Bytes, flight: &Flight) {
        let headers = head::modern(revision, request, &self.tools);
        let mut answer = self.ask(headers.clone(), line.clone()).await;
        if request.method == method::TOOLS_CALL && is_header_mismatch(&answer, &request.id) {
            // Nothing was processed; the tool's definition was not known here, or it has changed.
            self.learn_tools(revision, request).await;
            let known = head::modern(revision, request, &self.tools);
            if known != headers {
                answer = self.ask(known, line).await;
            }
        }
        self.deliver(answer, &request.id, Some(flight), |result| {
            if request.method == method::TOOLS_LIST {
                self.tools.learn(result);
            }
        })
        .await;
    }

    /// Asks for the tools on behalf of a request, as the client that made it.
    async fn learn_tools(&self, revision: &str, on_behalf_of: &RpcRequest) {
        let params = on_behalf_of.params.as_ref().and_then(|params| Members::read(params, &[]).ok());
        let Some(meta) = params.and_then(|params| params.get("_meta")) else { return };
        let id = RequestId::string("hawser-tools");
        let mut cursor: Option<RawJson> = None;
        for _ in 0..PAGES_MAX {
            let mut members = vec![("_meta", &meta)];
            members.extend(cursor.as_ref().map(|cursor| ("cursor", cursor)));
            let params = Some(RawJson::object(&members));
            let request = RpcRequest { id: id.clone(), method: method::TOOLS_LIST.to_owned(), params };
            let answer = self.ask(head::modern(revision, &request, &self.tools), request.to_bytes()).await;
            let Some(result) = answer.result(&id).await else { return };
            self.tools.learn(&result);
            cursor = Members::read(&result, &[]).ok().and_then(|members| members.get("nextCursor"));
            if cursor.is_none() {
                return;
            }
        }
    }

    async fn notification(self: &Arc<Self>, told: &Notification, line: Bytes) {
        if told.method == notification::CANCELLED
            && let Some(id) = cancelled(told)
            && self.flights.cancel(&id)
        {
            return;
        }
        self.tell(line).await;
        if told.method == client_notification::INITIALIZED
            && let Some(session) = self.session()
            && !self.listening.swap(true, Ordering::Relaxed)
        {
            let (gateway, output, over) = (self.gateway.clone(), self.output.clone(), self.over.clone());
            self.streams.spawn(async move {
                tokio::select! {
                    () = listen(gateway, output, session) => {}
                    () = over.cancelled() => {}
                }
            });
        }
    }

    /// Passes on a notification or a response, which nobody answers.
    async fn tell(&self, line: Bytes) {
        let Some(session) = self.session() else {
            debug!("a message outside of any session is dropped");
            return;
        };
        if let Answer::Whole(status, _) = self.ask(head::legacy(Some(&session)), line).await
            && !status.is_success()
        {
            debug!(status = status.as_u16(), "the gateway did not take a message");
        }
    }

    /// Passes on a batch; the responses leave as they come.
    async fn batch(self: &Arc<Self>, line: Bytes) {
        let Ok(place) = Arc::clone(&self.batches).try_acquire_owned() else {
            return self.refuse(None, &ErrorObject::new(code::INTERNAL_ERROR, "too many batches are in flight")).await;
        };
        let pump = Arc::clone(self);
        self.begin(&self.calls, async move {
            let _place: OwnedSemaphorePermit = place;
            let passing = async {
                match pump.ask(head::legacy(pump.session().as_ref()), line).await {
                    Answer::Whole(_, body) if body.is_empty() => {}
                    Answer::Whole(_, body) => pump.output.message(&body).await,
                    Answer::Stream(mut stream) => {
                        while let Some(message) = stream.next().await {
                            pump.output.message(&message).await;
                        }
                    }
                }
            };
            tokio::select! {
                () = passing => {}
                () = pump.over.cancelled() => {}
            }
        })
        .await;
    }

    fn post(&self, headers: HeaderMap, body: Bytes) -> http::Request<http_body_util::Full<Bytes>> {
        head::post(self.gateway.path(), headers, body)
    }

    async fn ask(&self, headers: HeaderMap, body: Bytes) -> Answer {
        Answer::read(self.gateway.handle(self.post(headers, body)).await).await
    }

    /// Writes all that belongs to a request, its response last, or an error in its place. `heard` learns of the result before
    /// the client does.
    async fn deliver(&self, answer: Answer, id: &RequestId, flight: Option<&Flight>, heard: impl FnOnce(&RawJson)) {
        if let Some(RpcResponse { outcome, .. }) = answer.whole_response(id) {
            if let Outcome::Result(result) = &outcome {
                heard(result);
            }
            // A refusal at the gateway's door may name no id; on a pipe nothing else says what it refuses.
            let response = RpcResponse { id: Some(id.clone()), outcome };
            return self.output.message(&response.to_bytes()).await;
        }
        let reason = match answer {
            Answer::Whole(status, _) => format!("the gateway refused the request with HTTP status {}", status.as_u16()),
            Answer::Stream(mut stream) => {
                while let Some(message) = stream.next().await {
                    if let Some(response) = response_to(&message, id) {
                        if let Outcome::Result(result) = &response.outcome {
                            heard(result);
                        }
                        return self.output.message(&message).await;
                    }
                    self.output.message(&message).await;
                }
                "the gateway ended the request without an answer".to_owned()
            }
        };
        // Who cancelled a request expects no answer (MCP, Utilities, Cancellation).
        if flight.is_none_or(Flight::is_wanted) {
            self.refuse(Some(id.clone()), &ErrorObject::new(code::INTERNAL_ERROR, reason)).await;
        }
    }

    async fn refuse(&self, id: Option<RequestId>, error: &ErrorObject) {
        self.output.message(&RpcResponse::error(id, error).to_bytes()).await;
    }

    fn session(&self) -> Option<Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The request that a client wants no answer to any more.
fn cancelled(told: &Notification) -> Option<RequestId> {
    RequestId::from_raw(Members::read(told.params.as_ref()?, &[]).ok()?.get("requestId")?)
}

fn is_header_mismatch(answer: &Answer, id: &RequestId) -> bool {
    let Some(RpcResponse { outcome: Outcome::Error(error), .. }) = answer.whole_response(id) else { return false };
    let code = Members::read(&error, &[]).ok().and_then(|members| members.get("code")?.read::<i32>().ok());
    code == Some(code::HEADER_MISMATCH)
}
