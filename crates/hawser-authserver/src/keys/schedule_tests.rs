//! Many nodes with clocks that differ, one row that may be flushed: who signs with what, and what is published when.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

use std::collections::HashMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

const POLICY: Policy = Policy { lifetime: Duration::from_hours(24), tokens: Duration::from_mins(10) };
/// Nodes look at the row this often.
const LOOK_EVERY: u64 = 1;
const NODES: usize = 3;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn key(kid: &str, state: SigningKeyState, since: u64) -> StoredKey {
    StoredKey { kid: kid.to_owned(), state, created: at(since), since: at(since), tokens: 600, sealed: String::new() }
}

fn states(set: &KeySet) -> Vec<(&str, SigningKeyState)> {
    set.keys.iter().map(|key| (key.kid.as_str(), key.state)).collect()
}

fn step(set: &KeySet, now: u64) -> Option<KeySet> {
    let fresh = |state| Ok::<_, Infallible>(key(&format!("made at {now}"), state, now));
    set.step(at(now), &POLICY, fresh).unwrap()
}

#[test]
fn a_key_is_published_an_hour_before_it_signs_and_until_its_last_token_has_expired() {
    use SigningKeyState::{Active, Published, Retired};
    let (day, hour) = (86_400, 3_600);
    let set = step(&KeySet::default(), 0).unwrap();
    assert_eq!(states(&set), [("made at 0", Active)]);
    assert_eq!(step(&set, day - hour - 1), None);
    let set = step(&set, day - hour).unwrap();
    assert_eq!(states(&set), [("made at 0", Active), ("made at 82800", Published)]);
    assert_eq!(step(&set, day - 1), None);
    let set = step(&set, day).unwrap();
    assert_eq!(states(&set), [("made at 0", Retired), ("made at 82800", Active)]);
    // A token's life, what a node may be behind, and what a clock may be.
    let ends = day + 600 + 60 + 300;
    assert_eq!(step(&set, ends - 1), None);
    assert_eq!(states(&step(&set, ends).unwrap()), [("made at 82800", Active)]);
}

#[test]
fn a_removed_key_is_replaced_and_does_not_come_back() {
    use SigningKeyState::{Active, Published};
    let set = KeySet { keys: vec![key("a", Active, 0)], removed: Vec::new() };
    let without = set.without("a").unwrap();
    assert_eq!(without.without("a"), None);
    assert_eq!(states(&step(&without, 5).unwrap()), [("made at 5", Active)]);
    // A published one is known to verifiers, so it is the better successor.
    let both = KeySet { keys: vec![key("a", Active, 0), key("b", Published, 3)], removed: Vec::new() };
    let successor = step(&both.without("a").unwrap(), 5).unwrap();
    assert_eq!(states(&successor), [("b", Active)]);
    // Neither from a node that remembers it, nor from a row that was written by one.
    assert_eq!(successor.completed(&set, at(6)), None);
    assert_eq!(states(&set.completed(&successor, at(6)).unwrap()), [("b", Active)]);
}

#[test]
fn an_order_to_rotate_publishes_the_next_key_once() {
    let set = KeySet { keys: vec![key("a", SigningKeyState::Active, 0)], removed: Vec::new() };
    let fresh = |state| Ok::<_, Infallible>(key("b", state, 10));
    let rotated = set.rotated(fresh).unwrap().unwrap();
    assert_eq!(states(&rotated), [("a", SigningKeyState::Active), ("b", SigningKeyState::Published)]);
    assert_eq!(rotated.rotated(fresh).unwrap(), None);
    assert_eq!(step(&rotated, 10 + 3_599), None);
    assert_eq!(step(&rotated, 10 + 3_600).unwrap().active().unwrap().kid, "b");
}

#[test]
fn tokens_that_live_longer_than_they_did_are_waited_for() {
    let set = KeySet { keys: vec![key("a", SigningKeyState::Active, 0)], removed: Vec::new() };
    let longer = Policy { tokens: Duration::from_hours(2), ..POLICY };
    let fresh = |_| -> Result<StoredKey, Infallible> { panic!("no key is due") };
    let raised = set.step(at(1), &longer, fresh).unwrap().unwrap();
    assert_eq!(raised.keys[0].tokens, 7_200);
    assert_eq!(step(&raised, 2), None, "a node with a shorter life does not take it back");
}

/// What a node does.
#[derive(Clone, Debug)]
enum Act {
    Wait(u64),
    Rotate(usize),
    Flush,
    /// A node starts anew and knows nothing.
    Restart(usize),
    /// A node cannot reach the row for a while.
    CutOff(usize, u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        8 => (1_u64..90).prop_map(Act::Wait),
        3 => (90_u64..40_000).prop_map(Act::Wait),
        2 => (0..NODES).prop_map(Act::Rotate),
        1 => Just(Act::Flush),
        1 => (0..NODES).prop_map(Act::Restart),
        2 => ((0..NODES), 1_u64..4_000).prop_map(|(node, time)| Act::CutOff(node, time)),
    ];
    proptest::collection::vec(act, 1..60)
}

struct Node {
    /// Seconds that its clock is ahead.
    ahead: i64,
    memory: Option<KeySet>,
    read: u64,
    cut_off_until: u64,
}

struct Sim {
    now: u64,
    row: Option<KeySet>,
    nodes: Vec<Node>,
    made: usize,
    /// Since when each key has been in the row without a break.
    published: HashMap<String, u64>,
    /// Keys that were made because there was none: nobody can have been told of them before.
    first: Vec<String>,
    /// Until when tokens of each key are good.
    tokens: HashMap<String, u64>,
}

impl Sim {
    fn clock(&self, node: usize) -> Timestamp {
        at(self.now.saturating_add_signed(self.nodes[node].ahead))
    }

    fn look(&mut self, node: usize) {
        if self.now < self.nodes[node].cut_off_until {
            return;
        }
        let clock = self.clock(node);
        let remembered = self.nodes[node].memory.clone().unwrap_or_default();
        let mut set = self.row.clone().unwrap_or_else(|| remembered.clone());
        set = set.completed(&remembered, clock).unwrap_or(set);
        for _ in 0..8 {
            let (made, first) = (&mut self.made, &mut self.first);
            let fresh = |state| {
                *made += 1;
                let kid = format!("{made}");
                if state == SigningKeyState::Active {
                    first.push(kid.clone());
                }
                Ok::<_, Infallible>(key(&kid, state, clock.seconds()))
            };
            match set.step(clock, &POLICY, fresh).unwrap() {
                Some(next) => set = next,
                None => break,
            }
        }
        self.row = Some(set.clone());
        self.nodes[node].memory = Some(set);
        self.nodes[node].read = self.now;
    }

    fn sign(&mut self, node: usize) {
        let Some(memory) = &self.nodes[node].memory else { return };
        if self.now - self.nodes[node].read > STALE.as_secs() {
            return;
        }
        let active = memory.active().unwrap().kid.clone();
        if !self.first.contains(&active) {
            let published = self.published.get(&active).copied();
            let long_enough = published.is_some_and(|since| self.now - since >= PUBLISHED_MAX_AGE.as_secs());
            assert!(long_enough, "{active} signs at {} and is published since {published:?}", self.now);
        }
        self.tokens.insert(active, self.now + POLICY.tokens.as_secs());
    }

    fn check(&mut self) {
        let Some(row) = &self.row else { return };
        self.published.retain(|kid, _| row.has(kid));
        for key in &row.keys {
            self.published.entry(key.kid.clone()).or_insert(self.now);
        }
        assert_eq!(row.keys.iter().filter(|key| key.state == SigningKeyState::Active).count(), 1, "{row:?}");
        assert!(row.keys.len() <= KEYS_MAX);
        for (kid, good_until) in &self.tokens {
            assert!(*good_until <= self.now || row.has(kid), "a token of {kid} is good and its key is gone: {row:?}");
        }
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + seconds;
        while self.now < until {
            // Long pauses in larger steps; a node still looks often enough to sign at all.
            self.now += if seconds < 100 { LOOK_EVERY } else { 30 };
            for node in 0..NODES {
                self.look(node);
            }
            // All have looked once since whatever happened to the row.
            self.check();
            for node in 0..NODES {
                self.sign(node);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn no_key_signs_unannounced_and_no_valid_token_is_without_its_key(acts in acts(), ahead in [-150_i64..150, -150..150, -150..150]) {
        let node = |ahead| Node { ahead, memory: None, read: 0, cut_off_until: 0 };
        let mut sim = Sim {
            now: 1_000_000,
            row: None,
            nodes: ahead.into_iter().map(node).collect(),
            made: 0,
            published: HashMap::new(),
            first: Vec::new(),
            tokens: HashMap::new(),
        };
        sim.pass(1);
        for act in acts {
            match act {
                Act::Wait(seconds) => sim.pass(seconds),
                Act::Rotate(node) => {
                    let (now, clock) = (sim.now, sim.clock(node));
                    let kid = format!("rotated {}", sim.made);
                    sim.made += 1;
                    if let Some(row) = &mut sim.row
                        && let Some(next) = row.rotated(|state| Ok::<_, Infallible>(key(&kid, state, clock.seconds()))).unwrap()
                    {
                        *row = next;
                        sim.published.insert(kid, now);
                    }
                }
                // Who was cut off or began anew has nothing to write back; the others have.
                Act::Flush if sim.nodes.iter().any(|node| node.cut_off_until <= sim.now && node.memory.is_some()) => {
                    sim.row = None;
                    sim.pass(1);
                }
                Act::Flush => {}
                Act::Restart(node) => sim.nodes[node].memory = None,
                Act::CutOff(node, seconds) => sim.nodes[node].cut_off_until = sim.now + seconds,
            }
        }
    }
}
