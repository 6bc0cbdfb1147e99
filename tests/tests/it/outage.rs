//! The store that nodes share is deleted from, stands still, dies and comes back empty. Owners' sessions go on everywhere; what
//! is over stays over; strangers stay strangers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{Nodes, Oidc, Person, Speaks};
use serde_json::json;
use url::Url;

/// What holds everywhere holds within this; the rest is what the request itself takes.
const STALE_MAX: Duration = Duration::from_secs(1);
const REQUEST_MAX: Duration = Duration::from_millis(500);
/// From when the store answers again to when all is as before.
const BACK_MAX: Duration = Duration::from_secs(20);

/// The status of a request on somebody's session, presented by somebody at one node.
async fn status(at: &Url, by: &Person, session: &str) -> Result<u16> {
    let by = by.at(at);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    Ok(by.mcp().post(by.presented_with(session), body, Some("1")).await?.answer.status.as_u16())
}

/// Waits until the request gets this status; how long that took.
async fn until(wanted: u16, within: Duration, at: &Url, by: &Person, session: &str) -> Result<Duration> {
    let begun = Instant::now();
    loop {
        let got = status(at, by, session).await?;
        if got == wanted {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < within, "{got} instead of {wanted} after {:?}", begun.elapsed());
    }
}

/// Nodes that trust an issuer outside, so that nothing but sessions is in their store.
async fn nodes(issuer: &Oidc) -> Result<Nodes> {
    let issuers = json!([{ "issuer": issuer.issuer() }]);
    let auth = json!({ "authorization_server": { "enabled": false }, "issuers": issuers });
    Nodes::with(2, Speaks::Legacy, json!({ "auth": auth })).await
}

async fn person(issuer: &Oidc, nodes: &Nodes, name: &str) -> Result<Person> {
    Person::log_in_at(issuer, nodes.url(), name).await
}

#[tokio::test]
async fn a_session_that_is_deleted_on_one_node_is_over_on_the_others_within_a_second() -> Result<()> {
    let issuer = Oidc::start().await?;
    let nodes = nodes(&issuer).await?;
    let mut alice = person(&issuer, &nodes, "alice").await?;
    let (here, there) = (nodes.at(0)?, nodes.at(1)?);
    for round in 0..3 {
        let session = alice.open().await?.id.clone().context("no session id")?;
        for at in [&here, &there] {
            ensure!(status(at, &alice, &session).await? == 200);
        }
        if round > 0 {
            // What is published now reaches nobody: whoever listened is cut off, and listens again a little later.
            nodes.store.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]).await?;
        }
        let at_here = alice.at(&here);
        let deleted = at_here.mcp().delete(at_here.presented_with(&session)).await?;
        ensure!(deleted.status == 204, "{}", deleted.status);
        let took = until(404, STALE_MAX + REQUEST_MAX, &there, &alice, &session).await?;
        ensure!(took <= STALE_MAX + REQUEST_MAX, "{took:?}");
        ensure!(status(&here, &alice, &session).await? == 404);
    }
    Ok(())
}

#[tokio::test]
async fn while_the_store_stands_still_owners_go_on_and_strangers_do_not() -> Result<()> {
    let issuer = Oidc::start().await?;
    let nodes = nodes(&issuer).await?;
    let mut alice = person(&issuer, &nodes, "alice").await?;
    let eve = person(&issuer, &nodes, "eve").await?;
    let session = alice.open().await?.id.clone().context("no session id")?;
    let (here, there) = (nodes.at(0)?, nodes.at(1)?);
    for at in [&here, &there] {
        ensure!(status(at, &alice, &session).await? == 200);
    }
    nodes.store.stall()?;
    for at in [&here, &there, &here, &there] {
        let begun = Instant::now();
        ensure!(status(at, &alice, &session).await? == 200);
        ensure!(begun.elapsed() < REQUEST_MAX, "a known session waited for the store: {:?}", begun.elapsed());
        ensure!(status(at, &eve, &session).await? == 404);
    }
    let refused = eve.at(&here).open().await.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(refused.contains("503"), "initialize without a store: {refused:?}");
    nodes.store.resume()?;
    for at in [&here, &there] {
        until(200, BACK_MAX, at, &alice, &session).await?;
        ensure!(status(at, &eve, &session).await? == 404);
    }
    Ok(())
}

#[tokio::test]
async fn a_dead_store_logs_nobody_out_not_even_on_a_node_that_is_started_without_it() -> Result<()> {
    let issuer = Oidc::start().await?;
    let mut nodes = nodes(&issuer).await?;
    let mut alice = person(&issuer, &nodes, "alice").await?;
    let eve = person(&issuer, &nodes, "eve").await?;
    let kept = alice.open().await?.id.clone().context("no session id")?;
    let over = alice.open().await?.id.clone().context("no session id")?;
    let (here, there) = (nodes.at(0)?, nodes.at(1)?);
    for session in [&kept, &over] {
        ensure!(status(&here, &alice, session).await? == 200);
    }
    let at_here = alice.at(&here);
    ensure!(at_here.mcp().delete(at_here.presented_with(&over)).await?.status == 204);
    until(404, STALE_MAX + REQUEST_MAX, &there, &alice, &over).await?;

    nodes.store.kill().await?;
    nodes.add().await?;
    let new = nodes.at(2)?;
    for at in [&here, &there, &new] {
        ensure!(status(at, &alice, &kept).await? == 200, "{at}");
        ensure!(status(at, &eve, &kept).await? == 404, "{at}");
    }
    // Who knows that it is over still knows.
    for at in [&here, &there] {
        ensure!(status(at, &alice, &over).await? == 404, "{at}");
    }
    let deleted = at_here.mcp().delete(at_here.presented_with(&kept)).await?;
    ensure!(deleted.status == 503, "{}", deleted.status);
    ensure!(deleted.headers.contains_key("retry-after"), "503 without Retry-After: {:?}", deleted.headers);

    nodes.store.start_again().await?;
    until(404, BACK_MAX, &new, &alice, &over).await?;
    for at in [&here, &there, &new] {
        ensure!(status(at, &alice, &kept).await? == 200, "{at}");
    }
    // All is as before: sessions are opened and ended.
    let begun = Instant::now();
    while alice.open().await.is_err() {
        ensure!(begun.elapsed() < BACK_MAX, "no session can be opened");
    }
    Ok(())
}

#[tokio::test]
async fn a_store_that_comes_back_empty_logs_nobody_out_and_lets_nobody_back_in() -> Result<()> {
    let issuer = Oidc::start().await?;
    let mut nodes = nodes(&issuer).await?;
    let mut alice = person(&issuer, &nodes, "alice").await?;
    let eve = person(&issuer, &nodes, "eve").await?;
    let kept = alice.open().await?.id.clone().context("no session id")?;
    let over = alice.open().await?.id.clone().context("no session id")?;
    let (here, there) = (nodes.at(0)?, nodes.at(1)?);
    ensure!(status(&here, &alice, &kept).await? == 200);
    let at_here = alice.at(&here);
    ensure!(at_here.mcp().delete(at_here.presented_with(&over)).await?.status == 204);
    nodes.store.flush().await?;
    // Also where nothing is known of it but its seal.
    ensure!(status(&there, &alice, &kept).await? == 200);
    // The nodes write again what they know: then a new one knows it too.
    let begun = Instant::now();
    while nodes.store.ask(&["KEYS", "*session/*"]).await?.parts().len() < 2 {
        ensure!(begun.elapsed() < BACK_MAX, "the rows are not written again");
    }
    nodes.add().await?;
    let new = nodes.at(2)?;
    for at in [&here, &there, &new] {
        ensure!(status(at, &alice, &over).await? == 404, "{at}: it is over");
        ensure!(status(at, &alice, &kept).await? == 200, "{at}: it was kept");
        ensure!(status(at, &eve, &kept).await? == 404, "{at}: it is not eve's");
    }
    Ok(())
}

/// With the embedded authorization server: a token that was seen a moment ago goes on, one that has to be asked for waits, and
/// after a flush a new login of the same person goes on with the same session.
#[tokio::test]
async fn tokens_of_the_embedded_authorization_server_in_an_outage_and_after_a_flush() -> Result<()> {
    let nodes = Nodes::new(2, Speaks::Legacy).await?;
    let mut alice = nodes.log_in("alice").await?;
    let here = nodes.at(0)?;
    let session = alice.open().await?.id.clone().context("no session id")?;
    ensure!(status(&here, &alice, &session).await? == 200);
    let seen = alice.at(nodes.url());
    alice.refresh().await?;
    nodes.store.stall()?;
    ensure!(status(&here, &seen, &session).await? == 200, "a token that was seen");
    let at_here = alice.at(&here);
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" }).to_string();
    let unseen = at_here.mcp().post(at_here.presented_with(&session), body, Some("1")).await?.answer;
    ensure!(unseen.status == 503, "a token that must be asked for: {}", unseen.status);
    ensure!(unseen.headers.contains_key("retry-after"));
    nodes.store.resume()?;
    until(200, BACK_MAX, &here, &alice, &session).await?;

    nodes.store.flush().await?;
    // Its grants are gone, and with them its tokens; whose the session is has not changed.
    until(401, BACK_MAX, &here, &alice, &session).await?;
    let back = nodes.log_in("alice").await?;
    ensure!(status(&here, &back, &session).await? == 200, "the same person after a new login");
    let eve = nodes.log_in("eve").await?;
    ensure!(status(&here, &eve, &session).await? == 404);
    Ok(())
}
