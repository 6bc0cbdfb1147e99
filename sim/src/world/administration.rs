//! What an administrator does while all go on: ends sessions, changes keys, restarts nodes in order.

use std::sync::Arc;
use std::time::Duration;

use hawser_gateway::Selection;
use hawser_owner::{Issuer, KeyState, Principal, Subject};
use tokio::time::{Instant, sleep};

use super::{NODES, OWNERS, World, asking};
use crate::calls::name;
use crate::issuer::ISSUER;
use crate::node::renew;

/// How long a node gives the calls under way: longer than any works.
const GRACE: Duration = Duration::from_secs(10);
/// How late a node may look at the file of keys, in milliseconds.
const LOOK_MAX: u64 = 2_000;

impl World {
    /// Ends all sessions of an owner, or of everybody.
    pub(super) fn revoke(&mut self) {
        let Some(node) = self.any_node() else { return };
        let owner = if self.choices.percent(85) { Some(self.choices.index(OWNERS)) } else { None };
        let selection =
            owner.map_or_else(|| Selection::Endpoint("/mcp".to_owned()), |of| Selection::Owner(principal(of)));
        let whose = owner.map_or_else(|| "everybody".to_owned(), name);
        self.trace.tell(&format!("all sessions of {whose} are revoked at node {}", node.number));
        // What waits for its client in them is over as well.
        self.calls.disturb();
        let (facts, trace, calls) = (Arc::clone(&self.facts), Arc::clone(&self.trace), Arc::clone(&self.calls));
        let (asking, revocation) = (asking(&node), self.facts.revoking(owner));
        self.under_way.spawn(async move {
            let done = node.died.run_until_cancelled(node.gateway.revoke_sessions(&selection, "simulated")).await;
            let done = matches!(done, Some(Ok(_)));
            trace.tell(&format!("all sessions of {whose} are revoked at node {}: {done}", node.number));
            calls.disturb();
            facts.revoked(revocation, &asking, done);
        });
    }

    /// The next step of a key's life: it is published, seals, only opens, is gone.
    pub(super) fn change_keys(&mut self) {
        let mut document = self.plan.ring.lock().expect("no code panics with it");
        let now = self.plan.beginning.calendar();
        let of = |state| document.keys.iter().find(|key| key.state == state).map(|key| key.id);
        let (published, retired, active) = (of(KeyState::Published), of(KeyState::Retired), of(KeyState::Active));
        let step = match (published, retired) {
            (Some(next), _) => document.activate(next, now).map(|()| "a key is activated"),
            (None, Some(old)) => {
                self.facts.unsealed(old);
                self.calls.disturb();
                document.remove(old).map(|()| "a key is removed")
            }
            (None, None) => {
                document.add(&self.randomness, now).expect("there is room and randomness");
                Ok("a key is published")
            }
        };
        self.trace.tell(step.expect("keys take the steps that they can take"));
        self.facts.sealing(document.keys.iter().find(|key| key.state == KeyState::Active).map(|key| key.id).or(active));
        drop(document);
        for node in self.nodes.iter().flatten().cloned() {
            let (late, keys) = (self.choices.within(0..LOOK_MAX), Arc::clone(&self.plan.ring));
            self.under_way.spawn(async move {
                sleep(Duration::from_millis(late)).await;
                renew(&node.ring, &keys);
            });
        }
    }

    /// A node is stopped in order and started again: it takes nothing new, and finishes what it has.
    pub(super) async fn restart_in_order(&mut self) {
        let number = self.choices.index(NODES);
        let Some(node) = self.nodes.get(number).cloned().flatten() else { return };
        self.trace.tell(&format!("node {number} is drained"));
        for _ in 0..3 {
            self.call_stateless_at(Arc::clone(&node));
        }
        sleep(Duration::from_millis(5)).await;
        self.facts.drains(node.number, node.start);
        self.calls.drains();
        let began = Instant::now();
        let left = node.gateway.drain(GRACE).await;
        // Everything but calls that wait for their clients is done by then.
        self.trace.tell(&format!("node {number} is drained in {} ms, {left} calls left", began.elapsed().as_millis()));
        node.gateway.close().await;
        sleep(Duration::from_millis(50)).await;
        self.calls.drains();
        node.die();
        self.start(number).await;
    }
}

fn principal(owner: usize) -> Principal {
    let issuer = Issuer::new(ISSUER).expect("the issuer is well formed");
    Principal::user(issuer, None, Subject::new(name(owner)).expect("a name is plain text"))
}
