//! kill -9 and start again: what was given out stays good, for its owner and for nobody else.

use anyhow::{Result, ensure};
use hawser_probe::mcp::Presented;
use hawser_tests::{Everything, Gateway, OddBackend, Person, Script, called_text, time_backend};
use serde_json::{Value, json};

fn with_time() -> Result<Value> {
    Ok(json!({ "backends": { "time": time_backend()? } }))
}

async fn call(person: &mut Person) -> Result<()> {
    let now = person.call("time_get_current_time", json!({ "timezone": "UTC" })).await?;
    ensure!(called_text(&now)?.contains("UTC"), "{now}");
    Ok(())
}

#[tokio::test]
async fn a_session_works_with_a_token_refreshed_before_and_after_the_restart() -> Result<()> {
    let mut gateway = Gateway::with_users(with_time()?).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    call(&mut alice).await?;
    alice.refresh().await?;
    gateway.crash().await?;
    call(&mut alice).await?;
    // The grant is still there, too.
    alice.refresh().await?;
    call(&mut alice).await
}

#[tokio::test]
async fn a_registered_client_is_still_registered() -> Result<()> {
    let mut gateway = Gateway::with_users(with_time()?).await?;
    let alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    gateway.crash().await?;
    let mut bob = alice.same_client_for("bob").await?;
    ensure!(bob.grant().client.id == alice.grant().client.id);
    bob.open().await?;
    call(&mut bob).await
}

#[tokio::test]
async fn a_deleted_session_stays_deleted() -> Result<()> {
    let mut gateway = Gateway::with_users(with_time()?).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    call(&mut alice).await?;
    let deleted = alice.mcp().delete(alice.presented()?).await?;
    ensure!(deleted.status.is_success(), "{}", deleted.status);
    gateway.crash().await?;
    let refused = alice.ask("tools/list", json!({})).await?;
    ensure!(refused.answer.status == 404, "{}", refused.answer.status);
    Ok(())
}

#[tokio::test]
async fn a_stranger_is_refused_on_every_verb_and_the_owner_goes_on() -> Result<()> {
    let mut gateway = Gateway::with_users(with_time()?).await?;
    let url = gateway.mcp()?;
    let mut alice = Person::log_in(&url, "alice").await?;
    let bob = Person::log_in(&url, "bob").await?;
    alice.open().await?;
    gateway.crash().await?;

    let session = alice.session_id()?.to_owned();
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let posted = bob.mcp().post(bob.presented_with(&session), body, Some("1")).await?;
    ensure!(posted.answer.status == 404, "POST: {}", posted.answer.status);
    let listening = bob.mcp().listen(bob.presented_with(&session), None).await?;
    ensure!(!listening.is_open(), "GET opened a stream");
    let deleted = bob.mcp().delete(bob.presented_with(&session)).await?;
    ensure!(deleted.status == 404, "DELETE: {}", deleted.status);
    let nobody = bob.mcp().delete(Presented { session: Some(&session), ..Presented::default() }).await?;
    ensure!(nobody.status == 401, "DELETE without a token: {}", nobody.status);
    call(&mut alice).await
}

#[tokio::test]
async fn a_revoked_grant_stays_revoked() -> Result<()> {
    let mut gateway = Gateway::with_users(with_time()?).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    alice.grant().revoke(alice.mcp().wire()).await?;
    gateway.crash().await?;
    ensure!(alice.refresh().await.is_err(), "a revoked refresh token works again after the restart");
    Ok(())
}

#[tokio::test]
async fn a_backend_that_lost_its_sessions_is_opened_again_without_the_client_noticing() -> Result<()> {
    let backend = OddBackend::start(Script::default()).await?;
    let gateway = Gateway::with_users(json!({ "backends": { "odd": { "url": backend.url() } } })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    called_text(&alice.call("odd_act", json!({})).await?)?;
    let opened = backend.opened();
    backend.forget_sessions();
    ensure!(called_text(&alice.call("odd_act", json!({})).await?)? == "acted");
    ensure!(backend.opened() == opened + 1, "{} sessions were opened", backend.opened() - opened);
    Ok(())
}

#[tokio::test]
async fn a_real_backend_that_was_restarted_is_opened_again() -> Result<()> {
    let mut everything = Everything::start().await?;
    let gateway = Gateway::with_users(json!({ "backends": { "everything": { "url": everything.url() } } })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    called_text(&alice.call("everything_echo", json!({ "message": "before" })).await?)?;
    everything.crash().await?;
    let echoed = alice.call("everything_echo", json!({ "message": "after" })).await?;
    ensure!(called_text(&echoed)?.contains("after"), "{echoed}");
    Ok(())
}

#[tokio::test]
async fn two_users_never_share_a_backend_session() -> Result<()> {
    let backend = OddBackend::start(Script::default()).await?;
    let gateway = Gateway::with_users(json!({ "backends": { "odd": { "url": backend.url() } } })).await?;
    for name in ["alice", "bob"] {
        let mut person = Person::log_in(&gateway.mcp()?, name).await?;
        person.open().await?;
        called_text(&person.call("odd_act", json!({ "who": name })).await?)?;
    }
    let session_of = |name: &str| {
        let seen = backend.seen();
        let call = seen.iter().find(|seen| seen.method == "tools/call" && seen.body.contains(name));
        call.and_then(|call| call.headers.get("mcp-session-id").cloned())
    };
    ensure!(session_of("alice").is_some() && session_of("alice") != session_of("bob"));
    Ok(())
}

/// RS20: what the client presents is for the gateway, and goes no further.
#[tokio::test]
async fn rs20_no_backend_ever_sees_a_clients_token_or_session() -> Result<()> {
    let backend = OddBackend::start(Script::default()).await?;
    let gateway = Gateway::with_users(json!({ "backends": { "odd": { "url": backend.url() } } })).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    alice.call("odd_act", json!({})).await?;
    alice.refresh().await?;
    alice.call("odd_act", json!({})).await?;
    let session = alice.session_id()?;
    for seen in backend.seen() {
        ensure!(!seen.headers.contains_key("authorization"), "{} carries a credential", seen.method);
        let everything = format!("{:?} {}", seen.headers, seen.body);
        ensure!(!everything.contains(alice.token()) && !everything.contains(session), "{} leaks", seen.method);
    }
    Ok(())
}

#[tokio::test]
async fn asked_to_stop_it_stops_with_code_0_and_keeps_everything() -> Result<()> {
    let mut gateway = Gateway::with_users(with_time()?).await?;
    ensure!(Some(gateway.announced_pid()) == gateway.pid(), "the announced process id is another's");
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    // An open stream does not hold it up.
    let _stream = alice.mcp().listen(alice.presented()?, None).await?;
    let status = gateway.stop().await?;
    ensure!(status.code() == Some(0), "{status}");
    gateway.start_again().await?;
    call(&mut alice).await
}

#[tokio::test]
async fn a_second_gateway_on_the_same_data_is_refused_and_the_first_goes_on() -> Result<()> {
    let gateway = Gateway::with_users(with_time()?).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    let hawser = hawser_tests::Hawser::new()?;
    let data = gateway.dir().join("data");
    let data = data.to_str().unwrap_or_default();
    let second = hawser.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", data], "").await?;
    let errors = String::from_utf8_lossy(&second.stderr);
    ensure!(second.status.code() == Some(1), "{}: {errors}", second.status);
    ensure!(errors.contains(data), "the error does not name the file: {errors}");
    call(&mut alice).await
}

/// Without a store on disk, a restart forgets; it never gives an old id to anybody.
#[tokio::test]
async fn with_a_memory_store_old_tokens_and_sessions_are_unknown_after_a_restart() -> Result<()> {
    let mut configuration = with_time()?;
    configuration["store"] = "memory".into();
    let mut gateway = Gateway::with_users(configuration).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    gateway.crash().await?;
    ensure!(alice.refresh().await.is_err(), "the refresh token survived");
    Ok(())
}
