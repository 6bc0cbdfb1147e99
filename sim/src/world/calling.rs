//! Calls of tools: in sessions, where questions are answered and streams taken up at other nodes; and without, where what is
//! asked parks the call until somebody comes back for it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::{OWNERS, World, asking};
use crate::calls::{Calls, Ended, name, shown};
use crate::client::{Asked, Came, read};
use crate::facts::{Asking, Facts};
use crate::node::Node;

/// The tools, as clients see them: those of the server of the session era, then those of the other one.
const TOOLS: [&str; 4] = ["old_act", "old_ask", "new_act", "new_ask"];
/// A call that waits is not given up for another one sooner than this.
const KEPT: Duration = Duration::from_secs(50);
/// How often a client says again what was not taken.
const TRIES: usize = 3;

/// Calls that wait for their clients.
#[derive(Clone, Default)]
pub(super) struct Parked(Arc<Mutex<Vec<ParkedCall>>>);

#[derive(Clone)]
struct ParkedCall {
    call: u64,
    owner: usize,
    tool: &'static str,
    state: String,
    questions: Value,
    since: Instant,
    /// Retries of the owner that were begun.
    retries: usize,
}

impl Parked {
    fn lock(&self) -> MutexGuard<'_, Vec<ParkedCall>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that is made ready: where to, and whose.
type To = (Arc<Node>, String);

/// What a client does in one call of its session.
struct Talk {
    facts: Arc<Facts>,
    calls: Arc<Calls>,
    session: usize,
    id: Arc<str>,
    owner: usize,
    call: u64,
    tool: &'static str,
    first: To,
    /// Where what was asked is answered, one after the other until one takes it.
    answers: Vec<To>,
    /// Where the stream is taken up, if the client leaves it.
    resumes: Option<Vec<To>>,
    /// A stranger, who answers first, in a session of his own.
    stranger: Option<(To, Arc<str>, usize)>,
}

impl World {
    /// An owner calls a tool in a session.
    pub(super) fn call_tool(&mut self) {
        let (Some(session), Some(node)) = (self.any_session(), self.any_node()) else { return };
        let Some(of) = self.facts.sessions().get(session).cloned() else { return };
        let tool = TOOLS[self.choices.index(TOOLS.len())];
        let call = self.calls.begin(Some(of.owner), tool, false);
        self.trace.tell(&format!("call {call}, {tool}, in session {session} at node {}", node.number));
        let first = (node, self.token(of.owner));
        let answers = self.somewhere(of.owner);
        let resumes = if self.choices.percent(40) { Some(self.somewhere(of.owner)) } else { None };
        let stranger = if self.choices.percent(30) { self.stranger_of(of.owner) } else { None };
        let (facts, calls) = (Arc::clone(&self.facts), Arc::clone(&self.calls));
        let talk =
            Talk { facts, calls, session, id: of.id, owner: of.owner, call, tool, first, answers, resumes, stranger };
        self.under_way.spawn(talk.hold());
    }

    /// A stranger calls a tool in the session of somebody else.
    pub(super) fn call_as_stranger(&mut self) {
        let (Some(session), Some(node)) = (self.any_session(), self.any_node()) else { return };
        let Some(of) = self.facts.sessions().get(session).cloned() else { return };
        let stranger = self.other_than(of.owner);
        let tool = TOOLS[self.choices.index(TOOLS.len())];
        let call = self.calls.begin(None, tool, false);
        let asked = Asked::call(self.token(stranger), &of.id, tool, call);
        self.send(session, node.number, "a stranger's call", asked, |facts, session, asking, came| {
            facts.stranger(session, "call", asking, came);
        });
    }

    /// An owner calls a tool without a session.
    pub(super) fn call_stateless(&mut self) {
        if let Some(node) = self.any_node() {
            self.call_stateless_at(node);
        }
    }

    /// The same, at this node.
    pub(super) fn call_stateless_at(&mut self, node: Arc<Node>) {
        let owner = self.choices.index(OWNERS);
        let tool = TOOLS[self.choices.index(TOOLS.len())];
        let (call, token) = (self.calls.begin(Some(owner), tool, tool == "new_ask"), self.token(owner));
        self.trace.tell(&format!("call {call}, {tool}, of owner {owner} at node {}", node.number));
        let (calls, parked) = (Arc::clone(&self.calls), self.parked.clone());
        self.under_way.spawn(async move {
            let began = Instant::now();
            let ended = ended(Asked::stateless(token, tool, call, None), &node).await;
            // Who has too many calls waiting is refused.
            let full = matches!(&ended, Ended::Failed(error) if error.contains("calls waiting"));
            calls.owner(call, "the first round", &ended, (!full).then_some(began));
            if let Ended::Asked { state, questions } = ended {
                let since = Instant::now();
                parked.lock().push(ParkedCall { call, owner, tool, state, questions, since, retries: 0 });
            }
        });
    }

    /// Somebody comes back with an answer: the owner, at one node or at two, or a stranger.
    pub(super) fn retry(&mut self) {
        let waiting = self.parked.lock().len();
        if waiting == 0 {
            return;
        }
        // Mostly one of the last.
        let back = self.choices.within(0..waiting.min(6) as u64);
        let back =
            if self.choices.percent(80) { usize::try_from(back).unwrap_or(0) } else { self.choices.index(waiting) };
        let at = waiting - 1 - back;
        match self.choices.within(0..10) {
            0..=2 => self.retry_as_stranger(at),
            3..=4 => (0..2).for_each(|_| self.retry_as_owner(at)),
            _ => self.retry_as_owner(at),
        }
    }

    fn retry_as_owner(&mut self, at: usize) {
        let Some(node) = self.any_node() else { return };
        let Some(parked) = self.parked.lock().get_mut(at).map(|parked| {
            parked.retries += 1;
            parked.clone()
        }) else {
            return;
        };
        let by = name(parked.owner);
        let retry = Some((parked.state.as_str(), &parked.questions, by.as_str()));
        let asked = Asked::stateless(self.token(parked.owner), parked.tool, parked.call, retry);
        self.trace.tell(&format!("a retry of call {} at node {}", parked.call, node.number));
        let (calls, all) = (Arc::clone(&self.calls), self.parked.clone());
        self.under_way.spawn(async move {
            let began = Instant::now();
            let ended = ended(asked, &node).await;
            let alone = all.lock().get(at).is_some_and(|parked| parked.retries == 1);
            let owed = alone && began.duration_since(parked.since) < KEPT;
            calls.owner(parked.call, "a retry", &ended, owed.then(|| calls.began(parked.call)));
        });
    }

    fn retry_as_stranger(&mut self, at: usize) {
        let (Some(node), Some(parked)) = (self.any_node(), self.parked.lock().get(at).cloned()) else { return };
        let stranger = self.other_than(parked.owner);
        let by = name(stranger);
        let retry = Some((parked.state.as_str(), &parked.questions, by.as_str()));
        let asked = Asked::stateless(self.token(stranger), parked.tool, parked.call, retry);
        let calls = Arc::clone(&self.calls);
        self.under_way.spawn(async move {
            let ended = ended(asked, &node).await;
            calls.stranger(parked.call, &ended);
        });
    }

    /// Some nodes, for one thing that is tried until it is taken.
    fn somewhere(&mut self, owner: usize) -> Vec<To> {
        (0..TRIES).filter_map(|_| Some((self.any_node()?, self.token(owner)))).collect()
    }

    fn stranger_of(&mut self, owner: usize) -> Option<(To, Arc<str>, usize)> {
        let node = self.any_node()?;
        let of = self.any_session().and_then(|session| self.facts.sessions().get(session).cloned())?;
        (of.owner != owner).then(|| ((node, self.token(of.owner)), of.id, of.owner))
    }

    pub(super) fn other_than(&mut self, owner: usize) -> usize {
        (owner + 1 + self.choices.index(OWNERS - 1)) % OWNERS
    }
}

impl Talk {
    async fn hold(self) {
        let began = Instant::now();
        let asking: Asking = asking(&self.first.0);
        let ended = self.talk().await;
        let came = |status| Came::Answer { status, session: None, body: Bytes::new() };
        match &ended {
            Ended::Done(_) => self.facts.owner(self.session, "call", &asking, &came(StatusCode::OK)),
            Ended::Refused(404) => self.facts.owner(self.session, "call", &asking, &came(StatusCode::NOT_FOUND)),
            _ => {}
        }
        let owed = self.facts.is_alive(self.session).then_some(began);
        self.calls.owner(self.call, "the exchange", &ended, owed);
    }

    async fn talk(&self) -> Ended {
        let (node, token) = &self.first;
        let asked = Asked::call(token.clone(), &self.id, self.tool, self.call);
        let mut answer = match asked.begin(&node.gateway, &node.died).await {
            Ok(answer) => answer,
            Err(ended) => return ended,
        };
        let question = match read(&mut answer, &node.died).await {
            Ok(question) => question,
            Err(ended) => return ended,
        };
        let left = self.resumes.as_ref().zip(answer.last_event.clone());
        match left {
            None => {
                if !self.reply(&question["id"]).await {
                    return Ended::Lost;
                }
                read(&mut answer, &node.died).await.map_or_else(|ended| ended, |_| Ended::Lost)
            }
            Some((nodes, after)) => {
                drop(answer);
                if !self.reply(&question["id"]).await {
                    return Ended::Lost;
                }
                self.resume(nodes, after).await
            }
        }
    }

    /// Answers what was asked, until some node takes it; says whether one did.
    async fn reply(&self, question: &Value) -> bool {
        if let Some(((node, token), session, stranger)) = &self.stranger {
            let asked = Asked::answer(token.clone(), session, question, &name(*stranger));
            asked.whole(&node.gateway, &node.died).await;
        }
        for (node, token) in &self.answers {
            let asked = Asked::answer(token.clone(), &self.id, question, &name(self.owner));
            let came = asked.whole(&node.gateway, &node.died).await;
            let status = super::shown(&came);
            self.calls.tell(&format!("an answer to what call {} asked, to node {}: {status}", self.call, node.number));
            match came {
                Came::Answer { status: StatusCode::ACCEPTED, .. } => return true,
                Came::Answer { status: StatusCode::SERVICE_UNAVAILABLE, .. } | Came::Lost => {}
                _ => return false,
            }
            sleep(Duration::from_secs(1)).await;
        }
        false
    }

    /// Takes the stream up where it was left, as often as it ends before the call does.
    async fn resume(&self, nodes: &[To], mut after: String) -> Ended {
        let mut ended = Ended::Lost;
        for (node, token) in nodes {
            sleep(Duration::from_millis(500)).await;
            let asked = Asked::resume(token.clone(), &self.id, after.clone());
            ended = match asked.begin(&node.gateway, &node.died).await {
                Ok(mut answer) => {
                    let ended = read(&mut answer, &node.died).await.map_or_else(|ended| ended, |_| Ended::Lost);
                    after = answer.last_event.unwrap_or(after);
                    ended
                }
                Err(ended) => ended,
            };
            self.calls.tell(&format!("call {}, taken up at node {}: {}", self.call, node.number, shown(&ended)));
            if !matches!(ended, Ended::Lost | Ended::Refused(503)) {
                break;
            }
        }
        ended
    }
}

async fn ended(asked: Asked, node: &Node) -> Ended {
    match asked.begin(&node.gateway, &node.died).await {
        Ok(mut answer) => read(&mut answer, &node.died).await.map_or_else(|ended| ended, |_| Ended::Lost),
        Err(ended) => ended,
    }
}
