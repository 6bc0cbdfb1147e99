//! What servers ask of the person behind the client, through all four cells of client era and backend era, with two
//! owners; and what somebody else, or somebody with an altered or used answer, gets: nothing, and nothing runs twice.

use anyhow::{Context, Result, ensure};
use hawser_tests::{Capture, Legacy, Modern, Person, Speaks, Stage, retry_of};
use serde_json::{Value, json};

const RESTRICTED: [Speaks; 2] = [Speaks::Legacy, Speaks::Modern];

fn everything() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} })
}

/// What a person answers: every answer says whose it is.
fn answers_of(name: &str) -> impl Fn(&str, &Value) -> Value + Sync {
    let name = name.to_owned();
    move |method, params| match method {
        "elicitation/create" if params["mode"] == "url" => json!({ "action": "accept" }),
        "elicitation/create" => {
            let fields = params.pointer("/requestedSchema/properties").and_then(Value::as_object);
            let filled = fields.into_iter().flatten().map(|(field, schema)| {
                let answer = if schema["type"] == "boolean" { json!(true) } else { json!(name) };
                (field.clone(), answer)
            });
            json!({ "action": "accept", "content": filled.collect::<serde_json::Map<_, _>>() })
        }
        "sampling/createMessage" => {
            json!({ "role": "assistant", "model": "m", "content": { "type": "text", "text": format!("model of {name}") } })
        }
        "roots/list" => json!({ "roots": [{ "uri": format!("file:///{name}") }] }),
        _ => json!({}),
    }
}

/// A tool that asks, its arguments, and what it says once `name` has answered.
fn questions(name: &str) -> Vec<(&'static str, Value, String)> {
    let form = format!("User response: action=accept, content={{\"email\":\"{name}\",\"username\":\"{name}\"}}");
    vec![
        ("test_elicitation", json!({ "message": "Who are you?" }), form),
        ("test_url_elicitation", json!({}), "Visit: action=accept, content=null".to_owned()),
        ("test_sampling", json!({ "prompt": "Say something" }), format!("LLM response: model of {name}")),
        ("test_input_required_result_list_roots", json!({}), format!("file:///{name}")),
        ("test_input_required_result_multiple_inputs", json!({}), format!("model of {name} {name}: file:///{name}")),
        ("test_input_required_result_multi_round", json!({}), format!("{name} likes {name}")),
    ]
}

fn text(result: &Value) -> &str {
    result.pointer("/content/0/text").and_then(Value::as_str).unwrap_or_default()
}

fn modern(stage: &Stage, person: &Person) -> Result<Modern> {
    Ok(stage.modern(person)?.declaring(everything()))
}

/// Every kind of question, form and URL elicitation, sampling and roots, alone, together and in rounds, comes to who
/// made the call, in each of the four cells, for two owners at once; and every message on both sides is valid.
#[tokio::test]
async fn every_kind_of_question_reaches_the_caller_in_all_four_cells() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let walk = async |person: &Person| -> Result<()> {
            let name = person.name();
            let answers = answers_of(name);
            let (modern, legacy) = (modern(&stage, person)?, stage.legacy(person, everything()).await?);
            for (tool, arguments, said) in questions(name) {
                let call = json!({ "name": tool, "arguments": arguments });
                let (result, rounds) = modern.answering("tools/call", call.clone(), &answers).await?;
                ensure!(text(&result) == said && rounds > 0, "modern client, {speaks} backend, {tool}: {result}");
                let (result, asked) = legacy.answering("tools/call", call, &answers).await?;
                ensure!(
                    text(&result) == said && !asked.is_empty(),
                    "legacy client, {speaks} backend, {tool}: {result}"
                );
            }
            let prompt = json!({ "name": "test_input_required_result_prompt" });
            let (result, _) = modern.answering("prompts/get", prompt.clone(), &answers).await?;
            ensure!(result.to_string().contains(name), "{speaks}: a prompt that asks: {result}");
            let (result, _) = legacy.answering("prompts/get", prompt, &answers).await?;
            ensure!(result.to_string().contains(name), "{speaks}: a prompt that asks: {result}");
            Ok(())
        };
        tokio::try_join!(walk(&alice), walk(&eve)).with_context(|| format!("{speaks} backend"))?;
        stage.capture.validate().await.with_context(|| format!("{speaks} backend"))?;
    }
    Ok(())
}

/// The tool that counts its runs, asking between begin and end.
fn side_effect(key: &str) -> Value {
    json!({ "name": "test_side_effects", "arguments": { "key": key, "ask": true } })
}

/// A retry that must be refused: status and error code.
async fn refused(client: &Modern, method: &str, retry: Value) -> Result<(u16, i64)> {
    let mut answer = client.request(method, retry).send().await?;
    let response = answer.response().await?;
    let code = response.pointer("/error/code").and_then(Value::as_i64);
    Ok((answer.status.as_u16(), code.with_context(|| format!("{}: not refused: {response}", answer.status))?))
}

/// The state with one bit of its byte at `at` turned over, still text.
fn flipped(state: &str, at: usize) -> String {
    let mut bytes = state.as_bytes().to_vec();
    bytes[at] ^= 1;
    if !bytes[at].is_ascii_alphanumeric() {
        bytes[at] = if state.as_bytes()[at] == b'A' { b'B' } else { b'A' };
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// A modern client's `requestState` is good once, for its owner, for the same call. Everything else is refused alike, and
/// the owner's call is unharmed by it.
#[tokio::test]
async fn a_request_state_is_its_owners_for_its_call_and_good_once() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let other_client = Person::log_in(stage.url(), "alice").await?;
        let (a, e) = (modern(&stage, &alice)?, modern(&stage, &eve)?);
        let key = "good once";
        let call = side_effect(key);
        let asked = a.result("tools/call", call.clone()).await?;
        ensure!(asked["resultType"] == "input_required", "{speaks}: {asked}");
        ensure!(asked.get("ttlMs").is_none() && asked.get("cacheScope").is_none(), "{asked}");
        let retry = retry_of(&call, &asked, &answers_of("alice"))?;
        let sealed = retry["requestState"].as_str().context("no requestState")?.to_owned();
        ensure!(stage.effects(key).await? == (1, 0), "{speaks}: {:?}", stage.effects(key).await?);

        let with = |member: &str, value: Value| {
            let mut retry = retry.clone();
            retry[member] = value;
            retry
        };
        let mut thefts = vec![
            ("another owner's retry", &e, "tools/call", retry.clone()),
            ("another tool", &a, "tools/call", with("name", json!("test_elicitation"))),
            ("other arguments", &a, "tools/call", with("arguments", json!({ "key": "another", "ask": true }))),
            ("no arguments", &a, "tools/call", with("arguments", json!({}))),
            ("another method", &a, "prompts/get", json!({ "name": "test_simple_prompt", "requestState": sealed })),
            ("made up", &a, "tools/call", with("requestState", json!("made-up"))),
            ("empty", &a, "tools/call", with("requestState", json!(""))),
            ("no text", &a, "tools/call", with("requestState", json!({ "state": sealed }))),
        ];
        for at in [0, 1, sealed.len() / 3, sealed.len() / 2, sealed.len() - 2, sealed.len() - 1] {
            thefts.push(("a flipped bit", &a, "tools/call", with("requestState", json!(flipped(&sealed, at)))));
        }
        let mut kinds = Vec::new();
        for (what, client, method, retry) in thefts {
            let found = refused(client, method, retry).await.with_context(|| format!("{speaks}: {what}"))?;
            kinds.push((what, found));
            ensure!(stage.effects(key).await? == (1, 0), "{speaks}: {what}: {:?}", stage.effects(key).await?);
            ensure!(stage.effects("another").await? == (0, 0), "{speaks}: {what} ran");
        }
        let same = kinds.iter().filter(|(what, _)| *what != "no text").all(|(_, found)| *found == kinds[0].1);
        ensure!(same, "{speaks}: refusals tell why: {kinds:?}");

        let result = a.result("tools/call", retry.clone()).await.with_context(|| format!("{speaks}: the owner"))?;
        ensure!(text(&result) == format!("{key} was carried out 1 times"), "{speaks}: {result}");
        ensure!(stage.effects(key).await? == (1, 1));
        for client in [&a, &e, &modern(&stage, &other_client)?] {
            let found =
                refused(client, "tools/call", retry.clone()).await.with_context(|| format!("{speaks}: reused"))?;
            ensure!(found == kinds[0].1, "{speaks}: reused: {found:?}, and not {:?}", kinds[0].1);
        }
        ensure!(stage.effects(key).await? == (1, 1), "{speaks}: a reused state ran the call again");
    }
    Ok(())
}

/// Multi Round-Trip Requests: what is not answered is asked again, what was not asked is ignored.
#[tokio::test]
async fn a_missing_answer_is_asked_for_again_and_an_unasked_one_ignored() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let client = modern(&stage, &stage.log_in("alice").await?)?;
        let call = side_effect("again");
        let asked = client.result("tools/call", call.clone()).await?;
        let mut retry = retry_of(&call, &asked, &answers_of("alice"))?;
        retry["inputResponses"] = json!({ "nobody asked": { "action": "accept" } });
        let again = client.result("tools/call", retry).await?;
        ensure!(again["resultType"] == "input_required", "{speaks}: {again}");
        ensure!(stage.effects("again").await? == (1, 0), "{speaks}: it was carried out without an answer");
        let result = client.result("tools/call", retry_of(&call, &again, &answers_of("alice"))?).await?;
        ensure!(text(&result) == "again was carried out 1 times", "{speaks}: {result}");
        stage.capture.validate().await?;
    }
    Ok(())
}

/// Capabilities count per request: what a modern client did not declare is not asked of it.
#[tokio::test]
async fn what_the_client_did_not_declare_is_not_asked() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        for (capabilities, kinds) in [
            (json!({ "elicitation": {} }), vec!["elicitation/create"]),
            (json!({ "roots": {}, "sampling": {} }), vec!["roots/list", "sampling/createMessage"]),
        ] {
            let client = stage.modern(&alice)?.declaring(capabilities.clone());
            let call = json!({ "name": "test_input_required_result_capabilities" });
            let asked = client.result("tools/call", call.clone()).await?;
            let requests = asked["inputRequests"].as_object().with_context(|| format!("{speaks}: {asked}"))?;
            let methods = requests.values().filter_map(|request| request["method"].as_str());
            ensure!(methods.clone().all(|method| kinds.contains(&method)), "{speaks}, {capabilities}: {asked}");
            ensure!(methods.count() > 0, "{speaks}: {asked}");
        }
        let undeclared =
            stage.modern(&alice)?.request("tools/call", side_effect("undeclared")).send().await?.response().await?;
        ensure!(undeclared["result"]["resultType"] != "input_required", "{speaks}: {undeclared}");
        ensure!(stage.effects("undeclared").await?.1 == 0, "{speaks}: carried out without asking");
        stage.capture.validate().await?;
    }
    Ok(())
}

/// 2025-11-25, URL Elicitation Required: an error of the session era that a modern client sees as a question.
#[tokio::test]
async fn a_url_elicitation_error_becomes_a_question() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        let call = json!({ "name": "test_url_elicitation_required", "arguments": { "key": "consent-1" } });
        let client = modern(&stage, &alice)?;
        let asked = client.result("tools/call", call.clone()).await?;
        let request = asked["inputRequests"].as_object().and_then(|all| all.values().next()).context("no question")?;
        ensure!(request["params"]["mode"] == "url", "{speaks}: {asked}");
        // The modern fixture says it by itself; towards it nothing is to be translated.
        let other_era = speaks == Speaks::Legacy && request["params"].get("elicitationId").is_some();
        ensure!(!other_era, "{speaks}: of the other era: {asked}");
        let (result, _) = client.answering("tools/call", call.clone(), &answers_of("alice")).await?;
        ensure!(text(&result).starts_with("Consent:"), "{speaks}: {result}");
        stage.capture.validate().await?;
    }
    Ok(())
}

/// A legacy client's pending question, its session and its events are its owner's.
#[tokio::test]
async fn a_legacy_clients_question_takes_an_answer_only_from_its_owner() -> Result<()> {
    for speaks in RESTRICTED {
        let stage = Stage::new(speaks).await?;
        let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
        let (a, e) = (stage.legacy(&alice, everything()).await?, stage.legacy(&eve, everything()).await?);
        let key = "pending";
        let mut answer = a.request("tools/call", side_effect(key)).await?;
        let question = answer.find("elicitation/create").await?;
        let id = question.get("id").context("no id")?.clone();
        let session = a.session().context("no session")?;
        let event = answer.last_event_id().map(str::to_owned);
        ensure!(stage.effects(key).await? == (1, 0));

        let accept = json!({ "action": "accept", "content": { "ok": true } });
        let stolen = e.stealing(session);
        let status = stolen.respond(&id, accept.clone()).await?;
        ensure!(status == 404, "{speaks}: another owner's answer in the owner's session: {status}");
        // In a session of their own the id means nothing.
        e.respond(&id, accept.clone()).await?;
        let stream = stolen.stream(event.as_deref()).await?;
        ensure!(stream.status == 404, "{speaks}: another owner resumes: {}", stream.status);
        if let Some(event) = &event {
            replays_nothing(&e, event, key).await.with_context(|| speaks.to_string())?;
        }
        let gone = stolen.delete().await?;
        ensure!(gone == 404, "{speaks}: another owner ends the session: {gone}");
        ensure!(stage.effects(key).await? == (1, 0), "{speaks}: another owner's answer was taken");

        ensure!(a.respond(&id, accept.clone()).await? == 202);
        let result = answer.result().await?;
        ensure!(text(&result) == format!("{key} was carried out 1 times"), "{speaks}: {result}");
        a.respond(&id, accept).await?;
        ensure!(stage.effects(key).await? == (1, 1), "{speaks}: a second answer ran it again");
    }
    Ok(())
}

/// A stream that another owner resumes in their own session after somebody else's event has nothing of that in it.
async fn replays_nothing(client: &Legacy, event: &str, key: &str) -> Result<()> {
    let mut stream = client.stream(Some(event)).await?;
    if !stream.is_stream() {
        ensure!(stream.status.is_client_error(), "{}", stream.status);
        return Ok(());
    }
    // Something of their own, so that the stream has a first message.
    client.result("tools/call", json!({ "name": "test_trigger_tool_change" })).await?;
    let message = stream.next().await?.context("the stream ended")?;
    ensure!(message["method"] == "notifications/tools/list_changed" && !message.to_string().contains(key), "{message}");
    Ok(())
}

/// A long list's cursor is its owner's in the stateless era, too.
#[tokio::test]
async fn a_cursor_is_its_owners() -> Result<()> {
    let backends = json!({ "many": hawser_tests::odd_stdio("many")? });
    let gateway = hawser_tests::Gateway::with_users(json!({ "backends": backends })).await?;
    let url = gateway.mcp()?;
    let (alice, eve) = (Person::log_in(&url, "alice").await?, Person::log_in(&url, "eve").await?);
    let capture = Capture::new();
    let a = Modern::new(&url, Some(alice.token()), &capture)?;
    let e = Modern::new(&url, Some(eve.token()), &capture)?;
    let first = a.result("tools/list", json!({})).await?;
    let cursor = first["nextCursor"].as_str().context("no cursor")?;
    e.result("tools/list", json!({})).await?;
    let (_, error) = e.error("tools/list", json!({ "cursor": cursor })).await?;
    ensure!(error["code"] == -32602, "another owner's cursor: {error}");
    for (method, cursor) in [("prompts/list", cursor.to_owned()), ("tools/list", flipped(cursor, cursor.len() / 2))] {
        let (_, error) = a.error(method, json!({ "cursor": cursor })).await?;
        ensure!(error["code"] == -32602, "{method}: {error}");
    }
    let second = a.result("tools/list", json!({ "cursor": cursor })).await?;
    ensure!(second["tools"][0]["name"] == "many_tool-1000", "{}", second["tools"][0]);
    ensure!(second["cacheScope"] == first["cacheScope"], "pages of one list differ in scope");
    capture.validate().await
}
