//! Who was given a list on another session's word, and has no session with its backend, is told of its changes all the same.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Answer, Capture, ChangingBackend, Gateway, Legacy, Nodes, Person, Speaks, Stated, until};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(10);
const CHANGED: &str = "notifications/tools/list_changed";

/// A gateway in front of one changing backend.
struct Stage {
    backend: ChangingBackend,
    gateway: Gateway,
    capture: Capture,
}

impl Stage {
    async fn new(backend: ChangingBackend) -> Result<Self> {
        let gateway = Gateway::with_users(json!({ "backends": { "b": { "url": backend.url() } } })).await?;
        Ok(Self { backend, gateway, capture: Capture::new() })
    }

    async fn log_in(&self, name: &str) -> Result<Person> {
        Person::log_in(&self.gateway.mcp()?, name).await
    }

    /// A session that has listed, and the stream that it listens on.
    async fn listed(&self, person: &Person) -> Result<(Legacy, Answer)> {
        let client = Legacy::open(&self.gateway.mcp()?, Some(person.token()), json!({}), &self.capture).await?;
        let stream = listen(&client).await?;
        list(&client).await?;
        Ok((client, stream))
    }

    async fn is_listened_to(&self, by: usize) -> Result<()> {
        let heard = async || Ok((self.backend.listening().len() == by).then_some(()));
        until("the backend is listened to", PATIENCE, heard).await
    }
}

async fn listen(client: &Legacy) -> Result<Answer> {
    let mut stream = client.stream(None).await?;
    stream.event().await?.context("no priming event")?;
    Ok(stream)
}

async fn list(client: &Legacy) -> Result<Value> {
    client.result("tools/list", json!({})).await
}

async fn told(stream: &mut Answer) -> Result<()> {
    let told = tokio::time::timeout(PATIENCE, stream.expect(CHANGED)).await;
    told.context("the change was not told")?.map(drop)
}

#[tokio::test]
async fn who_was_given_what_another_session_read_is_told_of_its_changes() -> Result<()> {
    let stage = Stage::new(ChangingBackend::start(&["one"]).await?).await?;
    let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
    let (_first, mut first) = stage.listed(&alice).await?;
    stage.is_listened_to(1).await?;
    let opened = stage.backend.count("initialize");
    let (_second, mut second) = stage.listed(&alice).await?;
    let strange = Legacy::open(&stage.gateway.mcp()?, Some(eve.token()), json!({}), &stage.capture).await?;
    let mut strangers = listen(&strange).await?;
    ensure!(stage.backend.count("initialize") == opened, "it was given what is known");
    stage.backend.announce();
    told(&mut first).await?;
    told(&mut second).await?;
    // What alice's sessions hear is not said to eve: the first that she is told of is what her own session hears.
    list(&strange).await?;
    stage.is_listened_to(2).await?;
    stage.backend.announce();
    told(&mut strangers).await?;
    let more = tokio::time::timeout(Duration::from_millis(500), strangers.next()).await;
    ensure!(more.is_err(), "eve was told twice: {more:?}");
    Ok(())
}

#[tokio::test]
async fn a_list_that_is_everyones_has_changed_for_everyone() -> Result<()> {
    let stated = Stated { ttl_ms: 3_600_000, scope: "public" };
    let stage = Stage::new(ChangingBackend::start_modern(&["one"], stated).await?).await?;
    let (alice, bob) = (stage.log_in("alice").await?, stage.log_in("bob").await?);
    let (_reader, mut reader) = stage.listed(&alice).await?;
    stage.is_listened_to(1).await?;
    let read = stage.backend.count("tools/list");
    let (given, mut other) = stage.listed(&bob).await?;
    ensure!(stage.backend.count("tools/list") == read, "it was given what is known");
    stage.backend.set_tools(&["two"]);
    stage.backend.announce();
    told(&mut reader).await?;
    told(&mut other).await?;
    ensure!(list(&given).await?["tools"][0]["name"] == "b_two");
    Ok(())
}

/// The session that heard is over: nobody could say any more whether the list of the others is what it was.
#[tokio::test]
async fn who_loses_the_ears_of_another_session_lists_anew_and_hears() -> Result<()> {
    let modern = Stated { ttl_ms: 3_600_000, scope: "private" };
    for backend in [ChangingBackend::start(&["one"]).await?, ChangingBackend::start_modern(&["one"], modern).await?] {
        let stage = Stage::new(backend).await?;
        let alice = stage.log_in("alice").await?;
        let (first, _listening) = stage.listed(&alice).await?;
        stage.is_listened_to(1).await?;
        let (second, mut stream) = stage.listed(&alice).await?;
        ensure!(first.delete().await?.is_success());
        told(&mut stream).await?;
        stage.is_listened_to(0).await?;
        list(&second).await?;
        stage.is_listened_to(1).await?;
        stage.backend.announce();
        told(&mut stream).await?;
    }
    Ok(())
}

/// The list is given by one node, on the word of a session there, and the client listens at the other.
#[tokio::test]
async fn it_is_told_at_whatever_node_the_client_listens() -> Result<()> {
    let public = Stated { ttl_ms: 3_600_000, scope: "public" };
    for stated in [None, Some(public)] {
        let backend = match stated {
            None => ChangingBackend::start(&["one"]).await?,
            Some(stated) => ChangingBackend::start_modern(&["one"], stated).await?,
        };
        let more = json!({ "backends": { "b": { "url": backend.url() } } });
        let nodes = Nodes::with(2, Speaks::Legacy, more).await?;
        let alice = nodes.log_in("alice").await?;
        let first = nodes.legacy_on(1, &alice, json!({})).await?.at(&nodes.at(1)?);
        list(&first).await?;
        let heard = async || Ok((!backend.listening().is_empty()).then_some(()));
        until("the backend is listened to", PATIENCE, heard).await?;
        let read = backend.count("tools/list");
        let second = nodes.legacy_on(0, &alice, json!({})).await?.at(&nodes.at(0)?);
        let mut stream = listen(&second).await?;
        list(&second.at(&nodes.at(1)?)).await?;
        ensure!(backend.count("tools/list") == read, "it was given what is known there");
        backend.announce();
        told(&mut stream).await?;
    }
    Ok(())
}
