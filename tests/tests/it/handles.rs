//! Session ids that are not anybody's: all get the very same answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use hawser_probe::wire::Answer;
use hawser_tests::{Gateway, Person, odd_stdio};
use serde_json::json;

/// What is compared of two refusals: status, all headers but the date, body.
#[derive(Debug, PartialEq)]
struct Refusal {
    status: u16,
    headers: Vec<String>,
    body: Vec<u8>,
}

impl Refusal {
    fn of(answer: &Answer) -> Self {
        let headers = answer.headers.iter().filter(|(name, _)| *name != "date");
        let mut headers: Vec<String> = headers.map(|(name, value)| format!("{name}: {value:?}")).collect();
        headers.sort();
        Self { status: answer.status.as_u16(), headers, body: answer.body.clone() }
    }
}

/// `id` with the byte at `at` replaced by another of the same alphabet.
fn changed(id: &str, at: usize) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn every_bad_session_id_gets_one_and_the_same_404() -> Result<()> {
    let endpoints = json!({ "default": { "path": "/mcp" }, "other": { "path": "/other" } });
    let mut configuration = json!({ "backends": { "odd": odd_stdio("well")? }, "endpoints": endpoints });
    for name in ["default", "other"] {
        configuration["endpoints"][name]["backends"] = json!(["odd"]);
    }
    let gateway = Gateway::with_users(configuration).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    let id = alice.open().await?.id.clone().unwrap_or_default();
    ensure!(id.len() > 40 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");

    let mut bad: Vec<(String, String)> = vec![
        ("made up".into(), "00000000-0000-4000-8000-000000000000".into()),
        ("one letter".into(), "x".into()),
        ("truncated".into(), id[..id.len() - 1].into()),
        ("half".into(), id[..id.len() / 2].into()),
        ("longer".into(), format!("{id}A")),
        ("padded".into(), format!("{id}=")),
        ("twice".into(), format!("{id}{id}")),
        ("lower case".into(), id.to_lowercase()),
        ("upper case".into(), id.to_uppercase()),
        ("long".into(), "A".repeat(6_000)),
        ("a path".into(), "../../etc/passwd".into()),
        ("only dots".into(), "....".into()),
    ];
    for at in [0, 1, id.len() / 3, id.len() / 2, id.len() - 2] {
        bad.push((format!("changed at {at}"), changed(&id, at)));
    }
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let first = alice.mcp().post(alice.presented_with("unknown"), body.clone(), Some("1")).await?;
    ensure!(first.answer.status == 404, "{}", first.answer.status);
    for (what, bad) in &bad {
        let refused = alice.mcp().post(alice.presented_with(bad), body.clone(), Some("1")).await?;
        ensure!(
            Refusal::of(&refused.answer) == Refusal::of(&first.answer),
            "{what}: {:?} is not {:?}",
            refused.answer,
            first.answer
        );
        let deleted = alice.mcp().delete(alice.presented_with(bad)).await?;
        ensure!(deleted.status == 404, "DELETE, {what}: {}", deleted.status);
        let listening = alice.mcp().listen(alice.presented_with(bad), None).await?;
        ensure!(!listening.is_open(), "GET, {what}: a stream was opened");
    }
    ensure!(alice.tools().await? == ["odd_act"], "the owner's session suffered");
    Ok(())
}

#[tokio::test]
async fn a_session_id_of_another_endpoint_is_unknown_here() -> Result<()> {
    let endpoints = json!({
        "default": { "path": "/mcp", "backends": ["odd"] },
        "other": { "path": "/other", "backends": ["odd"] },
    });
    let configuration = json!({ "backends": { "odd": odd_stdio("well")? }, "endpoints": endpoints });
    let gateway = Gateway::with_users(configuration).await?;
    let mut here = Person::log_in(&gateway.mcp()?, "alice").await?;
    let mut there = Person::log_in(&gateway.endpoint("other")?, "alice").await?;
    let id = here.open().await?.id.clone().unwrap_or_default();
    there.open().await?;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let refused = there.mcp().post(there.presented_with(&id), body, Some("1")).await?;
    ensure!(refused.answer.status == 404, "{}", refused.answer.status);
    // And a token for one endpoint is not one for the other (RS7).
    let mut strayed = here.at(&gateway.endpoint("other")?);
    let error = strayed.open().await.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(error.contains("401"), "{error:?}");
    ensure!(here.tools().await? == ["odd_act"] && there.tools().await? == ["odd_act"]);
    Ok(())
}

#[tokio::test]
async fn an_event_id_that_is_not_one_opens_nothing_of_anybodys() -> Result<()> {
    let gateway = Gateway::with_users(json!({ "backends": { "odd": odd_stdio("well")? } })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    for bad in ["0", "not an event id", "-1", &"9".repeat(300), alice.session_id()?] {
        let listening = alice.mcp().listen(alice.presented()?, Some(bad)).await?;
        let answer = listening.answer(Duration::ZERO).await;
        let unknown = alice.mcp().listen(alice.presented_with("unknown"), None).await?.answer(Duration::ZERO).await;
        ensure!(answer.status == 404 && Refusal::of(&answer) == Refusal::of(&unknown), "{bad}: {answer:?}");
    }
    ensure!(alice.tools().await? == ["odd_act"]);
    Ok(())
}
