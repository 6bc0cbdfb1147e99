//! `hawser-budget`: does one step of a request a number of times and nothing else, so that what it costs can be counted by
//! running it twice: with N and with 2 N times, the difference is that of N times. `cargo xtask budget` does that, and compares.
//!
//! One thread, fixed keys, a clock that stands, randomness from a counter: what is left to chance are the seeds of hash tables.

mod backend;
mod issuer;
mod stand;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use clap::{Parser, ValueEnum};

use crate::stand::{Client, Stand};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// What is checked of a request's head, its body read, and its frame.
    Edge,
    /// A token that was verified before.
    Authenticate,
    /// A session id opened, and the session found.
    Admit,
    /// From an exposed name to a backend.
    Route,
    /// The request to the backend, with its own name.
    Splice,
    /// A backend's answer, as the client gets it.
    Reply,
    /// A whole `tools/call` on an owned session, with an MCP server in this process behind it.
    Call,
    /// The same of a client without sessions, with a server of its era behind it.
    CallModern,
}

/// Does one step of a request a number of times.
#[derive(Parser)]
struct Options {
    /// Which step.
    #[arg(long)]
    stage: Stage,
    /// How often.
    #[arg(long)]
    count: u64,
}

/// What is done before anything is counted: tables have grown, connections are open.
const WARM_UP: u64 = 200;

fn main() -> Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let stand = Stand::build().await?;
        repeat(&stand, options.stage, WARM_UP).await?;
        repeat(&stand, options.stage, options.count).await
    })
}

async fn repeat(stand: &Stand, stage: Stage, count: u64) -> Result<()> {
    let failed = || format!("{stage:?} did not come out as it should");
    if let Some(client) = client(stage) {
        for _ in 0..count {
            stand.call(client).await?;
        }
        return Ok(());
    }
    let stages = stand.gateway().stages(stand.request(Client::Legacy)?).await.context("the request is not served")?;
    if stage == Stage::Splice {
        return stages.splice(count).with_context(failed);
    }
    let answer = Bytes::from(backend::result("7", backend::CALLED));
    for _ in 0..count {
        match stage {
            Stage::Edge => stages.edge().await,
            Stage::Authenticate => stages.authenticate().await,
            Stage::Admit => stages.admit().await,
            Stage::Route => stages.route(),
            _ => stages.reply(&answer).map(drop),
        }
        .with_context(failed)?;
    }
    ensure!(count > 0, "nothing was asked for");
    Ok(())
}

fn client(stage: Stage) -> Option<Client> {
    match stage {
        Stage::Call => Some(Client::Legacy),
        Stage::CallModern => Some(Client::Modern),
        _ => None,
    }
}
