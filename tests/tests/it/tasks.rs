//! The tasks extension (`io.modelcontextprotocol/tasks`): passed to modern clients, whose tasks are theirs alone; waited for on
//! behalf of legacy ones.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Speaks, Stage, retry_of, until};
use serde_json::{Value, json};

const SOON: Duration = Duration::from_secs(10);

fn everything() -> Value {
    json!({ "elicitation": { "form": {}, "url": {} }, "sampling": {}, "roots": {} })
}

fn accept(_: &str, _: &Value) -> Value {
    json!({ "action": "accept", "content": { "confirm": true } })
}

/// The id with its byte at `at` replaced by another of the same alphabet.
fn changed(id: &str, at: usize) -> String {
    let mut bytes = id.as_bytes().to_vec();
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap_or_default()
}

fn with_tasks() -> Value {
    let mut capabilities = everything();
    capabilities["extensions"] = json!({ "io.modelcontextprotocol/tasks": {} });
    capabilities
}

/// Task ids are their owner's on every tasks call and in the filter of a listen stream.
#[tokio::test]
async fn a_task_is_its_owners() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let (alice, eve) = (stage.log_in("alice").await?, stage.log_in("eve").await?);
    let a = stage.modern(&alice)?.declaring(with_tasks());
    let e = stage.modern(&eve)?.declaring(with_tasks());
    let created = a.result("tools/call", json!({ "name": "confirm_delete", "arguments": { "filename": "f" } })).await?;
    ensure!(created["resultType"] == "task", "{created}");
    let task = created["taskId"].as_str().context("no taskId")?.to_owned();
    let id = json!({ "taskId": task });
    let waiting = until("the task's question", SOON, async || {
        let task = a.result("tasks/get", id.clone()).await?;
        Ok((task["status"] == "input_required").then_some(task))
    })
    .await?;
    let asked = json!({ "inputRequests": waiting["inputRequests"] });
    let update = retry_of(&id, &asked, &accept)?;

    let unknown = e.error("tasks/get", json!({ "taskId": "no-such-task" })).await?;
    for (method, params) in [("tasks/get", id.clone()), ("tasks/update", update.clone()), ("tasks/cancel", id.clone())]
    {
        let (status, error) = e.error(method, params).await?;
        ensure!((status, &error["code"]) == (unknown.0, &unknown.1["code"]), "{method}: {status} {error}");
        ensure!(error["code"] == -32602, "{method}: {error}");
    }
    for at in [0, task.len() / 2, task.len() - 1] {
        let (_, error) = a.error("tasks/get", json!({ "taskId": changed(&task, at) })).await?;
        ensure!(error["code"] == -32602, "a changed id: {error}");
    }
    let undeclared = stage.modern(&alice)?;
    let (status, error) = undeclared.error("tasks/get", id.clone()).await?;
    ensure!(status == 400 && error["code"] == -32021, "undeclared: {status} {error}");

    let still = a.result("tasks/get", id.clone()).await?;
    ensure!(still["status"] == "input_required", "the owner's task was harmed: {still}");
    a.result("tasks/update", update).await?;
    until("the end of the task", SOON, async || {
        let task = a.result("tasks/get", id.clone()).await?;
        Ok((task["status"] == "completed").then_some(()))
    })
    .await
}

/// A legacy client has no tasks extension: the gateway waits for it, and puts the task's questions to the client.
#[tokio::test]
async fn a_task_is_waited_for_on_behalf_of_a_legacy_client() -> Result<()> {
    let stage = Stage::new(Speaks::Modern).await?;
    let client = stage.legacy(&stage.log_in("alice").await?, everything()).await?;
    let advertised = &client.initialized()["capabilities"];
    ensure!(advertised.get("tasks").is_none(), "{advertised}");
    for (name, arguments) in [
        ("slow_compute", json!({ "seconds": 0.3, "label": "waited" })),
        ("confirm_delete", json!({ "filename": "f" })),
        ("failing_job", json!({})),
    ] {
        let call = json!({ "name": name, "arguments": arguments });
        let (result, _) = client.answering("tools/call", call, &accept).await.with_context(|| name.to_owned())?;
        ensure!(result["content"].is_array() && result.get("taskId").is_none(), "{name}: {result}");
    }
    stage.capture.validate().await
}
