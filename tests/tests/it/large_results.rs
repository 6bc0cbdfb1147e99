//! Results that are too large to be held: they pass through as they arrive, and what is wrong with their end never looks complete.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use hawser_tests::{Capture, Gateway, Legacy, Modern, Person, Writing, WrittenBackend, WrittenCall};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::time::timeout;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_mins(1);
/// Enough to be large.
const FIRST: usize = 300 * 1024;
const PIECE: usize = 64 * 1024;
/// Far more than the gateway holds of any message here.
const WHOLE: usize = 64 << 20;
/// What one such result may cost in resident memory.
const GROWTH_KIB: u64 = 8 * 1024;

struct Scene {
    gateway: Gateway,
    backend: WrittenBackend,
    person: Person,
    client: Legacy,
}

impl Scene {
    async fn new() -> Result<Self> {
        let backend = WrittenBackend::start().await?;
        let limits = json!({ "response_body": "1MiB", "depth": 16 });
        let configuration = json!({ "backends": { "b": { "url": backend.url() } }, "limits": limits });
        let gateway = Gateway::with_users(configuration).await?;
        let person = Person::log_in(&gateway.mcp()?, "alice").await?;
        let client = Legacy::open(&gateway.mcp()?, Some(person.token()), json!({}), &Capture::new()).await?;
        Ok(Self { gateway, backend, person, client })
    }

    /// Calls the tool; gives what the backend got, and the answer when its head has come.
    async fn call(&mut self, id: u64) -> Result<(WrittenCall, impl Future<Output = Result<Response>> + use<>)> {
        let answer = post(&self.gateway, self.person.token(), &self.client, id, &json!({}))?;
        let answer = tokio::spawn(answer);
        let call = timeout(LIMIT, self.backend.call()).await??;
        Ok((call, async move { timeout(LIMIT, answer).await?? }))
    }
}

/// Sends a call whose answer is read as it comes.
fn post(
    gateway: &Gateway,
    token: &str,
    client: &Legacy,
    id: u64,
    arguments: &Value,
) -> Result<impl Future<Output = Result<Response>> + use<>> {
    let params = json!({ "name": "b_write", "arguments": arguments });
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params });
    let request = reqwest::Client::builder().no_proxy().build()?.post(gateway.mcp()?).bearer_auth(token);
    let request = request.header("mcp-session-id", client.session().context("no session")?);
    let request = request.header("mcp-protocol-version", "2025-11-25");
    let request = request.header("accept", "application/json, text/event-stream").header("content-type", JSON);
    let request = request.body(message.to_string());
    Ok(async move { Ok(request.send().await?) })
}

/// What comes before the text of a result: as the backend sends it, or as its client gets it.
fn before(media_type: &str, call: &WrittenCall) -> String {
    let event = if media_type == EVENTS { "event: message\ndata: " } else { "" };
    format!(r#"{event}{{"jsonrpc":"2.0","id":{},"result":{{"content":[{{"type":"text","text":""#, call.id)
}

fn after(media_type: &str) -> &'static str {
    if media_type == EVENTS { "\"}]}}\n\n" } else { "\"}]}}" }
}

/// Begins an answer with a result that is large already.
async fn begin(media_type: &'static str, call: WrittenCall) -> Writing {
    let before = before(media_type, &call);
    let writing = call.begin(media_type);
    writing.write(before).await;
    writing.write("x".repeat(FIRST)).await;
    writing
}

async fn chunk(response: &mut Response) -> Result<Option<Bytes>> {
    Ok(timeout(LIMIT, response.chunk()).await??)
}

/// Reads until the text of the result has begun.
async fn read_beginning(response: &mut Response, id: u64) -> Result<usize> {
    let opening = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":""#);
    let mut read = Vec::new();
    while read.len() <= opening.len() {
        read.extend_from_slice(&chunk(response).await?.context("the answer has ended")?);
    }
    let (begun, text) = read.split_at(opening.len());
    ensure!(begun == opening.as_bytes(), "{}", String::from_utf8_lossy(begun));
    ensure!(text.iter().all(|byte| *byte == b'x'), "other text");
    Ok(text.len())
}

fn kib(gateway: &Gateway, what: &str) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid().context("no process")?))?;
    let line = status.lines().find_map(|line| line.strip_prefix(what)).context("no such line")?;
    Ok(line.trim_start_matches(':').trim().trim_end_matches("kB").trim().parse()?)
}

#[tokio::test]
async fn a_large_result_passes_in_bounded_memory_and_its_first_byte_does_not_wait_for_its_last() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (id, media_type) in [(10, JSON), (11, EVENTS)] {
        let (call, answer) = scene.call(id).await?;
        let writing = begin(media_type, call).await;
        let mut response = answer.await?;
        ensure!(response.status() == 200 && response.headers()["content-type"] == JSON, "{:?}", response.headers());
        // The backend has sent no more than this, and waits.
        let mut text = read_beginning(&mut response, id).await?;
        // What the process needed at most is counted anew from here on.
        std::fs::write(format!("/proc/{}/clear_refs", scene.gateway.pid().context("no process")?), "5")?;
        let resident = kib(&scene.gateway, "VmRSS")?;
        let sending = async {
            let piece = Bytes::from(vec![b'x'; PIECE]);
            for _ in 0..WHOLE / PIECE {
                ensure!(writing.write(piece.clone()).await, "nobody reads");
            }
            ensure!(writing.write(after(media_type)).await, "nobody reads");
            drop(writing);
            Ok(())
        };
        let reading = async {
            let mut end = Vec::new();
            while let Some(bytes) = chunk(&mut response).await? {
                let plain = bytes.iter().take_while(|byte| **byte == b'x').count();
                text += plain;
                end.extend_from_slice(&bytes[plain..]);
            }
            anyhow::Ok(end)
        };
        let (sent, end) = tokio::join!(sending, reading);
        sent?;
        ensure!(end? == b"\"}]}}", "{media_type}: another end");
        ensure!(text == FIRST + WHOLE, "{media_type}: {text} bytes of text");
        let growth = kib(&scene.gateway, "VmHWM")?.saturating_sub(resident);
        println!("{media_type}: {growth} KiB");
        ensure!(growth < GROWTH_KIB, "{media_type}: {growth} KiB more");
    }
    Ok(())
}

/// Nothing that is wrong with the end of a result looks like a complete answer, and the session goes on.
#[tokio::test]
async fn what_is_wrong_with_the_end_of_a_large_result_breaks_it_off() -> Result<()> {
    let mut scene = Scene::new().await?;
    let deep = format!("\"}}],\"deep\":{}", "[".repeat(20));
    let ends: [(&str, &[u8]); 9] = [
        ("a second result", br#""}]},"result":{}}"#),
        ("a second id", br#""}]},"id":1}"#),
        ("an error beside it", br#""}]},"error":{"code":1,"message":""}}"#),
        ("a member in another case", br#""}]},"Result":{}}"#),
        ("no end", br#""}]}"#),
        ("something after it", br#""}]}}}"#),
        ("too deep", deep.as_bytes()),
        ("not UTF-8", b"\xff\"}]}}"),
        ("a control character", b"\x01\"}]}}"),
    ];
    let mut id = 10;
    for media_type in [JSON, EVENTS] {
        for (what, end) in ends {
            id += 1;
            let (call, answer) = scene.call(id).await?;
            let writing = begin(media_type, call).await;
            let mut response = answer.await?;
            read_beginning(&mut response, id).await?;
            writing.write(Bytes::copy_from_slice(end)).await;
            writing.write(if media_type == EVENTS { "\n\n" } else { "" }).await;
            drop(writing);
            is_cut_off(response).await.with_context(|| format!("{media_type}: {what}"))?;
        }
        id += 1;
        let (call, answer) = scene.call(id).await?;
        let writing = begin(media_type, call).await;
        let mut response = answer.await?;
        read_beginning(&mut response, id).await?;
        writing.break_off().await;
        is_cut_off(response).await.with_context(|| format!("{media_type}: breaks off"))?;
    }
    let cut_off = scene.gateway.log().matches("a large result was cut off").count();
    ensure!(cut_off == 2 * (ends.len() + 1), "{cut_off} were logged: {}", scene.gateway.log());
    works(&mut scene).await
}

/// An id that comes first is judged before anything is passed on, and one that comes last breaks the answer off.
#[tokio::test]
async fn a_large_response_to_another_request_is_nobodys_answer() -> Result<()> {
    let mut scene = Scene::new().await?;
    let (call, answer) = scene.call(10).await?;
    let writing = call.begin(JSON);
    writing.write(format!(r#"{{"jsonrpc":"2.0","id":"nobody","result":["{}"]}}"#, "x".repeat(FIRST))).await;
    drop(writing);
    let error: Value = answer.await?.json().await?;
    ensure!(error["id"] == 10 && error["error"]["message"].as_str().is_some_and(|text| text.contains('b')), "{error}");

    let (call, answer) = scene.call(11).await?;
    let writing = call.begin(JSON);
    writing.write(format!(r#"{{"result":["{}"#, "x".repeat(FIRST))).await;
    let mut response = answer.await?;
    ensure!(chunk(&mut response).await?.is_some());
    writing.write(r#""],"jsonrpc":"2.0","id":"nobody"}"#).await;
    drop(writing);
    is_cut_off(response).await?;
    works(&mut scene).await
}

async fn is_cut_off(mut response: Response) -> Result<()> {
    loop {
        match timeout(LIMIT, response.chunk()).await? {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("the answer looks complete"),
            Err(_) => return Ok(()),
        }
    }
}

/// A small call goes on as ever.
async fn works(scene: &mut Scene) -> Result<()> {
    let (call, answer) = scene.call(9).await?;
    let response = json!({ "jsonrpc": "2.0", "id": call.id, "result": { "content": [] } });
    call.begin(JSON).write(response.to_string()).await;
    let got: Value = answer.await?.json().await?;
    ensure!(got == json!({ "jsonrpc": "2.0", "id": 9, "result": { "content": [] } }), "{got}");
    Ok(())
}

/// Whoever reads slowly slows the backend down, and nothing piles up in between.
#[tokio::test]
async fn a_slow_client_slows_its_backend_down() -> Result<()> {
    let mut scene = Scene::new().await?;
    let (call, answer) = scene.call(10).await?;
    let writing = begin(JSON, call).await;
    let mut response = answer.await?;
    let mut text = read_beginning(&mut response, 10).await?;
    let resident = kib(&scene.gateway, "VmRSS")?;
    let piece = Bytes::from(vec![b'x'; PIECE]);
    let mut sent = FIRST;
    // What the system's own buffers take is not ours.
    while sent < WHOLE && timeout(Duration::from_secs(2), writing.write(piece.clone())).await.is_ok_and(|sent| sent) {
        sent += PIECE;
    }
    ensure!(sent < WHOLE, "the backend was never held back");
    let growth = kib(&scene.gateway, "VmRSS")?.saturating_sub(resident);
    ensure!(growth < GROWTH_KIB, "{growth} KiB more");
    let ending = async {
        writing.write(after(JSON)).await;
        drop(writing);
    };
    let reading = async {
        while let Some(bytes) = chunk(&mut response).await? {
            text += bytes.split(|byte| *byte == b'x').count() - 1;
        }
        anyhow::Ok(())
    };
    let ((), read) = tokio::join!(ending, reading);
    read?;
    ensure!(text == sent, "{text} of {sent}");
    Ok(())
}

#[tokio::test]
async fn large_results_of_two_people_do_not_mix() -> Result<()> {
    let mut scene = Scene::new().await?;
    let bob = Person::log_in(&scene.gateway.mcp()?, "bob").await?;
    let bobs = Legacy::open(&scene.gateway.mcp()?, Some(bob.token()), json!({}), &Capture::new()).await?;
    let mut answers = Vec::new();
    for (mark, token, client) in [("a", scene.person.token(), &scene.client), ("b", bob.token(), &bobs)] {
        // The same id: each is its client's own business.
        answers.push(tokio::spawn(post(&scene.gateway, token, client, 10, &json!({ "mark": mark }))?));
    }
    let mut writings = Vec::new();
    for _ in 0..2 {
        let call = timeout(LIMIT, scene.backend.call()).await??;
        let mark = call.arguments["mark"].as_str().context("no mark")?.to_owned();
        let before = before(JSON, &call);
        let writing = call.begin(JSON);
        writing.write(before).await;
        writing.write(mark.repeat(FIRST)).await;
        writings.push((mark, writing));
    }
    let sending = async {
        for _ in 0..16 {
            for (mark, writing) in &writings {
                writing.write(mark.repeat(PIECE)).await;
            }
        }
        for (_, writing) in writings {
            writing.write(after(JSON)).await;
        }
    };
    let reading = async {
        let mut texts = Vec::new();
        let (first, second) = (answers.remove(0), answers.remove(0));
        let read = |answer: tokio::task::JoinHandle<Result<Response>>| async move {
            anyhow::Ok(timeout(LIMIT, answer.await??.json::<Value>()).await??)
        };
        let (first, second) = tokio::join!(read(first), read(second));
        for got in [first?, second?] {
            texts.push(got["result"]["content"][0]["text"].as_str().context("no text")?.to_owned());
        }
        anyhow::Ok(texts)
    };
    let ((), texts) = tokio::join!(sending, reading);
    let expected: Vec<String> = ["a", "b"].iter().map(|mark| mark.repeat(FIRST + 16 * PIECE)).collect();
    ensure!(texts? == expected, "the results are not each person's own");
    Ok(())
}

/// What ends a call ends a result that is on its way.
#[tokio::test]
async fn cancelling_a_call_and_ending_its_session_cut_a_large_result_off() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (id, cancels) in [(10, true), (11, false)] {
        let (call, answer) = scene.call(id).await?;
        let writing = begin(JSON, call).await;
        let mut response = answer.await?;
        read_beginning(&mut response, id).await?;
        if cancels {
            let params = json!({ "requestId": id, "reason": "enough" });
            scene.client.notify("notifications/cancelled", Some(params)).await?;
        } else {
            let status = scene.client.delete().await?;
            ensure!(status.is_success(), "{status}");
        }
        is_cut_off(response).await.with_context(|| format!("cancelled: {cancels}"))?;
        let piece = Bytes::from(vec![b'x'; PIECE]);
        let closed = async { while writing.write(piece.clone()).await {} };
        timeout(LIMIT, closed).await.context("the backend's connection stays open")?;
    }
    Ok(())
}

/// What was said before makes a stream of the answer: there a message is held, and has a limit.
#[tokio::test]
async fn after_a_notification_a_large_result_is_an_event_that_is_held_up_to_the_limit() -> Result<()> {
    let mut scene = Scene::new().await?;
    for (id, bytes) in [(10, FIRST), (11, 2 << 20)] {
        let answer = tokio::spawn(post(&scene.gateway, scene.person.token(), &scene.client, id, &json!({}))?);
        let call = timeout(LIMIT, scene.backend.call()).await??;
        let before = before(EVENTS, &call);
        let writing = call.begin(EVENTS);
        let params = json!({ "level": "info", "data": "soon" });
        let told = json!({ "jsonrpc": "2.0", "method": "notifications/message", "params": params });
        writing.write(format!("data: {told}\n\n")).await;
        let response = timeout(LIMIT, answer).await???;
        ensure!(response.headers()["content-type"] == EVENTS, "{:?}", response.headers());
        let sending = async {
            writing.write(before).await;
            for _ in 0..bytes / 1024 {
                if !writing.write("x".repeat(1024)).await {
                    return;
                }
            }
            writing.write(after(EVENTS)).await;
            drop(writing);
        };
        let ((), text) = tokio::join!(sending, async { timeout(LIMIT, response.text()).await });
        let text = text??;
        let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ")).context("no message")?;
        let last: Value = serde_json::from_str(last)?;
        if bytes == FIRST {
            let held = last["result"]["content"][0]["text"].as_str().map(str::len);
            ensure!(held == Some(FIRST), "{held:?}");
        } else {
            let message = last["error"]["message"].as_str().unwrap_or_default();
            ensure!(message.contains('b') && last.get("result").is_none(), "{last}");
        }
    }
    Ok(())
}

/// What has to be changed on its way is held, and has a limit: here every result for a client of the stateless era.
#[tokio::test]
async fn a_large_result_that_has_to_be_changed_is_held_up_to_the_limit() -> Result<()> {
    let mut scene = Scene::new().await?;
    let modern = Modern::new(&scene.gateway.mcp()?, Some(scene.person.token()), &Capture::new())?;
    for bytes in [FIRST, 2 << 20] {
        let request = modern.request("tools/call", json!({ "name": "b_write", "arguments": {} }));
        let answering = async {
            let call = timeout(LIMIT, scene.backend.call()).await??;
            let before = before(JSON, &call);
            let writing = call.begin(JSON);
            let _ = writing.write(before).await
                && writing.write("x".repeat(bytes)).await
                && writing.write(after(JSON)).await;
            anyhow::Ok(())
        };
        let (answer, answered) = tokio::join!(async { request.send().await?.all().await }, answering);
        answered?;
        let messages = answer?;
        let last = messages.last().context("no message")?;
        if bytes == FIRST {
            ensure!(last["result"]["resultType"] == "complete", "not stamped");
            ensure!(last["result"]["content"][0]["text"].as_str().map(str::len) == Some(FIRST));
        } else {
            ensure!(last["error"]["message"].as_str().is_some_and(|text| text.contains('b')), "{last}");
        }
    }
    Ok(())
}
