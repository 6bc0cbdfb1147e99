//! Somebody who changes what backends offer, and looks whether everybody who listens was told.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::exchange::Attempt;
use crate::ledger::one;
use crate::legacy::{text, tool};
use crate::modern::Modern;
use crate::random::Random;
use crate::world::{BACKENDS, Phase, World};

const PAUSE: (u64, u64) = (3_000, 7_000);
/// Who listens this long already is to be told.
const SETTLED: Duration = Duration::from_secs(3);
/// By then everybody has been told: also who had to come back first.
const TOLD: Duration = Duration::from_secs(8);

/// Changes things until the run is over.
pub(crate) async fn live(modern: Modern, mut random: Random) {
    let (world, seed) = (Arc::clone(&modern.world), random.clone());
    let changes = async {
        while world.pause(PAUSE.0, PAUSE.1, &mut random, &[Phase::Everything]).await {
            change(&modern, random.below(BACKENDS.len())).await;
        }
    };
    tokio::join!(modern.who.keep_fresh(&world, seed), changes);
}

async fn change(modern: &Modern, backend: usize) {
    let world = &modern.world;
    let before = Instant::now();
    let Some(settled) = before.checked_sub(SETTLED) else { return };
    let listeners: Vec<_> =
        world.listeners().iter().filter(|listener| listener.listens_since(settled)).cloned().collect();
    let params = json!({ "name": tool(backend, "test_trigger_tool_change"), "arguments": {} });
    let mut attempt = Attempt::begin();
    let (_, end) = modern.ask("tools/call", &params, &mut attempt, World::limit()).await;
    let attempt = attempt.end(end);
    // Whether a change was made whose answer did not come, nobody knows.
    if !attempt.result().is_some_and(|result| ["present", "absent"].contains(&text(result).as_str())) {
        return;
    }
    tokio::time::sleep(TOLD).await;
    let tally = &world.ledger.tally;
    one(&tally.changes);
    let quiet = world.timeline.quiet(before, Instant::now());
    let mut missed = Vec::new();
    for listener in listeners {
        if listener.heard_since(before) {
            one(&tally.notices_delivered);
        } else if !listener.is_gone() {
            one(if quiet { &tally.notices_missed } else { &tally.notices_missed_around_faults });
            missed.push(format!("{}{}", listener.name, if listener.resumes() { "" } else { " (listen)" }));
        }
    }
    if quiet && !missed.is_empty() {
        let backend = BACKENDS.get(backend).copied().unwrap_or_default();
        let heard = tally.notices_delivered.load(Ordering::Relaxed);
        missed.truncate(8);
        let what = format!(
            "a change of {backend} was not heard of by {} ({heard} heard of changes so far)",
            missed.join(", ")
        );
        world.ledger.wrong("changes", &what, &attempt, &world.timeline);
    }
}
