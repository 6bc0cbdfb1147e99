//! Child processes that crash, babble, flood or never start.

use std::time::Duration;

use hawser_backend::{Backend, BackendConfig, BackendError, BackendName, ChildLimit, ExchangeItem, Transport};
use hawser_mcp::{Message, Revision};
use tokio::time::timeout;

use crate::child::{SECRET, backend, config};
use crate::scripted::{all, failure, hello, outcome, raw};
use crate::stdio::{ask, exists, open};

#[tokio::test]
async fn a_crash_fails_every_open_exchange_and_quotes_the_last_words_without_secrets() {
    let (session, mut unsolicited) = open("echo").await;
    let mut waiting = session.request("never", None).await.unwrap();
    let mut crashing = session.request("crash", None).await.unwrap();
    for exchange in [&mut waiting, &mut crashing] {
        let error = failure(exchange).await;
        assert!(matches!(error, BackendError::Lost { .. }) && !error.was_not_processed(), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("status 101") && text.contains("is wrong") && !text.contains(SECRET), "{text}");
        assert!(!error.client_message().contains("wrong"), "{}", error.client_message());
    }
    while unsolicited.next().await.is_some() {}
    assert!(!session.is_open());
    let error = session.request("echo", None).await.unwrap_err();
    assert!(matches!(error, BackendError::Gone { .. }) && error.was_not_processed(), "{error:?}");
}

#[tokio::test]
async fn an_answer_written_just_before_the_exit_still_arrives() {
    let (session, _unsolicited) = open("echo").await;
    assert_eq!(ask(&session, "answer-and-exit").await, "last");
}

#[tokio::test]
async fn a_child_that_closes_its_output_is_over() {
    let (session, mut unsolicited) = open("echo").await;
    let pid = ask(&session, "pid").await;
    let error = failure(&mut session.request("close-stdout", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Lost { .. }), "{error:?}");
    while unsolicited.next().await.is_some() {}
    session.close().await;
    assert!(!exists(&pid));
}

#[tokio::test]
async fn a_child_that_dies_at_start_says_why() {
    let error = backend("dies-at-start").open(&hello(Revision::LATEST)).await.unwrap_err();
    let BackendError::Spawn { reason, .. } = &error else { panic!("{error:?}") };
    assert!(reason.contains("status 3") && reason.contains("cannot log in with [redacted]"), "{reason}");
    assert!(!reason.contains('\u{1b}') && !reason.contains(SECRET), "{reason}");
}

#[tokio::test]
async fn a_program_that_does_not_exist_is_named() {
    let command = vec!["/nonexistent/server".to_owned(), "--token=arg-secret".to_owned()];
    let transport = Transport::Stdio { command, env: Vec::new(), cwd: None };
    let config = BackendConfig::new(BackendName::new("absent").unwrap(), transport);
    let shown = format!("{config:?}");
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    for _ in 0..3 {
        let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
        assert!(
            matches!(&error, BackendError::Spawn { reason, .. } if reason.contains("/nonexistent/server")),
            "{error:?}"
        );
        assert!(!error.to_string().contains("arg-secret") && !shown.contains("arg-secret"));
    }
    let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
    assert!(matches!(error, BackendError::Resting { .. }), "{error:?}");
}

#[tokio::test]
async fn a_child_that_only_babbles_is_no_server() {
    let error = backend("babbles").open(&hello(Revision::LATEST)).await.unwrap_err();
    assert!(matches!(&error, BackendError::Protocol { reason, .. } if reason.contains("no messages")), "{error:?}");
}

#[tokio::test]
async fn a_child_that_never_answers_times_out_and_is_stopped() {
    let limit = ChildLimit::new(1);
    let mut config = config("deaf");
    config.request_timeout = Duration::from_millis(300);
    let backend = Backend::new(config, limit.clone()).unwrap();
    let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
    assert!(matches!(error, BackendError::TimedOut { .. }), "{error:?}");
    let place_is_free = async {
        let other = Backend::new(crate::child::config("echo"), limit).unwrap();
        while let Err(error) = other.open(&hello(Revision::LATEST)).await {
            assert!(matches!(error, BackendError::TooManyChildren { .. }), "{error:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(10), place_is_free).await.expect("its place is given back once it is gone");
}

#[tokio::test]
async fn over_long_lines_fail_exactly_the_exchange_they_answer() {
    let mut config = config("echo");
    config.message_bytes_max = 10_000;
    let backend = Backend::new(config, ChildLimit::new(1)).unwrap();
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let too_large = |error: BackendError| matches!(error, BackendError::TooLarge { bytes_max: 10_000, .. });

    let mut only = session.request("huge-no-id", None).await.unwrap();
    assert!(too_large(failure(&mut only).await));
    let mut bystander = session.request("never", None).await.unwrap();
    for method in ["huge-id-first", "huge-id-last"] {
        let mut exchange = session.request(method, None).await.unwrap();
        assert!(too_large(failure(&mut exchange).await), "{method}");
    }
    let mut noted = session.request("huge-note-first", None).await.unwrap();
    outcome(&mut noted).await;
    let still = timeout(Duration::from_millis(50), bystander.next()).await;
    assert!(still.is_err(), "{still:?}");
    drop(bystander);
    let mut only = session.request("huge-note-first", None).await.unwrap();
    assert_eq!(all(&mut only).await.len(), 1, "a note that is thrown away fails nobody");
    let mut endless = session.request("endless-line", None).await.unwrap();
    assert!(too_large(failure(&mut endless).await), "also before the line ends");
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_ends_the_waiting_for_it() {
    let (session, _unsolicited) = open("echo").await;
    let mut bystander = session.request("never", None).await.unwrap();
    for method in ["deep", "ambiguous"] {
        let error = failure(&mut session.request(method, None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Protocol { .. }), "{method}: {error:?}");
    }
    let still = timeout(Duration::from_millis(50), bystander.next()).await;
    assert!(still.is_err(), "{still:?}");
}

#[tokio::test]
async fn a_flood_is_passed_on_whole_to_who_reads_and_ends_for_who_does_not() {
    let (session, _unsolicited) = open("echo").await;
    let params = Some(raw(r#"{"_meta":{"progressToken":"f"}}"#));
    let mut reading = session.request("flood", params.clone()).await.unwrap();
    assert_eq!(all(&mut reading).await.len(), 20_001);
    let mut sleeping = session.request("flood", params).await.unwrap();
    let other = timeout(Duration::from_secs(10), ask(&session, "pid")).await;
    assert!(other.is_ok_and(|pid| pid.is_number()), "the others go on");
    let items = all(&mut sleeping).await;
    assert!(matches!(items.last(), Some(ExchangeItem::Failed(BackendError::Overrun { .. }))), "{}", items.len());
    assert!(items.len() <= 300, "{}", items.len());
}

#[tokio::test]
async fn unsolicited_floods_wait_for_a_reader_but_hold_nobody_up_without_one() {
    let (session, mut unsolicited) = open("echo").await;
    unsolicited.next().await.unwrap();
    let _in_flight = session.request("never", None).await.unwrap();
    let mut flood = session.request("flood-of-notes", None).await.unwrap();
    for n in 0..5_000 {
        let Some(Message::Notification(told)) = unsolicited.next().await else { panic!("the session is over") };
        assert_eq!(told.params.unwrap().as_str(), format!(r#"{{"data":{n}}}"#));
    }
    assert_eq!(all(&mut flood).await.len(), 1);
    let mut unheard = session.request("flood-of-notes", None).await.unwrap();
    let answer = timeout(Duration::from_secs(10), all(&mut unheard)).await;
    assert_eq!(answer.map(|items| items.len()), Ok(1));
}

#[tokio::test]
async fn a_session_that_is_closed_fails_what_is_open_at_once() {
    let (session, _unsolicited) = open("stays").await;
    let mut waiting = session.request("never", None).await.unwrap();
    let closing = tokio::spawn({
        let session = session.clone();
        async move { session.close().await }
    });
    let error = timeout(Duration::from_secs(1), failure(&mut waiting)).await.expect("before the child is gone");
    assert!(matches!(error, BackendError::Lost { .. }) && !error.was_not_processed(), "{error:?}");
    closing.await.unwrap();
}

#[tokio::test]
async fn children_of_all_backends_share_one_limit() {
    let limit = ChildLimit::new(1);
    let (one, two) =
        (Backend::new(config("echo"), limit.clone()).unwrap(), Backend::new(config("echo"), limit).unwrap());
    let (session, _unsolicited) = one.open(&hello(Revision::LATEST)).await.unwrap();
    for _ in 0..4 {
        let error = two.open(&hello(Revision::LATEST)).await.unwrap_err();
        assert!(matches!(error, BackendError::TooManyChildren { .. }), "the limit never makes it rest: {error:?}");
    }
    session.close().await;
    two.open(&hello(Revision::LATEST)).await.unwrap();
}
