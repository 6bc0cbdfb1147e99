//! Several nodes that are one gateway: no request has to come back to the node that had the one before.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hawser_tests::{Legacy, Nodes, SERVED_BY, Speaks, until};
use serde_json::{Value, json};

/// How long a node may not know what happened at another.
const STALENESS: Duration = Duration::from_secs(1);

async fn status(client: &Legacy) -> Result<u16> {
    Ok(client.request("tools/list", json!({})).await?.status.as_u16())
}

#[tokio::test]
async fn a_session_is_its_owners_on_every_node_and_over_on_every_node() -> Result<()> {
    let nodes = Nodes::new(3, Speaks::Legacy).await?;
    let (alice, eve) = (nodes.log_in("alice").await?, nodes.log_in("eve").await?);
    let client = nodes.legacy_on(0, &alice, json!({})).await?;
    for node in 0..3 {
        let here = client.at(&nodes.at(node)?);
        let tools = here.result("tools/list", json!({})).await?;
        ensure!(tools["tools"].as_array().is_some_and(|tools| !tools.is_empty()), "node {node}: {tools}");
        let called = here.result("tools/call", json!({ "name": "test_simple_text" })).await?;
        ensure!(called["content"].as_array().is_some_and(|content| !content.is_empty()), "node {node}: {called}");
        let stranger = here.presenting(eve.token());
        ensure!(status(&stranger).await? == 404, "a stranger at node {node}");
        ensure!(stranger.delete().await? == 404, "a stranger at node {node}");
        ensure!(stranger.stream(None).await?.status == 404, "a stranger at node {node}");
    }
    ensure!(client.at(&nodes.at(1)?).delete().await? == 204);
    let ended = Instant::now();
    for node in [1, 0, 2] {
        let here = client.at(&nodes.at(node)?);
        until("the session is over", STALENESS, async || Ok((status(&here).await? == 404).then_some(()))).await?;
    }
    ensure!(ended.elapsed() <= STALENESS + Duration::from_millis(500), "{:?}", ended.elapsed());
    Ok(())
}

#[tokio::test]
async fn whole_conversations_are_spread_over_all_nodes() -> Result<()> {
    let nodes = Nodes::new(3, Speaks::Dual).await?;
    let mut alice = nodes.log_in("alice").await?;
    let mut legacy = nodes.legacy(&alice, json!({})).await?;
    let mut modern = nodes.modern(&alice)?;
    let mut served_by = BTreeSet::new();
    for round in 0..9 {
        let call = json!({ "name": "test_simple_text" });
        let mut answer = legacy.request("tools/call", call.clone()).await?;
        served_by.insert(("legacy", answer.header(SERVED_BY.as_str()).to_owned()));
        let said: Value = answer.result().await?;
        ensure!(said.to_string().contains("simple text"), "{said}");
        let mut answer = modern.request("tools/call", call).send().await?;
        served_by.insert(("modern", answer.header(SERVED_BY.as_str()).to_owned()));
        answer.result().await?;
        if round % 3 == 2 {
            alice.refresh().await?;
            legacy = legacy.presenting(alice.token());
            modern = modern.presenting(alice.token());
        }
    }
    ensure!(served_by.len() == 6, "each era on each node: {served_by:?}");
    Ok(())
}

#[tokio::test]
async fn a_session_outlives_the_node_that_opened_it() -> Result<()> {
    let mut nodes = Nodes::new(2, Speaks::Legacy).await?;
    let alice = nodes.log_in("alice").await?;
    let client = nodes.legacy_on(0, &alice, json!({})).await?;
    nodes.nodes[0].kill().await?;
    for _ in 0..4 {
        ensure!(status(&client).await? == 200);
    }
    nodes.nodes[0].start_again().await?;
    ensure!(status(&client.at(&nodes.at(0)?)).await? == 200);
    Ok(())
}
