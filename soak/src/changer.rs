//! Somebody who changes what backends offer, and looks whether everybody who listens was told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use crate::exchange::Attempt;
use crate::ledger::one;
use crate::legacy::{text, tool};
use crate::listening::Listener;
use crate::modern::Modern;
use crate::random::Random;
use crate::world::{BACKENDS, Phase, World};

const PAUSE: (u64, u64) = (3_000, 7_000);
/// Who listens this long already is to be told.
const SETTLED: Duration = Duration::from_secs(3);
/// By then everybody has been told: also who had to come back first.
const TOLD: Duration = Duration::from_secs(8);

/// A change that was made, and who is to hear of it.
struct Change {
    backend: usize,
    before: Instant,
    attempt: Attempt,
    listeners: Vec<Arc<Listener>>,
}

/// Changes things until the run is over.
pub(crate) async fn live(modern: Modern, mut random: Random) {
    let (world, seed) = (Arc::clone(&modern.world), random.clone());
    let changes = async {
        let mut looking = JoinSet::new();
        while world.pause(PAUSE.0, PAUSE.1, &mut random, &[Phase::Everything]).await {
            if let Some(change) = change(&modern, random.below(BACKENDS.len())).await {
                looking.spawn(look(Arc::clone(&world), change));
            }
        }
        looking.join_all().await;
    };
    tokio::join!(modern.who.keep_fresh(&world, seed), changes);
}

async fn change(modern: &Modern, backend: usize) -> Option<Change> {
    let world = &modern.world;
    let before = Instant::now();
    let settled = before.checked_sub(SETTLED)?;
    let listeners = world.listeners().iter().filter(|listener| listener.listens_since(settled)).cloned().collect();
    let params = json!({ "name": tool(backend, "test_trigger_tool_change"), "arguments": {} });
    let mut attempt = Attempt::begin();
    let (_, end) = modern.ask("tools/call", &params, &mut attempt, World::limit()).await;
    let attempt = attempt.end(end);
    // Whether a change was made whose answer did not come, nobody knows.
    let made = attempt.result().is_some_and(|result| ["present", "absent"].contains(&text(result).as_str()));
    made.then_some(Change { backend, before, attempt, listeners })
}

/// Looks who has heard of it, when everybody has had the time to.
async fn look(world: Arc<World>, Change { backend, before, attempt, listeners }: Change) {
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
            missed.push(listener.shown());
        }
    }
    if quiet && !missed.is_empty() {
        let backend = BACKENDS.get(backend).copied().unwrap_or_default();
        missed.truncate(8);
        let what = format!("a change of {backend} was not heard of by {}", missed.join(", "));
        world.ledger.wrong("changes", &what, &attempt, &world.timeline);
    }
}
