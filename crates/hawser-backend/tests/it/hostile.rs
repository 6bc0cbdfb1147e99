//! Servers that mean harm: too much, elsewhere, ambiguous.

use futures_util::stream;
use hawser_backend::{Backend, BackendError, BackendSession, ChildLimit, ConfigError, Transport};
use hawser_mcp::Revision;
use serde_json::json;

use crate::scripted::{Scripted, answer, failure, hello, initialized, open, status, streamed};

async fn small(server: &Scripted) -> BackendSession {
    let mut config = server.config();
    config.message_bytes_max = 10_000;
    open(config).await.0
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_whether_its_length_is_told_or_not() {
    let server = Scripted::start(|call| match call.rpc() {
        "known" => Some(answer(200, "application/json", "x".repeat(20_000))),
        "unknown" => Some(streamed("application/json", stream::repeat_with(|| Ok("x".repeat(1_000))))),
        "event" => {
            Some(streamed("text/event-stream", stream::repeat_with(|| Ok(format!("data: {}", "x".repeat(1_000))))))
        }
        "lines" => Some(streamed("text/event-stream", stream::repeat_with(|| Ok("data: xxxxxxxxxx\n".to_owned())))),
        _ => None,
    })
    .await;
    let session = small(&server).await;
    for method in ["known", "unknown", "event", "lines"] {
        let error = failure(&mut session.request(method, None).await.unwrap()).await;
        assert!(matches!(error, BackendError::TooLarge { bytes_max: 10_000, .. }), "{method}: {error:?}");
        assert!(!error.was_not_processed());
    }
}

#[tokio::test]
async fn an_endless_refusal_is_judged_by_its_status() {
    let server = Scripted::start(|call| {
        (call.rpc() == "tools/call").then(|| {
            let mut response = streamed("text/plain", stream::repeat_with(|| Ok("session ".repeat(1_000))));
            *response.status_mut() = http::StatusCode::BAD_GATEWAY;
            response
        })
    })
    .await;
    let error = failure(&mut small(&server).await.request("tools/call", None).await.unwrap()).await;
    assert!(matches!(error, BackendError::Refused { status: 502, .. }), "{error:?}");
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_takes_no_credentials_anywhere() {
    let elsewhere = Scripted::start(|_| None).await;
    for code in [301, 302, 307, 308] {
        let target = elsewhere.url.clone();
        let server = Scripted::start(move |call| {
            (call.rpc() == "tools/call").then(|| {
                let mut response = status(code);
                response.headers_mut().insert("location", target.parse().unwrap());
                response
            })
        })
        .await;
        let (session, _unsolicited) = server.open().await;
        let error = failure(&mut session.request("tools/call", None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Refused { status, .. } if status == code), "{error:?}");
        assert!(error.to_string().contains("redirects are not followed"));
    }
    assert!(elsewhere.calls().is_empty());
}

#[tokio::test]
async fn refused_credentials_are_told_as_such() {
    let server = Scripted::start(|call| (call.rpc() == "initialize").then(|| status(401))).await;
    let backend = Backend::new(server.config(), ChildLimit::new(1)).unwrap();
    let error = backend.open(&hello(Revision::LATEST)).await.unwrap_err();
    assert!(matches!(error, BackendError::Refused { status: 401, .. }), "{error:?}");
    assert!(error.to_string().contains("credentials"));
}

#[tokio::test]
async fn a_deep_or_ambiguous_message_is_refused() {
    let deep = format!(r#"{{"jsonrpc":"2.0","id":2,"result":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
    let twin = r#"{"jsonrpc":"2.0","id":2,"result":{},"Result":{}}"#.to_owned();
    let double = r#"{"jsonrpc":"2.0","id":2,"result":{},"result":{}}"#.to_owned();
    for body in [deep, twin, double] {
        let told = body.clone();
        let server =
            Scripted::start(move |call| (call.rpc() == "x").then(|| answer(200, "application/json", body.clone())))
                .await;
        let (session, _unsolicited) = server.open().await;
        let error = failure(&mut session.request("x", None).await.unwrap()).await;
        assert!(matches!(error, BackendError::Protocol { .. }), "{told}: {error:?}");
    }
}

#[tokio::test]
async fn an_unusable_session_id_is_refused() {
    for ids in [&["a b"][..], &["a", "b"], &[""]] {
        let server = Scripted::start(move |call| {
            (call.rpc() == "initialize").then(|| {
                let mut response = initialized(&call.body["id"], "2025-11-25");
                response.headers_mut().remove("mcp-session-id");
                for id in ids {
                    response.headers_mut().append("mcp-session-id", id.parse().unwrap());
                }
                response
            })
        })
        .await;
        let error = Backend::new(server.config(), ChildLimit::new(1)).unwrap().open(&hello(Revision::LATEST)).await;
        assert!(matches!(error, Err(BackendError::Protocol { .. })), "{ids:?}");
    }
}

#[tokio::test]
async fn no_secret_shows_in_what_can_be_printed() {
    let server = Scripted::start(|call| {
        (call.rpc() == "x").then(|| {
            let error = json!({"code": 1, "message": "no"});
            answer(500, "application/json", json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string())
        })
    })
    .await;
    let config = server.config();
    let backend = Backend::new(config.clone(), ChildLimit::new(1)).unwrap();
    let (session, unsolicited) = backend.open(&hello(Revision::LATEST)).await.unwrap();
    let mut exchange = session.request("x", None).await.unwrap();
    let error = failure(&mut exchange).await;
    let shown = format!("{config:?} {backend:?} {session:?} {unsolicited:?} {exchange:?} {error:?} {error}");
    for secret in ["url-secret", "header-secret", "s-1"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[tokio::test]
async fn a_configuration_that_could_never_work_is_refused_by_name() {
    let server = Scripted::start(|_| None).await;
    let with = |url: &str, header: Option<&'static str>| {
        let mut config = server.config();
        let mut headers = http::HeaderMap::new();
        if let Some(header) = header {
            headers.insert(header, "x".parse().unwrap());
        }
        config.transport = Transport::Http { url: url.parse().unwrap(), headers };
        Backend::new(config, ChildLimit::new(1)).map(|_| ())
    };
    assert_eq!(with("http://h/", None), Ok(()));
    for url in ["ftp://h/", "http://user:pw@h/", "http://h/#f", "data:x"] {
        let error = with(url, None).unwrap_err();
        assert!(matches!(error, ConfigError::Url { .. }), "{url}: {error}");
        assert!(!error.to_string().contains("pw"));
    }
    for header in ["mcp-session-id", "host", "content-length", "accept", "transfer-encoding"] {
        assert!(matches!(with("http://h/", Some(header)), Err(ConfigError::Header { .. })), "{header}");
    }
}
