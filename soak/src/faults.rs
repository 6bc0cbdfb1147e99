//! Carries out the plan: breaks things, waits, mends them, and notes both.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::process::Command;

use crate::house::House;
use crate::ledger::one;
use crate::link::Weather;
use crate::plan::{Kind, Planned};
use crate::program::Stopped;
use crate::random::Random;
use crate::timeline::Touches;
use crate::world::{BACKENDS, World};

/// Between two nodes of a rolling restart.
const BETWEEN: Duration = Duration::from_secs(2);
/// All nodes have read a changed key ring by then.
const RING_READ: Duration = Duration::from_secs(4);
const COMMAND_LIMIT: Duration = Duration::from_secs(20);
/// One way takes this long while the store is slow.
const SLOW: Duration = Duration::from_millis(60);

/// Which kinds can be carried out here, and why the others cannot.
pub(crate) async fn possible(kinds: &[Kind], house: &House) -> (Vec<Kind>, Vec<String>) {
    let (mut possible, mut left_out) = (Vec::new(), Vec::new());
    for kind in kinds {
        let obstacle = match kind {
            Kind::StoreRestart | Kind::StoreFlush | Kind::StoreStall | Kind::StoreCut | Kind::StoreDelay => {
                house.store.is_none().then_some("there is no shared store")
            }
            Kind::KeyRotation => (!knows("keys").await).then_some("`hawser keys` is not there"),
            Kind::Revocation => (!knows("sessions").await).then_some("`hawser sessions` is not there"),
            Kind::KillNode | Kind::RollingRestart | Kind::BackendRestart => None,
        };
        match obstacle {
            None => possible.push(*kind),
            Some(obstacle) => left_out.push(format!("{kind}: {obstacle}")),
        }
    }
    (possible, left_out)
}

async fn knows(command: &str) -> bool {
    let Ok(hawser) = hawser_tests::hawser() else { return false };
    Command::new(hawser).args([command, "--help"]).output().await.is_ok_and(|output| output.status.success())
}

/// Carries out one fault after the other, each at its time.
pub(crate) async fn carry_out(plan: Vec<Planned>, house: &mut House, world: &Arc<World>, start: Instant, seed: u64) {
    let mut random = Random::of(seed, "faults");
    for planned in plan {
        tokio::select! {
            () = tokio::time::sleep_until((start + planned.at).into()) => {}
            () = world.end() => return,
        }
        for node in house.ended_nodes() {
            let what = format!("node {node} ended although nobody asked it to");
            world.ledger.wrong_now("nodes", &what, &world.timeline);
            let _ = house.start_node(node).await;
        }
        if let Err(error) = one_fault(&planned, house, world, &mut random).await {
            world.ledger.wrong_now("faults", &format!("{}: {error:#}", planned.kind), &world.timeline);
        }
    }
}

async fn one_fault(planned: &Planned, house: &mut House, world: &Arc<World>, random: &mut Random) -> Result<()> {
    let timeline = &world.timeline;
    let among = |count: usize| usize::try_from(planned.which % count.max(1) as u64).unwrap_or(0);
    let (kind, node, lasts) = (planned.kind, among(house.nodes()), planned.lasts);
    match kind {
        Kind::KillNode => {
            let begun = timeline.begin(kind, Touches::Killed(node), format!("node {node}"));
            house.kill_node(node).await?;
            tokio::time::sleep(lasts).await;
            house.start_node(node).await?;
            timeline.end(begun);
        }
        Kind::RollingRestart => {
            for node in 0..house.nodes() {
                let begun = timeline.begin(kind, Touches::Drained(node), format!("node {node}"));
                match house.stop_node(node).await? {
                    Stopped::Well => one(&world.ledger.tally.drained),
                    // Calls whose clients gave them up wait for them until the end.
                    Stopped::CutOff => one(&world.ledger.tally.drained_with_calls),
                    Stopped::Killed => world.ledger.wrong_now("nodes", &format!("node {node} does not stop"), timeline),
                }
                house.start_node(node).await?;
                timeline.end(begun);
                tokio::time::sleep(BETWEEN).await;
            }
        }
        Kind::BackendRestart => {
            let backend = among(BACKENDS.len());
            let name = BACKENDS.get(backend).copied().unwrap_or_default();
            let begun = timeline.begin(kind, Touches::Backend(backend), name);
            house.kill_backend(backend).await?;
            tokio::time::sleep(lasts).await;
            house.start_backend(backend).await?;
            timeline.end(begun);
        }
        Kind::StoreRestart => {
            let begun = timeline.begin(kind, Touches::Store(None), "it keeps its data");
            let server = &mut house.store.as_mut().context("no store")?.server;
            server.kill().await?;
            tokio::time::sleep(lasts).await;
            server.start_again().await?;
            timeline.end(begun);
        }
        Kind::StoreFlush => {
            let begun = timeline.begin(kind, Touches::Store(None), "FLUSHALL");
            house.store.as_ref().context("no store")?.server.flush().await?;
            timeline.end(begun);
        }
        Kind::StoreStall | Kind::StoreCut | Kind::StoreDelay => {
            let weather = match kind {
                Kind::StoreStall => Weather::Stalled,
                Kind::StoreCut => Weather::Cut,
                _ => Weather::Slow(SLOW),
            };
            let store = house.store.as_ref().context("no store")?;
            let link = store.links.get(node).context("no link")?;
            let what = format!("node {node} for {:.1} s", lasts.as_secs_f64());
            let begun = timeline.begin(kind, Touches::Store(Some(node)), what);
            link.set(weather);
            tokio::time::sleep(lasts).await;
            link.set(Weather::Fair);
            timeline.end(begun);
        }
        Kind::KeyRotation => rotate(house, world, timeline.begin(kind, Touches::Nothing, "a new active key")).await?,
        Kind::Revocation => revoke(house, world, node, random).await?,
    }
    Ok(())
}

/// Publishes a key, waits until every node knows it, and makes it the active one.
async fn rotate(house: &House, world: &World, begun: crate::timeline::Begun) -> Result<()> {
    let ring = house.key_ring();
    let keys = |words: &[&str]| {
        let words = ["keys"].iter().chain(words).map(OsString::from);
        words.chain([ring.clone().into_os_string()]).collect::<Vec<_>>()
    };
    let listed = run(house, 0, keys(&["add", "--json"])).await?;
    let id = serde_json::from_str::<Value>(&listed).ok().and_then(|added| added["key"].as_u64());
    let id = id.with_context(|| format!("`hawser keys add` said {listed}"))?.to_string();
    tokio::time::sleep(RING_READ).await;
    run(house, 0, keys(&["activate", &id])).await?;
    world.timeline.end(begun);
    Ok(())
}

/// Ends somebody's session as an administrator does, at whatever node.
async fn revoke(house: &House, world: &Arc<World>, node: usize, random: &mut Random) -> Result<()> {
    let sessions = world.sessions();
    let (owner, session) = random.pick(&sessions).cloned().context("there is no session")?;
    let begun = world.timeline.begin(Kind::Revocation, Touches::Nothing, format!("the session of {}", owner.who.name));
    session.ask_end();
    let mut arguments = ["sessions", "revoke", "--yes"].map(OsString::from).to_vec();
    arguments.extend(owner.who.selection());
    run(house, node, arguments).await?;
    session.confirm_end();
    one(&world.ledger.tally.sessions_ended);
    world.timeline.end(begun);
    owner.haunt(&session).await;
    Ok(())
}

/// Runs `hawser` beside a node.
async fn run(house: &House, node: usize, arguments: Vec<OsString>) -> Result<String> {
    let mut command = Command::new(hawser_tests::hawser()?);
    command.args(&arguments).current_dir(house.node_folder(node)).env("HAWSER_DATA_DIR", "data").kill_on_drop(true);
    let output = tokio::time::timeout(COMMAND_LIMIT, command.output()).await.context("a command did not end")??;
    let shown: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`hawser {}`: {}", shown.join(" "), error.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
