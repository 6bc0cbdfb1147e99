//! The store at a server: configured, used, waited for, refused.

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Hawser, Person, RedisOptions, RedisServer, called_text, time_backend};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A folder with a key ring, as `hawser keys generate` makes it.
async fn with_key_ring() -> Result<TempDir> {
    let hawser = Hawser::new()?;
    let made = hawser.run(&["keys", "generate", "ring.json"], "").await?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let dir = TempDir::with_prefix("hawser-test-")?;
    std::fs::copy(hawser.dir().join("ring.json"), dir.path().join("ring.json"))?;
    Ok(dir)
}

fn configuration(store: &Value) -> Result<Value> {
    Ok(json!({ "backends": { "time": time_backend()? }, "store": store, "key_ring": "file:ring.json" }))
}

async fn call(person: &mut Person) -> Result<()> {
    let now = person.call("time_get_current_time", json!({ "timezone": "UTC" })).await?;
    ensure!(called_text(&now)?.contains("UTC"), "{now}");
    Ok(())
}

#[tokio::test]
async fn everything_that_outlives_a_node_is_at_the_server() -> Result<()> {
    let server = RedisServer::start_with(RedisOptions::default().with(&["--requirepass", "s3cret"])).await?;
    let url = server.url().replace("://", "://:s3cret@");
    let dir = with_key_ring().await?;
    let mut gateway = Gateway::with_users_in(dir, configuration(&json!({ "url": url, "prefix": "mcp:" }))?).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    call(&mut alice).await?;
    let mut bob = Person::log_in(&gateway.mcp()?, "bob").await?;
    bob.open().await?;
    let deleted = bob.mcp().delete(bob.presented()?).await?;
    ensure!(deleted.status.is_success(), "{}", deleted.status);
    gateway.kill().await?;
    // What the node kept on its own disk, if anything, is gone.
    let data = gateway.dir().join("data");
    if data.exists() {
        std::fs::remove_dir_all(&data)?;
    }
    ensure!(!gateway.log().contains("s3cret"), "{}", gateway.log());
    gateway.start_again().await?;
    call(&mut alice).await?;
    alice.refresh().await?;
    call(&mut alice).await?;
    let refused = bob.ask("tools/list", json!({})).await?;
    ensure!(refused.answer.status == 404, "{}", refused.answer.status);
    Ok(())
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_waited_for() -> Result<()> {
    let mut server = RedisServer::start().await?;
    server.stop().await?;
    let dir = with_key_ring().await?;
    let starting = Gateway::start_in(dir, configuration(&json!(server.url()))?);
    let (gateway, started) = tokio::join!(starting, server.start_again());
    started?;
    ensure!(gateway?.log().contains("connected to the store"));
    Ok(())
}

#[tokio::test]
async fn a_server_that_refuses_the_password_ends_the_start_and_the_password_is_nowhere() -> Result<()> {
    let server = RedisServer::start_with(RedisOptions::default().with(&["--requirepass", "right"])).await?;
    let dir = with_key_ring().await?;
    let hawser = Hawser::new()?;
    let ring = std::fs::read_to_string(dir.path().join("ring.json"))?;
    hawser.write("ring.json", &ring)?;
    let url = server.url().replace("://", "://:wr0ngword@");
    let file = hawser.write("hawser.yaml", &json!({ "store": url, "key_ring": "file:ring.json" }).to_string())?;
    let file = file.to_str().context("a path in UTF-8")?;
    let ended = hawser.run(&["serve", "--listen", "127.0.0.1:0", "--config", file], "").await?;
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    ensure!(ended.status.code() == Some(1), "{:?}: {said}", ended.status);
    ensure!(said.contains("refuses the user or the password") && !said.contains("wr0ngword"), "{said}");
    Ok(())
}
