//! Clients that nobody here wrote, in each era, over fixtures of each era: list, call, elicitation, progress.

use anyhow::{Context, Result, ensure};
use hawser_tests::{SdkClient, Speaks, Stage, Who, called_text, inspect};
use serde_json::json;

/// What such a client does in an era, over backends of all three kinds. `protocol` is what it must have agreed on.
async fn works_over_every_backend(who: Who, mode: &str, protocol: &str) -> Result<()> {
    for speaks in Speaks::ALL {
        let stage = Stage::new(speaks).await?;
        let walked = walk(&stage, who, mode, protocol).await;
        walked.with_context(|| format!("{who:?}, {mode}, over a {speaks} backend:\n{}", stage.gateway.log()))?;
        stage.capture.validate().await.with_context(|| format!("{who:?}, {mode}, towards a {speaks} backend"))?;
    }
    Ok(())
}

async fn walk(stage: &Stage, who: Who, mode: &str, protocol: &str) -> Result<()> {
    let mut client = SdkClient::start(who)?;
    let content = json!({ "username": "ada", "email": "ada@example.com" });
    let connected = client.connect_accepting(stage.url(), "alice", mode, content).await.context("connect")?;
    ensure!(connected["protocol"] == protocol, "{connected}");

    let tools = client.ask(json!({ "do": "tools" })).await?;
    ensure!(tools.to_string().contains("\"test_simple_text\""), "{tools}");
    let after = client.ask(json!({ "do": "state" })).await?;
    ensure!(after["logins"] == 1, "{after}");
    let called = client.call("greet", json!({ "name": "Ada" })).await?;
    ensure!(called_text(&called)? == "Hello, Ada!", "{called}");
    let read = client.ask(json!({ "do": "read", "uri": "test://static-text" })).await?;
    ensure!(read.to_string().contains("static text resource"), "{read}");
    let arguments = json!({ "arg1": "one", "arg2": "two" });
    let prompt = json!({ "do": "prompt", "name": "test_prompt_with_arguments", "arguments": arguments });
    let prompt = client.ask(prompt).await?;
    ensure!(prompt.to_string().contains("one"), "{prompt}");

    let asked = client.call("test_elicitation", json!({ "message": "Who are you?" })).await.context("elicitation")?;
    let text = called_text(&asked)?;
    ensure!(text.starts_with("User response: action=accept") && text.contains("ada@example.com"), "{asked}");
    let sampled = client.call("test_sampling", json!({ "prompt": "Say something" })).await.context("sampling")?;
    ensure!(called_text(&sampled)? == "LLM response: a sampled answer", "{sampled}");
    let roots = client.call("test_input_required_result_list_roots", json!({})).await.context("roots")?;
    ensure!(called_text(&roots)? == "file:///a-root", "{roots}");

    let progress = json!({ "do": "progress", "name": "test_tool_with_progress", "arguments": {} });
    let done = client.ask(progress).await.context("progress")?;
    let seen: Vec<f64> =
        done["progress"].as_array().into_iter().flatten().filter_map(|p| p["progress"].as_f64()).collect();
    ensure!(seen == [0.0, 50.0, 100.0], "{done}");
    ensure!(called_text(&done)? == "Progress reported", "{done}");
    client.ask(json!({ "do": "close" })).await?;
    Ok(())
}

#[tokio::test]
async fn python_works_in_the_session_era() -> Result<()> {
    works_over_every_backend(Who::Python, "legacy", "2025-11-25").await
}

#[tokio::test]
async fn python_works_in_the_stateless_era() -> Result<()> {
    works_over_every_backend(Who::Python, "modern", "2026-07-28").await
}

/// Asked to find out, it finds the newer era.
#[tokio::test]
async fn python_finds_out_that_the_gateway_is_modern() -> Result<()> {
    works_over_every_backend(Who::Python, "auto", "2026-07-28").await
}

#[tokio::test]
async fn fastmcp_works_in_the_session_era() -> Result<()> {
    works_over_every_backend(Who::FastMcp, "legacy", "2025-11-25").await
}

#[tokio::test]
async fn fastmcp_works_in_the_stateless_era() -> Result<()> {
    works_over_every_backend(Who::FastMcp, "auto", "2026-07-28").await
}

#[tokio::test]
async fn typescript_works_in_the_session_era() -> Result<()> {
    works_over_every_backend(Who::TypeScript2, "legacy", "2025-11-25").await
}

#[tokio::test]
async fn typescript_works_in_the_stateless_era() -> Result<()> {
    works_over_every_backend(Who::TypeScript2, "modern", "2026-07-28").await
}

#[tokio::test]
async fn typescript_finds_out_that_the_gateway_is_modern() -> Result<()> {
    works_over_every_backend(Who::TypeScript2, "auto", "2026-07-28").await
}

/// The inspector's command line asks nobody anything; it lists, calls and reads.
#[tokio::test]
async fn the_inspector_works_in_both_eras() -> Result<()> {
    for speaks in Speaks::ALL {
        let stage = Stage::new(speaks).await?;
        let alice = stage.log_in("alice").await?;
        for era in ["legacy", "modern"] {
            let run = async |arguments: &[&str]| -> Result<String> {
                let mut all = vec!["--protocol-era", era];
                all.extend(arguments);
                let inspection = inspect(stage.url(), Some(alice.token()), &all).await?;
                ensure!(inspection.code == Some(0), "{era} over {speaks}: {arguments:?}: {inspection:?}");
                Ok(inspection.result.context("no JSON")?.to_string())
            };
            let tools = run(&["--method", "tools/list"]).await?;
            ensure!(tools.contains("\"test_simple_text\""), "{tools}");
            let arguments = ["--method", "tools/call", "--tool-name", "greet", "--tool-arg", "name=Ada"];
            let called = run(&arguments).await?;
            ensure!(called.contains("Hello, Ada!"), "{called}");
            let read = run(&["--method", "resources/read", "--uri", "test://static-text"]).await?;
            ensure!(read.contains("static text resource"), "{read}");
            let progress = run(&["--method", "tools/call", "--tool-name", "test_tool_with_progress"]).await?;
            ensure!(progress.contains("Progress reported"), "{progress}");
        }
        stage.capture.validate().await.with_context(|| speaks.to_string())?;
    }
    Ok(())
}
