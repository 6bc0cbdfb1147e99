//! What one node alone holds, reached through others: questions, parked calls, streams, what a client wants of its backends.
//! Every step names the node that it is sent to; the second owner tries the same and gets nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Answer, Legacy, Modern, Nodes, Person, Speaks, retry_of, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(20);

fn asks() -> Value {
    json!({ "elicitation": {} })
}

fn side_effect(key: &str) -> Value {
    json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } })
}

fn accept() -> Value {
    json!({ "action": "accept", "content": { "ok": true } })
}

fn accepted(_: &str, _: &Value) -> Value {
    accept()
}

fn text(result: &Value) -> &str {
    result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default()
}

fn event_id(answer: &Answer) -> Result<String> {
    Ok(answer.last_event_id().context("no event id")?.to_owned())
}

async fn legacy(nodes: &Nodes, node: usize, person: &Person) -> Result<Legacy> {
    let client = nodes.legacy_on(node, person, asks()).await?;
    Ok(client.at(&nodes.at(node)?))
}

fn modern(nodes: &Nodes, node: usize, person: &Person) -> Result<Modern> {
    Ok(nodes.modern(person)?.declaring(asks()).at(&nodes.at(node)?))
}

#[tokio::test]
async fn a_question_of_one_node_is_answered_at_another_by_its_owner_only() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let (alice, eve) = (nodes.log_in("alice").await?, nodes.log_in("eve").await?);
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    let strange = legacy(&nodes, 1, &eve).await?;
    let mut answer = here.request("tools/call", side_effect("asked")).await?;
    let question = answer.expect("elicitation/create").await?["id"].clone();
    let stolen = strange.stealing(here.session().context("no session")?);
    ensure!(stolen.respond(&question, accept()).await? == 404);
    // In a session of her own the id means nothing, at the other node either: it never was, or is of before.
    strange.respond(&question, accept()).await?;
    ensure!(nodes.fixture.effects("asked").await? == (1, 0), "another owner's answer was taken");
    ensure!(there.respond(&question, accept()).await? == 202);
    ensure!(text(&answer.result().await?) == "asked was carried out 1 times");
    // Late, and said to nobody.
    ensure!(there.respond(&question, accept()).await? == 202);
    ensure!(nodes.fixture.effects("asked").await? == (1, 1));
    Ok(())
}

/// The status that is answered about a node that was killed. For a moment it may be cut off from the store as well: until it is known
/// to have ended, the client is asked to come back.
async fn once_ended(mut ask: impl AsyncFnMut() -> Result<u16>) -> Result<u16> {
    until("the node is known to have ended", PATIENCE, async || Ok(Some(ask().await?).filter(|status| *status != 503)))
        .await
}

#[tokio::test]
async fn a_question_whose_node_has_ended_takes_a_late_answer_and_runs_nothing() -> Result<()> {
    let mut nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    let mut answer = here.request("tools/call", side_effect("ended")).await?;
    let question = answer.expect("elicitation/create").await?["id"].clone();
    nodes.nodes[0].kill().await?;
    let status = once_ended(async || Ok(there.respond(&question, accept()).await?.as_u16())).await?;
    ensure!(status == 202, "the call ended with its node: {status}");
    ensure!(nodes.fixture.effects("ended").await? == (1, 0));
    ensure!(there.request("tools/list", json!({})).await?.status == 200, "the session goes on");
    Ok(())
}

#[tokio::test]
async fn a_call_is_cancelled_from_another_node() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    let mut answer = here.request_as(&json!("call"), "tools/call", side_effect("cancelled")).await?;
    answer.expect("elicitation/create").await?;
    ensure!(there.request("ping", json!({})).await?.status == 200);
    there.notify("notifications/cancelled", Some(json!({ "requestId": "call" }))).await?;
    let rest = tokio::time::timeout(PATIENCE, answer.all()).await.context("it goes on")??;
    ensure!(rest.iter().all(|message| message.get("result").is_none()), "{rest:?}");
    ensure!(nodes.fixture.effects("cancelled").await? == (1, 0));
    Ok(())
}

#[tokio::test]
async fn a_calls_stream_is_taken_up_at_another_node_by_its_owner_only() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let (alice, eve) = (nodes.log_in("alice").await?, nodes.log_in("eve").await?);
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    let mut answer = here.request("tools/call", side_effect("resumed")).await?;
    let question = answer.expect("elicitation/create").await?["id"].clone();
    let event = event_id(&answer)?;
    drop(answer);
    let strange = legacy(&nodes, 1, &eve).await?;
    ensure!(strange.stealing(here.session().context("no session")?).stream(Some(&event)).await?.status == 404);
    ensure!(strange.stream(Some(&event)).await?.status == 404, "another owner's event id");
    ensure!(there.respond(&question, accept()).await? == 202);
    let mut resumed = there.stream(Some(&event)).await?;
    let result = tokio::time::timeout(PATIENCE, resumed.result()).await.context("no result")??;
    ensure!(text(&result) == "resumed was carried out 1 times", "{result}");
    ensure!(nodes.fixture.effects("resumed").await? == (1, 1));
    Ok(())
}

#[tokio::test]
async fn streams_of_a_node_that_has_ended_are_gone_or_begin_anew() -> Result<()> {
    let mut nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    let mut standing = here.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    let mut answer = here.request("tools/call", side_effect("gone")).await?;
    answer.expect("elicitation/create").await?;
    let (call, standing) = (event_id(&answer)?, event_id(&standing)?);
    nodes.nodes[0].kill().await?;
    ensure!(once_ended(async || Ok(there.stream(Some(&call)).await?.status.as_u16())).await? == 410);
    let mut anew = there.stream(Some(&standing)).await?;
    for changed in ["tools", "prompts", "resources"] {
        anew.expect(&format!("notifications/{changed}/list_changed")).await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_changes_is_told_where_the_client_listens() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    here.result("tools/list", json!({})).await?;
    let mut standing = there.stream(None).await?;
    standing.event().await?.context("no priming event")?;
    here.result("tools/call", json!({ "name": "test_trigger_tool_change", "arguments": {} })).await?;
    let told = standing.expect("notifications/tools/list_changed");
    tokio::time::timeout(PATIENCE, told).await.context("nothing was told")??;
    Ok(())
}

#[tokio::test]
async fn a_parked_call_is_taken_up_through_another_node_by_its_owner_and_once() -> Result<()> {
    let nodes = Nodes::new(3, Speaks::Legacy).await?;
    let (alice, eve) = (nodes.log_in("alice").await?, nodes.log_in("eve").await?);
    let (here, there) = (modern(&nodes, 0, &alice)?, modern(&nodes, 1, &alice)?);
    let call = side_effect("parked");
    let asked = here.result("tools/call", call.clone()).await?;
    let retry = retry_of(&call, &asked, &accepted)?;
    modern(&nodes, 1, &eve)?.error("tools/call", retry.clone()).await.context("another owner's retry")?;
    ensure!(nodes.fixture.effects("parked").await? == (1, 0));
    let elsewhere = [1, 2, 1, 2].map(|node| modern(&nodes, node, &alice));
    let elsewhere = elsewhere.into_iter().collect::<Result<Vec<_>>>()?;
    let tries = elsewhere.iter().map(|client| client.result("tools/call", retry.clone()));
    let results = futures_util::future::join_all(tries).await;
    let done: Vec<_> = results.iter().filter_map(|result| result.as_ref().ok()).collect();
    ensure!(done.len() == 1 && text(done[0]) == "parked was carried out 1 times", "{results:?}");
    there.error("tools/call", retry).await.context("a used state")?;
    ensure!(nodes.fixture.effects("parked").await? == (1, 1));
    Ok(())
}

#[tokio::test]
async fn a_parked_call_whose_node_has_ended_is_said_to_be_gone_and_not_run_again() -> Result<()> {
    let mut nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let (here, there) = (modern(&nodes, 0, &alice)?, modern(&nodes, 1, &alice)?);
    let call = side_effect("lost");
    let asked = here.result("tools/call", call.clone()).await?;
    let retry = retry_of(&call, &asked, &accepted)?;
    nodes.nodes[0].kill().await?;
    let mut lost = None;
    once_ended(async || {
        let mut answer = there.request("tools/call", retry.clone()).send().await?;
        let status = answer.status.as_u16();
        lost = Some(answer.error().await?);
        Ok(status)
    })
    .await?;
    let code = lost.as_ref().and_then(|error| error["code"].as_i64());
    ensure!(code == Some(-32602), "{lost:?}");
    ensure!(nodes.fixture.effects("lost").await? == (1, 0));
    Ok(())
}

#[tokio::test]
async fn what_a_client_wants_of_its_backends_is_known_at_every_node() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let here = legacy(&nodes, 0, &alice).await?;
    let there = here.at(&nodes.at(1)?);
    for client in [&here, &there] {
        client.result("tools/call", json!({ "name": "test_simple_text" })).await?;
    }
    let before = nodes.recorder.count("logging/setLevel");
    here.result("logging/setLevel", json!({ "level": "warning" })).await?;
    until("both backend sessions know the level", PATIENCE, async || {
        Ok((nodes.recorder.count("logging/setLevel") >= before + 2).then_some(()))
    })
    .await
}
