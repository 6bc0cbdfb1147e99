//! Many open streams, and a change that reaches all of them.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::numbers::{float, short};
use super::table::Table;
use super::{Found, Options, noise};
use crate::cpu;
use crate::load::on_one_thread;
use crate::load::request::{Era, Target};
use crate::load::streams::Streams;
use crate::stage::gateway::Gateway;
use crate::stage::issuer::Issuer;
use crate::stage::server::Server;

/// GET streams, each of a session of its own.
const GETS: usize = 10_000;
/// A node takes 8192 `subscriptions/listen` streams.
const LISTENS: usize = 8_000;
/// Below what one owner may have of each.
const OF_AN_OWNER: usize = 25;
const REST: Duration = Duration::from_secs(5);
const TOLD_LIMIT: Duration = Duration::from_mins(1);

pub(super) fn run(options: &Options, dir: &Path) -> Result<Found> {
    let head = [
        "",
        "open",
        "told",
        "first after ms",
        "last after ms",
        "memory before, MB",
        "open, MB",
        "peak, MB",
        "KB a stream",
    ];
    let mut table = Table::new("Open streams, and one change of a list", &head);
    let mut raw = Vec::new();
    for (era, count) in [(Era::Legacy, options.open.unwrap_or(GETS)), (Era::Modern, options.open.unwrap_or(LISTENS))] {
        let name = if era == Era::Legacy { "GET streams" } else { "subscriptions/listen" };
        let (row, numbers) = one(options, era, count, dir).with_context(|| format!("{count} {name}"))?;
        table.row([vec![name.to_owned()], row].concat());
        raw.push(numbers);
    }
    table.note(noise::load_said(&[noise::load_average()]));
    Ok(Found { name: "streams", tables: vec![table], raw: Value::from(raw) })
}

fn one(options: &Options, era: Era, count: usize, dir: &Path) -> Result<(Vec<String>, Value)> {
    let backend = Server::start(1, 10, dir)?;
    let issuer = Issuer::start()?;
    let backends = json!({ "bench": { "url": backend.url(), "naming": "none" } });
    let more = [("sessions", json!({ "at_work": count.max(10_000) * 2 }))];
    let gateway = Gateway::start(&options.hawser, &backends, &issuer, &more, dir)?;
    let targets: Result<Vec<Target>> = (0..count)
        .map(|number| {
            let token = issuer.token(&format!("owner-{}", number / OF_AN_OWNER), gateway.url().as_str())?;
            Target::new(gateway.url(), Some(&token))
        })
        .collect();
    let targets = targets?;
    on_one_thread(async {
        sleep(REST).await;
        let before = cpu::resident(gateway.pid())?;
        let opening = Instant::now();
        let streams = Streams::open(era, targets).await?;
        let opened = opening.elapsed();
        sleep(REST).await;
        let open = cpu::resident(gateway.pid())?;
        // One change alone: who was told, and does not list anew, has nothing that could change again.
        let since = Instant::now();
        backend.change().await?;
        let told = streams.told(since, TOLD_LIMIT).await;
        let peak = cpu::peak_resident(gateway.pid())?;
        let each = short(float(open.saturating_sub(before)) / 1e3 / float(streams.count().try_into()?));
        let megabytes = |bytes: u64| short(float(bytes) / 1e6);
        let millis = |time: Duration| short(time.as_secs_f64() * 1e3);
        let row = vec![
            format!("{} in {} s", streams.count(), short(opened.as_secs_f64())),
            format!(
                "{}{}",
                told.streams,
                if streams.ended() > 0 { format!(", {} ended", streams.ended()) } else { String::new() }
            ),
            millis(told.first),
            millis(told.last),
            megabytes(before),
            megabytes(open),
            megabytes(peak),
            each,
        ];
        let raw = json!({ "era": era, "streams": streams.count(), "opened_in_s": opened.as_secs_f64(), "told": told.streams,
            "first_ms": told.first.as_secs_f64() * 1e3, "last_ms": told.last.as_secs_f64() * 1e3,
            "resident_bytes": { "before": before, "open": open, "peak": peak } });
        streams.close().await;
        Ok((row, raw))
    })
}
