//! Requests to a server of the stateless era over HTTP, for a client of the same era: results pass as they are.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hawser_backend::{BackendError, ExchangeItem};
use hawser_mcp::{Notification, Outcome, Revision};
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::modern_server::{backend, complete, error, meta, modern, modern_hello, open_modern, response};
use crate::scripted::{Call, all, broken_off, event, failure, hello, json_answer, outcome, raw, sse, sse_open};

fn value(outcome: &Outcome) -> Value {
    match outcome {
        Outcome::Result(value) | Outcome::Error(value) => value.read().unwrap(),
    }
}

#[tokio::test]
async fn a_request_says_who_asks_and_keeps_what_else_it_says() {
    let server = modern(|_| None).await;
    let (session, _unsolicited) = open_modern(&server).await;
    let params = raw(
        r#"{"name":"größe","arguments":{"n":1.0},"_meta":{"x/y": {"deep":1.50},"io.modelcontextprotocol/logLevel":"info",
        "io.modelcontextprotocol/clientCapabilities":{"sampling":{}}}}"#,
    );
    outcome(&mut session.request("tools/call", Some(params)).await.unwrap()).await;
    let call = server.wait_for(|call| call.rpc() == "tools/call").await;
    assert_eq!(call.header("mcp-protocol-version"), Some("2026-07-28"));
    assert_eq!(call.header("mcp-method"), Some("tools/call"));
    assert_eq!(call.header("mcp-name"), Some("=?base64?Z3LDtsOfZQ==?="));
    assert_eq!(call.header("accept"), Some("application/json, text/event-stream"));
    assert_eq!(call.header("authorization"), Some("Bearer header-secret"));
    assert_eq!(meta(&call, "protocolVersion"), "2026-07-28");
    assert_eq!(meta(&call, "clientInfo")["name"], "test");
    assert_eq!(meta(&call, "clientCapabilities"), &json!({"elicitation": {}}), "what was said at the opening holds");
    assert_eq!(meta(&call, "logLevel"), "info");
    assert_eq!(call.body["params"]["_meta"]["x/y"], json!({"deep": 1.5}));
    assert_eq!(call.body["params"]["arguments"], json!({"n": 1.0}));
}

#[tokio::test]
async fn results_pass_as_they_are_whatever_their_type() {
    let server = modern(|call| {
        let kind = call.rpc().strip_prefix("x/")?.to_owned();
        Some(json_answer(&response(call, &json!({"resultType": kind, "taskId": "t", "inputRequests": {}}))))
    })
    .await;
    let (session, _unsolicited) = open_modern(&server).await;
    for kind in ["input_required", "task", "complete", "vendor"] {
        let answer = outcome(&mut session.request(&format!("x/{kind}"), None).await.unwrap()).await;
        assert_eq!(value(&answer), json!({"resultType": kind, "taskId": "t", "inputRequests": {}}));
    }
}

#[tokio::test]
async fn an_error_with_a_status_of_its_own_is_an_answer() {
    let server = modern(|call| match call.rpc() {
        "x/unknown" => Some(error(call, 404, -32601, "no")),
        "x/capability" => Some(error(call, 400, -32021, "no")),
        "x/broken" => Some(error(call, 500, -32603, "no")),
        _ => None,
    })
    .await;
    let (session, _unsolicited) = open_modern(&server).await;
    for (method, code) in [("x/unknown", -32601), ("x/capability", -32021), ("x/broken", -32603)] {
        let answer = outcome(&mut session.request(method, None).await.unwrap()).await;
        assert_eq!(value(&answer)["code"], code);
        assert!(session.is_open());
    }
}

#[tokio::test]
async fn progress_never_goes_back_though_the_server_counts_each_round_anew() {
    let server = modern(|call| {
        let token = call.body["params"]["_meta"].get("progressToken")?.clone();
        let told = |progress: u32| {
            json!({"jsonrpc": "2.0", "method": "notifications/progress",
                   "params": {"progressToken": token, "progress": progress}})
        };
        let again = call.body["params"].get("requestState").is_some();
        let kind = if again { "complete" } else { "input_required" };
        let end = response(call, &json!({"resultType": kind, "requestState": "s"}));
        Some(sse(&[told(1), told(if again { 3 } else { 2 }), end]))
    })
    .await;
    let (session, _unsolicited) = backend(&server).open(&hello(Revision::LATEST)).await.unwrap();
    let params = raw(r#"{"name":"x","_meta":{"progressToken":7}}"#);
    let items = all(&mut session.request("tools/call", Some(params)).await.unwrap()).await;
    let told: Vec<serde_json::Value> = items
        .iter()
        .filter_map(|item| {
            let ExchangeItem::Notification(told) = item else { return None };
            Some(told.params.as_ref()?.read::<serde_json::Value>().ok()?["progress"].clone())
        })
        .collect();
    assert_eq!(told, [1, 2, 3]);
}

#[tokio::test]
async fn progress_is_told_under_the_clients_own_token_and_each_request_has_another_one() {
    let server = modern(|call| {
        let token = call.body["params"]["_meta"].get("progressToken")?.clone();
        let told = |token: &Value| {
            json!({"jsonrpc": "2.0", "method": "notifications/progress",
                   "params": {"progressToken": token, "progress": 1, "x": 1.5}})
        };
        Some(sse(&[told(&token), told(&json!("foreign")), response(call, &json!({"resultType": "complete"}))]))
    })
    .await;
    let (session, _unsolicited) = open_modern(&server).await;
    for token in ["7", r#""7""#, "7"] {
        let params = raw(&format!(r#"{{"_meta":{{"progressToken":{token}}}}}"#));
        let items = all(&mut session.request("x", Some(params)).await.unwrap()).await;
        let [ExchangeItem::Notification(told), ExchangeItem::Response(_)] = items.as_slice() else {
            panic!("{items:?}")
        };
        let expected = format!(r#"{{"progress":1,"progressToken":{token},"x":1.5}}"#);
        assert_eq!(told.params.as_ref().unwrap().as_str(), expected);
    }
    let calls = server.calls();
    let mut tokens: Vec<String> = calls
        .iter()
        .filter(|call| call.rpc() == "x")
        .map(|call| call.body["params"]["_meta"]["progressToken"].to_string())
        .collect();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), 3);
}

#[tokio::test]
async fn a_broken_stream_is_lost_and_nothing_is_sent_again() {
    let server = modern(|call| {
        let note = event(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}));
        (call.rpc() == "tools/call").then(|| broken_off("text/event-stream", &format!("retry: 50\nid: e-1\n{note}")))
    })
    .await;
    let (session, _unsolicited) = open_modern(&server).await;
    let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Lost { .. }) && !error.was_not_processed(), "{error:?}");
    outcome(&mut session.request("x", None).await.unwrap()).await;
    let calls = server.calls();
    assert_eq!(calls.iter().filter(|call| call.rpc() == "tools/call").count(), 1);
    assert!(calls.iter().all(|call| call.method == Method::POST), "nothing is taken up again");
}

#[tokio::test]
async fn a_modern_server_is_given_no_session_no_answers_and_no_notifications() {
    let server = modern(|call| {
        if call.rpc() != "x" {
            return None;
        }
        let ask = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}});
        let ping = json!({"jsonrpc": "2.0", "id": "p", "method": "ping"});
        let mut stream = sse(&[ask, ping, response(call, &json!({"resultType": "complete"}))]);
        stream.headers_mut().insert("mcp-session-id", "s-1".parse().unwrap());
        Some(stream)
    })
    .await;
    let (session, _unsolicited) = open_modern(&server).await;
    for _ in 0..2 {
        let items = all(&mut session.request("x", None).await.unwrap()).await;
        assert!(matches!(items.as_slice(), [ExchangeItem::Response(_)]), "{items:?}");
    }
    session.notify(&Notification::new("notifications/roots/list_changed", None)).await.unwrap();
    session.notify_in_background(Notification::new("notifications/roots/list_changed", None));
    session.close().await;
    assert!(matches!(session.request("x", None).await, Err(BackendError::Closed { .. })));
    let calls = server.calls();
    assert!(calls.iter().all(|call| call.header("mcp-session-id").is_none() && call.body.get("id").is_some()));
    assert_eq!(calls.len(), 3);
}

#[tokio::test]
async fn cancelling_or_dropping_closes_the_stream_and_posts_nothing() {
    use std::sync::Arc;
    /// Tells when the server's end of a response is dropped.
    struct Held(tokio::sync::mpsc::UnboundedSender<()>);
    impl Drop for Held {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (closed, mut told) = tokio::sync::mpsc::unbounded_channel();
    let server = modern(move |call| {
        use futures_util::StreamExt as _;
        let held = Arc::new(Held(closed.clone()));
        let note = event(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}}));
        let stream = futures_util::stream::iter([Ok(note)]).chain(futures_util::stream::pending());
        let stream = stream.map(move |chunk| {
            let _alive = &held;
            chunk
        });
        (call.rpc() == "tools/call").then(|| crate::scripted::streamed("text/event-stream", stream))
    })
    .await;
    let (session, _unsolicited) = open_modern(&server).await;
    // The probe, which held nothing open.
    told.recv().await;
    for cancels in [true, false] {
        let mut exchange = session.request("tools/call", None).await.unwrap();
        assert!(matches!(exchange.next().await, ExchangeItem::Notification(_)));
        if cancels {
            exchange.cancel(Some("enough")).await;
        } else {
            drop(exchange);
        }
        timeout(Duration::from_secs(5), told.recv()).await.expect("the server notices").unwrap();
    }
    assert!(server.calls().iter().all(|call| call.rpc() != "notifications/cancelled"));
}

#[tokio::test]
async fn silence_is_a_timeout_but_not_of_a_subscription() {
    let server = modern(|call| match call.rpc() {
        "subscriptions/listen" => {
            let meta = json!({"io.modelcontextprotocol/subscriptionId": call.body["id"]});
            let params = json!({"notifications": {"toolsListChanged": true}, "_meta": meta});
            let method = "notifications/subscriptions/acknowledged";
            Some(sse_open(event(&json!({"jsonrpc": "2.0", "method": method, "params": params}))))
        }
        "silent" => Some(sse_open(String::new())),
        _ => None,
    })
    .await;
    let mut config = server.config();
    config.request_timeout = Duration::from_millis(300);
    config.request_timeout_max = Duration::from_millis(600);
    let backend = hawser_backend::Backend::new(config, hawser_backend::ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    let filter = raw(r#"{"notifications":{"toolsListChanged":true}}"#);
    let mut listening = session.request("subscriptions/listen", Some(filter)).await.unwrap();
    let ExchangeItem::Notification(first) = listening.next().await else { panic!("not acknowledged") };
    assert_eq!(first.method, "notifications/subscriptions/acknowledged");
    assert!(timeout(Duration::from_millis(900), listening.next()).await.is_err(), "it may be silent for ever");
    let error = failure(&mut session.request("silent", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::TimedOut { .. }), "{error:?}");
}

/// A server whose tool mirrors an argument, under a name that changes.
fn mirroring(call: &Call, header: &str) -> Option<axum::response::Response> {
    let schema =
        |header: &str| json!({"type": "object", "properties": {"region": {"type": "string", "x-mcp-header": header}}});
    match call.rpc() {
        "tools/list" if call.body["params"]["cursor"] == "2" => {
            let tools = json!([
                {"name": "query", "inputSchema": schema(header)},
                {"name": "broken", "inputSchema": schema("not a token")},
            ]);
            Some(complete(call, json!({"tools": tools, "ttlMs": 0, "cacheScope": "public"})))
        }
        "tools/list" => Some(complete(call, json!({"tools": [], "nextCursor": "2"}))),
        "tools/call" if call.header(&format!("mcp-param-{header}")) != Some("=?base64?ZcO8?=") => {
            Some(error(call, 400, -32020, "a header is missing"))
        }
        _ => None,
    }
}

#[tokio::test]
async fn arguments_are_mirrored_as_the_server_wants_it_now() {
    let renamed = std::sync::Arc::new(AtomicU32::new(0));
    let times = std::sync::Arc::clone(&renamed);
    let server =
        modern(move |call| mirroring(call, if times.load(Ordering::Relaxed) == 0 { "Region" } else { "Zone" })).await;
    let (session, _unsolicited) = open_modern(&server).await;
    let call = || session.request("tools/call", Some(raw(r#"{"name":"query","arguments":{"region":"eü"}}"#)));
    let sent = |method: &str| server.calls().iter().filter(|call| call.rpc() == method).count();

    let answer = outcome(&mut call().await.unwrap()).await;
    assert!(matches!(answer, Outcome::Result(_)), "{answer:?}: learnt because the server complained");
    assert_eq!((sent("tools/call"), sent("tools/list")), (2, 2));
    outcome(&mut call().await.unwrap()).await;
    assert_eq!((sent("tools/call"), sent("tools/list")), (3, 2), "and remembered");
    renamed.store(1, Ordering::Relaxed);
    let answer = outcome(&mut call().await.unwrap()).await;
    assert!(matches!(answer, Outcome::Result(_)), "{answer:?}");
    let ids: Vec<Value> = server.calls().iter().map(|call| call.body["id"].clone()).collect();
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!(ids.len(), distinct.len(), "no id is used twice");
}

#[tokio::test]
async fn a_server_that_never_finds_the_headers_right_is_asked_twice() {
    let server = modern(|call| (call.rpc() == "tools/call").then(|| error(call, 400, -32020, "no"))).await;
    let (session, _unsolicited) = open_modern(&server).await;
    let answer = outcome(&mut session.request("tools/call", Some(raw(r#"{"name":"x"}"#))).await.unwrap()).await;
    assert_eq!(value(&answer)["code"], -32020);
    assert_eq!(server.calls().iter().filter(|call| call.rpc() == "tools/call").count(), 2);
}

#[tokio::test]
async fn a_tool_that_cannot_be_called_is_left_out_of_the_list() {
    let server = modern(|call| mirroring(call, "Region")).await;
    let (session, _unsolicited) = open_modern(&server).await;
    let listed = session.request("tools/list", Some(raw(r#"{"cursor":"2"}"#))).await;
    let list = value(&outcome(&mut listed.unwrap()).await);
    assert_eq!(list["tools"].as_array().unwrap().len(), 1);
    assert_eq!((&list["tools"][0]["name"], &list["ttlMs"]), (&json!("query"), &json!(0)));
}

#[tokio::test]
async fn a_clients_unrecognised_params_are_passed_on_and_nothing_else() {
    let server = modern(|_| None).await;
    let (session, _unsolicited) = open_modern(&server).await;
    let mut headers = HeaderMap::new();
    headers.insert("mcp-param-tenant", "a".parse().unwrap());
    headers.insert("mcp-name", "other".parse().unwrap());
    headers.insert("cookie", "secret".parse().unwrap());
    let params = Some(raw(r#"{"name":"x"}"#));
    outcome(&mut session.request_with_headers("tools/call", params, &headers).await.unwrap()).await;
    let call = server.wait_for(|call| call.rpc() == "tools/call").await;
    assert_eq!((call.header("mcp-param-tenant"), call.header("mcp-name")), (Some("a"), Some("x")));
    assert_eq!(call.header("cookie"), None);
}

#[tokio::test]
async fn what_cannot_be_sent_is_answered_here() {
    let server = modern(|_| None).await;
    let (session, _unsolicited) = backend(&server).open(&modern_hello()).await.unwrap();
    for (method, params) in [
        ("tools/call", r#"{"name":"a","Name":"b"}"#.to_owned()),
        ("resources/read", format!(r#"{{"uri":"x:{}"}}"#, "y".repeat(10_000))),
        ("x", r#"{"_meta":7}"#.to_owned()),
    ] {
        let answer = outcome(&mut session.request(method, Some(raw(&params))).await.unwrap()).await;
        assert!(matches!(&answer, Outcome::Error(_)) && value(&answer)["code"] == -32602, "{answer:?}");
    }
    assert_eq!(server.calls().len(), 1, "nothing but the probe was sent");
}
