//! Opens a crowd of sessions and tells what it costs, as JSON on the last line. `cargo xtask crowd` runs it.
//!
//! Arguments: how many sessions, how many owners, and where their rows are: `memory` or `valkey`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hawser_tests::crowd::{Crowd, Rows, Size, bytes_per_session};
use serde_json::json;

/// How long the node is watched while nothing happens.
const WATCHED: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what: &str| -> Result<usize> {
        arguments.next().with_context(|| format!("which {what}?"))?.parse().with_context(|| what.to_owned())
    };
    let size = Size { sessions: number("sessions")?, owners: number("owners")? };
    let rows = match arguments.next().as_deref() {
        Some("memory") => Rows::Memory,
        Some("valkey") => Rows::Valkey,
        _ => bail!("rows where, in `memory` or in `valkey`?"),
    };
    let began = Instant::now();
    let mut crowd = Crowd::gather(rows, size).await?;
    println!("nobody is here yet");
    let before = crowd.measure(WATCHED).await?;
    println!("{} MiB, calls take {} µs", before.resident_bytes >> 20, before.call.p50_us);
    let opening = crowd.grow(size.sessions, |sessions| println!("{sessions} sessions")).await?;
    println!("all are open after {} s; waiting until it is quiet", opening.as_secs());
    let after = crowd.measure(WATCHED).await?;
    println!("{} MiB, calls take {} µs", after.resident_bytes >> 20, after.call.p50_us);
    let report = json!({
        "sessions": size.sessions, "owners": size.owners, "rows": format!("{rows:?}"),
        "bytes_per_session": bytes_per_session(&before, &after),
        "before": before, "after": after,
        "opening_seconds": opening.as_secs(), "seconds": began.elapsed().as_secs(),
    });
    println!("{report}");
    Ok(())
}
