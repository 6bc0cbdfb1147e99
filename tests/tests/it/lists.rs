//! Lists come from what the gateway knows, for as long as that is good, and never from what it knows of somebody else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{ChangingBackend, Gateway, OddBackend, Person, Script, Stated, called_text, odd_stdio, until};
use serde_json::{Value, json};

/// Long before anything is forgotten by time alone.
const SOON: Duration = Duration::from_secs(10);

async fn gateway_of(backends: &Value) -> Result<Gateway> {
    Gateway::with_users(json!({ "backends": backends })).await
}

async fn open(gateway: &Gateway, name: &str) -> Result<Person> {
    let mut person = Person::log_in(&gateway.mcp()?, name).await?;
    person.open().await?;
    Ok(person)
}

/// A gateway in front of one changing backend, and Alice, whose session with it is open and heard.
async fn stage(tools: &[&str]) -> Result<(ChangingBackend, Gateway, Person)> {
    let backend = ChangingBackend::start(tools).await?;
    let gateway = gateway_of(&json!({ "b": { "url": backend.url() } })).await?;
    let mut alice = open(&gateway, "alice").await?;
    alice.tools().await?;
    until("the backend is listened to", SOON, async || Ok((!backend.listening().is_empty()).then_some(()))).await?;
    Ok((backend, gateway, alice))
}

#[tokio::test]
async fn a_warm_gateway_answers_initialize_and_lists_without_a_word_to_its_backends() -> Result<()> {
    let (backend, gateway, mut alice) = stage(&["one", "two"]).await?;
    let mut again = Person::log_in(&gateway.mcp()?, "alice").await?;
    let (before, opened) = (backend.total(), backend.count("initialize"));
    let all = json!({});
    let first = alice.result("tools/list", all.clone()).await?;
    for _ in 0..3 {
        again.open().await?;
        ensure!(again.result("tools/list", all.clone()).await? == first);
    }
    ensure!(alice.tools().await? == ["b_one", "b_two"]);
    ensure!(backend.total() == before, "{} requests at a warm gateway", backend.total() - before);
    // The control: a call needs a session with the backend.
    called_text(&again.call("b_one", json!({})).await?)?;
    ensure!(backend.count("initialize") == opened + 1, "{}", backend.count("initialize"));
    Ok(())
}

#[tokio::test]
async fn what_was_listed_for_one_person_is_not_given_to_another() -> Result<()> {
    let (backend, gateway, mut alice) = stage(&["one"]).await?;
    let mut bob = open(&gateway, "bob").await?;
    let before = backend.count("tools/list");
    backend.set_tools(&["two"]);
    ensure!(bob.tools().await? == ["b_two"], "bob is given what was read for alice");
    ensure!(backend.count("tools/list") == before + 1, "bob's list was not read for bob");
    ensure!(alice.tools().await? == ["b_one"], "alice is given what was read for bob");
    ensure!(backend.count("tools/list") == before + 1);
    Ok(())
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_reading() -> Result<()> {
    let odd = OddBackend::start(Script::default()).await?;
    let gateway = gateway_of(&json!({ "odd": { "url": odd.url() } })).await?;
    let mut alices = Vec::new();
    for _ in 0..4 {
        alices.push(open(&gateway, "alice").await?);
    }
    let before = odd.count("tools/list");
    let listed = futures_util::future::join_all(alices.iter_mut().map(Person::tools)).await;
    for tools in listed {
        ensure!(tools? == ["odd_act"]);
    }
    ensure!(odd.count("tools/list") == before + 1, "{} readings", odd.count("tools/list") - before);
    Ok(())
}

#[tokio::test]
async fn a_change_that_is_announced_is_seen_at_once() -> Result<()> {
    let (backend, gateway, mut alice) = stage(&["one"]).await?;
    let mut again = open(&gateway, "alice").await?;
    for tools in [&["one", "two"][..], &["two"]] {
        backend.set_tools(tools);
        backend.announce();
        let expected: Vec<_> = tools.iter().map(|tool| format!("b_{tool}")).collect();
        for alice in [&mut alice, &mut again] {
            until("the change is listed", SOON, async || Ok((alice.tools().await? == expected).then_some(()))).await?;
        }
    }
    Ok(())
}

/// A session-era server may show each session something else; what it announced within one is that one's alone.
#[tokio::test]
async fn tools_of_one_session_do_not_show_in_another() -> Result<()> {
    let (backend, gateway, mut alice) = stage(&["one"]).await?;
    let mut again = open(&gateway, "alice").await?;
    let told = called_text(&again.call("b_one", json!({})).await?)?.to_owned();
    let listening = async || Ok(backend.listening().contains(&told).then_some(()));
    until("the second session is listened to", SOON, listening).await?;
    backend.give(&told, "extra");
    until("its tool is listed", SOON, async || Ok((again.tools().await?.len() == 2).then_some(()))).await?;
    ensure!(alice.tools().await? == ["b_one"], "the other session shows it, too");
    let before = backend.total();
    ensure!(again.tools().await? == ["b_one", "b_extra"] && alice.tools().await? == ["b_one"]);
    ensure!(backend.total() == before, "both are known now");
    Ok(())
}

#[tokio::test]
async fn the_order_is_that_of_the_backends_and_stays() -> Result<()> {
    let backend = ChangingBackend::start(&["c", "a", "b"]).await?;
    let backends = json!({ "z": { "url": backend.url() }, "m": odd_stdio("well")?, "a": { "url": backend.url() } });
    let gateway = gateway_of(&backends).await?;
    let mut alice = open(&gateway, "alice").await?;
    let first = alice.tools().await?;
    let by_backend = |prefix: &str| first.iter().filter(|name| name.starts_with(prefix)).cloned().collect::<Vec<_>>();
    ensure!([by_backend("a_"), by_backend("m_"), by_backend("z_")].concat() == first, "{first:?}");
    ensure!(by_backend("a_") == ["a_c", "a_a", "a_b"], "a backend's own order: {first:?}");
    until("both are listened to", SOON, async || Ok((backend.listening().len() >= 2).then_some(()))).await?;
    // What a server lists as it comes is the same list, however it comes.
    backend.rotate();
    for _ in 0..4 {
        let before = backend.count("tools/list");
        backend.announce();
        until("both are listed again", SOON, async || {
            ensure!(alice.tools().await? == first);
            Ok((backend.count("tools/list") >= before + 2).then_some(()))
        })
        .await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_backend_that_fails_does_not_make_the_list_flap() -> Result<()> {
    let backend = ChangingBackend::start(&["one"]).await?;
    let backends = json!({ "b": { "url": backend.url() }, "good": odd_stdio("well")? });
    let gateway = gateway_of(&backends).await?;
    let mut alice = open(&gateway, "alice").await?;
    let all = alice.tools().await?;
    ensure!(all == ["b_one", "good_act"], "{all:?}");
    until("the backend is listened to", SOON, async || Ok((!backend.listening().is_empty()).then_some(()))).await?;
    backend.fail(true);
    backend.announce();
    let before = backend.count("tools/list");
    until("it is asked in vain", SOON, async || {
        ensure!(alice.tools().await? == all, "the list flaps");
        Ok((backend.count("tools/list") > before).then_some(()))
    })
    .await?;
    let mut again = open(&gateway, "alice").await?;
    ensure!(again.tools().await? == all, "a new session does not get what is known");
    backend.set_tools(&["two"]);
    backend.fail(false);
    ensure!(alice.tools().await? == ["b_two", "good_act"], "what is not fresh is asked for again");
    Ok(())
}

#[tokio::test]
async fn a_backend_that_hangs_makes_nobody_wait_twice() -> Result<()> {
    let backend = ChangingBackend::start(&["one"]).await?;
    let backends = json!({ "b": { "url": backend.url() }, "good": odd_stdio("well")? });
    let gateway = gateway_of(&backends).await?;
    let mut alice = open(&gateway, "alice").await?;
    let all = alice.tools().await?;
    until("the backend is listened to", SOON, async || Ok((!backend.listening().is_empty()).then_some(()))).await?;
    backend.hang(true);
    backend.announce();
    let before = backend.count("tools/list");
    let first = until("it is asked in vain", 2 * SOON, async || {
        let began = Instant::now();
        ensure!(alice.tools().await? == all, "the last good list");
        Ok((backend.count("tools/list") > before).then(|| began.elapsed()))
    });
    let first = first.await?;
    let began = Instant::now();
    ensure!(alice.tools().await? == all, "the last good list");
    ensure!(began.elapsed() < first / 2, "{:?} after {first:?}", began.elapsed());
    backend.set_tools(&["two"]);
    backend.hang(false);
    ensure!(alice.tools().await? == ["b_two", "good_act"], "it is asked all the same");
    Ok(())
}

#[tokio::test]
async fn a_cursor_is_good_in_every_session_of_its_owner_while_the_list_is_the_same() -> Result<()> {
    let backend = ChangingBackend::start(&["one"]).await?;
    let backends = json!({ "b": { "url": backend.url() }, "many": odd_stdio("many")? });
    let gateway = gateway_of(&backends).await?;
    let mut alice = open(&gateway, "alice").await?;
    let mut again = open(&gateway, "alice").await?;
    let mut eve = open(&gateway, "eve").await?;
    let page = alice.result("tools/list", json!({})).await?;
    let cursor = page["nextCursor"].as_str().context("no cursor")?.to_owned();
    let second = alice.result("tools/list", json!({ "cursor": cursor })).await?;
    ensure!(second["tools"][0]["name"] == "many_tool-999", "{}", second["tools"][0]);
    ensure!(again.result("tools/list", json!({ "cursor": cursor })).await? != page, "it is not the first page");
    ensure!(again.result("tools/list", json!({ "cursor": cursor })).await?["tools"] == second["tools"]);
    // Eve's list has the same content; the cursor is alice's all the same.
    eve.result("tools/list", json!({})).await?;
    let (code, _) = eve.error("tools/list", json!({ "cursor": cursor })).await?;
    ensure!(code == -32602, "another owner's cursor: {code}");

    until("the backend is listened to", SOON, async || Ok((backend.listening().len() >= 2).then_some(()))).await?;
    backend.set_tools(&["one", "two"]);
    backend.announce();
    until("the cursor is of another list", SOON, async || {
        let reply = alice.ask("tools/list", json!({ "cursor": cursor })).await?;
        Ok(reply.messages.iter().find_map(|message| message.error.as_ref()).map(|error| error.code))
    })
    .await
    .and_then(|code| {
        ensure!(code == -32602, "{code}");
        Ok(())
    })
}

#[tokio::test]
async fn a_modern_backend_says_how_long_its_lists_are_good_and_for_whom() -> Result<()> {
    let hour = 3_600_000;
    // What is stated; how often it is read for alice twice and then for bob.
    for (stated, alone, together) in [
        (Stated { ttl_ms: hour, scope: "public" }, 1, 1),
        (Stated { ttl_ms: hour, scope: "private" }, 1, 2),
        (Stated { ttl_ms: 0, scope: "public" }, 2, 3),
        (Stated { ttl_ms: 0, scope: "private" }, 2, 3),
    ] {
        let backend = ChangingBackend::start_modern(&["one"], stated).await?;
        let gateway = gateway_of(&json!({ "b": { "url": backend.url() } })).await?;
        let (mut alice, mut bob) = (open(&gateway, "alice").await?, open(&gateway, "bob").await?);
        let before = backend.count("tools/list");
        ensure!(alice.tools().await? == ["b_one"] && alice.tools().await? == ["b_one"]);
        ensure!(backend.count("tools/list") == before + alone, "{stated:?}: {}", backend.count("tools/list") - before);
        ensure!(bob.tools().await? == ["b_one"]);
        let read = backend.count("tools/list") - before;
        ensure!(read == together, "{stated:?}: read {read} times");
    }
    Ok(())
}

#[tokio::test]
async fn a_modern_backend_that_announces_a_change_is_read_again_for_everybody() -> Result<()> {
    let stated = Stated { ttl_ms: 3_600_000, scope: "public" };
    let backend = ChangingBackend::start_modern(&["one"], stated).await?;
    let gateway = gateway_of(&json!({ "b": { "url": backend.url() } })).await?;
    let (mut alice, mut bob) = (open(&gateway, "alice").await?, open(&gateway, "bob").await?);
    ensure!(alice.tools().await? == ["b_one"] && bob.tools().await? == ["b_one"]);
    until("the backend is listened to", SOON, async || Ok((!backend.listening().is_empty()).then_some(()))).await?;
    backend.set_tools(&["two"]);
    backend.announce();
    for person in [&mut bob, &mut alice] {
        until("the change is listed", SOON, async || Ok((person.tools().await? == ["b_two"]).then_some(()))).await?;
    }
    Ok(())
}

/// What a client may expect is what the backend is now, not what it was when the gateway started.
#[tokio::test]
async fn a_backend_that_has_become_another_is_asked_again() -> Result<()> {
    let (backend, gateway, mut alice) = stage(&["one"]).await?;
    let declared = async || {
        let mut bob = Person::log_in(&gateway.mcp()?, "bob").await?;
        let declared = bob.open().await?.capabilities.as_ref().context("no capabilities")?;
        anyhow::Ok(declared.get().contains("prompts"))
    };
    ensure!(!declared().await?);
    backend.become_another();
    called_text(&alice.call("b_one", json!({})).await?)?;
    until("new clients are told", 2 * SOON, async || Ok(declared().await?.then_some(()))).await
}
