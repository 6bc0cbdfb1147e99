//! Whether a call costs the same however much there is: sessions, backends, tools. For each size a gateway of its own stands there, and they
//! are measured in turns; cost is told as a ratio to the smallest of the same round.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::numbers::short;
use super::rounds::{self, Contender, Measure, Rounds};
use super::table::Table;
use super::{Found, Options, noise};
use crate::load::crowd::{self, BLOCK};
use crate::load::request::{Asked, Era, Target};
use crate::load::{Length, Plan, on_one_thread};
use crate::stage::gateway::Gateway;
use crate::stage::issuer::Issuer;
use crate::stage::process::folder;
use crate::stage::server::Server;
use crate::stage::valkey::Valkey;

const SESSIONS: [usize; 4] = [1, 1_000, 100_000, 1_000_000];
const BACKENDS: [usize; 3] = [1, 20, 200];
const TOOLS: [usize; 3] = [10, 1_000, 20_000];
/// Blocks of sessions in a row are of so many owners in turn.
const OWNERS: usize = 10_000;
const WARM_UP: Duration = Duration::from_secs(1);
/// Sessions that take turns, where all of many are not called.
const TURNS: usize = 1_000;

const CPU: Measure = |outcome| outcome.cpu_us_per_call;
const P50: Measure = |outcome| Some(outcome.latency.p50);
const P99: Measure = |outcome| Some(outcome.latency.p99);

/// A gateway of one size.
struct Sized {
    name: String,
    gateway: Gateway,
    token: String,
    /// What is called, in turns.
    asked: Vec<Asked>,
    _backend: Server,
    _dir: TempDir,
}

/// Tools of one backend.
pub(super) fn tools(options: &Options) -> Result<Found> {
    let issuer = Issuer::start()?;
    let mut all = Vec::new();
    for count in TOOLS {
        // The last of them.
        let asked = vec![Asked::call(&format!("tool_0_{}", count - 1), &json!({}))];
        all.push(sized(options, &issuer, &format!("{count} tools"), 1, count, asked, &[])?);
    }
    let (table, raw) = compared(options, "Tools of one backend", &all, 0)?;
    Ok(Found { name: "tools", tables: vec![table], raw })
}

/// Backends of one endpoint.
pub(super) fn backends(options: &Options) -> Result<Found> {
    let issuer = Issuer::start()?;
    let (mut one, mut turns) = (Vec::new(), Vec::new());
    for count in BACKENDS {
        let call = |number: usize| match number {
            0 => Asked::call("b0_echo", &json!({})),
            number => Asked::call(&format!("b{number}_echo_{number}"), &json!({})),
        };
        let name = |what: &str| format!("{count} backends, {what}");
        one.push(sized(options, &issuer, &name("the last one called"), count, 10, vec![call(count - 1)], &[])?);
        if count > 1 {
            let all = (0..count).map(call).collect();
            turns.push(sized(options, &issuer, &name("all in turns"), count, 10, all, &[])?);
        }
    }
    one.append(&mut turns);
    let (table, raw) = compared(options, "Backends", &one, 0)?;
    Ok(Found { name: "backends", tables: vec![table], raw })
}

/// Sessions of ten thousand owners.
pub(super) fn sessions(options: &Options, dir: &Path) -> Result<Found> {
    let issuer = Issuer::start()?;
    let valkey = Valkey::start(options.valkey.as_deref().context("--valkey FILE says where Valkey is")?, dir)?;
    let key_ring = Gateway::key_ring(&options.hawser, dir)?;
    let (mut all, mut opening) = (Vec::new(), Vec::new());
    for count in SESSIONS.into_iter().filter(|count| *count <= options.sessions) {
        // What each round opens besides is there to the end.
        let room = count + (TURNS + usize::try_from(options.connections * 4)?) * (usize::try_from(options.rounds)? + 1);
        let more = [
            ("key_ring", key_ring.clone()),
            ("store", json!({ "url": valkey.url(), "prefix": format!("n{count}") })),
            ("sessions", json!({ "total": room, "per_owner": room.min(1_000_000), "at_work": room.min(10_000) })),
        ];
        let asked = vec![Asked::call("b0_echo", &json!({}))];
        let gateway = sized(options, &issuer, &format!("{count} sessions"), 1, 10, asked, &more)?;
        let began = Instant::now();
        let url = gateway.gateway.url().clone();
        let tokens: Result<Vec<String>> = (0..count.div_ceil(BLOCK).min(OWNERS))
            .map(|owner| issuer.token(&format!("owner-{owner}"), url.as_str()))
            .collect();
        let tokens = tokens?;
        let target = move |block: usize| {
            let token = tokens.get(block % tokens.len()).context("a token")?;
            Target::new(&url, Some(token))
        };
        on_one_thread(crowd::open(count, target))?;
        println!("{count} sessions opened in {} s", short(began.elapsed().as_secs_f64()));
        opening.push(began.elapsed().as_secs_f64());
        all.push(gateway);
    }
    let (mut few, found) = compared(options, "Sessions that are open, few of them called", &all, 0)?;
    let (turns, in_turns) = compared(options, &format!("The same, {TURNS} of them called in turns"), &all, TURNS)?;
    few.follow(turns);
    let raw = json!({ "few_called": found, "many_called": in_turns, "opening_seconds": opening });
    Ok(Found { name: "sessions", tables: vec![few], raw })
}

/// A gateway in front of so many backends with so many tools each.
fn sized(
    options: &Options,
    issuer: &Issuer,
    name: &str,
    backends: usize,
    tools: usize,
    asked: Vec<Asked>,
    more: &[(&str, Value)],
) -> Result<Sized> {
    let dir = folder()?;
    let backend = Server::start(backends, tools, dir.path())?;
    let unprefixed =
        asked.iter().any(|asked| asked.params["name"].as_str().is_some_and(|name| name.starts_with("tool_")));
    let naming = if unprefixed { "none" } else { "prefix" };
    let all: Map<String, Value> = (0..backends)
        .map(|number| (format!("b{number}"), json!({ "url": backend.url_of(number), "naming": naming })))
        .collect();
    let gateway = Gateway::start(&options.hawser, &all.into(), issuer, more, dir.path())?;
    let token = issuer.token("caller", gateway.url().as_str())?;
    Ok(Sized { name: name.to_owned(), gateway, token, asked, _backend: backend, _dir: dir })
}

/// Measures all in turns, in both eras.
fn compared(options: &Options, title: &str, all: &[Sized], sessions: usize) -> Result<(Table, Value)> {
    let mut table =
        Table::new(title, &["", "era", "CPU ÷ smallest", "p50 ÷ smallest", "p99 ÷ smallest", "CPU µs/call", "errors"]);
    let (mut raw, mut averages) = (Map::new(), Vec::new());
    let mut widest: f64 = 0.0;
    // A session is what the era of sessions has.
    let eras: &[Era] = if sessions > 0 { &[Era::Legacy] } else { &[Era::Legacy, Era::Modern] };
    for &era in eras {
        let contenders: Result<Vec<Contender>> =
            all.iter().map(|sized| contender(options, sized, era, sessions)).collect();
        let rounds = rounds::run(&format!("{title}, {}", era.said()), &contenders?, options.rounds)?;
        for (place, sized) in all.iter().enumerate() {
            let Some(smallest) = all.first().filter(|_| place > 0) else {
                table.row(row(&rounds, sized, era, None, &mut widest));
                continue;
            };
            table.row(row(&rounds, sized, era, Some(&smallest.name), &mut widest));
        }
        averages.extend_from_slice(&rounds.load_averages);
        raw.insert(era.said().to_owned(), rounds.raw());
    }
    table.note(noise::said(&averages, widest));
    Ok((table, raw.into()))
}

fn contender(options: &Options, sized: &Sized, era: Era, sessions: usize) -> Result<Contender> {
    let plan = Plan {
        target: Target::new(sized.gateway.url(), Some(&sized.token))?,
        era,
        asked: sized.asked.clone(),
        connections: usize::try_from(options.connections)?,
        sessions,
        rate: None,
        warm_up: WARM_UP,
        length: Length::Time(Duration::try_from_secs_f64(options.seconds).context("--seconds")?),
        least: 0,
        pid: Some(sized.gateway.pid()),
    };
    Ok(Contender { name: sized.name.clone(), plan })
}

fn row(rounds: &Rounds, sized: &Sized, era: Era, smallest: Option<&str>, widest: &mut f64) -> Vec<String> {
    let ratio = |measure: Measure| smallest.and_then(|smallest| rounds.ratio(&sized.name, smallest, measure));
    if let Some(cpu) = ratio(CPU) {
        *widest = widest.max(cpu.width());
    }
    let shown = |measure: Measure| ratio(measure).map_or("1".to_owned(), |ratio| ratio.to_string());
    let (failed, _) = rounds.failed(&sized.name);
    let cpu = rounds.spread(&sized.name, CPU).map_or("-".to_owned(), |cpu| short(cpu.median));
    vec![sized.name.clone(), era.said().to_owned(), shown(CPU), shown(P50), shown(P99), cpu, failed.to_string()]
}
