//! Children of the stateless era, of both, and of the older one that are asked which they are.

use std::time::Duration;

use hawser_backend::{Backend, BackendError, BackendSession, ChildLimit, ExchangeItem, Transport, Unsolicited};
use hawser_mcp::{Era, Message, Response, Revision};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use crate::child::{backend, config};
use crate::modern_server::modern_hello;
use crate::scripted::{all, failure, hello, outcome, raw};
use crate::stdio::ask;

async fn open(role: &str, revision: Revision) -> (BackendSession, Unsolicited) {
    backend(role).open(&hello(revision)).await.unwrap()
}

#[tokio::test]
async fn a_child_is_spoken_to_in_the_clients_era_if_it_speaks_that() {
    for (role, legacy, modern) in [
        ("echo", Era::Legacy, Era::Legacy),
        ("modern", Era::Modern, Era::Modern),
        ("dual", Era::Legacy, Era::Modern),
        ("dies-of-the-unknown", Era::Legacy, Era::Legacy),
    ] {
        let backend = backend(role);
        for _ in 0..2 {
            for (revision, expected) in [(Revision::LATEST, legacy), (Revision::LATEST_MODERN, modern)] {
                let (session, _unsolicited) = backend.open(&hello(revision)).await.unwrap();
                assert_eq!(session.era(), expected, "{role} for {revision}");
                ask(&session, "echo").await;
                session.close().await;
            }
        }
    }
}

#[tokio::test]
async fn a_child_that_stays_silent_is_spoken_to_as_of_old_after_a_short_time_once() {
    let mut config = config("silent-to-the-unknown");
    config.probe_timeout = Duration::from_millis(300);
    let backend = Backend::new(config, ChildLimit::new(8)).unwrap();
    for (patience, revision) in [(true, Revision::LATEST), (false, Revision::LATEST), (false, Revision::LATEST_MODERN)]
    {
        let started = Instant::now();
        let (session, _unsolicited) = backend.open(&hello(revision)).await.unwrap();
        assert_eq!(session.era(), Era::Legacy);
        if patience {
            assert!(started.elapsed() >= Duration::from_millis(300));
        }
        let probed = ask(&session, "asked").await;
        assert_eq!(probed.as_array().unwrap().contains(&json!("server/discover")), patience, "{probed}");
    }
}

#[tokio::test]
async fn a_child_that_is_only_slow_to_start_is_known_for_what_it_is_the_next_time() {
    let mut config = config("slow-dual");
    config.probe_timeout = Duration::from_millis(100);
    let backend = Backend::new(config, ChildLimit::new(8)).unwrap();
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    assert_eq!(session.era(), Era::Legacy, "it did not say in time");
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    assert_eq!(session.era(), Era::Modern, "but it did say");
}

#[tokio::test]
async fn a_child_that_dies_of_the_probe_makes_way_for_the_one_that_takes_its_place() {
    let backend = Backend::new(config("dies-of-the-unknown"), ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    assert_eq!(ask(&session, "asked").await, json!(["initialize", "asked"]));
}

#[tokio::test]
async fn a_child_that_cannot_start_is_not_taken_for_an_era() {
    let error = backend("dies-at-start").open(&modern_hello()).await.unwrap_err();
    assert!(matches!(error, BackendError::Spawn { .. }), "{error:?}");
    let mut config = config("echo");
    let Transport::Stdio { command, .. } = &mut config.transport else { panic!("not stdio") };
    *command = vec!["/nonexistent/program".to_owned()];
    let error = Backend::new(config, ChildLimit::new(1)).unwrap().open(&modern_hello()).await.unwrap_err();
    assert!(matches!(error, BackendError::Spawn { .. }), "{error:?}");
}

#[tokio::test]
async fn a_request_to_a_child_says_who_asks_and_cancelling_it_is_told() {
    let (session, mut unsolicited) = open("modern", Revision::LATEST_MODERN).await;
    let params = raw(r#"{"_meta":{"progressToken":"mine","x":1}}"#);
    let echoed = outcome(&mut session.request("echo", Some(params.clone())).await.unwrap()).await;
    let hawser_mcp::Outcome::Result(echoed) = echoed else { panic!("an error") };
    let echoed: Value = echoed.read().unwrap();
    let meta = &echoed["echoed"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "test");
    assert_eq!(meta["x"], 1);
    assert_ne!(meta["progressToken"], "mine");

    let items = all(&mut session.request("progress", Some(params)).await.unwrap()).await;
    let [ExchangeItem::Notification(told), ExchangeItem::Response(_)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(told.params.as_ref().unwrap().as_str(), r#"{"progressToken":"mine"}"#);

    for cancels in [true, false] {
        let mut exchange = session.request("never", None).await.unwrap();
        assert!(timeout(Duration::from_millis(200), exchange.next()).await.is_err());
        if cancels {
            exchange.cancel(Some("enough")).await;
        } else {
            drop(exchange);
        }
        let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("not told") };
        let told: Value = told.params.unwrap().read().unwrap();
        assert!(told["requestId"].is_u64(), "{told}");
        assert_eq!(told.get("reason").is_some(), cancels);
    }
    assert_eq!(ask(&session, "pid").await.as_u64().map(|pid| pid > 0), Some(true));
}

#[tokio::test]
async fn progress_that_comes_after_the_answer_is_told_to_nobody() {
    for revision in [Revision::LATEST, Revision::LATEST_MODERN] {
        let (session, mut unsolicited) = open("modern", revision).await;
        let params = raw(r#"{"_meta":{"progressToken":"mine"}}"#);
        outcome(&mut session.request("progress-too-late", Some(params)).await.unwrap()).await;
        let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("no news") };
        assert_eq!(
            told.method, "notifications/tools/list_changed",
            "a token of the gateway's may be another request's"
        );
    }
}

#[tokio::test]
async fn a_child_is_told_of_a_request_that_is_given_up_here() {
    let (session, mut unsolicited) = open("modern", Revision::LATEST_MODERN).await;
    let params = raw(r#"{"_meta":{"progressToken":"mine"}}"#);
    let mut exchange = session.request("flood", Some(params)).await.unwrap();
    assert!(matches!(exchange.next().await, ExchangeItem::Notification(_)));
    ask(&session, "echo").await;
    let error = failure(&mut exchange).await;
    assert!(matches!(error, BackendError::Overrun { .. }), "{error:?}");
    let told = timeout(Duration::from_secs(10), unsolicited.next()).await.expect("it is told");
    let Some(Message::Notification(told)) = told else { panic!("{told:?}") };
    assert!(told.params.unwrap().as_str().contains("requestId"));
}

#[tokio::test]
async fn a_modern_child_is_given_no_answers_to_what_it_must_not_ask() {
    let (session, _unsolicited) = open("modern", Revision::LATEST_MODERN).await;
    let items = all(&mut session.request("asks-anyway", None).await.unwrap()).await;
    assert!(matches!(items.as_slice(), [ExchangeItem::Response(_)]), "{items:?}");
    let asked = ask(&session, "asked").await;
    assert_eq!(asked, json!(["server/discover", "asks-anyway", "asked"]), "no response was written");
}

#[tokio::test]
async fn what_a_modern_child_wants_to_know_is_asked() {
    let (session, _unsolicited) = open("modern", Revision::LATEST).await;
    let mut exchange = session.request("tools/call", Some(raw(r#"{"name":"input"}"#))).await.unwrap();
    let ExchangeItem::Request(question) = exchange.next().await else { panic!("no question") };
    assert_eq!(question.method, "elicitation/create");
    session.respond(&Response::result(question.id, raw(r#"{"action":"accept","content":{"n":1}}"#))).await.unwrap();
    let hawser_mcp::Outcome::Result(answer) = outcome(&mut exchange).await else { panic!("an error") };
    let answer: Value = answer.read().unwrap();
    assert_eq!(answer["echoed"]["inputResponses"]["k"]["content"], json!({"n": 1}));
    assert_eq!(answer["echoed"]["requestState"], "s");
}

#[tokio::test]
async fn a_child_ends_a_subscription_in_either_of_two_ways() {
    let (session, mut unsolicited) = open("modern", Revision::LATEST_MODERN).await;
    let filter = || Some(raw(r#"{"notifications":{"toolsListChanged":true}}"#));
    for end in ["end-with-result", "end-with-cancelled"] {
        let mut listening = session.request("subscriptions/listen", filter()).await.unwrap();
        let ExchangeItem::Notification(first) = listening.next().await else { panic!("not acknowledged") };
        assert_eq!(first.method, "notifications/subscriptions/acknowledged");
        // What comes meanwhile is told apart by the id that it carries.
        let items = all(&mut session.request("notes-and-news", None).await.unwrap()).await;
        let methods: Vec<&str> = items
            .iter()
            .filter_map(
                |item| if let ExchangeItem::Notification(told) = item { Some(told.method.as_str()) } else { None },
            )
            .collect();
        assert_eq!(methods, ["notifications/message"]);
        let ExchangeItem::Notification(news) = listening.next().await else { panic!("no news") };
        assert_eq!(news.method, "notifications/tools/list_changed");
        ask(&session, end).await;
        let last = listening.next().await;
        let ExchangeItem::Response(hawser_mcp::Outcome::Result(result)) = last else { panic!("{last:?}") };
        assert!(result.as_str().contains("subscriptionId"));
    }
    assert!(timeout(Duration::from_millis(100), unsolicited.next()).await.is_err(), "nothing went astray");
}

#[tokio::test]
async fn listening_to_a_child_tells_its_changes() {
    let (session, mut unsolicited) = open("modern-with-news", Revision::LATEST).await;
    session.listen();
    let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("not told") };
    assert_eq!(told.method, "notifications/tools/list_changed");
    assert_eq!(told.params.unwrap().as_str(), "{}", "no id of a subscription is left");
}

#[tokio::test]
async fn a_modern_child_that_dies_is_lost_and_the_next_one_is_asked_anew() {
    let backend = backend("modern");
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    let error = failure(&mut session.request("crash", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Lost { .. }) && !error.was_not_processed(), "{error:?}");
    assert!(!session.is_open());
    let (session, _unsolicited) = backend.open(&modern_hello()).await.unwrap();
    assert_eq!(ask(&session, "asked").await, json!(["server/discover", "asked"]));
}
