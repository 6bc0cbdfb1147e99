//! Sessions with child processes, when all goes well: answers, routing, an orderly end.

use std::time::Duration;

use hawser_backend::{Backend, BackendError, BackendSession, ChildLimit, ExchangeItem, Transport, Unsolicited};
use hawser_mcp::{Message, Outcome, Response, Revision};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::child::{backend, config};
use crate::scripted::{all, failure, hello, outcome, raw};

pub(crate) async fn open(role: &str) -> (BackendSession, Unsolicited) {
    backend(role).open(&hello(Revision::LATEST)).await.unwrap()
}

pub(crate) async fn ask(session: &BackendSession, method: &str) -> Value {
    match outcome(&mut session.request(method, None).await.unwrap()).await {
        Outcome::Result(result) => result.read().unwrap(),
        Outcome::Error(error) => panic!("{}", error.as_str()),
    }
}

/// Whether a process exists, be it as a zombie.
pub(crate) fn exists(pid: &Value) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

/// Whether a process runs; a grandchild that was killed may wait for whoever reaps orphans.
fn runs(pid: &Value) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn a_child_answers_byte_for_byte_whatever_line_ends_the_params_have() {
    let (session, mut unsolicited) = open("echo").await;
    let params = raw("{\r\n \"n\": 1234567890123456789,\n \"text\": \"a\\nb\" }");
    let mut exchange = session.request("echo", Some(params)).await.unwrap();
    let Outcome::Result(result) = outcome(&mut exchange).await else { panic!("an error") };
    assert_eq!(result.as_str(), r#"{"n":1234567890123456789,"text":"a\nb"}"#);
    let told = unsolicited.next().await.unwrap();
    let Message::Notification(told) = told else { panic!("{told:?}") };
    assert!(told.params.unwrap().as_str().contains("notifications/initialized"), "the handshake was completed");
    session.close().await;
    assert_eq!(unsolicited.next().await, None);
}

#[tokio::test]
async fn a_child_of_the_first_revision_is_spoken_to_as_the_oldest_one() {
    let (session, mut unsolicited) = open("first-revision").await;
    assert_eq!(session.server().revision, Revision::V2025_03_26);
    assert_eq!(ask(&session, "banner").await, "after the banner");
    let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("not told") };
    assert!(told.params.unwrap().as_str().contains("notifications/initialized"), "the handshake was completed");
}

#[tokio::test]
async fn a_child_inherits_only_what_it_needs_and_what_is_configured() {
    let (session, _unsolicited) = open("echo").await;
    let environment = ask(&session, "environment").await;
    let names: Vec<&str> = environment.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.contains(&"PATH") && names.contains(&"CHILD_TOKEN"));
    let allowed = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "TERM"];
    let own = ["CHILD_TOKEN", "HAWSER_TEST_ROLE"];
    for name in names {
        assert!(allowed.contains(&name) || own.contains(&name), "{name} was inherited");
    }
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there was something to leave out");
}

#[tokio::test]
async fn progress_finds_its_exchange_among_several() {
    let (session, _unsolicited) = open("echo").await;
    let meta = |token: &str| Some(raw(&format!(r#"{{"_meta":{{"progressToken":{token}}}}}"#)));
    let mut first = session.request("progress-and-wait", meta("1")).await.unwrap();
    let mut second = session.request("progress", meta(r#""1""#)).await.unwrap();
    let items = all(&mut second).await;
    let [ExchangeItem::Notification(told), ExchangeItem::Response(_)] = items.as_slice() else { panic!("{items:?}") };
    assert_eq!(told.params.as_ref().unwrap().as_str(), r#"{"progressToken":"1"}"#);
    let ExchangeItem::Notification(told) = first.next().await else { panic!("nothing told") };
    assert_eq!(told.params.unwrap().as_str(), r#"{"progressToken":1}"#);
}

#[tokio::test]
async fn notes_come_before_the_answer_in_order_and_news_of_the_server_to_all() {
    let (session, mut unsolicited) = open("echo").await;
    unsolicited.next().await.unwrap();
    let mut exchange = session.request("notes", None).await.unwrap();
    let items = all(&mut exchange).await;
    assert_eq!(items.len(), 101);
    for (n, item) in items.iter().take(100).enumerate() {
        let ExchangeItem::Notification(told) = item else { panic!("{item:?}") };
        assert_eq!(told.params.as_ref().unwrap().as_str(), format!(r#"{{"data":{n}}}"#));
    }
    assert_eq!(all(&mut session.request("news", None).await.unwrap()).await.len(), 1);
    let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("no news") };
    assert_eq!(told.method, "notifications/tools/list_changed");
}

#[tokio::test]
async fn questions_reach_the_only_exchange_pings_nobody_and_answers_the_child() {
    let (session, mut unsolicited) = open("echo").await;
    unsolicited.next().await.unwrap();
    let mut exchange = session.request("ask", None).await.unwrap();
    let ExchangeItem::Request(question) = exchange.next().await else { panic!("no question") };
    assert_eq!(question.method, "roots/list");
    session.respond(&Response::result(question.id, raw(r#"{"roots":[]}"#))).await.unwrap();
    let mut answers = Vec::new();
    for _ in 0..2 {
        let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("not told") };
        answers.push(told.params.unwrap().read::<Value>().unwrap()["got"].clone());
    }
    assert_eq!(answers[0], serde_json::json!({"jsonrpc": "2.0", "id": "p", "result": {}}));
    assert_eq!(answers[1], serde_json::json!({"jsonrpc": "2.0", "id": "q", "result": {"roots": []}}));
}

#[tokio::test]
async fn a_call_does_not_time_out_while_a_person_thinks_about_a_question_that_came_between_two_calls() {
    let mut config = config("echo");
    config.request_timeout = Duration::from_millis(500);
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let (session, mut unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let mut quiet = session.request("never", None).await.unwrap();
    let mut asking = session.request("ask", None).await.unwrap();
    let question = loop {
        if let Message::Request(request) = unsolicited.next().await.unwrap() {
            break request;
        }
    };
    let both = async { tokio::join!(quiet.next(), asking.next()) };
    assert!(timeout(Duration::from_millis(1_500), both).await.is_err(), "the person is thinking");
    session.respond_in_background(Response::result(question.id, raw(r#"{"roots":[]}"#)));
    let (quiet, asking) = tokio::join!(failure(&mut quiet), failure(&mut asking));
    assert!(matches!(quiet, BackendError::TimedOut { .. }) && matches!(asking, BackendError::TimedOut { .. }));
}

#[tokio::test]
async fn cancelling_reaches_the_child_and_forgets_the_answer() {
    let (session, mut unsolicited) = open("echo").await;
    unsolicited.next().await.unwrap();
    let exchange = session.request("never", None).await.unwrap();
    exchange.cancel(Some("enough")).await;
    let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("not told") };
    // After the probe and the handshake.
    assert_eq!(told.params.unwrap().as_str(), r#"{"reason":"enough","requestId":3}"#);
    assert_eq!(ask(&session, "pid").await.as_u64().map(|pid| pid > 0), Some(true));
}

#[tokio::test]
async fn a_dropped_exchange_leaves_nothing_behind() {
    let (session, _unsolicited) = open("echo").await;
    drop(session.request("never", None).await.unwrap());
    let items = all(&mut session.request("notes", None).await.unwrap()).await;
    assert_eq!(items.len(), 101, "what belongs to the only exchange reaches it");
}

#[tokio::test]
async fn duplicate_and_foreign_answers_are_ignored() {
    let (session, _unsolicited) = open("echo").await;
    assert_eq!(ask(&session, "twice").await, "first");
    assert_eq!(ask(&session, "twice").await, "first");
}

#[tokio::test]
async fn a_banner_on_standard_output_is_skipped() {
    let (session, _unsolicited) = open("echo").await;
    assert_eq!(ask(&session, "banner").await, "after the banner");
}

#[tokio::test]
async fn closing_closes_the_input_and_lets_the_child_finish() {
    let directory = tempfile::tempdir().unwrap();
    let note = directory.path().join("note");
    let mut config = config("leaves-a-note");
    let Transport::Stdio { env, cwd, .. } = &mut config.transport else { panic!("not stdio") };
    env.push(("NOTE".to_owned(), "note".to_owned()));
    *cwd = Some(directory.path().to_owned());
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let (session, mut unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let pid = ask(&session, "pid").await;
    let started = Instant::now();
    session.close().await;
    assert!(started.elapsed() < Duration::from_secs(2), "no signal was needed");
    assert_eq!(std::fs::read_to_string(note).unwrap(), "input closed");
    assert!(!exists(&pid), "not even a zombie is left");
    assert!(matches!(session.request("echo", None).await, Err(BackendError::Closed { .. })));
    session.close().await;
    while unsolicited.next().await.is_some() {}
}

#[tokio::test]
async fn a_child_that_ignores_everything_is_killed() {
    let (session, _unsolicited) = open("ignores-sigterm").await;
    let pid = ask(&session, "pid").await;
    let started = Instant::now();
    session.close().await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(3_900) && took < Duration::from_secs(8), "{took:?}");
    assert!(!exists(&pid));
}

#[tokio::test]
async fn a_child_that_stays_after_its_input_is_closed_is_asked_to_end() {
    let (session, _unsolicited) = open("stays").await;
    let pid = ask(&session, "pid").await;
    let started = Instant::now();
    session.close().await;
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(1_900) && took < Duration::from_millis(3_900), "{took:?}");
    assert!(!exists(&pid));
}

#[tokio::test]
async fn grandchildren_go_with_their_parent() {
    let (session, _unsolicited) = open("echo").await;
    let grandchild = ask(&session, "spawn-grandchild").await;
    assert!(runs(&grandchild));
    session.close().await;
    let gone = async {
        while runs(&grandchild) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("the grandchild is killed");
}

#[tokio::test]
async fn dropping_the_last_clone_stops_the_child() {
    let (session, mut unsolicited) = open("echo").await;
    let pid = ask(&session, "pid").await;
    let clone = session.clone();
    drop(session);
    assert_eq!(ask(&clone, "pid").await, pid);
    drop(clone);
    let ended = async { while unsolicited.next().await.is_some() {} };
    timeout(Duration::from_secs(5), ended).await.unwrap();
    let gone = async {
        while exists(&pid) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("the child is stopped");
}
