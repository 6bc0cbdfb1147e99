//! HTTP backends that misbehave: each gets a clear error that names it, in bounded time, and costs nobody anything else.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_tests::{Gateway, Mood, OddBackend, Person, Script, called_text, odd_stdio};
use serde_json::{Value, json};

/// Of the backend, as configured.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Until the gateway must have answered, whatever the backend does.
const ANSWERED: Duration = Duration::from_secs(10);

/// Everything a backend can do wrong in one answer; flooding has a test of its own.
const MOODS: &[Mood] = &[
    Mood::Garbage,
    Mood::GarbageEvents,
    Mood::Never,
    Mood::ClosesMidStream,
    Mood::ClosesMidBody,
    Mood::Huge,
    Mood::Deep,
    Mood::WrongType,
    Mood::WrongId,
    Mood::NoResult,
    Mood::Empty,
    Mood::Redirects,
    Mood::Status(400),
    Mood::Status(401),
    Mood::Status(403),
    Mood::Status(429),
    Mood::Status(500),
    Mood::Status(503),
];

/// Those that matter before there is a session: an answer that is none, no answer, one that breaks off, an error.
const OPENING_MOODS: &[Mood] =
    &[Mood::Garbage, Mood::Never, Mood::ClosesMidBody, Mood::Huge, Mood::WrongType, Mood::NoResult, Mood::Status(401)];

/// A gateway in front of a good backend and of the odd one, and Alice with a session.
async fn stage(script: Script) -> Result<(Gateway, OddBackend, Person)> {
    let odd = OddBackend::start(script).await?;
    let timeout = format!("{}s", TIMEOUT.as_secs());
    let backends = json!({ "good": odd_stdio("well")?, "odd": { "url": odd.url(), "timeout": timeout } });
    let configuration =
        json!({ "backends": backends, "limits": { "response_body": "1MiB", "streamed_result": "1MiB" } });
    let gateway = Gateway::with_users(configuration).await?;
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    Ok((gateway, odd, alice))
}

/// Calls the odd backend's tool and expects an error that names the backend, in time.
async fn fails_naming_the_backend(alice: &mut Person, what: &str) -> Result<()> {
    let started = Instant::now();
    let reply = alice.ask("tools/call", json!({ "name": "odd_act", "arguments": {} })).await?;
    let elapsed = started.elapsed();
    ensure!(elapsed < ANSWERED, "{what}: {elapsed:?}");
    let message = reply.messages.iter().rev().find(|message| message.method.is_none());
    let message = message.with_context(|| format!("{what}: no response, {:?}", reply.answer))?;
    let error = message.error.as_ref().with_context(|| format!("{what}: no error: {:?}", message.result))?;
    ensure!(error.message.contains("odd"), "{what}: the error does not name the backend: {}", error.message);
    ensure!(!error.message.contains("this is not JSON"), "{what}: the backend's bytes are in the error");
    Ok(())
}

/// The good backend answers as ever.
async fn the_rest_works(alice: &mut Person, what: &str) -> Result<()> {
    let acted = alice.call("good_act", json!({})).await;
    called_text(&acted.with_context(|| format!("{what}: the other backend"))?)?;
    Ok(())
}

#[tokio::test]
async fn a_bad_answer_to_a_call_is_an_error_that_names_the_backend_and_the_session_goes_on() -> Result<()> {
    let (gateway, odd, mut alice) = stage(Script::default()).await?;
    for &mood in MOODS {
        let what = format!("{mood:?}");
        odd.play(Script { call: mood, ..Script::default() });
        fails_naming_the_backend(&mut alice, &what).await.with_context(|| gateway.log())?;
        the_rest_works(&mut alice, &what).await?;
        odd.play(Script::default());
        let acted =
            alice.call("odd_act", json!({})).await.with_context(|| format!("after {what}: {}", gateway.log()))?;
        ensure!(called_text(&acted)? == "acted", "after {what}: {acted}");
    }
    Ok(())
}

#[tokio::test]
async fn a_backend_that_cannot_be_opened_leaves_the_others_listed_and_comes_back() -> Result<()> {
    for &mood in OPENING_MOODS {
        let what = format!("{mood:?}");
        let (gateway, odd, mut alice) = stage(Script { initialize: mood, ..Script::default() }).await?;
        let tools = alice.tools().await.with_context(|| format!("{what}: {}", gateway.log()))?;
        ensure!(tools.contains(&"good_act".to_owned()), "{what}: {tools:?}");
        fails_naming_the_backend(&mut alice, &what).await?;
        the_rest_works(&mut alice, &what).await?;
        odd.play(Script::default());
        comes_back(&mut alice).await.with_context(|| format!("after {what}: {}", gateway.log()))?;
    }
    Ok(())
}

/// Notifications without end are no sign of life: the call ends in time, and what came before it is not more than fits.
#[tokio::test]
async fn a_flood_of_notifications_instead_of_an_answer_is_an_error() -> Result<()> {
    let (_gateway, odd, mut alice) = stage(Script::default()).await?;
    odd.play(Script { call: Mood::Floods, ..Script::default() });
    fails_naming_the_backend(&mut alice, "a flood in a call").await?;
    the_rest_works(&mut alice, "a flood in a call").await?;
    odd.play(Script::default());
    comes_back(&mut alice).await
}

#[tokio::test]
async fn a_flood_of_notifications_instead_of_an_opening_is_an_error() -> Result<()> {
    let (_gateway, odd, mut alice) = stage(Script { initialize: Mood::Floods, ..Script::default() }).await?;
    fails_naming_the_backend(&mut alice, "a flood at the start").await?;
    the_rest_works(&mut alice, "a flood at the start").await?;
    odd.play(Script::default());
    comes_back(&mut alice).await
}

#[tokio::test]
async fn a_bad_list_of_one_backend_leaves_the_others_listed() -> Result<()> {
    let (gateway, odd, mut alice) = stage(Script { list: Mood::Garbage, ..Script::default() }).await?;
    let tools = alice.tools().await.with_context(|| gateway.log())?;
    ensure!(tools.contains(&"good_act".to_owned()), "{tools:?}");
    the_rest_works(&mut alice, "a bad list").await?;
    odd.play(Script::default());
    hawser_tests::until("the tool is listed again", ANSWERED, async || {
        Ok(alice_lists(&gateway).await?.contains(&"odd_act".to_owned()).then_some(()))
    })
    .await
}

/// What somebody with a new session sees.
async fn alice_lists(gateway: &Gateway) -> Result<Vec<String>> {
    let mut alice = Person::log_in(&gateway.mcp()?, "alice").await?;
    alice.open().await?;
    alice.tools().await
}

#[tokio::test]
async fn a_backend_that_is_gone_is_named_and_used_again_when_it_is_back() -> Result<()> {
    let (_gateway, mut odd, mut alice) = stage(Script::default()).await?;
    called_text(&alice.call("odd_act", json!({})).await?)?;
    odd.crash().await;
    fails_naming_the_backend(&mut alice, "gone").await?;
    the_rest_works(&mut alice, "gone").await?;
    odd.revive().await?;
    comes_back(&mut alice).await
}

/// The backend's tool works again, after whatever pause the gateway gives a backend that failed.
async fn comes_back(alice: &mut Person) -> Result<()> {
    let deadline = Instant::now() + 3 * ANSWERED;
    loop {
        let reply = alice.ask("tools/call", json!({ "name": "odd_act", "arguments": {} })).await?;
        let result = reply.messages.iter().find_map(|message| message.result.as_ref());
        if let Some(result) = result {
            let acted: Value = serde_json::from_str(result.get())?;
            ensure!(called_text(&acted)? == "acted", "{acted}");
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "the backend is well again, and still refused: {:?}", reply.messages);
    }
}

/// Where a repetition is not known to be safe, there is none: a call that may have been carried out is not sent again.
#[tokio::test]
async fn a_call_whose_answer_was_lost_is_not_repeated() -> Result<()> {
    let (_gateway, odd, mut alice) = stage(Script::default()).await?;
    called_text(&alice.call("odd_act", json!({})).await?)?;
    for mood in [Mood::ClosesMidStream, Mood::ClosesMidBody, Mood::Never, Mood::Status(500)] {
        odd.play(Script { call: mood, ..Script::default() });
        let before = odd.count("tools/call");
        fails_naming_the_backend(&mut alice, &format!("{mood:?}")).await?;
        ensure!(odd.count("tools/call") == before + 1, "{mood:?}: sent {} times", odd.count("tools/call") - before);
    }
    Ok(())
}

/// A slow backend holds up nobody else: not the other backend, not another user at the same backend.
#[tokio::test]
async fn a_backend_that_never_answers_one_user_answers_another() -> Result<()> {
    let (gateway, odd, mut alice) = stage(Script::default()).await?;
    let mut bob = Person::log_in(&gateway.mcp()?, "bob").await?;
    bob.open().await?;
    called_text(&bob.call("odd_act", json!({})).await?)?;
    the_rest_works(&mut bob, "before").await?;
    odd.play(Script { call: Mood::Never, ..Script::default() });
    let before = odd.count("tools/call");
    let stuck = tokio::spawn(async move { fails_naming_the_backend(&mut alice, "stuck").await });
    hawser_tests::until("the call arrives", ANSWERED, async || Ok((odd.count("tools/call") > before).then_some(())))
        .await?;
    odd.play(Script::default());
    let started = Instant::now();
    called_text(&bob.call("odd_act", json!({})).await?)?;
    the_rest_works(&mut bob, "meanwhile").await?;
    ensure!(started.elapsed() < TIMEOUT, "it waited for the other user's call");
    stuck.await?
}
