//! What a call costs: small and large results, both eras, as fast as it goes and at half of what the slowest can do.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::numbers::{Spread, short};
use super::rounds::{self, Contender, Measure, Rounds};
use super::table::Table;
use super::{Found, Options, noise};
use crate::load::request::{Asked, Era, Target};
use crate::load::{Length, Plan};
use crate::stage::gateway::Gateway;
use crate::stage::issuer::Issuer;
use crate::stage::nginx::Nginx;
use crate::stage::server::Server;

/// All cost is compared with that of nginx with one worker.
pub(super) const REFERENCE: &str = "nginx";
pub(super) const DIRECT: &str = "direct";
const TOOL: &str = "echo";
const WARM_UP: Duration = Duration::from_millis(500);
pub(super) const SMALL: usize = 100;
const LARGE: usize = 64 << 10;

const CPU: Measure = |outcome| outcome.cpu_us_per_call;
const THROUGHPUT: Measure = |outcome| Some(outcome.calls_per_second);
const P50: Measure = |outcome| Some(outcome.latency.p50);
const P99: Measure = |outcome| Some(outcome.latency.p99);

/// Everybody who is called.
pub(super) struct Stage {
    pub(super) backend: Server,
    nginx: Nginx,
    nginx_of_two: Nginx,
    gateway: Gateway,
    token: String,
}

impl Stage {
    pub(super) fn set(options: &Options, dir: &Path) -> Result<Self> {
        let backend = Server::start(1, 10, dir)?;
        let nginx = Nginx::start(&options.nginx, 1, backend.url(), dir)?;
        let nginx_of_two = Nginx::start(&options.nginx, 2, backend.url(), dir)?;
        let issuer = Issuer::start()?;
        let backends = json!({ "bench": { "url": backend.url(), "naming": "none" } });
        let gateway = Gateway::start(&options.hawser, &backends, &issuer, &[], dir)?;
        let token = issuer.token("caller", gateway.url().as_str())?;
        Ok(Self { backend, nginx, nginx_of_two, gateway, token })
    }

    pub(super) fn contenders(&self, options: &Options, era: Era, size: usize) -> Result<Vec<Contender>> {
        let all = [
            (DIRECT, self.backend.url(), None),
            (REFERENCE, self.nginx.url(), Some(self.nginx.pid())),
            ("nginx, 2 workers", self.nginx_of_two.url(), Some(self.nginx_of_two.pid())),
            ("hawser", self.gateway.url(), Some(self.gateway.pid())),
        ];
        let contender = |(name, url, pid): (&str, &url::Url, Option<u32>)| {
            let plan = Plan {
                // Everybody gets the same bytes, the token included.
                target: Target::new(url, Some(&self.token))?,
                era,
                asked: vec![Asked::call(TOOL, &if size == SMALL { json!({}) } else { json!({ "size": size }) })],
                connections: usize::try_from(options.connections)?,
                sessions: 0,
                rate: None,
                warm_up: WARM_UP,
                length: Length::Time(Duration::try_from_secs_f64(options.seconds).context("--seconds")?),
                least: size,
                pid,
            };
            Ok(Contender { name: name.to_owned(), plan })
        };
        all.into_iter().map(contender).collect()
    }
}

pub(super) fn run(options: &Options, dir: &Path) -> Result<Found> {
    let stage = Stage::set(options, dir)?;
    let sizes: &[(usize, &str)] =
        if options.quick { &[(SMALL, "small")] } else { &[(SMALL, "small"), (LARGE, "64 kB")] };
    let (mut tables, mut raw) = (Vec::new(), Vec::new());
    for &(size, size_name) in sizes {
        for era in [Era::Legacy, Era::Modern] {
            let what = format!("{size_name} results, {}", era.said());
            let mut contenders = stage.contenders(options, era, size)?;
            let full = rounds::run(&what, &contenders, options.rounds)?;
            let half = if options.quick { None } else { Some(at_half(&what, &mut contenders, &full, options.rounds)?) };
            tables.push(table(&what, &full, half.as_ref()));
            raw.push(json!({ "what": what, "era": era, "size": size, "full_load": full.raw(),
                "half_load": half.as_ref().map_or(Value::Null, Rounds::raw) }));
        }
    }
    Ok(Found { name: "calls", tables, raw: raw.into() })
}

/// The same at a fixed rate for all: half of what the slowest of them can do.
fn at_half(what: &str, contenders: &mut [Contender], full: &Rounds, rounds: u32) -> Result<Rounds> {
    let rates = full.names().filter_map(|name| Some(full.spread(name, THROUGHPUT)?.median));
    let slowest = rates.fold(f64::INFINITY, f64::min);
    anyhow::ensure!(slowest.is_finite() && slowest > 0.0, "{what}: nobody answers");
    for contender in contenders.iter_mut() {
        contender.plan.rate = Some((slowest / 2.0).max(1.0));
    }
    rounds::run(&format!("{what}, half load"), contenders, rounds)
}

fn table(what: &str, full: &Rounds, half: Option<&Rounds>) -> Table {
    let mut head = vec!["", "CPU ÷ nginx"];
    head.extend(half.map(|_| "CPU ÷ nginx, half load"));
    head.extend(["calls/s ÷ direct", "calls/s ÷ nginx"]);
    if half.is_some() {
        head.extend(["p50 ÷ direct", "p50 ÷ nginx", "p99 ÷ direct", "p99 ÷ nginx"]);
    }
    head.extend(["CPU µs/call", "calls/s", "errors"]);
    let mut table = Table::new(what, &head);
    let mut widest: f64 = 0.0;
    for name in full.names() {
        let ratio = |rounds: &Rounds, to: &str, measure: Measure| {
            rounds.ratio(name, to, measure).map_or("-".to_owned(), |spread| spread.to_string())
        };
        // Processor time is what the tables are read for; times are far wider, as everybody can see.
        widest = widest.max(full.ratio(name, REFERENCE, CPU).map_or(0.0, Spread::width));
        let mut row = vec![name.to_owned(), ratio(full, REFERENCE, CPU)];
        row.extend(half.map(|half| ratio(half, REFERENCE, CPU)));
        row.extend([DIRECT, REFERENCE].map(|to| ratio(full, to, THROUGHPUT)));
        if let Some(half) = half {
            row.extend([DIRECT, REFERENCE].map(|to| ratio(half, to, P50)));
            row.extend([DIRECT, REFERENCE].map(|to| ratio(half, to, P99)));
        }
        let median =
            |measure: Measure| full.spread(name, measure).map_or("-".to_owned(), |spread| short(spread.median));
        row.extend([median(CPU), median(THROUGHPUT)]);
        let (failed, all) = full.failed(name);
        row.push(if failed == 0 { "0".to_owned() } else { format!("{failed} of {all}") });
        table.row(row);
    }
    table.note(noise::said(&full.load_averages, widest));
    table
}
