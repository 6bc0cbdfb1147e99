//! `hawser stdio`: a client that launches the gateway and speaks to it on its stdin and stdout.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{
    Fixture, Mood, OddBackend, Script, SdkClient, Speaks, StdioConfiguration, StdioGateway, Who, called_text,
    odd_stdio, until,
};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn act() -> Value {
    json!({ "name": "odd_act", "arguments": {} })
}

async fn stage(call: Mood) -> Result<(OddBackend, StdioGateway)> {
    let odd = OddBackend::start(Script { call, ..Script::default() }).await?;
    let mut gateway = StdioGateway::start(&json!({ "backends": { "odd": { "url": odd.url() } } }))?;
    gateway.open().await?;
    Ok((odd, gateway))
}

/// A session from the first line to the last: nothing but messages on stdout, everything ended, exit code 0.
#[tokio::test]
async fn a_session_ends_with_the_input_and_leaves_nothing_behind() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let backends = json!({ "odd": { "url": odd.url() }, "child": odd_stdio("well")? });
    let mut gateway = StdioGateway::start(&json!({ "backends": backends }))?;
    let opened = gateway.open().await?;
    ensure!(opened["result"]["serverInfo"]["name"] == "hawser", "{opened}");
    gateway.request(&1.into(), "tools/list", json!({})).await?;
    let listed = gateway.answer(&1.into()).await?;
    ensure!(listed.to_string().contains("odd_act") && listed.to_string().contains("child_act"), "{listed}");
    for (id, name) in [(2, "odd_act"), (3, "child_act")] {
        gateway.request(&id.into(), "tools/call", json!({ "name": name, "arguments": {} })).await?;
        called_text(&gateway.answer(&id.into()).await?["result"])?;
    }
    let pid = gateway.process().id().context("it runs")?;
    let children = children_of(pid)?;
    ensure!(!children.is_empty(), "the backend is a child process");
    let started = Instant::now();
    let (status, rest) = gateway.finish().await?;
    ensure!(status.code() == Some(0) && rest.is_empty(), "{status} {rest:?}");
    ensure!(started.elapsed() < SOON, "{:?}", started.elapsed());
    ensure!(odd.open_now() == 0 && odd.count("DELETE") > 0, "the backend's session was not ended");
    let gone = async || Ok(children.iter().all(|child| !runs(*child)).then_some(()));
    until("the child has ended", SOON, gone).await
}

/// Whoever starts the process needs no login; so nobody else may reach it.
#[tokio::test]
async fn it_listens_on_no_port() -> Result<()> {
    let (_odd, mut gateway) = stage(Mood::Well).await?;
    gateway.request(&1.into(), "tools/call", act()).await?;
    gateway.answer(&1.into()).await?;
    let pid = gateway.process().id().context("it runs")?;
    let sockets = sockets_of(pid)?;
    ensure!(!sockets.is_empty(), "it is connected to its backend");
    let listening = listening_sockets(pid)?;
    ensure!(sockets.is_disjoint(&listening), "it listens");
    Ok(())
}

#[tokio::test]
async fn requests_run_side_by_side_and_a_cancellation_reaches_the_backend() -> Result<()> {
    let (odd, mut gateway) = stage(Mood::Never).await?;
    gateway.request(&"slow".into(), "tools/call", act()).await?;
    gateway.request(&"quick".into(), "ping", json!({})).await?;
    gateway.answer(&"quick".into()).await?;
    until("the call has arrived", SOON, async || Ok((odd.count("tools/call") > 0).then_some(()))).await?;
    let params = json!({ "requestId": "slow", "reason": "changed my mind" });
    gateway.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })).await?;
    let told = async || Ok(odd.seen().into_iter().find(|seen| seen.method == "notifications/cancelled"));
    let told = until("the backend is told", SOON, told).await?;
    ensure!(told.body.contains("changed my mind"), "{}", told.body);
    // Whoever cancels expects no answer: the next line is another one's.
    gateway.request(&"after".into(), "ping", json!({})).await?;
    gateway.answer(&"after".into()).await?;
    // The id is free again.
    gateway.request(&"slow".into(), "ping", json!({})).await?;
    gateway.answer(&"slow".into()).await?;
    Ok(())
}

#[tokio::test]
async fn what_is_no_message_or_too_long_is_answered_and_the_next_line_is_read() -> Result<()> {
    let configuration = json!({ "backends": { "odd": odd_stdio("well")? }, "limits": { "request_body": "4KiB" } });
    let mut gateway = StdioGateway::start(&configuration)?;
    gateway.open().await?;
    for (line, code) in [
        ("this is no JSON".to_owned(), -32700),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#.to_owned(), -32600),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}"#.to_owned(), -32600),
        (format!(r#"{{"jsonrpc":"2.0","id":1,"method":"ping","params":{{"x":"{}"}}}}"#, "x".repeat(5000)), -32600),
    ] {
        gateway.send_text(&line).await?;
        let refused = gateway.answer(&Value::Null).await?;
        ensure!(refused["error"]["code"] == code, "{line:.80}: {refused}");
    }
    gateway.request(&1.into(), "ping", json!({})).await?;
    gateway.answer(&1.into()).await?;
    Ok(())
}

#[tokio::test]
async fn requests_before_a_session_and_ids_in_use_are_refused_by_their_id() -> Result<()> {
    let odd = OddBackend::start(Script { call: Mood::Never, ..Script::default() }).await?;
    let mut gateway = StdioGateway::start(&json!({ "backends": { "odd": { "url": odd.url() } } }))?;
    gateway.request(&"early".into(), "tools/list", json!({})).await?;
    let refused = gateway.answer(&"early".into()).await?;
    ensure!(refused["error"]["message"].as_str().is_some_and(|text| text.contains("initialize")), "{refused}");
    gateway.open().await?;
    gateway.request(&7.into(), "tools/call", act()).await?;
    gateway.request(&7.into(), "ping", json!({})).await?;
    let refused = gateway.answer(&7.into()).await?;
    ensure!(refused["error"]["code"] == -32600, "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_signal_ends_it_in_order_though_a_call_runs() -> Result<()> {
    let (odd, mut gateway) = stage(Mood::Never).await?;
    gateway.request(&1.into(), "tools/call", act()).await?;
    until("the call has arrived", SOON, async || Ok((odd.count("tools/call") > 0).then_some(()))).await?;
    gateway.process().terminate().await?;
    let status = gateway.process().exit(SOON).await?;
    ensure!(status.code() == Some(0), "{status}");
    ensure!(odd.open_now() == 0, "the backend's session was not ended");
    Ok(())
}

#[tokio::test]
async fn answers_to_what_was_asked_before_the_input_ended_still_come() -> Result<()> {
    let (_odd, mut gateway) = stage(Mood::Well).await?;
    gateway.request(&1.into(), "tools/call", act()).await?;
    let (status, rest) = gateway.finish().await?;
    ensure!(status.code() == Some(0), "{status}");
    let [answer] = rest.as_slice() else { anyhow::bail!("{rest:?}") };
    called_text(&serde_json::from_str::<Value>(answer)?["result"])?;
    Ok(())
}

/// What every request of the stateless era carries.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

/// On a pipe a cancellation is a notification in both eras; over HTTP the modern one is to leave (2026-07-28, Cancellation).
#[tokio::test]
async fn cancelling_a_modern_request_drops_it_and_the_backend_is_told() -> Result<()> {
    let odd = OddBackend::start(Script { call: Mood::Never, ..Script::default() }).await?;
    let mut gateway = StdioGateway::start(&json!({ "backends": { "odd": { "url": odd.url() } } }))?;
    let params = json!({ "name": "odd_act", "arguments": {}, "_meta": meta() });
    gateway.request(&"slow".into(), "tools/call", params).await?;
    until("the call has arrived", SOON, async || Ok((odd.count("tools/call") > 0).then_some(()))).await?;
    let params = json!({ "requestId": "slow" });
    gateway.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params })).await?;
    let told = async || Ok((odd.count("notifications/cancelled") > 0).then_some(()));
    until("the backend is told", SOON, told).await?;
    gateway.request(&"slow".into(), "server/discover", json!({ "_meta": meta() })).await?;
    let discovered = gateway.answer(&"slow".into()).await?;
    ensure!(discovered["result"]["supportedVersions"] == json!(["2026-07-28"]), "{discovered}");
    Ok(())
}

/// The client has no headers, so what a tool wants mirrored into them is mirrored for it, listed before or not.
#[tokio::test]
async fn arguments_that_a_tool_wants_in_headers_are_mirrored() -> Result<()> {
    let fixture = Fixture::start(Speaks::Modern).await?;
    let mut gateway = StdioGateway::start(&json!({ "backends": { "fixture": { "url": fixture.url() } } }))?;
    let arguments = json!({ "region": "zürich", "count": 3, "ship": { "name": "a ship" } });
    let params = json!({ "name": "fixture_test_header_parameters", "arguments": arguments, "_meta": meta() });
    for listed in [false, true] {
        if listed {
            gateway.request(&"list".into(), "tools/list", json!({ "_meta": meta() })).await?;
            gateway.answer(&"list".into()).await?;
        }
        gateway.request(&"call".into(), "tools/call", params.clone()).await?;
        let called = gateway.answer(&"call".into()).await?;
        ensure!(called["result"]["isError"] != true && called.get("error").is_none(), "listed {listed}: {called}");
    }
    Ok(())
}

/// A client nobody here wrote launches it, asks which eras are spoken, and speaks the modern one.
async fn a_client_that_probes(who: Who) -> Result<()> {
    let configuration = StdioConfiguration::new(&json!({ "backends": { "odd": odd_stdio("well")? } }))?;
    let mut client = SdkClient::start(who)?;
    let launched = client.launch(&configuration.command()?, "auto").await?;
    ensure!(launched["protocol"] == "2026-07-28", "{launched}");
    called_text(&client.call("odd_act", json!({})).await?)?;
    client.ask(json!({ "do": "close" })).await?;
    Ok(())
}

#[tokio::test]
async fn python_launches_it_and_probes_for_the_modern_era() -> Result<()> {
    a_client_that_probes(Who::Python).await
}

#[tokio::test]
async fn typescript2_launches_it_and_probes_for_the_modern_era() -> Result<()> {
    a_client_that_probes(Who::TypeScript2).await
}

fn children_of(pid: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let list = std::fs::read_to_string(task?.path().join("children"))?;
        children.extend(list.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
    }
    Ok(children)
}

fn runs(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// The inodes of a process's sockets.
fn sockets_of(pid: u32) -> Result<HashSet<String>> {
    let mut sockets = HashSet::new();
    for file in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        let Ok(target) = std::fs::read_link(file?.path()) else { continue };
        let inode = target.to_str().and_then(|target| target.strip_prefix("socket:[")?.strip_suffix(']'));
        sockets.extend(inode.map(str::to_owned));
    }
    Ok(sockets)
}

/// The inodes of all TCP sockets that listen (state 0A), and of all UDP sockets, which need not.
fn listening_sockets(pid: u32) -> Result<HashSet<String>> {
    let mut listening = HashSet::new();
    for (table, any) in [("tcp", false), ("tcp6", false), ("udp", true), ("udp6", true)] {
        let text = std::fs::read_to_string(format!("/proc/{pid}/net/{table}"));
        // A machine may have no IPv6.
        let text = if table.ends_with('6') { text.unwrap_or_default() } else { text? };
        for line in text.lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let (Some(state), Some(inode)) = (columns.get(3), columns.get(9)) else { continue };
            if any || *state == "0A" {
                listening.insert((*inode).to_owned());
            }
        }
    }
    Ok(listening)
}
