//! `hawser demo`: a gateway on free loopback ports, two example backends, and the story of one session told live.

mod gateway;

use std::io::Write as _;

use hawser_probe::oauth::Login;
use hawser_probe::story::{Stage, Story, tell};
use hawser_probe::text;
use hawser_probe::{Event, Limits, Target, web_address};
use serde_json::json;

use self::gateway::DemoGateway;
use crate::cli::DemoArgs;
use crate::console::Paint;
use crate::failure::Failure;
use crate::probe::colour_of;

/// Tells the story; fails unless every line held.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(demo(args))
}

async fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let paint = Paint::for_stream(&std::io::stdout());
    let mut gateway = DemoGateway::start().await?;
    if args.json {
        say(&json!({ "event": "started", "url": gateway.url(), "pid": gateway.pid() }).to_string())?;
    } else {
        let title = paint.strong("A gateway with two example backends, `clock` and `notes`, is up at");
        say(&format!("{title} {}\n", gateway.url()))?;
    }
    let story = tell_it(args, &mut gateway, paint).await?;
    if args.json {
        let whole = serde_json::to_string(&story).map_err(|error| Failure::run(error.to_string()))?;
        say(&format!(r#"{{"event":"story","story":{whole}}}"#))?;
    } else {
        say(&conclusion(&story, paint))?;
    }
    if args.keep && story.ok {
        gateway.keep(args.json, paint).await?;
    }
    gateway.stop().await;
    if story.ok { Ok(()) } else { Err(Failure::Shown) }
}

async fn tell_it(args: &DemoArgs, gateway: &mut DemoGateway, paint: Paint) -> Result<Story, Failure> {
    let url = web_address(gateway.url()).map_err(|error| Failure::run(error.to_string()))?;
    let target = Target { url, limits: Limits::default(), tool: None, slow_tool: None };
    let [owner, stranger] = ["alice", "bob"].map(|name| Login { user: name.to_owned(), password: None });
    let colour = colour_of(paint);
    let json = args.json;
    let mut observer = |event: &Event<'_>| {
        let line = match event {
            // The single attempts are in the report; the story is what people came for.
            Event::Line(line) if json => {
                serde_json::to_string(line).map(|line| format!(r#"{{"event":"line","line":{line}}}"#)).ok()
            }
            Event::Line(_) | Event::Finding(_) if !json => Some(text::line(event, colour)),
            _ => None,
        };
        if let Some(line) = line {
            let _ = say(&line);
        }
    };
    Ok(tell(&target, &owner, &stranger, gateway, &mut observer).await)
}

fn conclusion(story: &Story, paint: Paint) -> String {
    if story.ok {
        return format!("\n{}", paint.strong("Every line held: the session belonged to its owner, not to a token."));
    }
    let broken = story.lines.iter().filter(|line| !line.ok).count();
    format!("\n{}", paint.error(&format!("{broken} of {} lines did not hold.", story.lines.len())))
}

impl Stage for DemoGateway {
    async fn restart(&mut self) -> Result<String, String> {
        let before = self.pid();
        self.kill_and_start().await.map_err(|failure| failure.to_string())?;
        Ok(format!(
            "The gateway (process {before}) was killed without warning and started again (process {}).",
            self.pid()
        ))
    }
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{line}").and_then(|()| out.flush());
    written.map_err(|error| Failure::run(format!("cannot write to standard output: {error}")))
}
