//! `hawser probe`: the examination of any MCP server, from the command line.

use std::io::Write as _;

use hawser_probe::oauth::Login;
use hawser_probe::text::{self, Colour};
use hawser_probe::{Entry, Event, Given, Limits, Principals, Report, Secret, Target, ToolCall, examine, web_address};
use secrecy::ExposeSecret as _;

use crate::cli::ProbeArgs;
use crate::config::referenced;
use crate::console::Paint;
use crate::failure::Failure;

/// Examines the server and prints the report.
pub fn run(args: &ProbeArgs) -> Result<(), Failure> {
    let target = target(args)?;
    let principals = principals(args)?;
    let colour = colour_of(Paint::for_stream(&std::io::stdout()));
    let json = args.json;
    // People see every step as it happens; a program gets the report alone.
    let mut observer = |event: &Event<'_>| {
        if !json {
            let _ = writeln!(std::io::stdout(), "{}", text::line(event, colour));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    let report = runtime.block_on(examine(&target, &principals, &mut observer)).map_err(|error| {
        Failure::run_with_hint(
            error.to_string(),
            "is the address that of an MCP endpoint, and can both users log in there? See `hawser probe --help`",
        )
    })?;
    print(&report, json, colour)?;
    if !report.findings.is_empty() {
        return Err(Failure::Findings);
    }
    if report.attempts.is_empty() { Err(Failure::Shown) } else { Ok(()) }
}

/// The probe's word for what the console decided.
pub(crate) const fn colour_of(paint: Paint) -> Colour {
    if paint.is_on() { Colour::On } else { Colour::Off }
}

fn target(args: &ProbeArgs) -> Result<Target, Failure> {
    let url = web_address(&args.url).map_err(|error| Failure::run(error.to_string()))?;
    let call = |name: &Option<String>, arguments: &str| {
        let call = name.as_deref().map(|name| ToolCall::new(name, arguments)).transpose();
        call.map_err(|error| Failure::run(error.to_string()))
    };
    let tool = call(&args.tool, &args.arguments)?;
    let slow_tool = call(&args.slow_tool, &args.slow_arguments)?;
    Ok(Target { url, limits: Limits::default(), tool, slow_tool })
}

fn principals(args: &ProbeArgs) -> Result<Principals, Failure> {
    let owner = entry(&args.owner, args.owner_password.as_deref(), args.owner_token.as_deref())?;
    let stranger = entry(&args.stranger, args.stranger_password.as_deref(), args.stranger_token.as_deref())?;
    let owner = match (owner, &args.owner_refreshed_token) {
        (Entry::Given(given), Some(token)) => Entry::Given(Given { refreshed: Some(secret(token)?), ..given }),
        (owner, _) => owner,
    };
    Ok(Principals { owner, stranger })
}

fn entry(name: &str, password: Option<&str>, token: Option<&str>) -> Result<Entry, Failure> {
    if let Some(token) = token {
        let given = Given { name: name.to_owned(), access: secret(token)?, refreshed: None, refresh: None };
        return Ok(Entry::Given(given));
    }
    Ok(Entry::Login(Login { user: name.to_owned(), password: password.map(secret).transpose()? }))
}

fn secret(reference: &str) -> Result<Secret, Failure> {
    referenced(reference).map(|secret| Secret::new(secret.expose_secret())).map_err(Failure::run)
}

fn print(report: &Report, json: bool, colour: Colour) -> Result<(), Failure> {
    let text = if json {
        let json = serde_json::to_string_pretty(report).map_err(|error| Failure::run(error.to_string()))?;
        format!("{json}\n")
    } else {
        format!("\n{}", text::report(report, colour))
    };
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::run(format!("cannot write to standard output: {error}")))
}
