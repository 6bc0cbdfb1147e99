//! A modern server behind a session of the older era: what it wants to know is asked, and what takes long is waited for.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::response::Response as HttpResponse;
use hawser_backend::{Backend, BackendError, BackendSession, ChildLimit, Exchange, ExchangeItem, Unsolicited};
use hawser_mcp::{ErrorObject, Outcome, Request, Response, Revision};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::modern_server::{backend, complete, error, meta, modern, response};
use crate::scripted::{Call, Scripted, all, failure, hello, json_answer, outcome, raw, sse};

/// A session for a client of the older era that can answer two kinds of questions.
async fn adapted(server: &Scripted) -> (BackendSession, Unsolicited) {
    let mut client = hello(Revision::LATEST);
    client.capabilities = raw(r#"{"elicitation":{},"roots":{"listChanged":true},"tasks":{}}"#);
    backend(server).open(&client).await.unwrap()
}

async fn call(session: &BackendSession) -> Exchange {
    session.request("tools/call", Some(raw(r#"{"name":"x","arguments":{"n":1.50}}"#))).await.unwrap()
}

async fn asked(exchange: &mut Exchange) -> Request {
    match timeout(Duration::from_secs(10), exchange.next()).await.expect("a question") {
        ExchangeItem::Request(request) => request,
        other => panic!("no question but {other:?}"),
    }
}

fn value(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Result(value) | Outcome::Error(value) => value.read().unwrap(),
    }
}

fn input_required(call: &Call, requests: Value, state: Option<&str>) -> HttpResponse {
    let mut result = json!({"resultType": "input_required"});
    if !requests.is_null() {
        result["inputRequests"] = requests;
    }
    if let Some(state) = state {
        result["requestState"] = json!(state);
    }
    json_answer(&response(call, &result))
}

fn form(message: &str) -> Value {
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": {"type": "object"}}})
}

fn roots() -> Value {
    json!({"method": "roots/list"})
}

fn calls_of(server: &Scripted, method: &str) -> Vec<Call> {
    server.calls().into_iter().filter(|call| call.rpc() == method).collect()
}

#[tokio::test]
async fn what_a_server_wants_to_know_is_asked_and_the_request_retried_with_the_exact_state() {
    let state = "opaque \u{1F600} \\ \" state";
    let server = modern(move |call| {
        let answers = &call.body["params"]["inputResponses"];
        match (call.rpc(), call.body["params"]["requestState"].as_str()) {
            ("tools/call", None) => Some(input_required(call, json!({"a": form("who?"), "b": roots()}), Some(state))),
            ("tools/call", Some(found)) if found == state && answers["a"]["action"] == "accept" => Some(sse(&[
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": 1}}),
                response(call, &json!({"resultType": "complete", "content": []})),
            ])),
            _ => None,
        }
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let mut exchange = call(&session).await;
    let (first, second) = (asked(&mut exchange).await, asked(&mut exchange).await);
    assert_eq!((first.method.as_str(), second.method.as_str()), ("elicitation/create", "roots/list"));
    assert_eq!(first.params.unwrap().read::<Value>().unwrap()["message"], "who?");
    assert_ne!(first.id, second.id);
    session.respond_in_background(Response::result(second.id, raw(r#"{"roots":[]}"#)));
    assert!(timeout(Duration::from_millis(100), exchange.next()).await.is_err(), "all answers are waited for");
    session.respond(&Response::result(first.id, raw(r#"{"action":"accept","content":{"n":1.50}}"#))).await.unwrap();
    let items = all(&mut exchange).await;
    assert!(matches!(items.as_slice(), [ExchangeItem::Notification(_), ExchangeItem::Response(_)]), "{items:?}");

    let calls = calls_of(&server, "tools/call");
    let [first, retry] = calls.as_slice() else { panic!("{calls:?}") };
    assert_ne!(first.body["id"], retry.body["id"]);
    assert_eq!(first.body["params"].get("inputResponses"), None);
    assert_eq!((&retry.body["params"]["arguments"], &retry.body["params"]["name"]), (&json!({"n": 1.5}), &json!("x")));
    assert_eq!(retry.body["params"]["inputResponses"]["b"], json!({"roots": []}));
    assert_eq!(retry.header("mcp-name"), Some("x"));
    let declared = meta(retry, "clientCapabilities");
    assert_eq!(declared["extensions"], json!({"io.modelcontextprotocol/tasks": {}}));
    assert_eq!((declared.get("tasks"), &declared["elicitation"]), (None, &json!({})));
}

#[tokio::test]
async fn a_retry_brings_no_state_if_there_was_none_and_a_client_cannot_bring_its_own() {
    let server = modern(|call| {
        let answered = call.body["params"].get("inputResponses").is_some();
        (call.rpc() == "tools/call" && !answered).then(|| input_required(call, json!({"a": roots()}), None))
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let forged = raw(r#"{"name":"x","requestState":"forged","inputResponses":{"a":{}}}"#);
    let mut exchange = session.request("tools/call", Some(forged)).await.unwrap();
    let question = asked(&mut exchange).await;
    session.respond(&Response::result(question.id, raw(r#"{"roots":[]}"#))).await.unwrap();
    outcome(&mut exchange).await;
    assert!(calls_of(&server, "tools/call").iter().all(|call| call.body["params"].get("requestState").is_none()));
}

#[tokio::test]
async fn an_error_instead_of_an_answer_cancels_a_form_and_ends_a_call_that_needs_anything_else() {
    let server = modern(|call| {
        let answers = call.body["params"].get("inputResponses");
        match (call.rpc(), call.body["params"]["name"].as_str(), answers) {
            ("tools/call", Some("x"), None) => Some(input_required(call, json!({"a": form("?")}), Some("s"))),
            ("tools/call", Some("x"), Some(answers)) => Some(complete(call, json!({"got": answers}))),
            ("prompts/get", ..) => Some(input_required(call, json!({"a": roots(), "b": roots()}), Some("s"))),
            _ => None,
        }
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let refusal = |id| Response::error(Some(id), &ErrorObject::new(-32602, "no such mode"));
    let mut exchange = call(&session).await;
    let question = asked(&mut exchange).await;
    session.respond(&refusal(question.id)).await.unwrap();
    assert_eq!(value(&outcome(&mut exchange).await)["got"], json!({"a": {"action": "cancel"}}));

    let mut exchange = session.request("prompts/get", Some(raw(r#"{"name":"p"}"#))).await.unwrap();
    let question = asked(&mut exchange).await;
    asked(&mut exchange).await;
    session.respond(&refusal(question.id)).await.unwrap();
    let answer = value(&outcome(&mut exchange).await);
    assert_eq!(answer["code"], -32603);
    assert!(answer["message"].as_str().unwrap().contains("roots/list, which the client refused: no such mode"));
    assert_eq!(calls_of(&server, "prompts/get").len(), 1, "nothing is replayed");
}

#[tokio::test]
async fn a_state_without_questions_is_sent_back_by_itself() {
    let times = AtomicU32::new(0);
    let server = modern(move |call| {
        (call.rpc() == "resources/read" && times.fetch_add(1, Ordering::Relaxed) < 2)
            .then(|| input_required(call, Value::Null, Some("more")))
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let read = session.request("resources/read", Some(raw(r#"{"uri":"x:y"}"#))).await;
    assert!(matches!(outcome(&mut read.unwrap()).await, Outcome::Result(_)));
    let states: Vec<Value> =
        calls_of(&server, "resources/read").iter().map(|call| call.body["params"]["requestState"].clone()).collect();
    assert_eq!(states, [Value::Null, json!("more"), json!("more")]);
}

#[tokio::test]
async fn a_server_that_asks_without_end_is_stopped() {
    let server = modern(|call| {
        (call.rpc() == "tools/call").then(|| input_required(call, json!({"a": form("again?")}), Some("s")))
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let mut exchange = call(&session).await;
    let mut rounds = 0;
    let end = loop {
        match exchange.next().await {
            ExchangeItem::Request(request) => {
                rounds += 1;
                session.respond(&Response::result(request.id, raw(r#"{"action":"accept"}"#))).await.unwrap();
            }
            other => break other,
        }
    };
    assert_eq!(rounds, 16);
    assert!(matches!(end, ExchangeItem::Failed(BackendError::Protocol { .. })), "{end:?}");
    assert_eq!(calls_of(&server, "tools/call").len(), 17);
}

#[tokio::test]
async fn what_breaks_the_rules_ends_the_call() {
    let many: serde_json::Map<String, Value> = (0..33).map(|n| (n.to_string(), roots())).collect();
    let wrong = [
        ("tools/call", json!({"resultType": "input_required"})),
        ("tools/call", json!({"resultType": "input_required", "inputRequests": many})),
        ("tools/call", json!({"resultType": "input_required", "inputRequests": {"a": {"method": "tools/call"}}})),
        ("tools/call", json!({"resultType": "input_required", "requestState": 7})),
        // The client said nothing of sampling.
        (
            "tools/call",
            json!({"resultType": "input_required", "inputRequests": {"a": {"method": "sampling/createMessage"}}}),
        ),
        ("tools/list", json!({"resultType": "input_required", "requestState": "s"})),
        ("tools/list", json!({"resultType": "task", "taskId": "t", "status": "working"})),
        ("tools/call", json!({"resultType": "task", "taskId": 7, "status": "working"})),
        ("tools/call", json!({"resultType": "vendor"})),
        ("tools/call", json!({"resultType": 7})),
    ];
    for (method, result) in wrong {
        let said = result.clone();
        let server = modern(move |call| (call.rpc() == method).then(|| json_answer(&response(call, &said)))).await;
        let (session, _unsolicited) = adapted(&server).await;
        let error = failure(&mut session.request(method, None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Protocol { .. }), "{result}: {error:?}");
        assert!(!error.was_not_processed() && session.is_open());
    }
}

#[tokio::test]
async fn a_person_may_think_for_longer_than_a_server_may_be_silent() {
    let server = modern(|call| match call.rpc() {
        "tools/call" if call.body["params"].get("inputResponses").is_none() => {
            Some(input_required(call, json!({"a": form("?")}), None))
        }
        _ => None,
    })
    .await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(300);
    let backend = Backend::new(config.clone(), ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let mut exchange = call(&session).await;
    let question = asked(&mut exchange).await;
    assert!(timeout(Duration::from_millis(900), exchange.next()).await.is_err(), "the person is thinking");
    session.respond(&Response::result(question.id, raw(r#"{"action":"decline"}"#))).await.unwrap();
    outcome(&mut exchange).await;

    config.request_timeout_max = Duration::from_millis(600);
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let mut exchange = call(&session).await;
    asked(&mut exchange).await;
    let error = failure(&mut exchange).await;
    assert!(matches!(error, BackendError::TimedOut { .. }), "but not for ever: {error:?}");
}

#[tokio::test]
async fn answers_find_their_own_questions() {
    let server = modern(|call| {
        let params = &call.body["params"];
        match (call.rpc(), params.get("inputResponses")) {
            ("tools/call", None) => Some(input_required(call, json!({"a": form("?")}), None)),
            ("tools/call", Some(answers)) => Some(complete(call, json!({"got": answers["a"]["content"]}))),
            _ => None,
        }
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let (mut one, mut other) = (call(&session).await, call(&session).await);
    let (first, second) = (asked(&mut one).await, asked(&mut other).await);
    let answer = |n: u32| raw(&json!({"action": "accept", "content": n}).to_string());
    session.respond(&Response::result(second.id.clone(), answer(2))).await.unwrap();
    session.respond(&Response::result(second.id, answer(7))).await.unwrap();
    session.respond(&Response::result(hawser_mcp::RequestId::string("x"), answer(9))).await.unwrap();
    session.respond(&Response::result(first.id, answer(1))).await.unwrap();
    assert_eq!(value(&outcome(&mut one).await)["got"], 1);
    assert_eq!(value(&outcome(&mut other).await)["got"], 2, "the first answer counts");
}

#[tokio::test]
async fn what_the_older_era_alone_has_is_answered_here() {
    let server = modern(|_| None).await;
    let (session, _unsolicited) = adapted(&server).await;
    let ask = async |method: &str, params: &str| {
        value(&outcome(&mut session.request(method, Some(raw(params))).await.unwrap()).await)
    };
    assert_eq!(ask("ping", "{}").await, json!({}));
    assert_eq!(ask("logging/setLevel", r#"{"level":"loud"}"#).await["code"], -32602);
    ask("x", "{}").await;
    assert_eq!(ask("logging/setLevel", r#"{"level":"warning"}"#).await, json!({}));
    ask("x", r#"{"_meta":{"io.modelcontextprotocol/logLevel":"debug"}}"#).await;
    let levels: Vec<Value> = calls_of(&server, "x").iter().map(|call| meta(call, "logLevel").clone()).collect();
    assert_eq!(levels, [Value::Null, json!("warning")]);
    assert_eq!(server.calls().len(), 4, "{:?}", server.calls());
}

fn task(call: &Call, status: &str, more: &Value) -> HttpResponse {
    let created = call.rpc() == "tools/call";
    let mut state = json!({
        "resultType": if created { "task" } else { "complete" }, "taskId": "t-1", "status": status,
        "createdAt": "2026-11-23T00:00:00Z", "lastUpdatedAt": "2026-11-23T00:00:00Z", "ttlMs": null, "pollIntervalMs": 50,
    });
    for (name, value) in more.as_object().unwrap() {
        state[name] = value.clone();
    }
    json_answer(&response(call, &state))
}

#[tokio::test]
async fn a_task_is_waited_for_and_its_questions_are_asked_once() {
    let polls = AtomicU32::new(0);
    let updated = std::sync::Arc::new(AtomicU32::new(0));
    let answered = std::sync::Arc::clone(&updated);
    let server = modern(move |call| match call.rpc() {
        "tools/call" => Some(task(call, "working", &json!({}))),
        "tasks/get" => Some(match (polls.fetch_add(1, Ordering::Relaxed), answered.load(Ordering::Relaxed)) {
            (0, _) => task(call, "working", &json!({})),
            (1, _) => crate::scripted::status(503),
            (_, 0) => task(call, "input_required", &json!({"inputRequests": {"k": form("?")}})),
            // The acknowledgement is eventually consistent.
            (_, 1) => {
                answered.store(2, Ordering::Relaxed);
                task(call, "input_required", &json!({"inputRequests": {"k": form("?")}}))
            }
            _ => task(call, "completed", &json!({"result": {"content": [], "isError": true}})),
        }),
        "tasks/update" => {
            updated.store(1, Ordering::Relaxed);
            Some(complete(call, json!({})))
        }
        _ => None,
    })
    .await;
    let (session, _unsolicited) = adapted(&server).await;
    let mut exchange = call(&session).await;
    let question = asked(&mut exchange).await;
    assert_eq!(question.method, "elicitation/create");
    session.respond(&Response::result(question.id, raw(r#"{"action":"accept"}"#))).await.unwrap();
    let items = all(&mut exchange).await;
    let [ExchangeItem::Response(answer)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(value(answer), json!({"content": [], "isError": true}));
    let sent = calls_of(&server, "tasks/update");
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body["params"]["inputResponses"], json!({"k": {"action": "accept"}}));
    for call in sent.iter().chain(&calls_of(&server, "tasks/get")) {
        assert_eq!((call.header("mcp-name"), &call.body["params"]["taskId"]), (Some("t-1"), &json!("t-1")));
        assert!(meta(call, "clientCapabilities")["extensions"]["io.modelcontextprotocol/tasks"].is_object());
    }
    assert!(calls_of(&server, "tasks/cancel").is_empty());
}

#[tokio::test]
async fn a_task_that_fails_or_is_gone_or_cancelled_is_an_error() {
    for (state, code) in [
        (json!({"status": "failed", "error": {"code": -32099, "message": "m"}}), -32099),
        (json!({"status": "cancelled", "statusMessage": "by hand"}), -32603),
        (Value::Null, -32602),
    ] {
        let server = modern(move |call| match call.rpc() {
            "tools/call" => Some(task(call, "working", &json!({}))),
            "tasks/get" if state.is_null() => Some(error(call, 400, -32602, "no such task")),
            "tasks/get" => Some(task(call, "", &state)),
            _ => None,
        })
        .await;
        let (session, _unsolicited) = adapted(&server).await;
        let answer = value(&outcome(&mut call(&session).await).await);
        assert_eq!(answer["code"], code, "{answer}");
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_cancels_its_task() {
    for cancels in [true, false] {
        let server = modern(|call| match call.rpc() {
            "tools/call" | "tasks/get" => Some(task(call, "working", &json!({}))),
            _ => None,
        })
        .await;
        let (session, _unsolicited) = adapted(&server).await;
        let mut exchange = call(&session).await;
        let polled = server.wait_for(|call| call.rpc() == "tasks/get");
        tokio::select! {
            _ = polled => {}
            item = exchange.next() => panic!("{item:?}"),
        }
        if cancels {
            exchange.cancel(None).await;
        } else {
            drop(exchange);
        }
        let told = server.wait_for(|call| call.rpc() == "tasks/cancel").await;
        assert_eq!(told.body["params"]["taskId"], "t-1");
    }
}

#[tokio::test]
async fn a_task_is_not_silent_while_it_is_polled() {
    let polls = AtomicU32::new(0);
    let server = modern(move |call| match call.rpc() {
        "tools/call" => Some(task(call, "working", &json!({"pollIntervalMs": 400}))),
        "tasks/get" if polls.fetch_add(1, Ordering::Relaxed) < 2 => {
            Some(task(call, "working", &json!({"pollIntervalMs": 400})))
        }
        "tasks/get" => Some(task(call, "completed", &json!({"result": {}}))),
        _ => None,
    })
    .await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(200);
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    assert!(matches!(outcome(&mut call(&session).await).await, Outcome::Result(_)));
}
