//! Keys of the ring that are replaced while sessions, streams and parked calls are in use.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_tests::{Capture, Gateway, Hawser, Legacy, Oidc, Person, Speaks, Stage, retry_of, time_backend, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(20);

fn asks() -> Value {
    json!({ "elicitation": {} })
}

fn accept(_: &str, _: &Value) -> Value {
    json!({ "action": "accept", "content": { "ok": true } })
}

fn side_effect(key: &str) -> Value {
    json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } })
}

/// A step of `hawser keys` on this file; the key that it was about.
async fn step(ring: &Path, arguments: &[&str]) -> Result<u64> {
    let file = ring.to_str().context("a path that is no text")?;
    let output = Hawser::new()?.run(&[&["keys"], arguments, &[file, "--json"]].concat(), "").await?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice::<Value>(&output.stdout)?["key"].as_u64().context("no key")
}

/// Waits until the gateway says that it has the key in that state.
async fn has(gateway: &Gateway, key: u64, state: &str) -> Result<()> {
    let said = format!("{key} {state}");
    let read = |line: &str| line.contains("the key ring was read again") && line.contains(&said);
    until(&said, SOON, async || Ok(gateway.log().lines().any(read).then_some(()))).await
}

/// The key that a handle was made under: it travels in clear.
fn made_under(handle: &str) -> Result<u64> {
    let bytes = URL_SAFE_NO_PAD.decode(handle)?;
    let id: [u8; 4] = bytes.get(1..5).context("too short")?.try_into()?;
    Ok(u32::from_be_bytes(id).into())
}

async fn lists_tools(client: &Legacy) -> Result<()> {
    client.result("tools/list", json!({})).await.map(drop)
}

async fn status(client: &Legacy) -> Result<u16> {
    Ok(client.request("tools/list", json!({})).await?.status.as_u16())
}

/// The whole life: published, active, retired, removed. Whatever was made under the old key goes on until it is removed.
#[tokio::test]
async fn sessions_streams_and_parked_calls_outlive_the_change_of_keys() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let ring = stage.gateway.dir().join("data/key-ring.json");
    let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
    let old = stage.legacy(&alice, asks()).await?;
    let first = made_under(old.session().context("no session")?)?;
    let mut call = old.request("tools/call", side_effect("streamed")).await?;
    let question = call.expect("elicitation/create").await?["id"].clone();
    let event = call.last_event_id().context("no event id")?.to_owned();
    drop(call);
    let modern = stage.modern(&alice)?.declaring(asks());
    let parked = modern.result("tools/call", side_effect("parked")).await?;

    let second = step(&ring, &["add"]).await?;
    has(&stage.gateway, second, "published").await?;
    ensure!(made_under(stage.legacy(&alice, asks()).await?.session().context("no session")?)? == first);
    step(&ring, &["activate", &second.to_string()]).await?;
    has(&stage.gateway, second, "active").await?;
    let new = stage.legacy(&alice, asks()).await?;
    ensure!(made_under(new.session().context("no session")?)? == second, "new sessions are made under the new key");

    // Everything of before goes on, and is nobody else's.
    lists_tools(&old).await?;
    let stolen = old.stealing(old.session().context("no session")?).presenting(eve.token());
    ensure!(status(&stolen).await? == 404);
    let answered = old.respond(&question, json!({ "action": "accept", "content": { "ok": true } })).await?;
    ensure!(answered == 202, "{answered}");
    let mut resumed = old.stream(Some(&event)).await?;
    ensure!(resumed.status == 200, "{}", resumed.status);
    resumed.result().await.context("the rest of the call")?;
    ensure!(stage.effects("streamed").await? == (1, 1));
    let retry = retry_of(&side_effect("parked"), &parked, &accept)?;
    modern.result("tools/call", retry).await.context("the parked call")?;
    ensure!(stage.effects("parked").await? == (1, 1));

    let mut streams = [old.stream(None).await?, new.stream(None).await?];
    step(&ring, &["remove", &first.to_string(), "--force"]).await?;
    let removed = async || Ok((status(&old).await? == 404).then_some(()));
    until("the old key is gone", SOON, removed).await?;
    let refused = old.stealing("unknown");
    ensure!(old.error("tools/list", json!({})).await? == refused.error("tools/list", json!({})).await?);
    // What is open in a session that nobody can name any more ends as well; no other session's does.
    let [of_old, of_new] = &mut streams;
    tokio::time::timeout(SOON, of_old.all()).await.context("the stream of a removed key stays open")??;
    let more = tokio::time::timeout(Duration::from_millis(100), of_new.all());
    ensure!(more.await.is_err(), "the stream of the other key has ended");
    lists_tools(&new).await?;
    lists_tools(&stage.legacy(&alice, asks()).await?).await
}

#[tokio::test]
async fn a_file_that_cannot_be_used_keeps_the_keys_of_before() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let ring = stage.gateway.dir().join("data/key-ring.json");
    let alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    let good = std::fs::read(&ring)?;
    let said = "the keys of before stay in use";
    for (times, broken) in ["{", r#"{"keys":[]}"#].into_iter().enumerate() {
        std::fs::write(&ring, broken)?;
        let told = async || Ok((stage.gateway.log().matches(said).count() > times).then_some(()));
        until(said, SOON, told).await?;
        lists_tools(&client).await?;
        lists_tools(&stage.legacy(&alice, asks()).await?).await?;
    }
    std::fs::write(&ring, good)?;
    let second = step(&ring, &["add"]).await?;
    has(&stage.gateway, second, "published").await?;
    lists_tools(&client).await
}

/// Two gateways with the same keys and address, and nothing else in common.
struct Pair {
    nodes: [Gateway; 2],
    issuer: Oidc,
}

impl Pair {
    async fn start() -> Result<Self> {
        let issuer = Oidc::start().await?;
        let ring = Hawser::new()?.run(&["keys", "generate"], "").await?.stdout;
        let configuration = json!({
            "public_url": "http://127.0.0.1:9",
            "key_ring": "file:ring.json",
            "backends": { "time": time_backend()? },
            "auth": { "issuers": [{ "issuer": issuer.issuer() }] },
        });
        let start = async || {
            let dir = tempfile::TempDir::with_prefix("hawser-test-")?;
            std::fs::write(dir.path().join("ring.json"), &ring)?;
            Gateway::start_in(dir, configuration.clone()).await
        };
        Ok(Self { nodes: [start().await?, start().await?], issuer })
    }

    fn ring(&self, node: usize) -> PathBuf {
        self.nodes[node].dir().join("ring.json")
    }

    fn url(&self, node: usize) -> Result<url::Url> {
        Ok(url::Url::parse(&format!("http://{}/mcp", self.nodes[node].listener()))?)
    }
}

/// One node was given the new key first. The other one looks for it when it is asked, before it refuses anybody.
#[tokio::test]
async fn a_node_that_learns_of_a_key_later_finds_it_when_it_is_needed() -> Result<()> {
    let pair = Pair::start().await?;
    let (here, there) = (pair.url(0)?, pair.url(1)?);
    let alice = Person::log_in_for(&pair.issuer, &here, "http://127.0.0.1:9/mcp", "alice").await?;
    let eve = Person::log_in_for(&pair.issuer, &here, "http://127.0.0.1:9/mcp", "eve").await?;
    let capture = Capture::new();
    let open = async || Legacy::open(&here, Some(alice.token()), json!({}), &capture).await;
    lists_tools(&open().await?.at(&there)).await.context("the nodes share their keys")?;

    let second = step(&pair.ring(0), &["add"]).await?;
    step(&pair.ring(0), &["activate", &second.to_string()]).await?;
    has(&pair.nodes[0], second, "active").await?;
    let new = open().await?;
    ensure!(made_under(new.session().context("no session")?)? == second);
    ensure!(status(&new.at(&there)).await? == 404, "it cannot be opened there");
    // As whoever hands out the file would do it: in one step.
    let draft = pair.nodes[1].dir().join("draft");
    std::fs::copy(pair.ring(0), &draft)?;
    std::fs::rename(&draft, pair.ring(1))?;
    lists_tools(&new.at(&there)).await.context("at once")?;
    ensure!(status(&new.at(&there).presenting(eve.token())).await? == 404);
    lists_tools(&new).await
}

/// A command at a running gateway, by the socket in its data folder.
async fn signing(gateway: &Gateway, arguments: &[&str]) -> Result<Vec<(String, String)>> {
    let data = gateway.dir().join("data");
    let folder = data.to_str().context("a path that is no text")?;
    let output =
        Hawser::new()?.run(&[&["keys", "signing"], arguments, &["--data-dir", folder, "--json"]].concat(), "").await?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout)?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Ok(told["keys"].as_array().context("no keys")?.iter().map(|key| (text(&key["kid"]), text(&key["state"]))).collect())
}

/// Emergency: what a stolen key signed is refused at once; whose login it was refreshes, and the session goes on.
#[tokio::test]
async fn rs16_a_removed_signing_key_kills_its_tokens_and_no_session() -> Result<()> {
    let stage = Stage::new(Speaks::Legacy).await?;
    let mut alice = stage.log_in("alice").await?;
    let client = stage.legacy(&alice, asks()).await?;
    lists_tools(&client).await?;
    let (stolen, _) = signing(&stage.gateway, &["list"]).await?.pop().context("no key")?;
    let both = signing(&stage.gateway, &["rotate"]).await?;
    ensure!(both.len() == 2 && both[1].1 == "published", "{both:?}");
    let jwks = async || -> Result<String> {
        Ok(reqwest::get(format!("{}/oauth/jwks", stage.gateway.url().trim_end_matches('/'))).await?.text().await?)
    };
    ensure!(both.iter().all(|(kid, _)| matches!(kid.len(), 43)) && jwks().await?.matches("\"kid\"").count() == 2);
    lists_tools(&client).await.context("rotating costs nothing")?;

    let left = signing(&stage.gateway, &["remove", &stolen, "--yes"]).await?;
    ensure!(left == [(both[1].0.clone(), "active".to_owned())], "{left:?}");
    ensure!(!jwks().await?.contains(&stolen));
    let refused = async || Ok((status(&client).await? == 401).then_some(()));
    until("the old token is refused", Duration::from_secs(2), refused).await?;
    alice.refresh().await?;
    lists_tools(&client.presenting(alice.token())).await
}
