//! What the gateway holds for clients of the stateless era: it leads nobody anywhere but to their own.

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use hawser_tests::{Capture, Fixture, Gateway, Modern, Person, Speaks, Stage, retry_of};
use serde_json::{Value, json};

/// A session-era server on a pipe, where nothing tells which call a question belongs to. `later` is answered when its question
/// is; `now` makes the question of `later` come, and is answered then. `ask` asks for itself what its argument says; `both` asks
/// and is answered at once, and `settled` is answered when nothing is asked any more.
const ASKER: &str = r#"
say() { printf '%s\n' "$1"; }
text() { say "{\"jsonrpc\":\"2.0\",\"id\":$1,\"result\":{\"content\":[{\"type\":\"text\",\"text\":\"$2\"}]}}"; }
form='"method":"elicitation/create","params":{"message":"secret","requestedSchema":{"type":"object","properties":{}}}'
page='"method":"elicitation/create","params":{"mode":"url","message":"go","url":"https://example.com/","elicitationId":"e"}'
tools='"method":"sampling/createMessage","params":{"messages":[],"maxTokens":1,"tools":[]}'
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9][0-9]*\).*/\1/p')
  case "$line" in
    *'"initialize"'*)
      say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":{}},\"serverInfo\":{\"name\":\"asker\",\"version\":\"1\"}}}" ;;
    *'"tools/list"'*) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"result\":{\"tools\":[]}}" ;;
    *'"ask"'*)
      waits=$id
      case "$line" in
        *'"url"'*) say "{\"jsonrpc\":\"2.0\",\"id\":\"q\",$page}" ;;
        *'"tools"'*) say "{\"jsonrpc\":\"2.0\",\"id\":\"q\",$tools}" ;;
        *) say "{\"jsonrpc\":\"2.0\",\"id\":\"q\",$form}" ;;
      esac ;;
    *'"later"'*) waits=$id; say "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":$(printf '%s' "$line" | sed -n 's/.*"progressToken":\([0-9]*\).*/\1/p'),\"progress\":1}}" ;;
    *'"both"'*) asks=1; say "{\"jsonrpc\":\"2.0\",\"id\":\"q\",$form}"; text "$id" done ;;
    *'"settled"'*) if [ -n "$asks" ]; then waits=$id; else text "$id" settled; fi ;;
    *'"now"'*) other=$id; say "{\"jsonrpc\":\"2.0\",\"id\":\"q\",$form}" ;;
    *'"id":"q"'*)
      case "$line" in *'"result"'*) how=answered ;; *) how=declined ;; esac
      [ -n "$waits" ] && text "$waits" "$how"
      [ -n "$other" ] && text "$other" "$how"
      asks= waits= other= ;;
    *'"method"'*'"id"'*|*'"id"'*'"method"'*) say "{\"jsonrpc\":\"2.0\",\"id\":$id,\"error\":{\"code\":-32601,\"message\":\"no such method\"}}" ;;
  esac
done
"#;

fn asker() -> Value {
    anonymous(&json!({ "asker": { "command": ["sh", "-c", ASKER], "naming": "none" } }))
}

/// These backends for everybody.
fn anonymous(backends: &Value) -> Value {
    let names: Vec<_> = backends.as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    json!({ "backends": backends, "endpoints": { "default": { "backends": names, "anonymous": true } } })
}

fn accept(_: &str, _: &Value) -> Value {
    json!({ "action": "accept", "content": { "ok": true, "name": "n", "approve": true } })
}

fn call(name: &str, arguments: &Value) -> Value {
    json!({ "name": name, "arguments": arguments })
}

fn said(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_form_is_not_turned_into_a_page_nor_a_model_given_tools_that_were_not_declared() -> Result<()> {
    let gateway = Gateway::start(asker()).await?;
    let client = Modern::new(&gateway.mcp()?, None, &Capture::new())?;
    let forms = client.clone().declaring(json!({ "elicitation": {}, "sampling": {} }));
    let pages = client.clone().declaring(json!({ "elicitation": { "url": {} }, "sampling": { "tools": {} } }));
    for (client, kind, asked) in [
        (&forms, "form", true),
        (&forms, "url", false),
        (&forms, "tools", false),
        (&pages, "form", false),
        (&pages, "url", true),
        (&pages, "tools", true),
    ] {
        let result = client.result("tools/call", call("ask", &json!({ "kind": kind }))).await?;
        let expected = if asked { "input_required" } else { "complete" };
        ensure!(result["resultType"] == expected, "{kind}: {result}");
        ensure!(asked || said(&result) == "declined", "{kind}: {result}");
    }
    Ok(())
}

#[tokio::test]
async fn what_one_anonymous_call_causes_to_be_asked_is_not_put_to_another() -> Result<()> {
    let gateway = Gateway::start(asker()).await?;
    let url = gateway.mcp()?;
    let client =
        || Ok::<_, anyhow::Error>(Modern::new(&url, None, &Capture::new())?.declaring(json!({ "elicitation": {} })));
    let (first, second) = (client()?, client()?);
    let waiting = first.request("tools/call", call("later", &json!({}))).bare_meta("progressToken", Some(json!(1)));
    let mut waiting = waiting.send().await?;
    waiting.expect("notifications/progress").await?;
    let other = second.result("tools/call", call("now", &json!({}))).await?;
    ensure!(other["resultType"] == "complete" && said(&other) == "declined", "somebody else's question: {other}");
    ensure!(said(&waiting.result().await?) == "declined");
    // Where there is no doubt, it is put.
    let (result, rounds) = first.answering("tools/call", call("ask", &json!({})), &accept).await?;
    ensure!(rounds == 1 && said(&result) == "answered", "{result}");
    Ok(())
}

#[tokio::test]
async fn a_question_that_comes_with_the_answer_does_not_leave_its_backend_waiting() -> Result<()> {
    let gateway = Gateway::start(asker()).await?;
    let client = Modern::new(&gateway.mcp()?, None, &Capture::new())?.declaring(json!({ "elicitation": {} }));
    for _ in 0..50 {
        let result = client.result("tools/call", call("both", &json!({}))).await?;
        ensure!(said(&result) == "done", "{result}");
        let result = client.result("tools/call", call("settled", &json!({}))).await?;
        ensure!(["settled", "declined"].contains(&said(&result)), "{result}");
    }
    Ok(())
}

/// A state of a call by `client`, and the parameters of its retry.
async fn asked(client: &Modern, tool: &str, arguments: &Value) -> Result<(Value, Value)> {
    let params = call(tool, arguments);
    let asked = client.result("tools/call", params.clone()).await?;
    ensure!(asked["resultType"] == "input_required", "{asked}");
    let retry = retry_of(&params, &asked, &accept)?;
    ensure!(retry["requestState"].is_string(), "{asked}");
    Ok((params, retry))
}

/// A state works for its owner at its client, for its request, once.
async fn a_state_is_its_owners(speaks: Speaks) -> Result<()> {
    const TOOL: &str = "test_input_required_result_request_state";
    let stage = Stage::new(speaks).await?;
    let all = json!({ "elicitation": {}, "sampling": {}, "roots": {} });
    let (alice, again) = (stage.log_in("alice").await?, stage.log_in("alice").await?);
    // At the same client, so that nothing but the owner differs.
    let bob = alice.same_client_for("bob").await?;
    let of = |person: &Person| Ok::<_, anyhow::Error>(stage.modern(person)?.declaring(all.clone()));
    let (client, other_client, stranger) = (of(&alice)?, of(&again)?, of(&bob)?);
    let (_, retry) = asked(&client, TOOL, &json!({ "key": "a" })).await?;

    let refused = |client: Modern, retry: Value, why: &'static str| async move {
        let (status, error) = client.error("tools/call", retry).await.context(why)?;
        ensure!(status == 200 && error["code"] == -32602, "{why}: {status} {error}");
        Ok(error["message"].as_str().unwrap_or_default().to_owned())
    };
    let with = |member: &str, value: Value| {
        let mut retry = retry.clone();
        retry[member] = value;
        retry
    };
    let sealed = retry["requestState"].as_str().context("no state")?;
    let at = sealed.len() / 2;
    let flipped = format!("{}{}{}", &sealed[..at], if &sealed[at..=at] == "A" { "B" } else { "A" }, &sealed[at + 1..]);
    let mut answers = vec![
        refused(stranger, retry.clone(), "another owner").await?,
        refused(other_client, retry.clone(), "another client of the owner").await?,
        refused(client.clone(), with("requestState", json!(flipped)), "a flipped bit").await?,
        refused(client.clone(), with("requestState", json!("")), "nothing").await?,
        refused(client.clone(), with("name", json!("test_input_required_result_multi_round")), "another tool").await?,
        refused(client.clone(), with("arguments", json!({ "key": "b" })), "other arguments").await?,
    ];
    answers.dedup();
    ensure!(answers.len() == 1, "a prober learns something: {answers:?}");

    // None of that cost the owner anything. Of many who bring the state at the same time, one goes on.
    let many =
        join_all((0..8).map(|_| async { client.request("tools/call", retry.clone()).send().await?.response().await }));
    let answers: Vec<Value> = many.await.into_iter().collect::<Result<_>>()?;
    let done = answers.iter().filter(|answer| said(&answer["result"]) == "state-ok").count();
    ensure!(done == 1, "{done} of {answers:?}");
    ensure!(answers.iter().filter(|answer| answer["error"]["code"] == -32602).count() == 7, "{answers:?}");
    refused(client, retry.clone(), "used before").await?;
    Ok(())
}

#[tokio::test]
async fn a_state_of_a_parked_call_is_its_owners() -> Result<()> {
    a_state_is_its_owners(Speaks::Legacy).await
}

#[tokio::test]
async fn a_state_of_a_modern_backend_is_its_owners() -> Result<()> {
    a_state_is_its_owners(Speaks::Modern).await
}

#[tokio::test]
async fn a_task_is_its_owners_on_every_request() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let alice = stage.log_in("alice").await?;
    let bob = alice.same_client_for("bob").await?;
    let tasks = json!({ "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let of = |person: &Person| Ok::<_, anyhow::Error>(stage.modern(person)?.declaring(tasks.clone()));
    let (owner, stranger) = (of(&alice)?, of(&bob)?);
    let made = owner.result("tools/call", call("slow_compute", &json!({ "seconds": 600 }))).await?;
    let task = json!({ "taskId": made["taskId"], "inputResponses": {} });
    let mut answers = Vec::new();
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        answers.push(stranger.error(method, task.clone()).await?);
        answers.push(stranger.error(method, json!({ "taskId": "nonsense", "inputResponses": {} })).await?);
        let (status, error) = stage.modern(&alice)?.error(method, task.clone()).await?;
        ensure!((status, &error["code"]) == (400, &json!(-32021)), "not declared: {status} {error}");
    }
    answers.dedup();
    ensure!(answers.len() == 1 && answers[0].1["code"] == -32602, "{answers:?}");
    let filter = json!({ "taskIds": [made["taskId"]] });
    let (_stream, honoured) = stranger.listen(filter).await?;
    ensure!(honoured.get("taskIds").is_none_or(|ids| ids == &json!([])), "{honoured}");
    let found = owner.result("tasks/get", json!({ "taskId": made["taskId"] })).await?;
    ensure!(found["status"] == "working", "{found}");
    // Methods of older tasks, which would tell of everybody's, are nobody's extension.
    for method in ["tasks/list", "tasks/result"] {
        let (status, error) = owner.error(method, task.clone()).await?;
        ensure!((status, &error["code"]) == (404, &json!(-32601)), "{method}: {status} {error}");
    }
    Ok(())
}

#[tokio::test]
async fn what_is_sealed_leads_to_its_backend_after_another_came_first() -> Result<()> {
    let (ours, other) = (Fixture::start(Speaks::Modern).await?, Fixture::start(Speaks::Modern).await?);
    let backend = |fixture: &Fixture| json!({ "url": fixture.url() });
    let mut gateway = Gateway::start(anonymous(&json!({ "ours": backend(&ours) }))).await?;
    let tasks = json!({ "elicitation": {}, "extensions": { "io.modelcontextprotocol/tasks": {} } });
    let client = Modern::new(&gateway.mcp()?, None, &Capture::new())?.declaring(tasks);
    let made = client.result("tools/call", call("ours_slow_compute", &json!({ "seconds": 600 }))).await?;
    let task = json!({ "taskId": made["taskId"] });
    client.result("tasks/get", task.clone()).await?;
    let (_, retry) = asked(&client, "ours_test_input_required_result_request_state", &json!({})).await?;

    gateway.stop().await?;
    let backends = json!({ "another": backend(&other), "ours": backend(&ours) });
    gateway.start_again_with(anonymous(&backends)).await?;
    let found = client.result("tasks/get", task.clone()).await?;
    ensure!(found["status"] == "working", "{found}");
    ensure!(said(&client.result("tools/call", retry).await?) == "state-ok");

    // And nowhere, once it is gone.
    gateway.stop().await?;
    gateway.start_again_with(anonymous(&json!({ "another": backend(&other) }))).await?;
    let (_, error) = client.error("tasks/get", task).await?;
    ensure!(error["code"] == -32602, "{error}");
    Ok(())
}
