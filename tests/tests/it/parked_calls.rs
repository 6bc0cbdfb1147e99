//! Calls of modern clients that wait at a legacy backend for an answer, parked by the gateway: taken up once, and said to be
//! gone when they are.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Modern, Person, Speaks, Stage, retry_of, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn modern(stage: &Stage, person: &Person) -> Result<Modern> {
    Ok(stage.modern(person)?.declaring(json!({ "elicitation": {} })))
}

/// The tool that counts its runs, asking between begin and end.
fn side_effect(key: &str) -> Value {
    json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } })
}

fn accept(_: &str, _: &Value) -> Value {
    json!({ "action": "accept", "content": { "ok": true } })
}

fn text(result: &Value) -> &str {
    result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default()
}

/// Two retries at the same moment with one state: one of them goes through.
#[tokio::test]
async fn of_two_retries_at_once_one_goes_through() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let client = modern(&stage, &stage.log_in("alice").await?)?;
    let call = side_effect("twice");
    let asked = client.result("tools/call", call.clone()).await?;
    let retry = retry_of(&call, &asked, &accept)?;
    let tries = (0..8).map(|_| client.result("tools/call", retry.clone()));
    let results = futures_util::future::join_all(tries).await;
    ensure!(results.iter().filter(|result| result.is_ok()).count() == 1, "{results:?}");
    ensure!(stage.effects("twice").await? == (1, 1));
    Ok(())
}

/// A parked call that is gone is said to be gone: never run again, neither after a restart nor after its time.
#[tokio::test]
async fn a_parked_call_that_the_gateway_lost_is_an_error_and_not_run_again() -> Result<()> {
    let mut stage = Stage::new(Speaks::Legacy).await?;
    let alice = stage.log_in("alice").await?;
    let client = modern(&stage, &alice)?;
    let call = side_effect("lost");
    let asked = client.result("tools/call", call.clone()).await?;
    let retry = retry_of(&call, &asked, &accept)?;
    stage.gateway.crash().await?;
    let (status, error) = client.error("tools/call", retry.clone()).await?;
    let message = error["message"].as_str().unwrap_or_default();
    ensure!(!message.is_empty(), "{status} {error}");
    ensure!(stage.effects("lost").await? == (1, 0), "{:?}: {error}", stage.effects("lost").await?);
    client.error("tools/call", retry).await.context("the second try")?;
    ensure!(stage.effects("lost").await? == (1, 0));
    let (result, _) = client.answering("tools/call", side_effect("anew"), &accept).await?;
    ensure!(text(&result) == "anew was carried out 1 times", "{result}");
    Ok(())
}

/// Where both sides are stateless nothing is parked, and a restart between question and answer loses nothing.
#[tokio::test]
async fn a_stateless_call_goes_on_after_a_restart() -> Result<()> {
    let mut stage = Stage::new(Speaks::Modern).await?;
    let client = modern(&stage, &stage.log_in("alice").await?)?;
    let call = side_effect("kept");
    let asked = client.result("tools/call", call.clone()).await?;
    let retry = retry_of(&call, &asked, &accept)?;
    stage.gateway.crash().await?;
    let result = client.result("tools/call", retry).await?;
    ensure!(text(&result) == "kept was carried out 1 times", "{result}");
    Ok(())
}

#[tokio::test]
async fn a_request_state_whose_time_is_up_is_refused_and_its_call_ended() -> Result<()> {
    let stage = Stage::with(Speaks::Legacy, json!({ "limits": { "client_answer": "1s" } })).await?;
    let client = modern(&stage, &stage.log_in("alice").await?)?;
    let call = side_effect("late");
    let asked = client.result("tools/call", call.clone()).await?;
    let retry = retry_of(&call, &asked, &accept)?;
    until("the end of the parked call", SOON, async || {
        let told = stage.recorder.count("notifications/cancelled") > 0;
        let answered = stage.capture.messages().iter().any(|captured| {
            captured.answers.as_deref() == Some("elicitation/create")
                && (captured.message.get("error").is_some() || captured.message["result"]["action"] == "cancel")
        });
        Ok((told || answered).then_some(()))
    })
    .await?;
    client.error("tools/call", retry).await?;
    ensure!(stage.effects("late").await?.0 == 1 && stage.effects("late").await?.1 == 0);
    Ok(())
}
