//! Tests of how long a session waits, over a pipe without a child and with the clock stopped.
#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{Message, RawJson, RequestId, Response, Revision};
use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::link::StdioLink;
use super::reader;
use super::writer::Line;
use crate::config::{BackendConfig, Transport};
use crate::error::BackendError;
use crate::exchange::{Exchange, ExchangeItem};
use crate::hello::{ClientHello, initialize};
use crate::known::Known;
use crate::link::Link;
use crate::name::BackendName;
use crate::queue::queue;
use crate::session::SessionCore;
use crate::state::SessionState;
use crate::unsolicited::Unsolicited;

const IDLE: Duration = Duration::from_mins(1);
const WHOLE: Duration = Duration::from_mins(30);

/// One session, and the server's end of the pipe.
struct Pipe {
    core: Arc<SessionCore>,
    unsolicited: Unsolicited,
    server: DuplexStream,
    /// What is written to the server; kept so that writing succeeds.
    _lines: mpsc::Receiver<Line>,
    _reader: JoinSet<Result<(), String>>,
}

impl Pipe {
    fn new() -> Self {
        let transport = Transport::Stdio { command: vec!["x".to_owned()], env: Vec::new(), cwd: None };
        let mut config = BackendConfig::new(BackendName::new("x").unwrap(), transport);
        (config.request_timeout, config.request_timeout_max) = (IDLE, WHOLE);
        let config = Arc::new(config);
        let (sender, receiver) = queue(100, 1_000_000);
        let state = Arc::new(SessionState::new(config.name.clone(), sender));
        let unsolicited = Unsolicited::new(receiver, Arc::clone(&state));
        let (link, lines) = StdioLink::new(Arc::clone(&config), Arc::clone(&state));
        let (server, stdout) = duplex(64 * 1024);
        let mut reader = JoinSet::new();
        reader.spawn(reader::read(Arc::clone(&link), stdout));
        let core = Arc::new(SessionCore::new(config, Link::Stdio(link), state, Arc::new(Known::nothing())));
        Self { core, unsolicited, server, _lines: lines, _reader: reader }
    }

    async fn begin(&self) -> Exchange {
        self.begin_with(None).await
    }

    async fn begin_with(&self, params: Option<&str>) -> Exchange {
        let params = params.map(|params| RawJson::parse(&params.to_owned().into()).unwrap());
        self.core.begin("tools/call", params).await.unwrap()
    }

    async fn says(&mut self, message: Value) {
        self.server.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }

    /// The server asks while several exchanges are in flight.
    async fn asks(&mut self, id: &str) -> RequestId {
        self.says(json!({"jsonrpc": "2.0", "id": id, "method": "elicitation/create"})).await;
        match self.unsolicited.next().await {
            Some(Message::Request(request)) => request.id,
            other => panic!("{other:?}"),
        }
    }
}

/// How long it takes from now until an exchange gives up, and which limit that was.
async fn gives_up_after(exchange: &mut Exchange) -> (Duration, Duration) {
    let started = Instant::now();
    match exchange.next().await {
        ExchangeItem::Failed(BackendError::TimedOut { after, .. }) => (started.elapsed(), after),
        other => panic!("{other:?}"),
    }
}

/// Whether the measured time is this one; timers have a resolution of a millisecond.
fn about((took, limit): (Duration, Duration), expected: Duration, expected_limit: Duration) {
    assert!(took >= expected && took < expected + Duration::from_secs(1), "{took:?} instead of {expected:?}");
    assert_eq!(limit, expected_limit);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_this_and_that_cannot_hold_up_the_handshake() {
    let mut pipe = Pipe::new();
    let whole = pipe.core.config.connect_timeout + IDLE;
    let core = Arc::clone(&pipe.core);
    let client = ClientHello {
        revision: Revision::LATEST,
        capabilities: RawJson::empty_object(),
        client_info: RawJson::empty_object(),
    };
    let trickle = async {
        loop {
            pipe.says(json!({"jsonrpc": "2.0", "method": "notifications/message"})).await;
            tokio::time::sleep(IDLE / 4).await;
        }
    };
    let started = Instant::now();
    let opened = tokio::select! {
        opened = initialize(&core, &client) => opened,
        () = trickle => panic!("it trickles for ever"),
    };
    let Err(BackendError::TimedOut { after, .. }) = opened else { panic!("{opened:?}") };
    about((started.elapsed(), after), whole, whole);
}

#[tokio::test(start_paused = true)]
async fn what_comes_without_end_does_not_outlast_the_hard_limit_but_an_answer_that_is_there_is_given() {
    let mut pipe = Pipe::new();
    let mut told = pipe.begin_with(Some(r#"{"_meta":{"progressToken":7}}"#)).await;
    let mut answered = pipe.begin().await;
    let params = json!({"progressToken": 7, "progress": 1});
    pipe.says(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params})).await;
    pipe.says(json!({"jsonrpc": "2.0", "id": 2, "result": {}})).await;
    tokio::time::sleep(WHOLE + Duration::from_secs(1)).await;
    let ended = told.next().await;
    assert!(matches!(ended, ExchangeItem::Failed(BackendError::TimedOut { after: WHOLE, .. })), "{ended:?}");
    assert!(matches!(answered.next().await, ExchangeItem::Response(_)));
}

#[tokio::test(start_paused = true)]
async fn a_question_that_belongs_to_no_exchange_lets_all_that_run_wait_until_it_is_answered() {
    let mut pipe = Pipe::new();
    let (mut one, mut other) = (pipe.begin().await, pipe.begin().await);
    let question = pipe.asks("q").await;
    let both = async { tokio::join!(one.next(), other.next()) };
    assert!(timeout(IDLE * 5, both).await.is_err(), "the person is thinking");
    pipe.core.state.answered(&question);
    let (one, other) = tokio::join!(gives_up_after(&mut one), gives_up_after(&mut other));
    about(one, IDLE, IDLE);
    about(other, IDLE, IDLE);
}

#[tokio::test(start_paused = true)]
async fn an_answer_just_before_the_deadline_gives_the_server_its_whole_time() {
    let mut pipe = Pipe::new();
    let (mut exchange, _other) = (pipe.begin().await, pipe.begin().await);
    let question = pipe.asks("q").await;
    let nearly = IDLE.checked_sub(Duration::from_secs(1)).unwrap();
    assert!(timeout(nearly, exchange.next()).await.is_err());
    pipe.core.state.answered(&question);
    about(gives_up_after(&mut exchange).await, IDLE, IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_question_never_answered_ends_at_the_hard_limit_and_excuses_no_later_exchange() {
    let mut pipe = Pipe::new();
    let (mut exchange, _other) = (pipe.begin().await, pipe.begin().await);
    pipe.asks("q").await;
    tokio::time::advance(Duration::from_secs(1)).await;
    let mut later = pipe.begin().await;
    about(gives_up_after(&mut later).await, IDLE, IDLE);
    let left = WHOLE.checked_sub(IDLE + Duration::from_secs(1)).unwrap();
    about(gives_up_after(&mut exchange).await, left, WHOLE);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_the_server_withdraws_excuses_no_more() {
    let mut pipe = Pipe::new();
    let (mut exchange, _other) = (pipe.begin().await, pipe.begin().await);
    pipe.asks("q").await;
    assert!(timeout(IDLE * 2, exchange.next()).await.is_err());
    pipe.says(json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q"}})).await;
    assert!(matches!(pipe.unsolicited.next().await, Some(Message::Notification(_))), "it is passed on, too");
    about(gives_up_after(&mut exchange).await, IDLE, IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_nobody_hears_excuses_nothing() {
    let mut pipe = Pipe::new();
    let (mut exchange, _other) = (pipe.begin().await, pipe.begin().await);
    for id in ["read", "queued"] {
        pipe.says(json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"})).await;
    }
    let Some(Message::Request(read)) = pipe.unsolicited.next().await else { panic!("nothing is asked") };
    pipe.core.state.answered(&read.id);
    let (_, nobody) = queue(1, 1);
    pipe.unsolicited = Unsolicited::new(nobody, Arc::clone(&pipe.core.state));
    pipe.says(json!({"jsonrpc": "2.0", "id": "unheard", "method": "roots/list"})).await;
    about(gives_up_after(&mut exchange).await, IDLE, IDLE);
}

#[tokio::test(start_paused = true)]
async fn a_question_with_an_exchange_excuses_that_one_alone() {
    let mut pipe = Pipe::new();
    let mut asking = pipe.begin().await;
    pipe.says(json!({"jsonrpc": "2.0", "id": "q", "method": "sampling/createMessage"})).await;
    let ExchangeItem::Request(question) = asking.next().await else { panic!("nothing is asked") };
    let mut other = pipe.begin().await;
    about(gives_up_after(&mut other).await, IDLE, IDLE);
    assert!(timeout(IDLE * 3, asking.next()).await.is_err());
    let answer = Message::Response(Response::result(question.id.clone(), RawJson::empty_object()));
    pipe.core.state.answered(&question.id);
    pipe.core.link.send(&answer).await.unwrap();
    about(gives_up_after(&mut asking).await, IDLE, IDLE);
}
