//! Child-process backends that misbehave: the same as over HTTP, and no process is left behind.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Person, called_text, odd_stdio, until};
use serde_json::json;

const ANSWERED: Duration = Duration::from_secs(10);

async fn stage(mood: &str) -> Result<(Gateway, Person)> {
    let mut odd = odd_stdio(mood)?;
    odd["timeout"] = "2s".into();
    let backends = json!({ "good": odd_stdio("well")?, "odd": odd });
    let gateway = Gateway::with_users(json!({ "backends": backends, "limits": { "response_body": "1MiB" } })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    Ok((gateway, alice))
}

/// The call fails with an error that names the backend, in time; the other backend works before and after.
async fn fails_naming_the_backend(mood: &str) -> Result<()> {
    let (gateway, mut alice) = stage(mood).await?;
    let started = Instant::now();
    let (_, message) = alice
        .error("tools/call", json!({ "name": "odd_act", "arguments": {} }))
        .await
        .with_context(|| gateway.log())?;
    ensure!(started.elapsed() < ANSWERED, "{:?}", started.elapsed());
    ensure!(message.contains("odd"), "the error does not name the backend: {message}");
    called_text(&alice.call("good_act", json!({})).await?)?;
    Ok(())
}

#[tokio::test]
async fn one_that_dies_at_the_start_is_named_and_its_reason_is_logged() -> Result<()> {
    let (gateway, mut alice) = stage("dies-at-start").await?;
    let (_, message) = alice.error("tools/call", json!({ "name": "odd_act", "arguments": {} })).await?;
    ensure!(message.contains("odd"), "{message}");
    let logged = async || Ok(gateway.log().contains("a reason to die").then_some(()));
    until("what it said before it died is in the log", ANSWERED, logged).await?;
    ensure!(alice.tools().await?.contains(&"good_act".to_owned()));
    Ok(())
}

#[tokio::test]
async fn one_that_never_says_a_word_is_named() -> Result<()> {
    fails_naming_the_backend("mute").await
}

#[tokio::test]
async fn one_that_never_answers_a_call_is_named() -> Result<()> {
    fails_naming_the_backend("never").await
}

#[tokio::test]
async fn one_that_dies_in_a_call_is_named() -> Result<()> {
    fails_naming_the_backend("dies").await
}

#[tokio::test]
async fn one_that_answers_with_too_much_is_named() -> Result<()> {
    fails_naming_the_backend("huge").await
}

#[tokio::test]
async fn one_that_writes_a_line_without_an_end_is_named() -> Result<()> {
    fails_naming_the_backend("endless-line").await
}

#[tokio::test]
async fn one_that_answers_what_nobody_asked_is_named() -> Result<()> {
    fails_naming_the_backend("wrong-id").await
}

#[tokio::test]
async fn one_that_floods_is_named() -> Result<()> {
    fails_naming_the_backend("flood").await
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_named() -> Result<()> {
    let backends = json!({ "good": odd_stdio("well")?, "absent": { "command": ["/nowhere/at/all"] } });
    let gateway = Gateway::with_users(json!({ "backends": backends })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    let (_, message) = alice.error("tools/call", json!({ "name": "absent_act", "arguments": {} })).await?;
    ensure!(message.contains("absent"), "{message}");
    ensure!(alice.tools().await?.contains(&"good_act".to_owned()));
    Ok(())
}

/// Lines that are not JSON are noise (servers print banners); the answer that follows counts.
#[tokio::test]
async fn noise_between_the_lines_is_passed_over() -> Result<()> {
    let (gateway, mut alice) = stage("garbage").await?;
    let acted = alice.call("odd_act", json!({})).await.with_context(|| gateway.log())?;
    ensure!(called_text(&acted)? == "acted");
    Ok(())
}

/// The processes that `parent` started.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // `pid (name) state parent …`, and the name may hold anything.
    let parent_of = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<u32>().ok()
    };
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn lives(pid: u32) -> bool {
    // A zombie has ended; only its parent has not looked yet.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn stopping_the_gateway_ends_its_children() -> Result<()> {
    let (mut gateway, mut alice) = stage("well").await?;
    called_text(&alice.call("odd_act", json!({})).await?)?;
    let children = children(gateway.pid().unwrap_or_default());
    ensure!(!children.is_empty() && children.iter().any(|pid| lives(*pid)), "{children:?} in {}", gateway.log());
    gateway.stop().await?;
    until("all children end", ANSWERED, async || Ok((!children.iter().any(|pid| lives(*pid))).then_some(()))).await
}

#[tokio::test]
async fn children_end_when_the_gateway_is_killed() -> Result<()> {
    let (mut gateway, mut alice) = stage("well").await?;
    called_text(&alice.call("odd_act", json!({})).await?)?;
    let children = children(gateway.pid().unwrap_or_default());
    ensure!(!children.is_empty(), "{}", gateway.log());
    gateway.kill().await?;
    until("all children end", ANSWERED, async || Ok((!children.iter().any(|pid| lives(*pid))).then_some(()))).await
}
