//! How the gateway is asked whether it is well, and how it stops: what is under way is finished, what is new goes elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{
    Answer, Gateway, Legacy, Modern, Mood, Nodes, OddBackend, Person, Script, Speaks, Stage, exchange, retry_of, until,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

/// The status and JSON body of a probe as a kubelet sends it: by address, with no name and no credential.
async fn probe(gateway: &Gateway, path: &str) -> Result<(u16, Value)> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 10.1.2.3:8420\r\nConnection: close\r\n\r\n");
    let answer = exchange(&gateway.address()?, request.as_bytes()).await?;
    Ok((answer.status, serde_json::from_str(answer.body.trim())?))
}

fn asks(key: &str) -> Value {
    json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } })
}

fn accept(_: &str, _: &Value) -> Value {
    json!({ "action": "accept", "content": { "ok": true } })
}

fn eliciting() -> Value {
    json!({ "elicitation": {} })
}

async fn eventually(what: &str, mut check: impl AsyncFnMut() -> bool) -> Result<()> {
    until(what, SOON, async || Ok(check().await.then_some(()))).await
}

async fn draining(gateway: &Gateway) -> Result<()> {
    eventually("the gateway drains", async || gateway.log().contains("stopping")).await
}

#[tokio::test]
async fn probes_are_answered_to_anybody_and_tell_nothing_about_anybody() -> Result<()> {
    let gateway = Gateway::with_users(json!({})).await?;
    ensure!(probe(&gateway, "/healthz").await? == (200, json!({ "status": "alive" })));
    ensure!(probe(&gateway, "/readyz").await? == (200, json!({ "status": "ready", "store": "reachable" })));
    let posted = b"POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let refused = exchange(&gateway.address()?, posted).await?;
    ensure!(refused.status == 405 && refused.header("allow") == Some("GET, HEAD"), "{refused:?}");
    // Every other path still wants to know who was meant.
    let other = b"GET / HTTP/1.1\r\nHost: 10.1.2.3\r\nConnection: close\r\n\r\n";
    ensure!(exchange(&gateway.address()?, other).await?.status == 403);
    Ok(())
}

/// Readiness goes first; during the delay everything is served, on connections that end.
#[tokio::test]
async fn during_the_delay_everything_is_served_and_no_connection_is_kept() -> Result<()> {
    let stage = Stage::with(Speaks::Legacy, json!({ "drain": { "delay": "3s" } })).await?;
    let (alice, bob) = (stage.log_in("alice").await?, stage.log_in("bob").await?);
    let client = stage.legacy(&alice, json!({})).await?;
    let mut listening = client.stream(None).await?;
    ensure!(listening.status == 200);
    stage.gateway.stop_softly().await?;
    eventually("it is not ready", async || {
        probe(&stage.gateway, "/readyz").await.is_ok_and(|(status, body)| status == 503 && body["status"] == "draining")
    })
    .await?;
    ensure!(probe(&stage.gateway, "/healthz").await?.0 == 200);
    let mut listed = client.request("tools/list", json!({})).await?;
    ensure!(listed.headers.get("connection").is_some_and(|value| value == "close"), "{:?}", listed.headers);
    listed.result().await?;
    stage.legacy(&bob, json!({})).await?.result("tools/list", json!({})).await?;
    let mut gateway = stage.gateway;
    // What is left of the delay, and then nothing holds it up: the stream is ended.
    ensure!(gateway.exit().await?.code() == Some(0), "{}", gateway.log());
    while listening.next().await?.is_some() {}
    Ok(())
}

/// A legacy call waits for its client's answer when the signal comes: the answer is taken, a new call is not.
#[tokio::test]
async fn a_question_that_was_put_can_still_be_answered() -> Result<()> {
    let stage = Stage::with(Speaks::Legacy, json!({ "drain": { "grace": "30s" } })).await?;
    let (alice, bob) = (stage.log_in("alice").await?, stage.log_in("bob").await?);
    let client = stage.legacy(&alice, eliciting()).await?;
    let other = stage.legacy(&bob, eliciting()).await?;
    let mut call = client.request("tools/call", asks("asked")).await?;
    let question = call.expect("elicitation/create").await?;
    stage.gateway.stop_softly().await?;
    eventually("no new call is taken", async || {
        client.request("tools/list", json!({})).await.is_ok_and(|answer| answer.status == 503)
    })
    .await?;
    ensure!(other.request("tools/list", json!({})).await?.status == 503);
    ensure!(client.stream(None).await?.status == 503);
    // What was asked of alice is nothing that bob could answer, now as ever.
    let stolen = other.stealing(client.session().context("no session")?);
    ensure!(stolen.respond(&question["id"], accept("", &Value::Null)).await? == 404);
    ensure!(client.respond(&question["id"], accept("", &Value::Null)).await? == 202);
    let result = call.result().await?;
    ensure!(result["isError"] != true, "{result}");
    ensure!(stage.effects("asked").await? == (1, 1));
    let mut gateway = stage.gateway;
    ensure!(gateway.exit().await?.code() == Some(0), "{}", gateway.log());
    Ok(())
}

/// A modern call that is parked when the signal comes is finished by its retry.
#[tokio::test]
async fn a_parked_call_can_still_be_taken_up() -> Result<()> {
    let stage = Stage::with(Speaks::Legacy, json!({ "drain": { "grace": "30s" } })).await?;
    let (alice, bob) = (stage.log_in("alice").await?, stage.log_in("bob").await?);
    let client = stage.modern(&alice)?.declaring(eliciting());
    let other = stage.modern(&bob)?.declaring(eliciting());
    let asked = client.result("tools/call", asks("parked")).await?;
    let retry = retry_of(&asks("parked"), &asked, &accept)?;
    stage.gateway.stop_softly().await?;
    let fresh = client.request("tools/list", json!({}));
    eventually("no new call is taken", async || fresh.send().await.is_ok_and(|answer| answer.status == 503)).await?;
    ensure!(other.error("tools/call", retry.clone()).await.is_ok(), "bob took up alice's call");
    ensure!(stage.effects("parked").await? == (1, 0));
    let result = client.result("tools/call", retry).await?;
    ensure!(result["isError"] != true, "{result}");
    ensure!(stage.effects("parked").await? == (1, 1));
    let mut gateway = stage.gateway;
    ensure!(gateway.exit().await?.code() == Some(0), "{}", gateway.log());
    Ok(())
}

async fn stuck(drain: Value) -> Result<(Gateway, tokio::task::JoinHandle<()>, OddBackend)> {
    let backend = OddBackend::start(Script { call: Mood::Never, ..Script::default() }).await?;
    let configuration = json!({ "backends": { "odd": { "url": backend.url() } }, "drain": drain });
    let gateway = Gateway::with_users(configuration).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    let call = tokio::spawn(async move {
        let _ = alice.call("odd_act", json!({})).await;
    });
    eventually("the call is at the backend", async || backend.seen().iter().any(|seen| seen.method == "tools/call"))
        .await?;
    Ok((gateway, call, backend))
}

#[tokio::test]
async fn what_is_not_done_in_time_is_cut_off_and_counted() -> Result<()> {
    let (mut gateway, call, _backend) = stuck(json!({ "grace": "300ms" })).await?;
    gateway.stop_softly().await?;
    let status = gateway.exit().await?;
    ensure!(status.code() == Some(1), "{status}");
    eventually("the cut call is told", async || gateway.log().contains("stopped with 1 call cut off")).await?;
    call.await?;
    Ok(())
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() -> Result<()> {
    let (mut gateway, call, _backend) = stuck(json!({ "delay": "10m", "grace": "1h" })).await?;
    gateway.stop_softly().await?;
    draining(&gateway).await?;
    gateway.stop_softly().await?;
    let status = gateway.exit().await?;
    ensure!(status.code() == Some(1), "{status}");
    eventually("the cut call is told", async || gateway.log().contains("ended at once, with 1 call cut off")).await?;
    call.await?;
    Ok(())
}

enum Client {
    Legacy(Legacy),
    Modern(Modern),
}

impl Client {
    async fn call(&self) -> Result<Answer> {
        let params = json!({ "name": "test_simple_text" });
        match self {
            Self::Legacy(client) => client.request("tools/call", params).await,
            Self::Modern(client) => client.request("tools/call", params).send().await,
        }
    }

    /// Calls again and again until told to stop: how often that succeeded, and how often it was asked to come back first.
    async fn keep_calling(self, stop: Arc<AtomicBool>) -> Result<(usize, usize)> {
        let (mut done, mut retried) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            let mut answer = self.call().await?;
            if answer.status == 503 && answer.headers.contains_key("retry-after") {
                retried += 1;
                continue;
            }
            let result = answer.result().await?;
            ensure!(result.to_string().contains("simple text"), "{result}");
            done += 1;
        }
        Ok((done, retried))
    }
}

/// Two nodes are replaced one after the other while people of both eras work.
#[tokio::test]
async fn nodes_are_replaced_under_load_and_no_call_fails() -> Result<()> {
    let mut nodes = Nodes::with(2, Speaks::Dual, json!({ "drain": { "delay": "2500ms" } })).await?;
    let stop = Arc::<AtomicBool>::default();
    let mut work = Vec::new();
    for name in ["alice", "bob"] {
        let person = nodes.log_in(name).await?;
        let clients = [Client::Legacy(nodes.legacy(&person, json!({})).await?), Client::Modern(nodes.modern(&person)?)];
        work.extend(clients.map(|client| tokio::spawn(client.keep_calling(Arc::clone(&stop)))));
    }
    for node in &mut nodes.nodes {
        let status = node.stop().await?;
        ensure!(status.code() == Some(0), "{status}: {}", node.log());
        node.start_again().await?;
    }
    stop.store(true, Ordering::Relaxed);
    for calls in work {
        let (done, retried) = calls.await??;
        ensure!(done > 20, "{done} calls, {retried} asked to come back");
    }
    Ok(())
}
