//! `hawser demo` and `hawser probe`, as a person or a program runs them.

use std::process::Output;

use anyhow::{Context, Result, ensure};
use hawser_tests::{Everything, Gateway, Hawser, time_backend};
use serde_json::{Value, json};

fn lines(output: &Output) -> Result<Vec<Value>> {
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}

#[tokio::test]
async fn the_demonstration_holds_line_by_line() -> Result<()> {
    let output = Hawser::new()?.run(&["demo", "--json"], "").await?;
    let said = lines(&output)?;
    ensure!(output.status.success(), "{said:?} {}", String::from_utf8_lossy(&output.stderr));
    let steps: Vec<&str> = said.iter().filter_map(|line| line["line"]["step"].as_str()).collect();
    for step in ["register", "log_in", "initialize", "list", "call", "refresh", "call_after_refresh", "stranger"] {
        ensure!(steps.contains(&step), "no line about {step}: {steps:?}");
    }
    for step in ["owner_goes_on", "restart", "owner_goes_on_after_restart", "stranger_after_restart", "delete"] {
        ensure!(steps.contains(&step), "no line about {step}: {steps:?}");
    }
    let story = said.last().context("nothing was said")?;
    ensure!(story["story"]["ok"] == true, "{story}");
    ensure!(story["story"]["report"]["findings"] == json!([]), "{story}");
    // The gateway and its backends ended with it.
    let pid = said.first().and_then(|line| line["pid"].as_u64()).context("no process id")?;
    ensure!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "the gateway still runs");
    Ok(())
}

#[tokio::test]
async fn the_probe_finds_nothing_wrong_with_this_gateway() -> Result<()> {
    let everything = Everything::start().await?;
    let backends = json!({ "everything": { "url": everything.url() }, "time": time_backend()? });
    let gateway = Gateway::start(json!({ "backends": backends })).await?;
    let output = Hawser::new()?.run(&["probe", gateway.mcp()?.as_str(), "--json"], "").await?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(report["findings"] == json!([]), "{}", report["findings"]);
    ensure!(output.status.code() == Some(0), "{:?}", output.status);
    let by_stranger = report["attempts"].as_array().context("no attempts")?.iter();
    let refused = by_stranger.filter(|one| one["attacker"] == "stranger" && one["state"] == "refused").count();
    ensure!(refused >= 12, "only {refused} operations were examined");
    Ok(())
}

/// A server nobody here wrote, without authorization: what is wrong or cannot be examined is said, and the exit code tells.
#[tokio::test]
async fn the_probe_says_what_it_finds_elsewhere() -> Result<()> {
    let everything = Everything::start().await?;
    let output = Hawser::new()?.run(&["probe", &everything.url(), "--json"], "").await?;
    let report: Value = serde_json::from_slice(&output.stdout)?;
    ensure!(output.status.code() == Some(2), "{:?}", output.status);
    ensure!(report["findings"].as_array().is_some_and(|findings| !findings.is_empty()), "{report}");
    ensure!(report["not_examined"].as_array().is_some_and(|gaps| !gaps.is_empty()), "{report}");
    Ok(())
}

#[tokio::test]
async fn the_probe_says_what_to_do_when_there_is_nothing_to_examine() -> Result<()> {
    let output = Hawser::new()?.run(&["probe", "http://127.0.0.1:9/mcp"], "").await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.code() == Some(1), "{:?} {said}", output.status);
    ensure!(said.contains("could not be reached") && said.contains("hint:"), "{said}");
    let output = Hawser::new()?.run(&["probe", "http://127.0.0.1:9/mcp", "--owner-token", "s3cret"], "").await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(said.contains("env:NAME") && !said.contains("s3cret"), "{said}");
    Ok(())
}
