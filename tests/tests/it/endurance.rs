//! What a session must survive: slow neighbours, limits, restarts, late answers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Mood, OddBackend, Person, Script, called_text, python, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(15);

/// A small MCP server over standard input and output; every message is handled in a thread of its own.
const PUPPET: &str = r#"
import sys, json, threading, time
lock = threading.Lock(); seen = []; waits = {}; number = [0]; MODE = sys.argv[1] if len(sys.argv) > 1 else ""
def send(m):
    with lock:
        print(json.dumps(m), flush=True)
def ask(method, params=None, timeout=5, wait=True):
    number[0] += 1; i = number[0]; w = [threading.Event(), None]; waits[i] = w
    send({"jsonrpc": "2.0", "id": i, "method": method, **({"params": params} if params else {})})
    if not wait: return None
    return w[1] if w[0].wait(timeout) else None
def say(r): return "silence" if r is None else "refused" if "error" in r else "answered"
def text(t): return {"content": [{"type": "text", "text": t}]}
state = {"first": "not asked"}
def call(name, a):
    if name == "seen": return text(json.dumps(seen))
    if name == "first": return text(state["first"])
    if name == "ask":
        state["first"] = say(ask("roots/list", timeout=a.get("wait", 5))); return text(state["first"])
    if name == "late": ask("roots/list", wait=False); return text("done")
    if name == "spam":
        def spam():
            time.sleep(0.3)
            for _ in range(40): ask("roots/list", wait=False)
        threading.Thread(target=spam, daemon=True).start(); return text("soon")
    if name == "sleep": time.sleep(a["s"]); return text("slept")
    return text("acted")
def handle(m):
    method, i = m.get("method"), m.get("id")
    if method is None:
        w = waits.get(i)
        if w: w[1] = m; w[0].set()
        return
    seen.append(method)
    if i is None: return
    r = {}
    if method == "initialize":
        if MODE == "mute": return
        caps = {"tools": {}, "resources": {"subscribe": True}}
        if MODE == "nolevel": caps["logging"] = {}
        r = {"protocolVersion": m["params"]["protocolVersion"], "capabilities": caps, "serverInfo": {"name": "puppet", "version": "1"}}
    elif method == "logging/setLevel":
        if MODE == "nolevel": return
    elif method == "tools/list":
        if MODE == "nolist": return
        if MODE == "asks": state["first"] = say(ask("roots/list", timeout=3))
        r = {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]}
    elif method == "tools/call": r = call(m["params"]["name"], m["params"].get("arguments", {}))
    elif method == "resources/list": r = {"resources": [{"uri": "a://" + MODE, "name": "x"}]}
    elif method == "resources/templates/list": r = {"resourceTemplates": []}
    elif method == "resources/read": r = {"contents": [{"uri": m["params"]["uri"], "text": "read"}]}
    send({"jsonrpc": "2.0", "id": i, "result": r})
for line in sys.stdin:
    threading.Thread(target=handle, args=(json.loads(line),), daemon=True).start()
"#;

fn puppet(mode: &str) -> Result<Value> {
    Ok(json!({ "command": [python("python3")?, "-u", "-c", PUPPET, mode] }))
}

async fn alice_at(configuration: Value) -> Result<(Gateway, Person)> {
    let gateway = Gateway::with_users(configuration).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    Ok((gateway, alice))
}

#[tokio::test]
async fn stop_does_not_wait_for_a_backend_that_hangs_while_it_is_opened() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let (mut gateway, mut alice) = alice_at(json!({ "backends": { "odd": { "url": odd.url() } } })).await?;
    odd.play(Script { initialize: Mood::Never, ..Script::default() });
    let before = odd.count("initialize");
    let stuck = tokio::spawn(async move { alice.tools().await });
    until("it is being opened", SOON, async || Ok((odd.count("initialize") > before).then_some(()))).await?;
    let started = Instant::now();
    let stopped = gateway.stop().await;
    stuck.abort();
    ensure!(stopped.is_ok(), "not stopped after {:?}: {:?}", started.elapsed(), stopped.err());
    Ok(())
}

#[tokio::test]
async fn a_list_does_not_wait_long_for_one_backend_that_hangs() -> Result<()> {
    let backends = json!({ "good": puppet("")?, "odd": puppet("nolist")? });
    let (_gateway, mut alice) = alice_at(json!({ "backends": backends })).await?;
    let started = Instant::now();
    let tools = tokio::time::timeout(Duration::from_secs(30), alice.tools()).await;
    ensure!(tools.is_ok(), "no list after {:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn a_resource_is_read_while_another_backend_hangs() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let backends = json!({ "good": puppet("")?, "good2": puppet("two")?, "odd": { "url": odd.url() } });
    let (_gateway, mut alice) = alice_at(json!({ "backends": backends })).await?;
    odd.play(Script { initialize: Mood::Never, ..Script::default() });
    let started = Instant::now();
    let read = alice.result("resources/read", json!({ "uri": "a://two" }));
    let read = tokio::time::timeout(Duration::from_secs(30), read).await;
    ensure!(read.is_ok(), "not read after {:?}", started.elapsed());
    Ok(())
}

#[tokio::test]
async fn idle_sessions_do_not_use_up_the_children() -> Result<()> {
    let (gateway, mut alice) =
        alice_at(json!({ "backends": { "a": puppet("")? }, "limits": { "children": 2 } })).await?;
    // As the common clients do, each keeps its GET stream open.
    let mut streams = Vec::new();
    for _ in 0..2 {
        alice.open().await?;
        called_text(&alice.call("a_act", json!({})).await?)?;
        streams.push(alice.mcp().listen(alice.presented()?, None).await?);
    }
    let mut bob = Person::log_in(&gateway.mcp()?, "bob").await?;
    bob.open().await?;
    called_text(&bob.call("a_act", json!({})).await.context("bob, while alice's sessions are idle")?)?;
    Ok(())
}

#[tokio::test]
async fn restored_sessions_count_against_the_limit() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let configuration = json!({ "backends": { "odd": { "url": odd.url() } }, "sessions": { "per_owner": 2 } });
    let (_gateway, mut alice) = alice_at(configuration).await?;
    let mut ids = vec![alice.session_id()?.to_owned()];
    for _ in 0..7 {
        alice.open().await?;
        ids.push(alice.session_id()?.to_owned());
    }
    for id in &ids {
        let body = json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"odd_act","arguments":{}}});
        let reply = alice.mcp().post(alice.presented_with(id), body.to_string(), Some("7")).await?;
        ensure!(reply.answer.status.as_u16() == 200);
    }
    // The survey's own session may still be closing.
    until("only two sessions are held", SOON, async || Ok((odd.open_now() <= 2).then_some(()))).await
}

#[tokio::test]
async fn sessions_at_work_have_a_number_of_their_own_and_idle_ones_push_nobody_out() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let configuration = json!({ "backends": { "odd": { "url": odd.url() } }, "sessions": { "at_work": 2 } });
    let (_gateway, mut alice) = alice_at(configuration).await?;
    let call = async |alice: &Person, id: &str| {
        let body = json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"odd_act","arguments":{}}});
        let reply = alice.mcp().post(alice.presented_with(id), body.to_string(), Some("7")).await?;
        ensure!(reply.answer.status.as_u16() == 200);
        anyhow::Ok(())
    };
    let mut ids = vec![alice.session_id()?.to_owned()];
    alice.open().await?;
    ids.push(alice.session_id()?.to_owned());
    for id in &ids {
        call(&alice, id).await?;
    }
    let opened = odd.opened();
    for _ in 0..20 {
        alice.open().await?;
        ids.push(alice.session_id()?.to_owned());
    }
    for id in ids.iter().take(2) {
        call(&alice, id).await?;
    }
    ensure!(odd.opened() == opened, "a session that does nothing made one lose its backend");
    for id in ids.iter().chain(&ids) {
        call(&alice, id).await?;
    }
    // The survey's own session may still be closing.
    until("two sessions are at work", SOON, async || Ok((odd.open_now() == 2).then_some(()))).await
}

#[tokio::test]
async fn a_question_during_a_list_gets_an_answer() -> Result<()> {
    let (gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("asks")? } })).await?;
    alice.tools().await?;
    // There is no stream that the question could go to.
    let said = alice.call("a_first", json!({})).await?;
    ensure!(called_text(&said)? == "refused", "roots/list during tools/list: {said}");

    // Another person's list is read anew.
    let mut bob = Person::log_in(&gateway.mcp()?, "bob").await?;
    bob.open().await?;
    let mut stream = bob.mcp().listen(bob.presented()?, None).await?;
    let mcp = bob.mcp().clone();
    let presented = bob.presented()?;
    let body = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#.to_owned();
    let (listed, answered) = tokio::join!(mcp.post(presented, body, Some("7")), async {
        let asked = stream.wait(SOON, hawser_probe::rpc::Message::is_request).await.context("not asked on GET")?;
        let id = asked.id().unwrap_or_default();
        let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#);
        anyhow::Ok(mcp.submit(presented, answer).await?)
    });
    listed?;
    answered?;
    let said = bob.call("a_first", json!({})).await?;
    ensure!(called_text(&said)? == "answered", "roots/list during tools/list: {said}");
    Ok(())
}

#[tokio::test]
async fn a_late_answer_is_taken_without_complaint() -> Result<()> {
    let (_gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let reply = alice.ask("tools/call", json!({ "name": "a_late", "arguments": {} })).await?;
    let asked = reply.messages.iter().find(|message| message.is_request()).context("nothing was asked")?;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{{"roots":[]}}}}"#, asked.id().unwrap_or_default());
    let answer = alice.mcp().submit(alice.presented()?, answer).await?;
    ensure!(answer.status.as_u16() == 202, "{}", answer.status);
    Ok(())
}

#[tokio::test]
async fn questions_that_nobody_answers_do_not_block_later_ones() -> Result<()> {
    let (_gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let mut stream = alice.mcp().listen(alice.presented()?, None).await?;
    ensure!(called_text(&alice.call("a_ask", json!({})).await?)? == "answered");
    alice.call("a_spam", json!({})).await?;
    let mut asked = 0;
    while stream.wait(Duration::from_secs(2), hawser_probe::rpc::Message::is_request).await.is_some() {
        asked += 1;
    }
    // A new stream, as after a broken connection: what was asked there will never be answered.
    drop(stream);
    let said = alice.call("a_ask", json!({})).await?;
    ensure!(called_text(&said)? == "answered", "after {asked} unanswered questions: {said}");
    Ok(())
}

#[tokio::test]
async fn a_subscription_survives_a_restart() -> Result<()> {
    let (mut gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    alice.result("resources/subscribe", json!({ "uri": "a://" })).await?;
    gateway.crash().await?;
    let seen = alice.call("a_seen", json!({})).await?;
    ensure!(called_text(&seen)?.contains("resources/subscribe"), "{seen}");
    Ok(())
}

#[tokio::test]
async fn a_call_in_progress_may_end_within_the_grace_period() -> Result<()> {
    let (mut gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    alice.call("a_act", json!({})).await?;
    let watching = alice.at(&gateway.mcp()?);
    let session = alice.session_id()?.to_owned();
    let running = tokio::spawn(async move { alice.call("a_sleep", json!({ "s": 2 })).await });
    calls_seen(&watching, &session, 2).await?;
    gateway.stop().await?;
    let slept = running.await?.context("the call in progress")?;
    ensure!(called_text(&slept)? == "slept", "{slept}");
    Ok(())
}

/// Waits until the puppet has seen so many calls besides those that ask.
async fn calls_seen(person: &Person, session: &str, calls: usize) -> Result<()> {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    until("the calls have arrived", SOON, async || {
        let asked = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let id = format!("seen-{asked}");
        let body = json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":{"name":"a_seen"}});
        let seen = person.mcp().submit(person.presented_with(session), body.to_string()).await?;
        let count = String::from_utf8_lossy(&seen.body).matches("tools/call").count();
        Ok((count >= calls + asked).then_some(()))
    })
    .await
}

/// MCP, Utilities, Cancellation: the backend is told, with the client's reason, and the call gets no answer.
#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_its_backend() -> Result<()> {
    let (gateway, alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let watching = alice.at(&gateway.mcp()?);
    let session = alice.session_id()?.to_owned();
    let (mcp, presented) = (alice.mcp(), alice.presented()?);
    let call =
        json!({"jsonrpc":"2.0","id":"slow","method":"tools/call","params":{"name":"a_sleep","arguments":{"s": 30}}});
    let cancel =
        json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"slow","reason":"enough"}});
    let (cancelled, told) = tokio::join!(mcp.post(presented, call.to_string(), Some("\"slow\"")), async {
        calls_seen(&watching, &session, 1).await?;
        // Of another id it means nothing.
        let other = cancel.to_string().replace("\"slow\"", "7");
        ensure!(mcp.submit(presented, other).await?.status.as_u16() == 202);
        anyhow::Ok(mcp.submit(presented, cancel.to_string()).await?)
    });
    ensure!(told?.status.as_u16() == 202);
    ensure!(cancelled?.response("\"slow\"").is_none(), "a cancelled call was answered");
    let asked = std::sync::atomic::AtomicUsize::new(0);
    until("the backend is told", SOON, async || {
        let id = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let seen = json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":{"name":"a_seen"}}).to_string();
        let seen = mcp.submit(presented, seen).await?;
        Ok(String::from_utf8_lossy(&seen.body).contains("notifications/cancelled").then_some(()))
    })
    .await
}

fn children(parent: u32) -> usize {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent_of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        if rest.starts_with('Z') { None } else { rest.split(' ').nth(1)?.parse::<u32>().ok() }
    };
    pids.filter(|pid| parent_of(*pid) == Some(parent)).count()
}

#[tokio::test]
async fn a_call_given_up_while_its_backend_is_opened_leaves_no_child() -> Result<()> {
    let (gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("nolevel")? } })).await?;
    alice.result("logging/setLevel", json!({ "level": "info" })).await?;
    // The puppet does not answer when it is told the level again, so the first call is given up while that is waited for.
    let call = alice.call("a_act", json!({}));
    ensure!(tokio::time::timeout(Duration::from_secs(2), call).await.is_err(), "the level was not replayed");
    for _ in 0..3 {
        called_text(&alice.call("a_act", json!({})).await?)?;
    }
    until("one child for one session", SOON, async || {
        Ok((children(gateway.pid().unwrap_or_default()) == 1).then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_log_level_is_set_while_one_backend_hangs() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let backends = json!({ "good": puppet("")?, "odd": { "url": odd.url() } });
    let (_gateway, alice) = alice_at(json!({ "backends": backends })).await?;
    odd.play(Script { initialize: Mood::Never, ..Script::default() });
    let mcp = alice.mcp().clone();
    let presented = alice.presented()?;
    let body = json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"odd_act","arguments":{}}});
    let before = odd.count("initialize");
    let stuck = mcp.post(presented, body.to_string(), Some("7"));
    let rest = async {
        until("it is being opened", SOON, async || Ok((odd.count("initialize") > before).then_some(()))).await?;
        let told = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned();
        let told = tokio::time::timeout(Duration::from_secs(5), mcp.submit(presented, told)).await;
        let body = json!({"jsonrpc":"2.0","id":8,"method":"logging/setLevel","params":{"level":"info"}});
        let set = mcp.post(presented, body.to_string(), Some("8"));
        let set = tokio::time::timeout(Duration::from_secs(5), set).await;
        ensure!(told.is_ok() && set.is_ok(), "told: {}, set: {}", told.is_ok(), set.is_ok());
        Ok(())
    };
    tokio::select! { _ = stuck => Ok(()), done = rest => done }
}

#[tokio::test]
async fn a_question_outside_of_a_call_stretches_its_timeout_too() -> Result<()> {
    let mut backend = puppet("")?;
    backend["timeout"] = "4s".into();
    let (_gateway, alice) = alice_at(json!({ "backends": { "a": backend } })).await?;
    let mut stream = alice.mcp().listen(alice.presented()?, None).await?;
    let body = |id: u32, name: &str, arguments: Value| {
        json!({"jsonrpc":"2.0","id":id,"method":"tools/call","params":{"name":name,"arguments":arguments}}).to_string()
    };
    let presented = alice.presented()?;
    let (sleep, ask, answered) = tokio::join!(
        alice.mcp().post(presented, body(7, "a_sleep", json!({"s": 3})), Some("7")),
        async {
            calls_seen(&alice, alice.session_id().unwrap_or_default(), 1).await?;
            anyhow::Ok(alice.mcp().post(presented, body(8, "a_ask", json!({"wait": 20})), Some("8")).await?)
        },
        async {
            let asked = stream.wait(SOON, hawser_probe::rpc::Message::is_request).await.context("not asked on GET")?;
            // The person thinks for longer than the backend may be silent.
            ensure!(!stream.ended(Duration::from_secs(6)).await, "the stream ended");
            let id = asked.id().unwrap_or_default();
            let answer = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"roots":[]}}}}"#);
            anyhow::Ok(alice.mcp().submit(presented, answer).await?)
        }
    );
    sleep?;
    answered?;
    let ask = ask?;
    let response = ask.response("8").context("no response")?;
    ensure!(response.error.is_none(), "{:?}", response.error);
    Ok(())
}

#[tokio::test]
async fn a_client_that_reconnects_often_still_gets_a_stream() -> Result<()> {
    let (_gateway, alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let mut streams = Vec::new();
    for at in 0..6 {
        let stream = alice.mcp().listen(alice.presented()?, None).await?;
        ensure!(stream.is_open(), "stream {at} was refused");
        streams.push(stream);
    }
    Ok(())
}

#[tokio::test]
async fn subscriptions_are_bounded() -> Result<()> {
    let (gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let memory = |pid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or_default()
    };
    let before = memory(gateway.pid().unwrap_or_default());
    let mut refused = 0;
    for at in 0..40 {
        let uri = format!("a://{at}/{}", "x".repeat(3 << 20));
        let reply = alice.ask("resources/subscribe", json!({ "uri": uri })).await?;
        refused += usize::from(reply.messages.iter().any(|message| message.error.is_some()));
    }
    let after = memory(gateway.pid().unwrap_or_default());
    ensure!(refused > 0, "40 subscriptions of 3 MiB each were taken: {before} kB before, {after} kB after");
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_with_the_grant_of_the_token_that_opened_it() -> Result<()> {
    let (gateway, alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let again = Person::log_in(&gateway.mcp()?, "alice").await?;
    let mut stream = again.mcp().listen(again.presented_with(alice.session_id()?), None).await?;
    ensure!(stream.is_open());
    again.grant().revoke(again.mcp().wire()).await?;
    until("the token is refused", Duration::from_secs(1), async || {
        let told = hawser_probe::session::INITIALIZED.to_owned();
        let asked = again.mcp().submit(again.presented_with(alice.session_id()?), told).await?;
        Ok((asked.status.as_u16() == 401).then_some(()))
    })
    .await?;
    ensure!(stream.ended(Duration::from_secs(5)).await, "the stream goes on under a revoked grant");
    Ok(())
}

#[tokio::test]
async fn a_stream_ends_with_the_revoked_token_that_opened_it() -> Result<()> {
    let (_gateway, alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    let mut stream = alice.mcp().listen(alice.presented()?, None).await?;
    let endpoint = alice.grant().discovered.server.revocation_endpoint.clone().context("no revocation")?;
    let wire = alice.mcp().wire();
    let form = format!("token={}&client_id={}", alice.token(), alice.grant().client.id);
    let request = wire.request(http::Method::POST, &endpoint.parse()?).body(form);
    let answer = wire.fetch(request.header("content-type", "application/x-www-form-urlencoded")).await?;
    ensure!(answer.status.as_u16() == 200);
    until("the token is refused", SOON, async || {
        let asked = alice.mcp().submit(alice.presented()?, hawser_probe::session::INITIALIZED.to_owned()).await?;
        Ok((asked.status.as_u16() == 401).then_some(()))
    })
    .await?;
    ensure!(stream.ended(Duration::from_secs(5)).await, "the stream goes on under a revoked token");
    Ok(())
}

#[tokio::test]
async fn a_backend_is_told_that_nobody_will_answer_its_question() -> Result<()> {
    let (_gateway, mut alice) = alice_at(json!({ "backends": { "a": puppet("")? } })).await?;
    alice.call("a_act", json!({})).await?;
    let body = json!({"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"a_ask","arguments":{"wait": 4}}});
    let accept = "application/json, text/event-stream";
    let wire = alice.mcp().wire();
    let request = wire.request(http::Method::POST, alice.mcp().url()).bearer_auth(alice.token());
    let request = request.header("accept", accept).header("content-type", "application/json");
    let request = request.header("mcp-session-id", alice.session_id()?).body(body.to_string());
    // The client goes away once it has been asked, which alone says nothing, and then cancels.
    drop(wire.start(request).await?);
    ensure!(called_text(&alice.call("a_first", json!({})).await?)? == "not asked");
    let cancelled = json!({"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}});
    alice.mcp().submit(alice.presented()?, cancelled.to_string()).await?;
    let mut said = String::new();
    for _ in 0..500 {
        said = called_text(&alice.call("a_first", json!({})).await?)?.to_owned();
        if said != "not asked" {
            break;
        }
    }
    ensure!(said == "refused", "the backend heard: {said}");
    Ok(())
}

#[tokio::test]
async fn a_session_survives_a_restart_though_the_grant_it_was_opened_under_has_run_out() -> Result<()> {
    let server = json!({ "access_token_lifetime": "3s", "refresh_idle": "3s", "refresh_lifetime": "3s" });
    let configuration = json!({ "backends": { "a": puppet("")? }, "auth": { "authorization_server": server } });
    let (mut gateway, alice) = alice_at(configuration).await?;
    let url = gateway.mcp()?;
    until("the grant has run out", SOON, async || Ok(alice.at(&url).refresh().await.err().map(drop))).await?;
    let again = Person::log_in(&gateway.mcp()?, "alice").await?;
    let ping = || r#"{"jsonrpc":"2.0","id":7,"method":"ping"}"#.to_owned();
    let before = again.mcp().post(again.presented_with(alice.session_id()?), ping(), Some("7")).await?;
    ensure!(before.answer.status.as_u16() == 200, "before: {}", before.answer.status);
    gateway.crash().await?;
    let again = Person::log_in(&gateway.mcp()?, "alice").await?;
    let after = again.mcp().post(again.presented_with(alice.session_id()?), ping(), Some("7")).await?;
    ensure!(after.answer.status.as_u16() == 200, "after the restart: {}", after.answer.status);
    Ok(())
}
