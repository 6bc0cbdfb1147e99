//! Two issuers that nobody here wrote, whose users have equal subjects.

use anyhow::{Result, ensure};
use hawser_tests::{Gateway, Oidc, Person, called_text, time_backend};
use serde_json::{Value, json};

fn configuration(issuers: &[&Oidc]) -> Result<Value> {
    let issuers: Vec<Value> = issuers.iter().map(|issuer| json!({ "issuer": issuer.issuer() })).collect();
    let auth = json!({ "authorization_server": { "enabled": false }, "issuers": issuers });
    Ok(json!({ "backends": { "time": time_backend()? }, "auth": auth }))
}

async fn call(person: &mut Person) -> Result<()> {
    let now = person.call("time_get_current_time", json!({ "timezone": "UTC" })).await?;
    called_text(&now)?;
    Ok(())
}

#[tokio::test]
async fn an_external_issuers_user_opens_a_session_and_keeps_it_over_a_refresh() -> Result<()> {
    let issuer = Oidc::start().await?;
    let gateway = Gateway::start(configuration(&[&issuer])?).await?;
    let mut alice = Person::log_in_at(&issuer, &gateway.mcp()?, "alice").await?;
    alice.open().await?;
    call(&mut alice).await?;
    alice.refresh().await?;
    call(&mut alice).await
}

/// The login that the gateway's 401 and metadata lead to, followed by a client that knows nothing beforehand.
#[tokio::test]
async fn rs19_the_metadata_leads_to_the_external_issuer() -> Result<()> {
    let issuer = Oidc::start().await?;
    let gateway = Gateway::start(configuration(&[&issuer])?).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    ensure!(alice.grant().discovered.server.issuer == issuer.issuer());
    alice.open().await?;
    call(&mut alice).await
}

#[tokio::test]
async fn equal_subjects_of_two_issuers_are_two_owners() -> Result<()> {
    let (here, there) = (Oidc::start().await?, Oidc::start().await?);
    let gateway = Gateway::start(configuration(&[&here, &there])?).await?;
    let url = gateway.mcp()?;
    let mut alice = Person::log_in_at(&here, &url, "alice").await?;
    let mut namesake = Person::log_in_at(&there, &url, "alice").await?;
    let session = alice.open().await?.id.clone().unwrap_or_default();
    namesake.open().await?;

    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let refused = namesake.mcp().post(namesake.presented_with(&session), body, Some("1")).await?;
    ensure!(refused.answer.status == 404, "{}", refused.answer.status);
    let refused = namesake.mcp().delete(namesake.presented_with(&session)).await?;
    ensure!(refused.status == 404, "{}", refused.status);
    call(&mut alice).await?;
    call(&mut namesake).await
}

/// RS7: a good signature of a trusted issuer is not enough; the token must be meant for this resource.
#[tokio::test]
async fn rs7_a_token_for_another_resource_gets_401() -> Result<()> {
    let issuer = Oidc::start().await?;
    let gateway = Gateway::start(configuration(&[&issuer])?).await?;
    let url = gateway.mcp()?;
    for resource in
        [format!("{url}/"), format!("{url}2"), gateway.url().to_owned(), "https://mcp.example.com/mcp".to_owned()]
    {
        let mut alice = Person::log_in_for(&issuer, &url, &resource, "alice").await?;
        let refused = alice.open().await.err().map(|error| error.to_string()).unwrap_or_default();
        ensure!(refused.contains("401"), "a token for {resource}: {refused:?}");
    }
    Ok(())
}

/// RS15: an issuer that changed its keys is asked for them again.
#[tokio::test]
async fn rs15_new_keys_of_an_issuer_are_fetched_when_a_token_needs_them() -> Result<()> {
    let mut issuer = Oidc::start().await?;
    let gateway = Gateway::start(configuration(&[&issuer])?).await?;
    let url = gateway.mcp()?;
    let mut alice = Person::log_in_at(&issuer, &url, "alice").await?;
    alice.open().await?;
    // The same issuer comes back with new keys under new names, and with no memory of clients or grants.
    issuer.restart_with(json!({ "key_prefix": "new-" })).await?;
    let session = alice.session_id()?.to_owned();
    let back = Person::log_in_at(&issuer, &url, "alice").await?;
    let body = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }).to_string();
    let listed = back.mcp().post(back.presented_with(&session), body, Some("1")).await?;
    ensure!(listed.answer.status == 200, "{}: {}", listed.answer.status, gateway.log());
    Ok(())
}

/// RS17: known keys go on working while the issuer is away.
#[tokio::test]
async fn rs17_an_issuer_that_is_away_stops_nobody_who_is_logged_in() -> Result<()> {
    let mut issuer = Oidc::start().await?;
    let gateway = Gateway::start(configuration(&[&issuer])?).await?;
    let mut alice = Person::log_in_at(&issuer, &gateway.mcp()?, "alice").await?;
    alice.open().await?;
    issuer.kill().await?;
    call(&mut alice).await
}
