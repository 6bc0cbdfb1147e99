//! A result of 50 MB: whether its first byte waits for its last, and what it takes of memory on its way.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::numbers::{Spread, float, short};
use super::table::Table;
use super::{Found, Options, noise};
use crate::cpu;
use crate::load::connection::{Connection, Session, session_of};
use crate::load::on_one_thread;
use crate::load::request::{Asked, Era, FIRST_ID, Spoken, Target};
use crate::stage::gateway::Gateway;
use crate::stage::issuer::Issuer;
use crate::stage::server::Server;

const SIZE: usize = 50_000_000;
/// The backend waits for so long in the middle of its answer.
const PAUSE: Duration = Duration::from_secs(1);
const REPEATED: u32 = 3;

/// When the first and the last byte of a body came.
struct Took {
    first: Duration,
    last: Duration,
}

pub(super) fn run(options: &Options, dir: &Path) -> Result<Found> {
    let backend = Server::start(1, 10, dir)?;
    let issuer = Issuer::start()?;
    let backends = json!({ "bench": { "url": backend.url(), "naming": "none" } });
    let more = [("limits", json!({ "response_body": "64MiB" }))];
    let gateway = Gateway::start(&options.hawser, &backends, &issuer, &more, dir)?;
    let token = issuer.token("caller", gateway.url().as_str())?;
    let head = [
        "",
        "first byte, ms",
        "last byte, ms",
        "first byte, paused, ms",
        "last byte, paused, ms",
        "peak memory over rest, MB",
    ];
    let mut table = Table::new("A result of 50 MB", &head);
    let mut raw = Vec::new();
    for era in [Era::Legacy, Era::Modern] {
        for (name, url, pid) in [("direct", backend.url(), None), ("hawser", gateway.url(), Some(gateway.pid()))] {
            let target = Target::new(url, Some(&token))?;
            let (mut straight, mut paused, mut grown) = (Vec::new(), Vec::new(), Vec::new());
            for _ in 0..REPEATED {
                let before = pid.map(rest).transpose()?;
                straight.push(on_one_thread(call(era, &target, Duration::ZERO))?);
                if let (Some(pid), Some(before)) = (pid, before) {
                    grown.push(cpu::peak_resident(pid)?.saturating_sub(before));
                }
                paused.push(on_one_thread(call(era, &target, PAUSE))?);
            }
            let millis = |took: &[Took], of: fn(&Took) -> Duration| {
                Spread::of(took.iter().map(|took| of(took).as_secs_f64() * 1e3))
            };
            let numbers =
                [&straight, &paused].map(|took| [millis(took, |took| took.first), millis(took, |took| took.last)]);
            let peak = Spread::of(grown.iter().map(|bytes| float(*bytes) / 1e6));
            let mut row = vec![format!("{name}, {}", era.said())];
            row.extend(
                numbers.iter().flatten().map(|number| number.map_or("-".to_owned(), |number| short(number.median))),
            );
            row.push(peak.map_or("-".to_owned(), |peak| short(peak.median)));
            table.row(row);
            raw.push(json!({ "who": name, "era": era, "first_and_last_ms": numbers[0],
                "paused_first_and_last_ms": numbers[1], "peak_over_rest_mb": peak }));
        }
    }
    table.note(format!("Paused: the backend waits {} ms in the middle of its answer.", PAUSE.as_millis()));
    table.note(noise::load_said(&[noise::load_average()]));
    Ok(Found { name: "large", tables: vec![table], raw: Value::from(raw) })
}

/// What a process has at rest; its peak is counted from now on.
fn rest(pid: u32) -> Result<u64> {
    // "5" forgets the peak (proc(5)).
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("forgetting the peak of memory")?;
    cpu::resident(pid)
}

async fn call(era: Era, target: &Target, pause: Duration) -> Result<Took> {
    let mut connection = Connection::open(target).await?;
    let session = session_of(era, &mut connection, target).await?;
    let spoken = session.as_ref().map_or_else(Spoken::default, Session::spoken);
    let arguments = json!({ "size": SIZE, "pause_ms": u64::try_from(pause.as_millis())? });
    let mut request = target.request(era, spoken, &Asked::call("echo", &arguments));
    let began = Instant::now();
    let head = connection.send(request.numbered(FIRST_ID)).await?;
    ensure!(head.status == 200, "status {}", head.status);
    let (mut first, mut length) = (None, 0);
    connection
        .pass(head.framing, |piece| {
            first.get_or_insert_with(|| began.elapsed());
            length += piece.len();
        })
        .await?;
    ensure!(length > SIZE, "{length} bytes instead of a result of {SIZE}");
    Ok(Took { first: first.context("no body")?, last: began.elapsed() })
}
