//! A run: nodes, owners, strangers and faults, as the seed has them.

mod administration;
mod calling;
mod faults;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hawser_owner::{KeyRingDocument, KeyState};
use http_body_util::BodyExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::backends::Backends;
use crate::calls::{Calls, name};
use crate::client::{Asked, Came};
use crate::counts::Counts;
use crate::facts::{Asking, Facts};
use crate::issuer::Issuer;
use crate::network::Network;
use crate::node::{Node, PATIENCE, Plan};
use crate::random::{Choices, SeededEntropy};
use crate::time::Beginning;
use crate::trace::Trace;
use calling::Parked;

/// Gateways over one store.
const NODES: usize = 3;
/// People with sessions.
const OWNERS: usize = 4;
/// Sessions that are opened in one run, at most.
const SESSIONS_MAX: usize = 40;
/// How much a node's clock may be ahead of the others, in seconds.
const FAST_MAX: u64 = 3;

/// What one run was.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// The number of its whole story.
    pub hash: u64,
    /// Rules that were broken.
    pub broken: Vec<String>,
    /// The end of the story.
    pub last: Vec<String>,
    /// What was counted.
    pub counts: Counts,
}

/// Runs a seed.
pub fn run(seed: u64, steps: u64, shown: usize) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O needs nothing").block_on(async move {
        let mut world = World::new(seed, shown);
        for node in 0..NODES {
            world.start(node).await;
        }
        for _ in 0..steps {
            world.step().await;
            if !world.trace.is_clean() {
                break;
            }
        }
        world.settle().await;
        let (hash, broken, last) = (world.trace.hash(), world.trace.all_broken(), world.trace.last());
        let mut counts = world.facts.counts();
        counts.add(&world.calls.counts());
        Outcome { seed, hash, broken, last, counts }
    })
}

struct World {
    plan: Plan,
    choices: Choices,
    trace: Arc<Trace>,
    facts: Arc<Facts>,
    calls: Arc<Calls>,
    parked: Parked,
    nodes: Vec<Option<Arc<Node>>>,
    serial: u64,
    under_way: JoinSet<()>,
    streams: Arc<Mutex<Vec<Listening>>>,
    /// So many steps nothing goes wrong.
    peace: u64,
    /// What new keys are made of.
    randomness: SeededEntropy,
}

/// An owner's open stream.
struct Listening {
    session: usize,
    asking: Asking,
    open: Arc<AtomicBool>,
}

impl World {
    fn new(seed: u64, shown: usize) -> Self {
        let beginning = Beginning::now();
        let network = Network::new(seed, NODES, beginning);
        let ring =
            KeyRingDocument::generate(&SeededEntropy::new(seed, NODES, 0)).expect("seeded randomness does not fail");
        let trace = Arc::new(Trace::new(beginning, shown));
        let calls = Arc::new(Calls::new(Arc::clone(&trace)));
        let backends = Backends::new(seed, Arc::clone(&calls));
        let issuer = Issuer::new(seed, beginning);
        let active = ring.keys.iter().find(|key| key.state == KeyState::Active).map(|key| key.id);
        let ring = Arc::new(Mutex::new(ring));
        let plan = Plan { seed, beginning, network: Arc::clone(&network), issuer, backends, ring };
        let facts = Facts::new(network, Arc::clone(&trace));
        facts.sealing(active);
        Self {
            choices: Choices::new(seed, "steps"),
            facts: Arc::new(facts),
            randomness: SeededEntropy::new(seed, NODES, 1),
            calls,
            parked: Parked::default(),
            trace,
            nodes: (0..NODES).map(|_| None).collect(),
            serial: 0,
            under_way: JoinSet::new(),
            streams: Arc::default(),
            peace: 0,
            plan,
        }
    }

    async fn step(&mut self) {
        self.note_disturbance();
        match self.choices.within(0..100) {
            0..=7 => self.open(),
            8..=29 => self.ping(),
            30..=39 => self.call_tool(),
            40..=47 => self.call_stateless(),
            48..=55 => self.retry(),
            56..=57 => self.call_as_stranger(),
            58..=68 => self.intrude(),
            69..=72 => self.delete(),
            73..=76 => self.listen(),
            77 => self.revoke(),
            78 => match self.choices.within(0..3) {
                0 => self.restart_in_order().await,
                _ => self.change_keys(),
            },
            // What goes wrong begins and ends in the rest.
            _ if self.is_peace() => self.pause(0, 2).await,
            79 => self.make_peace().await,
            80..=87 => self.change_weather(),
            88..=89 => self.change_store(),
            90..=93 => self.crash_or_start().await,
            94 => self.flush(),
            95..=96 => self.restart_backends(),
            97..=98 => self.pause(1, 3).await,
            _ => self.pause(20, 400).await,
        }
        let pause = if self.choices.percent(70) { 30 } else { 700 };
        let pause = self.choices.within(0..pause);
        sleep(Duration::from_millis(pause)).await;
        self.note_disturbance();
        self.facts.running(&self.nodes.iter().flatten().map(|node| (node.number, node.start)).collect());
        self.check_streams();
    }

    /// All faults end; then every node must know what is true.
    async fn settle(&mut self) {
        self.mend().await;
        sleep(Duration::from_secs(5)).await;
        for session in 0..self.facts.sessions().len() {
            for node in 0..NODES {
                self.ask_as_owner(session, node);
                self.ask_as_stranger(session, node, 0);
            }
            sleep(Duration::from_millis(50)).await;
        }
        self.streams.lock().expect("no code panics with it").clear();
        self.nodes.iter().flatten().for_each(|node| self.trace.tell(&format!("node {} is well", node.number)));
        let all = async { while self.under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(200), all).await.is_err() {
            self.trace.broken("something never ended");
        }
        self.check_places().await;
    }

    /// Who waits for nobody any more holds no place.
    async fn check_places(&self) {
        sleep(PATIENCE + Duration::from_secs(30)).await;
        for node in self.nodes.iter().flatten() {
            let calls = node.gateway.calls_under_way();
            if calls > 0 {
                self.trace.broken(&format!("node {} holds the places of {calls} calls", node.number));
            }
        }
    }

    async fn start(&mut self, node: usize) {
        let fast = Duration::from_secs(self.choices.within(0..FAST_MAX));
        let started = Arc::new(Node::start(&self.plan, node, fast).await);
        self.trace.tell(&format!("node {node} starts, {} s fast", fast.as_secs()));
        if let Some(place) = self.nodes.get_mut(node) {
            *place = Some(started);
        }
    }

    fn open(&mut self) {
        if self.facts.counts().sessions >= SESSIONS_MAX as u64 {
            return;
        }
        let owner = self.choices.index(OWNERS);
        let Some(node) = self.any_node() else { return };
        let (facts, trace, asking) = (Arc::clone(&self.facts), Arc::clone(&self.trace), asking(&node));
        let asked = Asked::initialize(self.token(owner), &format!("client-{}", self.serial));
        self.trace.tell(&format!("owner {owner} opens a session at node {}", node.number));
        self.under_way.spawn(async move {
            let came = asked.whole(&node.gateway, &node.died).await;
            trace.tell(&format!("owner {owner} opened a session at node {}: {}", node.number, shown(&came)));
            facts.opened(owner, &asking, &came);
        });
    }

    fn ping(&mut self) {
        let (Some(session), Some(node)) = (self.any_session(), self.any_node()) else { return };
        self.ask_as_owner(session, node.number);
    }

    fn ask_as_owner(&mut self, session: usize, node: usize) {
        let Some(facts) = self.facts.sessions().get(session).cloned() else { return };
        let token = self.token(facts.owner);
        let asked = Asked::ping(token, &facts.id, self.serial);
        self.send(session, node, "call", asked, |facts, session, asking, came| {
            facts.owner(session, "call", asking, came);
        });
    }

    /// A stranger presents a handle that it stole, in all the ways there are.
    fn intrude(&mut self) {
        let (Some(session), Some(node)) = (self.any_session(), self.any_node()) else { return };
        let way = self.choices.within(0..5);
        self.ask_as_stranger(session, node.number, way);
    }

    fn ask_as_stranger(&mut self, session: usize, node: usize, way: u64) {
        let Some(facts) = self.facts.sessions().get(session).cloned() else { return };
        let stranger = self.other_than(facts.owner);
        let token = self.token(stranger);
        let asked = match way {
            0 => Asked::ping(token, &facts.id, self.serial),
            1 => Asked::delete(token, &facts.id),
            2 => Asked::listen(token, &facts.id),
            3 => Asked::post(token, &facts.id, String::from(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)),
            _ => {
                Asked::post(token, &facts.id, String::from(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#))
            }
        };
        self.send(session, node, "intrusion", asked, |facts, session, asking, came| {
            facts.stranger(session, "intrusion", asking, came);
        });
    }

    fn delete(&mut self) {
        let (Some(session), Some(node)) = (self.any_session(), self.any_node()) else { return };
        let Some(facts) = self.facts.sessions().get(session).cloned() else { return };
        let asked = Asked::delete(self.token(facts.owner), &facts.id);
        // Judged first: the answer may be about the state before.
        self.facts.ending(session);
        self.send(session, node.number, "delete", asked, |facts, session, asking, came| {
            facts.owner(session, "delete", asking, came);
            if matches!(came, Came::Answer { status, .. } if status.is_success()) {
                facts.ended(session, asking);
            }
        });
    }

    fn send(
        &mut self,
        session: usize,
        node: usize,
        what: &'static str,
        asked: Asked,
        judge: impl FnOnce(&Facts, usize, &Asking, &Came) + Send + 'static,
    ) {
        let Some(node) = self.nodes.get(node).cloned().flatten() else { return };
        let (facts, trace, asking) = (Arc::clone(&self.facts), Arc::clone(&self.trace), asking(&node));
        trace.tell(&format!("{what} at session {session} to node {}", node.number));
        self.under_way.spawn(async move {
            let came = asked.whole(&node.gateway, &node.died).await;
            trace.tell(&format!("{what} at session {session} to node {}: {}", node.number, shown(&came)));
            judge(&facts, session, &asking, &came);
        });
    }

    /// An owner listens for a while.
    fn listen(&mut self) {
        let (Some(session), Some(node)) = (self.any_session(), self.any_node()) else { return };
        let Some(of) = self.facts.sessions().get(session).cloned() else { return };
        let asked = Asked::listen(self.token(of.owner), &of.id);
        let (facts, trace, asking) = (Arc::clone(&self.facts), Arc::clone(&self.trace), asking(&node));
        let streams = Arc::clone(&self.streams);
        let patience = Duration::from_secs(self.choices.within(1..60));
        self.under_way.spawn(async move {
            match asked.stream(&node.gateway, &node.died).await {
                Err(came) => facts.owner(session, "stream", &asking, &came),
                Ok(mut body) => {
                    trace.tell(&format!("a stream of session {session} is open at node {}", node.number));
                    facts.stream();
                    let open = Arc::new(AtomicBool::new(true));
                    let listening = Listening { session, asking, open: Arc::clone(&open) };
                    streams.lock().expect("no code panics with it").push(listening);
                    let read = async { while body.frame().await.is_some_and(|frame| frame.is_ok()) {} };
                    tokio::select! {
                        biased;
                        () = node.died.cancelled() => {}
                        () = read => {}
                        () = sleep(patience) => {}
                    }
                    open.store(false, Ordering::Relaxed);
                    trace.tell(&format!("a stream of session {session} has ended at node {}", node.number));
                }
            }
        });
    }

    /// Streams of a session that is over must have ended.
    fn check_streams(&self) {
        let mut streams = self.streams.lock().expect("no code panics with it");
        streams.retain(|stream| stream.open.load(Ordering::Relaxed));
        for stream in streams.iter() {
            let asking = Asking { at: Instant::now(), ..stream.asking };
            if self.facts.must_be_over(stream.session, &asking) {
                let (session, node) = (stream.session, asking.node);
                self.trace.broken(&format!("session {session} is over, and a stream of it is open at node {node}"));
            }
        }
    }

    fn token(&mut self, owner: usize) -> String {
        self.serial += 1;
        self.plan.issuer.token(&name(owner), self.serial)
    }

    fn any_session(&mut self) -> Option<usize> {
        let sessions = self.facts.sessions().len();
        (sessions > 0).then(|| self.choices.index(sessions))
    }

    fn any_node(&mut self) -> Option<Arc<Node>> {
        let running: Vec<_> = self.nodes.iter().flatten().cloned().collect();
        self.choices.pick(&running).cloned()
    }
}

fn asking(node: &Node) -> Asking {
    Asking { node: node.number, start: node.start, started: node.started, at: Instant::now() }
}

fn shown(came: &Came) -> String {
    match came {
        Came::Answer { status, .. } => status.as_u16().to_string(),
        Came::Lost => "lost".to_owned(),
        Came::Stuck => "stuck".to_owned(),
    }
}
