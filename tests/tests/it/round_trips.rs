//! Everything that a real server offers to real clients: directly, and then the same through the gateway.
//!
//! The direct runs are the control: where one fails, the real parts have changed, not the gateway.

use anyhow::{Result, ensure};
use hawser_tests::{Everything, Gateway, SdkClient, StdioConfiguration, Who, called_text, text_of};
use serde_json::{Value, json};
use url::Url;

/// How the names of a backend begin behind the gateway.
const PREFIX: &str = "everything_";

/// Every kind of list, of request and of question that goes back and forth. `prefix` stands before tool and prompt names.
async fn everything_works(who: Who, url: &Url, prefix: &str) -> Result<()> {
    let mut client = SdkClient::start(who)?;
    client.connect(url, "alice", "legacy").await?;
    everything_works_for(&mut client, prefix, 3).await
}

async fn everything_works_for(client: &mut SdkClient, prefix: &str, steps_min: usize) -> Result<()> {
    lists_and_reads(client, prefix).await?;
    reports_progress(client, prefix, steps_min).await?;
    answers_what_the_server_asks(client, prefix).await?;
    client.ask(json!({ "do": "ping" })).await?;
    client.ask(json!({ "do": "close" })).await?;
    Ok(())
}

async fn lists_and_reads(client: &mut SdkClient, prefix: &str) -> Result<()> {
    let contains =
        |list: &Value, name: &str| list.as_array().is_some_and(|all| all.contains(&format!("{prefix}{name}").into()));
    let tools = client.ask(json!({ "do": "tools" })).await?;
    for name in ["echo", "get-sum", "get-tiny-image", "trigger-sampling-request", "get-roots-list"] {
        ensure!(contains(&tools["names"], name), "no {name} in {tools}");
    }
    let sum = client.call(&format!("{prefix}get-sum"), json!({ "a": 19, "b": 23 })).await?;
    ensure!(called_text(&sum)?.contains("42"), "{sum}");
    let image = client.call(&format!("{prefix}get-tiny-image"), json!({})).await?;
    ensure!(image.to_string().contains("image/png"), "{image:.300}");
    let structured = client.call(&format!("{prefix}get-structured-content"), json!({ "location": "Chicago" })).await?;
    ensure!(structured["structuredContent"].is_object(), "{structured}");

    let prompts = client.ask(json!({ "do": "prompts" })).await?;
    ensure!(contains(&prompts["names"], "simple-prompt"), "{prompts}");
    let name = format!("{prefix}simple-prompt");
    let prompt = client.ask(json!({ "do": "prompt", "name": name, "arguments": {} })).await?;
    ensure!(prompt["messages"].as_array().is_some_and(|messages| !messages.is_empty()), "{prompt}");

    let resources = client.ask(json!({ "do": "resources" })).await?;
    let uri = resources["uris"][0].as_str().unwrap_or_default().to_owned();
    let read = client.ask(json!({ "do": "read", "uri": uri })).await?;
    ensure!(read["contents"].as_array().is_some_and(|contents| !contents.is_empty()), "{uri}: {read}");
    let templates = client.ask(json!({ "do": "templates" })).await?;
    ensure!(templates["templates"].as_array().is_some_and(|templates| !templates.is_empty()), "{templates}");
    Ok(())
}

async fn reports_progress(client: &mut SdkClient, prefix: &str, steps_min: usize) -> Result<()> {
    let name = format!("{prefix}trigger-long-running-operation");
    let arguments = json!({ "duration": 0.3, "steps": 3 });
    let done = client.ask(json!({ "do": "progress", "name": name, "arguments": arguments })).await?;
    let steps = done["progress"].as_array().into_iter().flatten();
    let steps: Vec<Option<f64>> = steps.map(|step| step["progress"].as_f64()).collect();
    let expected = [Some(1.0), Some(2.0), Some(3.0)];
    ensure!(steps.len() >= steps_min && expected.starts_with(&steps), "{done}");
    Ok(())
}

/// Sampling, roots and elicitation, asked in the middle of a call.
async fn answers_what_the_server_asks(client: &mut SdkClient, prefix: &str) -> Result<()> {
    let arguments = json!({ "prompt": "hello", "maxTokens": 10 });
    let asked = client.call(&format!("{prefix}trigger-sampling-request"), arguments).await?;
    ensure!(called_text(&asked)?.contains("a sampled answer"), "{asked}");
    let asked = client.call(&format!("{prefix}get-roots-list"), json!({})).await?;
    ensure!(asked.to_string().contains("file:///a-root"), "{asked}");
    let asked = client.call(&format!("{prefix}trigger-elicitation-request"), json!({})).await?;
    ensure!(text_of(&asked)?.contains("declined"), "{asked}");
    Ok(())
}

async fn directly(who: Who) -> Result<()> {
    let everything = Everything::start().await?;
    everything_works(who, &Url::parse(&everything.url())?, "").await
}

async fn through_the_gateway(who: Who) -> Result<()> {
    let everything = Everything::start().await?;
    let gateway = Gateway::with_users(json!({ "backends": { "everything": { "url": everything.url() } } })).await?;
    everything_works(who, &gateway.mcp()?, PREFIX).await
}

async fn through_the_gateway_to_a_child_process(who: Who) -> Result<()> {
    let gateway = Gateway::with_users(json!({ "backends": { "everything": Everything::stdio_backend()? } })).await?;
    everything_works(who, &gateway.mcp()?, PREFIX).await
}

/// A server that knows the transport of 2024-11-05 only, found out or told.
async fn through_the_gateway_over_sse(who: Who, transport: &str) -> Result<()> {
    let everything = Everything::start_sse().await?;
    let backend = json!({ "url": everything.url(), "transport": transport });
    let gateway = Gateway::with_users(json!({ "backends": { "everything": backend } })).await?;
    everything_works(who, &gateway.mcp()?, PREFIX).await
}

/// The client launches the gateway, and the gateway launches the server.
async fn through_the_gateway_on_stdio(who: Who) -> Result<()> {
    let backend = Everything::stdio_backend()?;
    let configuration = StdioConfiguration::new(&json!({ "backends": { "everything": backend } }))?;
    let mut client = SdkClient::start(who)?;
    client.launch(&configuration.command()?, "legacy").await?;
    // The TypeScript SDK drops progress that it reads together with the response, whatever server it launched.
    everything_works_for(&mut client, PREFIX, 2).await
}

#[tokio::test]
async fn python_directly() -> Result<()> {
    directly(Who::Python).await
}

#[tokio::test]
async fn python_through_the_gateway() -> Result<()> {
    through_the_gateway(Who::Python).await
}

#[tokio::test]
async fn python_through_the_gateway_to_a_child_process() -> Result<()> {
    through_the_gateway_to_a_child_process(Who::Python).await
}

#[tokio::test]
async fn python_through_the_gateway_over_sse() -> Result<()> {
    through_the_gateway_over_sse(Who::Python, "sse").await
}

#[tokio::test]
async fn python_through_the_gateway_on_stdio() -> Result<()> {
    through_the_gateway_on_stdio(Who::Python).await
}

#[tokio::test]
async fn typescript_directly() -> Result<()> {
    directly(Who::TypeScript).await
}

#[tokio::test]
async fn typescript_through_the_gateway() -> Result<()> {
    through_the_gateway(Who::TypeScript).await
}

#[tokio::test]
async fn typescript_through_the_gateway_to_a_child_process() -> Result<()> {
    through_the_gateway_to_a_child_process(Who::TypeScript).await
}

#[tokio::test]
async fn typescript_through_the_gateway_over_sse_that_nobody_configured() -> Result<()> {
    through_the_gateway_over_sse(Who::TypeScript, "auto").await
}

#[tokio::test]
async fn typescript_through_the_gateway_on_stdio() -> Result<()> {
    through_the_gateway_on_stdio(Who::TypeScript).await
}

#[tokio::test]
async fn typescript2_directly() -> Result<()> {
    directly(Who::TypeScript2).await
}

#[tokio::test]
async fn typescript2_through_the_gateway() -> Result<()> {
    through_the_gateway(Who::TypeScript2).await
}

#[tokio::test]
async fn typescript2_through_the_gateway_to_a_child_process() -> Result<()> {
    through_the_gateway_to_a_child_process(Who::TypeScript2).await
}

#[tokio::test]
async fn typescript2_through_the_gateway_on_stdio() -> Result<()> {
    through_the_gateway_on_stdio(Who::TypeScript2).await
}
