//! How answers reach an exchange: as JSON, as streams, in batches, among strangers.

use hawser_backend::{Backend, BackendError, ChildLimit, ExchangeItem};
use hawser_mcp::{Notification, Outcome, Response, Revision};
use proptest::prelude::*;
use serde_json::json;
use tokio::sync::watch;

use crate::scripted::{
    Call, Scripted, all, answer, event, failure, hello, initialized, json_answer, open, outcome, raw, result, sse,
    sse_open,
};

#[tokio::test]
async fn a_json_answer_arrives_byte_for_byte() {
    const RESULT: &str = r#"{ "n":1234567890123456789012, "x" : {"\u0061":[1.0,  true]} }"#;
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call").then(|| {
            let body = format!(r#"{{"id":{},"result":{RESULT},"jsonrpc":"2.0"}}"#, call.body["id"]);
            answer(200, "application/json; charset=utf-8", body)
        })
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", Some(raw(r#"{"name":"t"}"#))).await.unwrap();
    assert_eq!(outcome(&mut exchange).await, Outcome::Result(raw(RESULT)));
    assert!(matches!(exchange.next().await, ExchangeItem::Failed(BackendError::Closed { .. })));
    assert_eq!(session.server().instructions.as_deref(), Some("Use it."));
    assert_eq!(session.server().capabilities.as_str(), r#"{"tools":{}}"#);
}

#[tokio::test]
async fn every_request_carries_what_the_transport_demands() {
    let server = Scripted::start(|_| None).await;
    let (session, _unsolicited) = server.open().await;
    session.notify(&Notification::new("notifications/roots/list_changed", None)).await.unwrap();
    outcome(&mut session.request("tools/list", None).await.unwrap()).await;
    session.close().await;

    let calls = server.calls();
    let sent: Vec<&str> = calls.iter().map(Call::rpc).collect();
    let expected = ["initialize", "notifications/initialized", "notifications/roots/list_changed", "tools/list", ""];
    assert_eq!(sent, expected);
    for call in &calls {
        assert_eq!(call.header("authorization"), Some("Bearer header-secret"), "{}", call.rpc());
        let is_first = call.rpc() == "initialize";
        assert_eq!(call.header("mcp-session-id"), (!is_first).then_some("s-1"), "{}", call.rpc());
        assert_eq!(call.header("mcp-protocol-version"), (!is_first).then_some("2025-11-25"), "{}", call.rpc());
        if call.method == "POST" {
            assert_eq!(call.header("accept"), Some("application/json, text/event-stream"));
            assert_eq!(call.header("content-type"), Some("application/json"));
        }
    }
    assert_eq!(calls.last().unwrap().method, "DELETE");
    let hello = &calls.first().unwrap().body["params"];
    assert_eq!(hello["capabilities"], json!({"elicitation": {}}));
    assert_eq!(hello["clientInfo"]["name"], "test");
    assert_eq!(hello["protocolVersion"], "2025-11-25");
}

#[tokio::test]
async fn a_stream_gives_its_messages_in_order_and_the_response_last() {
    let (answered, wait) = watch::channel(false);
    let server = Scripted::start(move |call| match call.rpc() {
        "tools/call" => {
            let (wait, response) = (wait.clone(), event(&result(call)));
            let first =
                event(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}}))
                    + &event(&json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}}));
            let chunks = futures_util::stream::unfold(0, move |step| {
                let (mut wait, first, response) = (wait.clone(), first.clone(), response.clone());
                async move {
                    match step {
                        0 => Some((Ok(first), 1)),
                        1 => {
                            wait.wait_for(|answered| *answered).await.unwrap();
                            Some((Ok(response), 2))
                        }
                        _ => None,
                    }
                }
            });
            Some(crate::scripted::streamed("text/event-stream", chunks))
        }
        "" if call.body["id"] == "q" => {
            answered.send_replace(true);
            None
        }
        _ => None,
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    assert!(
        matches!(exchange.next().await, ExchangeItem::Notification(told) if told.method == "notifications/progress")
    );
    let ExchangeItem::Request(question) = exchange.next().await else { panic!("no question") };
    assert_eq!((question.method.as_str(), question.id.raw().as_str()), ("elicitation/create", r#""q""#));
    session.respond(&Response::result(question.id, raw(r#"{"action":"accept"}"#))).await.unwrap();
    assert!(matches!(exchange.next().await, ExchangeItem::Response(Outcome::Result(_))));
}

#[tokio::test]
async fn a_ping_of_the_server_is_answered_here() {
    let (answered, wait) = watch::channel(false);
    let server = Scripted::start(move |call| match call.rpc() {
        "tools/call" => {
            let (wait, response) = (wait.clone(), event(&result(call)));
            let chunks = futures_util::stream::unfold(0, move |step| {
                let (mut wait, response) = (wait.clone(), response.clone());
                async move {
                    match step {
                        0 => Some((Ok(event(&json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}))), 1)),
                        1 => {
                            wait.wait_for(|answered| *answered).await.unwrap();
                            Some((Ok(response), 2))
                        }
                        _ => None,
                    }
                }
            });
            Some(crate::scripted::streamed("text/event-stream", chunks))
        }
        "" if call.body == json!({"jsonrpc": "2.0", "id": "p", "result": {}}) => {
            answered.send_replace(true);
            None
        }
        _ => None,
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    assert_eq!(all(&mut exchange).await.len(), 1, "nobody else hears of the ping");
}

#[tokio::test]
async fn only_the_response_with_exactly_our_id_counts() {
    let server = Scripted::start(|call| {
        let id = call.body["id"].as_u64()?;
        (call.rpc() == "tools/call").then(|| {
            let other = |id: serde_json::Value| json!({"jsonrpc": "2.0", "id": id, "result": {"wrong": true}});
            let again = json!({"jsonrpc": "2.0", "id": id, "result": {"again": true}});
            let null = json!({"jsonrpc": "2.0", "id": null, "error": {"code": 1, "message": "?"}});
            sse(&[other(json!(id.to_string())), other(json!(id + 1)), null, result(call), again])
        })
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut exchange = session.request("tools/call", None).await.unwrap();
    assert_eq!(all(&mut exchange).await, [ExchangeItem::Response(Outcome::Result(raw(r#"{"of":"tools/call"}"#)))]);
}

#[tokio::test]
async fn batches_are_understood_in_their_revision_and_refused_later() {
    for (revision, understood) in [(Revision::V2025_03_26, true), (Revision::V2025_06_18, false)] {
        for stream in [false, true] {
            let server = Scripted::start(move |call| match call.rpc() {
                "initialize" => Some(initialized(&call.body["id"], revision.as_str())),
                "tools/call" => {
                    let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {}});
                    let batch = json!([note, result(call)]);
                    Some(if stream { sse(&[batch]) } else { json_answer(&batch) })
                }
                _ => None,
            })
            .await;
            let backend = Backend::new(server.config(), ChildLimit::new(1)).unwrap();
            let (session, _unsolicited) = backend.open(&hello(revision)).await.unwrap();
            let items = all(&mut session.request("tools/call", None).await.unwrap()).await;
            match items.as_slice() {
                [ExchangeItem::Notification(_), ExchangeItem::Response(_)] => assert!(understood),
                [ExchangeItem::Failed(BackendError::Protocol { .. })] => assert!(!understood),
                other => panic!("{revision} {stream}: {other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_error_with_an_error_status_is_passed_on_if_it_answers_us() {
    for code in [400, 403, 500] {
        let server = Scripted::start(move |call| {
            (call.rpc() == "tools/call").then(|| {
                let error = json!({"code": -32602, "message": "no such tool", "data": {"x": 1}});
                let body = json!({"jsonrpc": "2.0", "id": call.body["id"], "error": error});
                answer(code, "application/json", body.to_string())
            })
        })
        .await;
        let (session, _unsolicited) = server.open().await;
        let outcome = outcome(&mut session.request("tools/call", None).await.unwrap()).await;
        let Outcome::Error(error) = outcome else { panic!("{outcome:?}") };
        assert!(error.as_str().contains("no such tool"), "{code}");
    }
}

#[tokio::test]
async fn an_answer_that_answers_nothing_is_an_error_not_silence() {
    let id_null = r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}"#;
    for (code, content_type, body) in [
        (202, "", ""),
        (200, "text/html", "<html>"),
        (200, "application/json", "{"),
        (200, "application/json", "[]"),
        (200, "application/json", r#"{"jsonrpc":"2.0","method":"notifications/message"}"#),
        (200, "application/json", r#"{"jsonrpc":"2.0","id":"1","result":{}}"#),
        (200, "application/json", id_null),
        (200, "text/event-stream", "data: {\n\n"),
        (200, "text/event-stream", "data: <html>\n\n"),
    ] {
        let server =
            Scripted::start(move |call| (call.rpc() == "tools/call").then(|| answer(code, content_type, body))).await;
        let (session, _unsolicited) = server.open().await;
        let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Protocol { .. }), "{content_type} {body}: {error:?}");
        assert!(!error.was_not_processed());
    }
}

#[tokio::test]
async fn an_answer_counts_whatever_follows_it_in_the_same_chunk() {
    for rubbish in ["data: {\n\n".to_owned(), format!("data: {}\n\n", "x".repeat(20_000))] {
        let server = Scripted::start(move |call| {
            (call.rpc() == "tools/call")
                .then(|| answer(200, "text/event-stream", format!("{}{rubbish}", event(&result(call)))))
        })
        .await;
        let mut config = server.config();
        config.message_bytes_max = 10_000;
        let (session, _unsolicited) = open(config).await;
        outcome(&mut session.request("tools/call", None).await.unwrap()).await;
    }
}

#[tokio::test]
async fn one_connection_serves_call_after_call_also_when_a_stream_ends_after_its_answer() {
    let server = Scripted::start(|call| {
        (call.rpc() == "stream").then(|| {
            let chunks = futures_util::stream::unfold(Some(event(&result(call))), |text| async move {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
                text.map(|text| (Ok(text), None))
            });
            crate::scripted::streamed("text/event-stream", chunks)
        })
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    for _ in 0..10 {
        outcome(&mut session.request("json", None).await.unwrap()).await;
        outcome(&mut session.request("stream", None).await.unwrap()).await;
    }
    // A call may start while the stream before it still ends, so there may be a second one.
    assert!(server.connections() <= 2, "{}", server.connections());
}

#[tokio::test]
async fn two_exchanges_do_not_mix() {
    let server = Scripted::start(|call| match call.rpc() {
        "slow" => Some(sse_open(event(&json!({"jsonrpc": "2.0", "method": "notifications/message"})))),
        _ => None,
    })
    .await;
    let (session, _unsolicited) = server.open().await;
    let mut slow = session.request("slow", None).await.unwrap();
    assert!(matches!(slow.next().await, ExchangeItem::Notification(_)));
    let mut fast = session.request("fast", None).await.unwrap();
    assert_eq!(all(&mut fast).await.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn an_exchange_does_not_depend_on_where_its_stream_is_cut(
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20), end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")]
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let items = runtime.block_on(async move {
            let server = Scripted::start(move |call| {
                (call.rpc() == "tools/call").then(|| {
                    let note = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "ä\u{1F600}"}});
                    let text = format!("id: 1\ndata:\n\n: comment\n{}event: x\ndata: {{\n\n{}", event(&note), event(&result(call)));
                    let text = text.replace('\n', end).into_bytes();
                    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
                    cuts.extend([0, text.len()]);
                    cuts.sort_unstable();
                    let pieces: Vec<Vec<u8>> = cuts.windows(2).map(|cut| text[cut[0]..cut[1]].to_vec()).collect();
                    let chunks = futures_util::stream::unfold(pieces.into_iter(), |mut pieces| async move {
                        tokio::task::yield_now().await;
                        pieces.next().map(|piece| (Ok::<_, std::io::Error>(piece), pieces))
                    });
                    answer(200, "text/event-stream", axum::body::Body::from_stream(chunks))
                })
            })
            .await;
            let (session, _unsolicited) = server.open().await;
            all(&mut session.request("tools/call", None).await.unwrap()).await
        });
        let expected = matches!(items.as_slice(), [ExchangeItem::Notification(_), ExchangeItem::Response(_)]);
        prop_assert!(expected, "{:?}", items);
    }
}
