//! One run, from the first process to the report.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::exchange::Wire;
use crate::house::House;
use crate::issuer::Issuer;
use crate::measure::{self, Trips};
use crate::modern::Modern;
use crate::owner::Owner;
use crate::people::{self, CHANGER, Cast};
use crate::random::Random;
use crate::report::{self, Report};
use crate::settings::{Part, Settings};
use crate::strangers::Stranger;
use crate::timeline::Timeline;
use crate::world::{LIMIT, Phase, World};
use crate::{changer, faults, legacy, modern, plan};

/// From the start to the measurement of store round trips: by then everybody has a session.
const OPENED: Duration = Duration::from_secs(10);
const PROGRESS: Duration = Duration::from_secs(5);

/// Runs, prints, writes; whether everything held.
pub(crate) async fn run(settings: Settings) -> Result<bool> {
    let seed =
        settings.seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs()));
    println!("seed {seed}: {} nodes, {} owners, {} strangers", settings.nodes, settings.owners, settings.strangers);
    let temporary = TempDir::with_prefix("hawser-soak-")?;
    let folder: PathBuf = match &settings.keep {
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            folder.canonicalize()?
        }
        None => temporary.path().to_owned(),
    };
    let issuer = Issuer::start().await?;
    let cast = Cast::new(settings.owners, settings.strangers);
    let mut house = House::start(&folder, usize::from(settings.nodes), &cast.users(), &issuer).await?;
    println!("all processes run; their configuration and logs are in {}", folder.display());
    let (kinds, left_out) = faults::possible(&settings.kinds(), &house).await;
    for left_out in &left_out {
        println!("not carried out: {left_out}");
    }

    let url = format!("{}/mcp", house.front.url()).parse()?;
    let world = World::new(Wire::to(url)?, settings, Arc::new(Timeline::new()));
    let mut actors = JoinSet::new();
    populate(&world, &cast, &issuer, seed, &mut actors).await?;
    let start = Instant::now();
    println!("everybody is logged in");
    world.enter(Phase::Everything);
    let sampling = tokio::spawn(measure::memory(Arc::clone(&world), house.pids()));
    let telling = tokio::spawn(tell_progress(Arc::clone(&world), start));

    let length = world.settings.length();
    tokio::time::sleep(OPENED).await;
    let trips = match &house.store {
        Some(store) => Some(measure::store_trips(&world, store).await.context("counting store round trips")?),
        None => None,
    };
    let plan = plan::plan(seed, length, &kinds);
    faults::carry_out(plan, &mut house, &world, start, seed).await;
    tokio::time::sleep_until((start + length).into()).await;
    world.enter(Phase::Over);
    finish(&world, &mut actors).await;
    telling.abort();
    let samples = sampling.await?;
    let report = report(&world, seed, &house, trips, samples, left_out, start)?;
    report.print();
    if let Some(path) = &world.settings.json {
        report.write(path)?;
    }
    if !report.holds() && world.settings.keep.is_none() {
        println!("logs of all processes are in {}", temporary.keep().display());
    }
    Ok(report.holds())
}

/// Logs everybody in, and lets them live.
async fn populate(
    world: &Arc<World>,
    cast: &Cast,
    issuer: &Arc<Issuer>,
    seed: u64,
    actors: &mut JoinSet<()>,
) -> Result<()> {
    let url = world.wire.url().clone();
    let mut people = people::log_in(&url, &cast.users()).await?;
    let mut take = |name: &str| -> Result<Arc<Owner>> {
        let at =
            people.iter().position(|owner| owner.name == *name).with_context(|| format!("{name} is not logged in"))?;
        Ok(people.swap_remove(at))
    };
    for (number, name) in cast.owners.iter().enumerate() {
        let owner = if people::is_external(number) { people::external(name, name, issuer, &url)? } else { take(name)? };
        let world = Arc::clone(world);
        if number % 2 == 0 {
            actors.spawn(legacy::live(owner, world, seed));
        } else {
            actors.spawn(modern::live(owner, world, seed));
        }
    }
    let subjects = Arc::new(cast.external_subjects());
    for (number, name) in cast.strangers.iter().enumerate().filter(|_| world.settings.has(Part::Strangers)) {
        // Every third is somebody whom another issuer calls by the name of one of our users.
        let namesake = format!("user:{}", cast.owners.get(number).unwrap_or(name));
        let who = if number % 3 == 2 { people::external(name, &namesake, issuer, &url)? } else { take(name)? };
        let (world, issuer, subjects) = (Arc::clone(world), Arc::clone(issuer), Arc::clone(&subjects));
        let random = Random::of(seed, name);
        actors.spawn(async move { Stranger { who, world, issuer, subjects }.live(random).await });
    }
    if world.settings.has(Part::Streams) {
        let modern = Modern { who: take(CHANGER)?, world: Arc::clone(world) };
        actors.spawn(changer::live(modern, Random::of(seed, CHANGER)));
    }
    Ok(())
}

/// Waits until everybody has done what they had begun.
async fn finish(world: &World, actors: &mut JoinSet<()>) {
    let all = async {
        while let Some(ended) = actors.join_next().await {
            if let Err(error) = ended {
                world.ledger.wrong_now("an actor", &format!("did not end well: {error}"), &world.timeline);
            }
        }
    };
    if tokio::time::timeout(LIMIT + Duration::from_secs(20), all).await.is_err() {
        world.ledger.wrong_now("actors", &format!("{} do not end", actors.len()), &world.timeline);
        actors.abort_all();
    }
}

async fn tell_progress(world: Arc<World>, start: Instant) {
    loop {
        tokio::time::sleep(PROGRESS).await;
        let (calls, counts) = (world.ledger.all(), report::counts(&world.ledger));
        let count = |name: &str| counts.get(name).copied().unwrap_or_default();
        println!(
            "[{:6.1}] calls {}: {} succeeded, {} retried, {} lost cleanly, {} LOST; strangers {}: {} ACCEPTED; sessions {}: {} LOST; notices {}: {} missed",
            start.elapsed().as_secs_f64(),
            calls.sent,
            calls.succeeded,
            calls.retried(),
            calls.lost_cleanly(),
            calls.lost,
            count("stranger calls"),
            count("stranger calls accepted"),
            count("sessions opened"),
            count("sessions lost"),
            count("notices delivered"),
            count("notices missed"),
        );
    }
}

fn report(
    world: &World,
    seed: u64,
    house: &House,
    store_trips: Option<Trips>,
    memory_samples: Vec<measure::Sample>,
    faults_left_out: Vec<String>,
    start: Instant,
) -> Result<Report> {
    let (latency, latency_quiet) = world.ledger.latency();
    let mut report = Report {
        seed,
        settings: world.settings.clone(),
        seconds: start.elapsed().as_secs_f64(),
        calls: world.ledger.all(),
        by_kind: world.ledger.classes(),
        counts: report::counts(&world.ledger),
        latency,
        latency_quiet,
        effects: house.effects()?,
        memory: measure::judge_memory(&memory_samples),
        store_trips,
        faults: world.timeline.logged(),
        faults_left_out,
        wrong: world.ledger.wrongs(),
        lost_cleanly: world.ledger.lost_cleanly(),
        bars: Vec::new(),
        memory_samples,
    };
    report.judge();
    Ok(report)
}
