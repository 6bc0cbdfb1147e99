//! Other gateways beside this one: small results, as fast as it goes. They are as they install, most of them without any check of who calls.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::calls::Stage;
use super::numbers::{float, short};
use super::rounds::{self, Contender, Measure};
use super::table::Table;
use super::{Found, Options, noise};
use crate::cpu;
use crate::load::connection::Connection;
use crate::load::on_one_thread;
use crate::load::request::{Asked, Era};
use crate::load::{Length, Plan};
use crate::stage::peers::{Installed, Peer};

/// Calls of one session after each other, of which the backend's requests are counted.
const COUNTED: u64 = 20;
/// Some answer once in some seconds.
const SECONDS: f64 = 5.0;

const CPU: Measure = |outcome| outcome.cpu_us_per_call;
const THROUGHPUT: Measure = |outcome| Some(outcome.calls_per_second).filter(|rate| *rate > 0.0);
const P50: Measure = |outcome| Some(outcome.latency.p50).filter(|_| outcome.calls > 0);
const P99: Measure = |outcome| Some(outcome.latency.p99).filter(|_| outcome.calls > 0);

pub(super) fn run(options: &Options, dir: &Path) -> Result<Found> {
    let file = options.peers.as_deref().context("--peers FILE says what is installed")?;
    let installed: Vec<Installed> = serde_json::from_slice(&fs::read(file).context("what is installed")?)?;
    let stage = Stage::set(options, dir)?;
    let mut contenders = stage.contenders(options, Era::Legacy, super::calls::SMALL)?;
    let (mut running, mut reasons) = (Vec::new(), Vec::new());
    for peer in &installed {
        match on_one_thread(Peer::start(peer, stage.backend.url(), dir)) {
            Ok(started) => {
                contenders.push(contender(options, &peer.name, &started)?);
                running.push(started);
            }
            Err(error) => reasons.push((peer.name.clone(), format!("{error:#}"))),
        }
    }
    let mut requests = Map::new();
    for Contender { name, plan } in &mut contenders {
        // Memory and requests first, while nothing else is going on.
        let counted = on_one_thread(requests_per_call(&stage, plan)).with_context(|| name.clone())?;
        let resident = plan.pid.map(cpu::resident).transpose()?;
        requests.insert(name.clone(), json!({ "requests_per_call": counted, "resident_bytes": resident }));
        plan.length = Length::Time(Duration::from_secs_f64(options.seconds.max(SECONDS)));
    }
    let measured = rounds::run("peers", &contenders, options.rounds)?;
    let head = [
        "",
        "CPU ÷ nginx",
        "calls/s ÷ direct",
        "p50 ÷ direct",
        "p99 ÷ direct",
        "requests to the backend per call",
        "memory, MB",
        "CPU µs/call",
        "errors",
    ];
    let mut table = Table::new("Beside other gateways", &head);
    let mut widest: f64 = 0.0;
    for name in measured.names() {
        let mut ratio = |to: &str, measure: Measure| match measured.ratio(name, to, measure) {
            Some(spread) => {
                widest = widest.max(if to == super::calls::REFERENCE { spread.width() } else { 0.0 });
                spread.to_string()
            }
            None => "-".to_owned(),
        };
        let direct = super::calls::DIRECT;
        let (cpu, rate, p50, p99) =
            (ratio(super::calls::REFERENCE, CPU), ratio(direct, THROUGHPUT), ratio(direct, P50), ratio(direct, P99));
        let counted =
            requests.get(name).and_then(|found| found["requests_per_call"].as_f64()).map_or("-".to_owned(), short);
        let memory = requests.get(name).and_then(|found| found["resident_bytes"].as_u64());
        let memory = memory.map_or("-".to_owned(), |bytes| short(float(bytes) / 1e6));
        let used = measured.spread(name, CPU).map_or("-".to_owned(), |used| short(used.median));
        let (failed, all) = measured.failed(name);
        table.row(vec![name.to_owned(), cpu, rate, p50, p99, counted, memory, used, format!("{failed} of {all}")]);
    }
    for (name, reason) in &reasons {
        table.note(format!("{name} is not in the table: {}", reason.replace('\n', " ")));
    }
    table.note(noise::said(&measured.load_averages, widest));
    drop(running);
    let raw = json!({ "rounds": measured.raw(), "requests": requests, "not_started": reasons });
    Ok(Found { name: "peers", tables: vec![table], raw })
}

fn contender(options: &Options, name: &str, peer: &Peer) -> Result<Contender> {
    let plan = Plan {
        target: peer.target.clone(),
        era: Era::Legacy,
        asked: vec![Asked::call(&peer.tool, &json!({}))],
        connections: usize::try_from(options.connections)?,
        sessions: 0,
        rate: None,
        warm_up: Duration::from_millis(500),
        length: Length::Time(Duration::from_secs_f64(SECONDS)),
        least: super::calls::SMALL,
        pid: Some(peer.pid()),
    };
    Ok(Contender { name: name.to_owned(), plan })
}

/// How many requests the backend gets for a call of a session that called before.
async fn requests_per_call(stage: &Stage, plan: &Plan) -> Result<f64> {
    let target = &plan.target;
    let mut connection = Connection::open(target).await?;
    let session = connection.open_session(target).await?;
    let asked = plan.asked.first().context("nothing is asked")?;
    let call = target.request(Era::Legacy, session.spoken(), asked);
    connection.result(call.clone()).await?;
    let before = stage.backend.requests().await?;
    for _ in 0..COUNTED {
        let result: Value = connection.result(call.clone()).await?;
        ensure!(result.get("content").is_some(), "no result: {result}");
    }
    let after = stage.backend.requests().await?;
    Ok(float(after.saturating_sub(before)) / float(COUNTED))
}
