//! First contact: from the start of the program to the first answered call, what a session and a list cost when all is warm, and how large
//! the program is, on disk and at rest.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::numbers::{Spread, float, short};
use super::table::Table;
use super::{Found, Options, noise};
use crate::cpu;
use crate::load::connection::Connection;
use crate::load::request::{Asked, Era, Spoken, Target};
use crate::load::{self, on_one_thread};
use crate::stage::gateway::Gateway;
use crate::stage::issuer::Issuer;
use crate::stage::server::Server;

const STARTS: u32 = 11;
const WARM: u64 = 1000;
/// How long the gateway is left alone before its memory at rest is read.
const REST: Duration = Duration::from_secs(3);

pub(super) fn run(options: &Options, dir: &Path) -> Result<Found> {
    let backend = Server::start(1, 10, dir)?;
    let issuer = Issuer::start()?;
    let mut table = Table::new("First contact", &["", "measured"]);
    let mut raw = json!({});
    for (store, what) in [("memory", "store in memory"), ("file", "store in a file")] {
        for era in [Era::Legacy, Era::Modern] {
            let times = cold(options, &backend, &issuer, store, era, dir)?;
            let listening = Spread::of(times.iter().map(|(listening, _)| *listening)).context("no start")?;
            let answered = Spread::of(times.iter().map(|(_, answered)| *answered)).context("no start")?;
            let name = format!("start to first answered call, {}, {what}", era.said());
            table.row(vec![name.clone(), format!("{answered} ms, listening after {} ms", short(listening.median))]);
            raw[name] = json!({ "listening_ms": listening, "answered_ms": answered });
        }
    }
    warm(options, &backend, &issuer, dir, &mut table, &mut raw)?;
    let size = std::fs::metadata(&options.hawser).context("the gateway's program")?.len();
    table.row(vec!["size of the program".to_owned(), format!("{} MB", short(float(size) / 1e6))]);
    raw["program_bytes"] = json!(size);
    table.note(noise::load_said(&[noise::load_average()]));
    Ok(Found { name: "first_contact", tables: vec![table], raw })
}

/// Milliseconds from the start of the process: until it listened, and until the first call was answered.
fn cold(
    options: &Options,
    backend: &Server,
    issuer: &Issuer,
    store: &str,
    era: Era,
    dir: &Path,
) -> Result<Vec<(f64, f64)>> {
    let backends = json!({ "bench": { "url": backend.url(), "naming": "none" } });
    let mut times = Vec::new();
    for number in 0..=STARTS {
        let began = Instant::now();
        let gateway = Gateway::start(&options.hawser, &backends, issuer, &[("store", json!(store))], dir)?;
        let listening = began.elapsed();
        let target = Target::new(gateway.url(), Some(&issuer.token("caller", gateway.url().as_str())?))?;
        on_one_thread(call_once(era, &target))?;
        // The first start makes what later ones find: its program is read from disk, its files are made.
        if number > 0 {
            times.push((listening.as_secs_f64() * 1e3, began.elapsed().as_secs_f64() * 1e3));
        }
    }
    Ok(times)
}

async fn call_once(era: Era, target: &Target) -> Result<Value> {
    let mut connection = Connection::open(target).await?;
    let session = load::connection::session_of(era, &mut connection, target).await?;
    let spoken = session.as_ref().map_or_else(Spoken::default, load::connection::Session::spoken);
    connection.result(target.request(era, spoken, &Asked::call("echo", &json!({})))).await
}

/// What a session and a list cost when all is known, and whether the backend is asked.
fn warm(
    options: &Options,
    backend: &Server,
    issuer: &Issuer,
    dir: &Path,
    table: &mut Table,
    raw: &mut Value,
) -> Result<()> {
    let backends = json!({ "bench": { "url": backend.url(), "naming": "none" } });
    let gateway = Gateway::start(&options.hawser, &backends, issuer, &[], dir)?;
    std::thread::sleep(REST);
    let at_rest = cpu::resident(gateway.pid())?;
    let target = Target::new(gateway.url(), Some(&issuer.token("caller", gateway.url().as_str())?))?;
    for era in [Era::Legacy, Era::Modern] {
        let mut ways = vec![("tools/list", false)];
        if era == Era::Legacy {
            ways.push(("initialize", true));
        }
        for (what, opening) in ways {
            let (asked, took, cpu) = on_one_thread(repeat(backend, &gateway, &target, era, opening))?;
            let name = format!("warm {what}, {}", era.said());
            let measured = format!(
                "p50 {} µs, {} µs of processor time, {asked} requests to the backend for {WARM} of them",
                short(took),
                short(cpu)
            );
            table.row(vec![name.clone(), measured]);
            raw[name] = json!({ "p50_us": took, "cpu_us": cpu, "requests_to_backend": asked, "of": WARM });
        }
    }
    std::thread::sleep(REST);
    let after = cpu::resident(gateway.pid())?;
    let megabytes = |size| format!("{} MB", short(float(size) / 1e6));
    table.row(vec!["resident memory at rest, just started".to_owned(), megabytes(at_rest)]);
    table.row(vec![format!("resident memory at rest, after {WARM} sessions"), megabytes(after)]);
    raw["resident_bytes"] = json!({ "started": at_rest, "after_sessions": after });
    Ok(())
}

/// Asks again and again on one connection. Gives how many requests the backend got meanwhile, the median time of one, and the processor
/// time of one, in microseconds.
async fn repeat(
    backend: &Server,
    gateway: &Gateway,
    target: &Target,
    era: Era,
    opening: bool,
) -> Result<(u64, f64, f64)> {
    let mut connection = Connection::open(target).await?;
    let session = load::connection::session_of(era, &mut connection, target).await?;
    let spoken = session.as_ref().map_or_else(Spoken::default, load::connection::Session::spoken);
    let list = target.request(era, spoken, &Asked::list());
    connection.result(list.clone()).await?;
    let (asked, used) = (backend.requests().await?, cpu::used(gateway.pid())?);
    let mut took = Vec::new();
    for _ in 0..WARM {
        let began = Instant::now();
        if opening {
            connection.open_session(target).await?;
        } else {
            connection.result(list.clone()).await?;
        }
        took.push(began.elapsed().as_secs_f64() * 1e6);
    }
    let cpu = cpu::used(gateway.pid())?.since(used).as_secs_f64() * 1e6 / float(WARM);
    let median = Spread::of(took).context("nothing was asked")?.median;
    Ok((backend.requests().await? - asked, median, cpu))
}
