//! Hostile servers: every request ends in time, every body has a limit, every redirect stays unfollowed.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::response::Response;
use futures_util::stream;
use hawser_probe::mcp::{Mcp, Presented};
use hawser_probe::wire::{Ending, Limits, Wire};
use hawser_probe::{Entry, Event, ExamineError, Principals, Report, Secret, Target};
use url::Url;

const LIMITS: Limits = Limits {
    request: Duration::from_millis(300),
    window: Duration::from_millis(50),
    body: 64 * 1024,
    total: Duration::from_secs(20),
};

/// A server that answers everything with what `answer` makes.
async fn server(answer: fn() -> Response) -> Url {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/mcp", listener.local_addr().unwrap())).unwrap();
    let app = axum::Router::new().fallback(move || async move { answer() });
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

async fn examine(url: &Url) -> Result<Report, ExamineError> {
    let target = Target { url: url.clone(), limits: LIMITS, tool: None, slow_tool: None };
    let principals = Principals { owner: Entry::Nobody, stranger: Entry::Nobody };
    hawser_probe::examine(&target, &principals, &mut |_: &Event<'_>| {}).await
}

fn stream_of(body: Body) -> Response {
    Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
}

#[tokio::test]
async fn a_server_that_never_answers_is_left_in_time() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/mcp", listener.local_addr().unwrap())).unwrap();
    let started = Instant::now();
    let error = examine(&url).await.unwrap_err().to_string();
    assert!(error.contains("no answer within 0.3 s"), "{error}");
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_stream_that_never_ends_is_left_in_time() {
    let url = server(|| stream_of(Body::from_stream(stream::pending::<Result<&str, Infallible>>()))).await;
    let started = Instant::now();
    let report = examine(&url).await.unwrap();
    assert!(report.attempts.is_empty() && !report.not_examined.is_empty());
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn a_flood_is_cut_at_the_limit() {
    let flood = || stream_of(Body::from_stream(stream::repeat_with(|| Ok::<_, Infallible>(vec![b'x'; 4096]))));
    let url = server(flood).await;
    let mcp = Mcp::new(Wire::new(&url, LIMITS).unwrap(), url);
    let reply = mcp.post(Presented::default(), "{}".to_owned(), Some("1")).await.unwrap();
    assert_eq!(reply.answer.ending, Ending::TooLarge);
    assert!(reply.answer.body.len() <= LIMITS.body);
}

#[tokio::test]
async fn garbage_is_reported_and_not_examined() {
    let url = server(|| Response::new(Body::from("\u{1b}[2J<html>hello"))).await;
    let report = examine(&url).await.unwrap();
    assert!(report.findings.is_empty());
    let text = hawser_probe::text::report(&report, hawser_probe::text::Colour::Off);
    assert!(text.contains("Nothing could be examined") && !text.contains('\u{1b}'), "{text}");
}

#[tokio::test]
async fn a_redirect_gets_no_token() {
    let url = server(|| {
        Response::builder().status(307).header("location", "http://127.0.0.1:9/").body(Body::empty()).unwrap()
    })
    .await;
    let mcp = Mcp::new(Wire::new(&url, LIMITS).unwrap(), url);
    let token = Secret::new("t");
    let presented = Presented { token: Some(&token), ..Presented::default() };
    assert_eq!(mcp.delete(presented).await.unwrap().status, 307);
}
