//! The stranger: another user, with a valid token of their own, tries every operation on the owner's session.
//!
//! Each answer is compared with the answers to the same request on two session ids that never were. Whatever differs between
//! those two varies by itself; whatever else differs tells the stranger that the session exists.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use super::attempt::{self, Tried};
use super::refresh::in_words;
use super::{Examiner, Holder, made_up};
use crate::finding::Fault;
use crate::judge::{self, Heard, Outcome, State};
use crate::mcp::{Listening, Presented};
use crate::operation::{Operation, Sending};
use crate::report::{Attacker, Attempt};
use crate::rpc;
use crate::session::{Opening, Session};

/// Until a call of the owner has surely begun; a tool that is slow is not over by then.
const BEGINNING: Duration = Duration::from_millis(250);

impl Examiner<'_> {
    /// Every operation by the stranger on the owner's session; DELETE last.
    pub(crate) async fn stranger(&mut self) {
        let Some(stranger) = self.stranger.clone() else {
            let why = if self.owner.token.is_some() {
                "no second principal was given"
            } else {
                "the server asks nobody who they are: whoever knows a session id can use it"
            };
            self.note_gaps_for_attacker(Attacker::Stranger, why);
            return;
        };
        if !self.stranger_is_known(&stranger).await {
            return;
        }
        self.stage("Another user on the owner's session");
        for operation in Operation::ALL {
            if self.late(Attacker::Stranger.words()) {
                break;
            }
            self.try_stranger(&stranger, operation).await;
        }
    }

    /// A refusal means nothing if the stranger's token works nowhere: they first open a session of their own.
    async fn stranger_is_known(&mut self, stranger: &Holder) -> bool {
        match Session::open(&self.mcp, stranger.token.as_ref()).await {
            Ok(Opening::Open(own)) => {
                if let Some(id) = own.id.clone() {
                    self.compare_ids(&id);
                    drop(self.mcp.delete(own.presented(stranger.token.as_ref())).await);
                }
                true
            }
            Ok(Opening::Refused(reply)) => {
                let status = reply.answer.status.as_u16();
                self.note_gaps_for_attacker(
                    Attacker::Stranger,
                    &format!("the stranger cannot open a session of their own either ({status})"),
                );
                false
            }
            Err(error) => {
                self.note_gaps_for_attacker(Attacker::Stranger, &error.to_string());
                false
            }
        }
    }

    pub(crate) async fn try_stranger(&mut self, stranger: &Holder, operation: Operation) {
        let Some(scene) = self.set_scene(operation).await else { return };
        let id = self.take_id();
        let session = self.session.id.clone();
        let (tried, scene) = self.act(scene, stranger, operation, id, session.as_deref()).await;
        let Some(tried) = tried else {
            self.close_scene(scene, operation).await;
            return;
        };
        let heard = tried.heard;
        let mut unknown = Vec::new();
        for salt in [id, id + 1_000_000] {
            let session = session.as_deref().map(|session| made_up(session, salt));
            let answer = self.as_stranger(stranger, operation, id, session.as_deref()).await;
            unknown.extend(answer.map(|tried| tried.heard));
        }
        let [first, second] = unknown.as_slice() else { return };
        let (state, note) = judge::stranger(operation, self.baseline(operation), first, &heard);
        let mut notes: Vec<String> = (!note.is_empty()).then(|| note.to_owned()).into_iter().collect();
        notes.extend(self.close_scene(scene, operation).await);
        let mut like_unknown = None;
        if state == State::Refused {
            let parts = judge::differences(&heard, [first, second]);
            let parts = self.again(parts, stranger, operation, id, session.as_deref()).await;
            like_unknown = Some(parts.is_empty());
            self.report_refusal(operation, &heard, first, &parts);
        }
        if note == judge::SERVED_WITHOUT_SESSION {
            self.gap(
                format!("{} by another user", operation.name()),
                "the server answers session ids that never were in the same way, so it cannot be told whose session it acts on",
            );
        }
        if state == State::Accepted {
            let observed = format!("{}: {}", operation.name(), in_words(heard.outcome));
            self.fault(Fault::StrangerAdmitted, Some(operation), observed);
        }
        self.end_strays(stranger, [&heard, first, second], session.as_deref()).await;
        let owner_works = self.check_owner(operation).await;
        let (attacker, status, note) = (Attacker::Stranger, heard.status, notes.join("; "));
        self.attempted(Attempt {
            attacker,
            operation,
            state,
            status,
            like_unknown,
            owner_works: Some(owner_works),
            note,
        });
    }

    async fn as_stranger(
        &self,
        stranger: &Holder,
        operation: Operation,
        id: u64,
        session: Option<&str>,
    ) -> Option<Tried> {
        let presented = Presented { session, ..self.session.presented(stranger.token.as_ref()) };
        self.attempt(operation, id, presented).await
    }

    /// A difference may be an accident, such as a clock in the body: only what differs a second time counts.
    async fn again(
        &self,
        parts: BTreeSet<String>,
        stranger: &Holder,
        operation: Operation,
        id: u64,
        session: Option<&str>,
    ) -> BTreeSet<String> {
        let Some(session) = session.filter(|_| !parts.is_empty()) else { return parts };
        let heard = self.as_stranger(stranger, operation, id, Some(session)).await;
        let first = self.as_stranger(stranger, operation, id, Some(&made_up(session, id + 2_000_000))).await;
        let second = self.as_stranger(stranger, operation, id, Some(&made_up(session, id + 3_000_000))).await;
        let (Some(heard), Some(first), Some(second)) = (heard, first, second) else { return parts };
        let new = judge::differences(&heard.heard, [&first.heard, &second.heard]);
        parts.intersection(&new).cloned().collect()
    }

    fn report_refusal(&mut self, operation: Operation, heard: &Heard, unknown: &Heard, parts: &BTreeSet<String>) {
        if matches!(heard.outcome, Outcome::ToolError | Outcome::RpcError(_)) {
            let observed = format!("{}: {}", operation.name(), in_words(heard.outcome));
            self.fault(Fault::RefusalInBand, Some(operation), observed);
        }
        if !parts.is_empty() {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let observed = format!(
                "{}: {} for the stranger, {} for an unknown session; they differ in {}",
                operation.name(),
                in_words(heard.outcome),
                in_words(unknown.outcome),
                parts.join(", ")
            );
            self.fault(Fault::RefusalTells, Some(operation), observed);
        }
    }

    /// Ends sessions that `initialize` gave the stranger.
    async fn end_strays(&self, stranger: &Holder, heard: [&Heard; 3], owners: Option<&str>) {
        for stray in heard.iter().filter_map(|heard| heard.session.as_deref()) {
            if Some(stray) != owners {
                let presented = Presented { session: Some(stray), ..self.session.presented(stranger.token.as_ref()) };
                drop(self.mcp.delete(presented).await);
            }
        }
    }

    async fn check_owner(&mut self, operation: Operation) -> bool {
        let works = self.owner_works().await;
        if !works {
            let observed = format!("after {} by the stranger, the owner's session no longer worked", operation.name());
            self.fault(Fault::OwnerLostSession, Some(operation), observed);
            if !self.reopen().await {
                self.gap("what follows", "the owner's session was lost and no other could be opened");
            }
        }
        works
    }
}

/// What has to be going on for an attempt to show its effect.
enum Scene {
    Nothing,
    /// The owner's GET stream is open.
    Stream(Box<Listening>),
    /// The server waits for the owner's answer to this request.
    Pending(Box<Listening>, Box<rpc::Message>),
    /// The owner's call is to run meanwhile, under this request id.
    Call(u64),
    /// It ran: what the owner heard, and whether it was over before the stranger acted.
    Called {
        outcome: Outcome,
        over_before: bool,
    },
}

impl Examiner<'_> {
    /// Prepares what the attempt is about. `None`: nothing to try here; the report says so.
    async fn set_scene(&mut self, operation: Operation) -> Option<Scene> {
        let window = self.target.limits.window;
        match operation {
            Operation::Get | Operation::GetResume if self.stream_stays => {
                let stream = self.mcp.listen(self.owner_presents(), None).await.ok().filter(Listening::is_open);
                Some(stream.map_or(Scene::Nothing, |stream| Scene::Stream(Box::new(stream))))
            }
            Operation::PendingResponse => {
                let mut stream = self.mcp.listen(self.owner_presents(), None).await.ok()?;
                // Word of changed roots makes servers that care ask for them. It is the longest wait of the examination.
                drop(self.owner_attempt(Operation::RootsListChanged).await);
                let asked =
                    if stream.is_open() { stream.wait(window * 5, rpc::Message::is_request).await } else { None };
                let Some(request) = asked else {
                    self.gap(operation.name(), "the server asked the owner nothing, so there was no answer to forge");
                    return None;
                };
                self.aim.pending = request.id().map(str::to_owned);
                Some(Scene::Pending(Box::new(stream), Box::new(request)))
            }
            Operation::Cancelled if self.menu.tool.is_some() || self.menu.slow_tool.is_some() => {
                let call = self.take_id();
                self.aim.in_flight = Some(call);
                Some(Scene::Call(call))
            }
            _ => Some(Scene::Nothing),
        }
    }

    /// The stranger acts, if need be while the owner's call runs.
    async fn act(
        &self,
        scene: Scene,
        stranger: &Holder,
        operation: Operation,
        id: u64,
        session: Option<&str>,
    ) -> (Option<Tried>, Scene) {
        let Scene::Call(call) = scene else {
            return (self.as_stranger(stranger, operation, id, session).await, scene);
        };
        let owner = async {
            let outcome = self.call_slowly(call).await;
            (outcome, Instant::now())
        };
        let intruder = async {
            tokio::time::sleep(BEGINNING).await;
            let acted = Instant::now();
            (self.as_stranger(stranger, operation, id, session).await, acted)
        };
        let ((outcome, over), (tried, acted)) = tokio::join!(owner, intruder);
        (tried, Scene::Called { outcome, over_before: over < acted })
    }

    async fn call_slowly(&self, id: u64) -> Outcome {
        let Some(tool) = self.menu.slow_tool.as_ref().or(self.menu.tool.as_ref()) else { return Outcome::Silent };
        let menu = crate::menu::Menu { tool: Some(tool.clone()), ..self.menu.clone() };
        let Some(Sending::Request(body)) = Operation::ToolsCall.sending(id, &menu, &self.aim) else {
            return Outcome::Silent;
        };
        attempt::request(&self.mcp, self.owner_presents(), body, id, None).await.heard.outcome
    }

    /// Looks at what became of the scene; gives what to note.
    async fn close_scene(&mut self, scene: Scene, operation: Operation) -> Option<String> {
        match scene {
            Scene::Nothing | Scene::Call(_) => None,
            Scene::Stream(mut stream) => {
                if stream.ended(self.target.limits.window / 2).await {
                    let observed = format!("after {} by the stranger, the owner's stream had ended", operation.name());
                    self.fault(Fault::OwnerStreamCut, Some(operation), observed);
                    return Some("the owner's stream was cut".to_owned());
                }
                Some("the owner's stream stayed open".to_owned())
            }
            Scene::Pending(stream, request) => {
                if let Some(answer) = rpc::default_answer(&request) {
                    drop(self.mcp.submit(self.owner_presents(), answer).await);
                }
                drop(stream);
                self.aim.pending = None;
                request.method.map(|method| format!("the server had asked the owner for {method}"))
            }
            Scene::Called { outcome, over_before } => {
                self.aim.in_flight = None;
                if over_before {
                    self.gap(
                        "cancelling a running call",
                        "the owner's call was over too soon; name a slow harmless tool",
                    );
                    return Some("the owner's call was already over".to_owned());
                }
                if outcome == Outcome::Result {
                    return Some("the owner's running call went on".to_owned());
                }
                let observed = format!("the owner's running call ended with {}", in_words(outcome));
                self.fault(Fault::OwnerCallCancelled, Some(operation), observed);
                Some("the owner's running call was cancelled".to_owned())
            }
        }
    }
}
