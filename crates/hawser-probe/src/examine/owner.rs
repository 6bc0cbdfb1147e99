//! The owner: opens the session, learns what the server offers, and looks after every attempt whether all still works.

use serde_json::value::RawValue;

use super::attempt::Tried;
use super::{ExamineError, Examiner};
use crate::finding::Fault;
use crate::judge::Outcome;
use crate::mcp::{Presented, Reply};
use crate::menu;
use crate::oauth;
use crate::operation::Operation;
use crate::report::{Attacker, Sessions};
use crate::session::{Opening, Session};

/// What the owner tries first. `initialize` is not among them (some servers start anew on it), nor is DELETE.
pub(super) const BASELINE: [Operation; 18] = [
    Operation::Ping,
    Operation::ToolsList,
    Operation::ToolsCall,
    Operation::ResourcesList,
    Operation::ResourcesRead,
    Operation::ResourcesTemplatesList,
    Operation::ResourcesSubscribe,
    Operation::ResourcesUnsubscribe,
    Operation::PromptsList,
    Operation::PromptsGet,
    Operation::CompletionComplete,
    Operation::LoggingSetLevel,
    Operation::Initialized,
    Operation::RootsListChanged,
    Operation::Cancelled,
    Operation::UnaskedResponse,
    Operation::Get,
    Operation::GetResume,
];

/// How often a session is opened anew after one was lost; a server that loses more is not worth the rest.
pub(super) const REOPENINGS_MAX: u32 = 40;

/// Whether `server/discover` was answered as a modern server does (MCP 2026-07-28, Versioning).
fn is_discovery(reply: &Reply) -> bool {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Discovery {
        supported_versions: Vec<String>,
    }
    let result = reply.messages.iter().find_map(|message| message.result.as_deref());
    let read = result.and_then(|raw| serde_json::from_str::<Discovery>(raw.get()).ok());
    read.is_some_and(|discovery| !discovery.supported_versions.is_empty())
}

impl Examiner<'_> {
    /// Opens the owner's session. `false`: there is none to examine, and the report says why.
    pub(crate) async fn open(&mut self) -> Result<bool, ExamineError> {
        self.stage("Opening the owner's session");
        match Session::open(&self.mcp, self.owner.token.as_ref()).await? {
            Opening::Open(session) => {
                self.report.server.clone_from(&session.server);
                self.report.revision = Some(session.revision.clone());
                self.session = session;
                let issued = self.session.id.is_some();
                self.set_sessions(if issued { Sessions::Issued } else { Sessions::Stateless });
                if !issued {
                    self.no_sessions();
                }
                Ok(issued)
            }
            Opening::Refused(reply) => {
                self.cannot_open(&reply).await;
                Ok(false)
            }
        }
    }

    fn no_sessions(&mut self) {
        let why = "the server assigns no session id: there is no session to keep, to lose or to steal";
        self.gap("what survives a refresh", why);
        for attacker in Attacker::ALL {
            self.note_gaps_for_attacker(attacker, why);
        }
    }

    async fn cannot_open(&mut self, reply: &Reply) {
        let status = reply.answer.status.as_u16();
        let modern = self.mcp.discover(self.owner.token.as_ref()).await.is_ok_and(|reply| is_discovery(&reply));
        if modern {
            self.set_sessions(Sessions::ModernOnly);
            self.gap(
                "everything about sessions",
                "the server serves only revisions from 2026-07-28 on, which have no sessions and no `initialize`",
            );
            return;
        }
        let why = if status == 401 && self.owner.token.is_some() {
            let challenges = oauth::challenges(&reply.answer.headers);
            let error =
                challenges.iter().find_map(|challenge| challenge.parameter("error")).unwrap_or("no reason given");
            format!("the owner's token is refused with 401 ({})", error.chars().take(60).collect::<String>())
        } else if status == 401 {
            "the server wants a token and none was given".to_owned()
        } else {
            format!("`initialize` was answered {status}, not with a session")
        };
        self.gap("everything about sessions", why);
    }

    /// Learns what to call and how the owner is answered.
    pub(crate) async fn learn(&mut self) {
        self.stage("What works for the owner");
        self.menu.tool.clone_from(&self.target.tool);
        self.menu.slow_tool.clone_from(&self.target.slow_tool);
        self.stream_stays = self.look_at_stream().await;
        for operation in BASELINE {
            if self.late("what works for the owner") {
                return;
            }
            let Some(tried) = self.owner_attempt(operation).await else { continue };
            self.baseline.push((operation, tried.heard.outcome));
            self.read_menu(operation, &tried);
        }
        match self.baseline(Operation::ToolsCall) {
            Some(Outcome::Result) => self.report.tool = self.menu.tool.as_ref().map(|tool| tool.name().to_owned()),
            Some(_) => {
                let name = self.menu.tool.take().map(|tool| tool.name().to_owned()).unwrap_or_default();
                self.baseline.retain(|(operation, _)| *operation != Operation::ToolsCall);
                self.gap(
                    "tools/call",
                    format!("the tool `{name}` fails for the owner too, which cannot be told from a refusal"),
                );
            }
            None => self.gap("tools/call", "no tool is surely harmless; name one with its arguments"),
        }
    }

    fn read_menu(&mut self, operation: Operation, tried: &Tried) {
        let Some(reply) = &tried.reply else { return };
        if let Some(event) = reply.event_ids.last() {
            self.aim.event = Some(event.clone());
        }
        let result: Option<&RawValue> = reply.messages.iter().find_map(|message| message.result.as_deref());
        match operation {
            Operation::ToolsList => {
                let (quick, slow) = menu::tools(result);
                self.menu.tool = self.menu.tool.take().or(quick);
                self.menu.slow_tool = self.menu.slow_tool.take().or(slow);
            }
            Operation::ResourcesList => {
                if let Some(uri) = menu::resource(result) {
                    self.menu.resource = uri;
                }
            }
            Operation::PromptsList => {
                let (get, complete) = menu::prompts(result);
                self.menu.prompt = get.unwrap_or_else(|| self.menu.prompt.clone());
                self.menu.completion = complete.unwrap_or_else(|| self.menu.completion.clone());
            }
            _ => {}
        }
    }

    /// Whether a GET stream is offered and stays open; also picks up an event id.
    async fn look_at_stream(&mut self) -> bool {
        let window = self.target.limits.window;
        let Ok(mut stream) = self.mcp.listen(self.owner_presents(), None).await else { return false };
        if !stream.is_open() {
            return false;
        }
        let stays = !stream.ended(window).await;
        self.aim.event = stream.last_event_id().map(str::to_owned);
        stays
    }

    pub(super) fn owner_presents(&self) -> Presented<'_> {
        self.session.presented(self.owner.token.as_ref())
    }

    pub(crate) async fn owner_attempt(&mut self, operation: Operation) -> Option<Tried> {
        let id = self.take_id();
        let tried = self.attempt(operation, id, self.owner_presents()).await;
        let busy = tried.as_ref().is_some_and(|tried| tried.heard.outcome == Outcome::Http(409));
        if !(busy && operation.is_get()) {
            return tried;
        }
        // One GET stream per session is a common rule, and the end of the last one may not have been noticed yet.
        tokio::time::sleep(self.target.limits.window).await;
        self.attempt(operation, id, self.owner_presents()).await
    }

    /// Whether the session still works for the owner, by the most telling operation that worked before.
    pub(super) async fn owner_works(&mut self) -> bool {
        let probes = [Operation::ToolsCall, Operation::ToolsList, Operation::ResourcesList, Operation::Ping];
        let works = |operation: &Operation| self.baseline(*operation) == Some(Outcome::Result);
        let Some(operation) = probes.into_iter().find(works) else { return true };
        for last in [false, true] {
            let heard = self.owner_attempt(operation).await.map(|tried| tried.heard.outcome);
            // A busy server is not a lost session: ask once more.
            let busy = matches!(heard, Some(Outcome::Silent | Outcome::Http(429 | 500..=599)));
            if last || !busy {
                return heard == Some(Outcome::Result);
            }
            tokio::time::sleep(self.target.limits.window).await;
        }
        false
    }

    /// Opens another session after one was lost. `false` when that is not possible.
    pub(super) async fn reopen(&mut self) -> bool {
        let token = self.owner.token.clone();
        self.reopen_with(token.as_ref()).await
    }

    pub(super) async fn reopen_with(&mut self, token: Option<&crate::Secret>) -> bool {
        if self.next_reopening().is_none() {
            return false;
        }
        match Session::open(&self.mcp, token).await {
            Ok(Opening::Open(session)) if session.id.is_some() => {
                self.session = session;
                self.session_is_older_than_token = token != self.owner.token.as_ref();
                true
            }
            _ => false,
        }
    }

    fn next_reopening(&mut self) -> Option<()> {
        self.reopenings += 1;
        (self.reopenings <= REOPENINGS_MAX).then_some(())
    }

    /// What two ids of different sessions say about how they are made.
    pub(super) fn compare_ids(&mut self, other: &str) {
        let Some(own) = self.session.id.clone() else { return };
        if own == other {
            self.fault(
                Fault::SessionShared,
                Some(Operation::Initialize),
                "two principals were given the same session id",
            );
        } else if own.len() < 16 {
            let observed = format!("the session id has {} characters", own.len());
            self.fault(Fault::SessionGuessable, Some(Operation::Initialize), observed);
        }
    }
}
