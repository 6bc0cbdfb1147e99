//! The story of one session, told live: it outlives its token, refuses a stranger, survives a crash, and ends when told to.
//!
//! The story is the examination in the order in which a person wants to see it, with one thing added that no client can do:
//! the gateway is killed and started again, by the [`Stage`] that the caller provides. It holds only if every line holds.

use std::future::Future;

use serde::Serialize;
use serde_json::Value;

use crate::examine::{Entry, Examiner, Holder, Principals, Target};
use crate::judge::{Outcome, State};
use crate::oauth::Login;
use crate::observer::{Event, Observer};
use crate::operation::Operation;
use crate::report::{Attacker, Report};

/// Who can kill the gateway and start it again.
pub trait Stage: Send {
    /// Kills the gateway without warning and starts it again, at the same address and with the same data. Gives a sentence
    /// about what was done, or about what went wrong.
    fn restart(&mut self) -> impl Future<Output = Result<String, String>> + Send;
}

/// A part of the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Both users get a client registered.
    Register,
    /// And log in.
    LogIn,
    /// The owner opens a session.
    Initialize,
    /// And lists tools.
    List,
    /// And calls one.
    Call,
    /// The token is refreshed.
    Refresh,
    /// The session goes on with the new token.
    CallAfterRefresh,
    /// Another user tries the session on everything.
    Stranger,
    /// The owner goes on.
    OwnerGoesOn,
    /// The gateway is killed and started again.
    Restart,
    /// The owner goes on.
    OwnerGoesOnAfterRestart,
    /// The other user is still refused.
    StrangerAfterRestart,
    /// The session is ended, and gone everywhere.
    Delete,
    /// Nothing was found beside.
    Findings,
}

/// One line of the story.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// Which part.
    pub step: Step,
    /// Whether it held.
    pub ok: bool,
    /// What happened, in a sentence.
    pub text: String,
}

/// The whole story.
#[derive(Debug, Clone, Serialize)]
pub struct Story {
    /// Whether every line held.
    pub ok: bool,
    /// The lines.
    pub lines: Vec<Line>,
    /// The report of the examination underneath; absent when it broke off.
    pub report: Option<Report>,
}

/// Tells the story with `owner` and `stranger` at `target`.
pub async fn tell(
    target: &Target,
    owner: &Login,
    stranger: &Login,
    stage: &mut impl Stage,
    observer: &mut dyn Observer,
) -> Story {
    let principals = Principals { owner: Entry::Login(owner.clone()), stranger: Entry::Login(stranger.clone()) };
    let examiner = match Examiner::enter(target, &principals, observer).await {
        Ok(examiner) => examiner,
        Err(error) => {
            let line = Line { step: Step::LogIn, ok: false, text: format!("Nobody could log in: {error}") };
            observer.event(&Event::Line(&line));
            return Story { ok: false, lines: vec![line], report: None };
        }
    };
    let mut teller = Teller { examiner, owner: &owner.user, stranger: &stranger.user, lines: Vec::new() };
    let whole = teller.acts(stage).await.is_some();
    teller.examiner.close().await;
    if whole {
        let (ok, text) = summary(&teller.examiner.report);
        teller.say(Step::Findings, ok, text);
    }
    let Teller { examiner, lines, .. } = teller;
    Story { ok: whole && lines.iter().all(|line| line.ok), lines, report: Some(examiner.report) }
}

fn summary(report: &Report) -> (bool, String) {
    let (found, requests) = (report.findings.len(), report.requests);
    let text = match found {
        0 => format!("{requests} requests, nothing found that should not be."),
        1 => format!("{requests} requests, and one finding."),
        _ => format!("{requests} requests, and {found} findings."),
    };
    (found == 0, text)
}

struct Teller<'a> {
    examiner: Examiner<'a>,
    owner: &'a str,
    stranger: &'a str,
    lines: Vec<Line>,
}

impl Teller<'_> {
    fn say(&mut self, step: Step, ok: bool, text: String) {
        let line = Line { step, ok, text };
        self.examiner.observer.event(&Event::Line(&line));
        self.lines.push(line);
    }

    /// Everything in order. `None`: it broke off, and a line said why.
    async fn acts(&mut self, stage: &mut impl Stage) -> Option<()> {
        self.logged_in()?;
        self.opens().await?;
        self.lists_and_calls().await;
        self.refreshes().await?;
        self.is_robbed().await;
        self.is_restarted(stage).await?;
        self.ends().await;
        Some(())
    }

    fn logged_in(&mut self) -> Option<()> {
        let report = &self.examiner.report;
        let Some((owner, stranger)) = report.owner.as_ref().zip(report.stranger.as_ref()) else {
            let text = "The gateway asks nobody who they are, so there is no story to tell.".to_owned();
            self.say(Step::LogIn, false, text);
            return None;
        };
        let subject =
            |person: &crate::report::Person| person.subject.clone().unwrap_or_else(|| "an opaque token".into());
        let text = format!(
            "{} and {} logged in with PKCE. Their tokens say {} and {}, from {}.",
            self.owner,
            self.stranger,
            subject(owner),
            subject(stranger),
            owner.issuer.as_deref().unwrap_or("an issuer that they do not name"),
        );
        let ids = [Some(&self.examiner.owner), self.examiner.stranger.as_ref()];
        let ids: Vec<String> = ids.into_iter().flatten().filter_map(Holder::client_id).map(shortened).collect();
        let registered = format!("Each of them came with a client that registered itself: {}.", ids.join(" and "));
        self.say(Step::Register, ids.len() == 2, registered);
        self.say(Step::LogIn, true, text);
        Some(())
    }

    async fn opens(&mut self) -> Option<()> {
        let opened = self.examiner.open().await;
        let id = self.examiner.session.id.as_deref().map(shortened);
        let text = match (&opened, id) {
            (Ok(true), Some(id)) => format!(
                "{} opened a session: {id} (MCP {}). From here on it is the same session to the end.",
                self.owner, self.examiner.session.revision
            ),
            (Err(error), _) => format!("{} could not open a session: {error}", self.owner),
            _ => format!("{} could not open a session.", self.owner),
        };
        let ok = matches!(opened, Ok(true));
        self.say(Step::Initialize, ok, text);
        if !ok {
            return None;
        }
        self.examiner.learn().await;
        Some(())
    }

    async fn lists_and_calls(&mut self) {
        let listed = self.result_of(Operation::ToolsList).await;
        let names = listed.as_ref().map(tool_names).unwrap_or_default();
        let shown = names.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let more = if names.len() > 4 { ", …" } else { "" };
        let count = if names.len() == 1 { "one tool".to_owned() } else { format!("{} tools", names.len()) };
        let text = format!("{} sees {count}: {shown}{more}.", self.owner);
        self.say(Step::List, !names.is_empty(), text);
        self.calls(Step::Call, "calls").await;
    }

    /// The owner calls the tool; the line says what it answered.
    async fn calls(&mut self, step: Step, verb: &str) {
        let tool = self.examiner.menu.tool.as_ref().map(|tool| tool.name().to_owned());
        let Some(tool) = tool else {
            self.say(step, false, "There is no tool that is surely harmless to call.".to_owned());
            return;
        };
        let (ok, said) = match self.result_of(Operation::ToolsCall).await {
            Some(result) => (true, first_text(&result)),
            None => (false, "it failed".to_owned()),
        };
        self.say(step, ok, format!("{} {verb} {tool}: {said}", self.owner));
    }

    /// The result of an operation of the owner.
    async fn result_of(&mut self, operation: Operation) -> Option<Value> {
        let tried = self.examiner.owner_attempt(operation).await?;
        let reply = tried.reply.filter(|_| tried.heard.outcome == Outcome::Result)?;
        let result = reply.messages.into_iter().find_map(|message| message.result)?;
        serde_json::from_str(result.get()).ok()
    }

    async fn refreshes(&mut self) -> Option<()> {
        let before = self.examiner.session.id.clone();
        self.examiner.refresh().await;
        let refresh = self.examiner.report.refresh.clone();
        let same = refresh.same_issuer == Some(true) && refresh.same_subject == Some(true);
        let ok = refresh.done && refresh.new_bytes == Some(true) && same;
        let text = if ok {
            format!("The token of {} was refreshed: new bytes, the same issuer and subject.", self.owner)
        } else {
            format!("The token of {} was not refreshed as it should be: {}", self.owner, in_words(&refresh))
        };
        self.say(Step::Refresh, ok, text);
        if !refresh.done {
            return None;
        }
        let lost: Vec<_> =
            refresh.operations.iter().filter(|line| !line.survived).map(|line| line.operation.name()).collect();
        let kept = lost.is_empty() && self.examiner.session.id == before;
        let text = if kept {
            format!("All {} operations go on with the new token, on the same session.", refresh.operations.len())
        } else {
            format!("The session did not survive the refresh: {} failed.", lost.join(", "))
        };
        self.say(Step::CallAfterRefresh, kept, text);
        self.calls(Step::CallAfterRefresh, "goes on and calls").await;
        Some(())
    }

    async fn is_robbed(&mut self) {
        let earlier = self.examiner.report.findings.len();
        self.examiner.stranger().await;
        let report = &self.examiner.report;
        let tried: Vec<_> = report.attempts_by(Attacker::Stranger).collect();
        let refused = tried.iter().filter(|attempt| attempt.state == State::Refused).count();
        let admitted = tried.iter().any(|attempt| attempt.state == State::Accepted);
        let ok = refused >= 12 && !admitted && report.findings.len() == earlier;
        let text = if ok {
            format!(
                "{} knows the session id and tried {refused} operations on it. Nothing got through: each was answered like a session that never was.",
                self.stranger
            )
        } else {
            format!("{} tried {} operations, and {refused} were refused.", self.stranger, tried.len())
        };
        self.say(Step::Stranger, ok, text);
        self.calls(Step::OwnerGoesOn, "noticed nothing and calls").await;
    }

    async fn is_restarted(&mut self, stage: &mut impl Stage) -> Option<()> {
        let session = self.examiner.session.id.clone();
        self.examiner.stage("Killing the gateway and starting it again");
        match stage.restart().await {
            Ok(what) => self.say(Step::Restart, true, what),
            Err(why) => {
                self.say(Step::Restart, false, why);
                return None;
            }
        }
        let examiner = &mut self.examiner;
        let renewed = examiner.owner.renew(&examiner.mcp).await;
        let text = match &renewed {
            Ok(()) => format!("{} refreshes once more: the grant outlived the crash.", self.owner),
            Err(error) => format!("The grant did not outlive the crash: {error}"),
        };
        self.say(Step::OwnerGoesOnAfterRestart, renewed.is_ok(), text);
        self.calls(Step::OwnerGoesOnAfterRestart, "calls, on the same session,").await;
        if self.examiner.session.id != session {
            self.say(Step::OwnerGoesOnAfterRestart, false, "It is not the same session any more.".to_owned());
        }
        self.stranger_again().await;
        Some(())
    }

    async fn stranger_again(&mut self) {
        let Some(stranger) = self.examiner.stranger.clone() else { return };
        let earlier = self.examiner.report.attempts.len();
        for operation in [Operation::ToolsCall, Operation::Get] {
            self.examiner.try_stranger(&stranger, operation).await;
        }
        let new = self.examiner.report.attempts.get(earlier..).unwrap_or_default();
        let ok = new.len() == 2 && new.iter().all(|attempt| attempt.state == State::Refused);
        let text = if ok {
            format!("{} is still refused.", self.stranger)
        } else {
            format!("{} was not refused after the restart.", self.stranger)
        };
        self.say(Step::StrangerAfterRestart, ok, text);
    }

    async fn ends(&mut self) {
        self.examiner.deleted_session().await;
        let attempts: Vec<_> = self.examiner.report.attempts_by(Attacker::DeletedSession).collect();
        let gone = attempts.iter().filter(|attempt| attempt.state == State::Refused).count();
        let ok = gone >= 12 && attempts.iter().all(|attempt| attempt.state != State::Accepted);
        let text = if ok {
            format!("{} ended the session. {gone} operations tried, and it is gone for each of them.", self.owner)
        } else {
            format!(
                "{} ended the session, but {gone} of {} operations say that it is gone.",
                self.owner,
                attempts.len()
            )
        };
        self.say(Step::Delete, ok, text);
    }
}

fn in_words(refresh: &crate::report::Refresh) -> &'static str {
    match (refresh.done, refresh.new_bytes, refresh.same_issuer, refresh.same_subject) {
        (false, ..) => "there was no refresh.",
        (_, Some(false), ..) => "the bytes are the same.",
        (_, _, Some(false), _) => "the issuer is another one.",
        (_, _, _, Some(false)) => "the subject is another one.",
        _ => "it does not show its issuer and subject.",
    }
}

fn shortened(id: &str) -> String {
    match id.char_indices().nth(16) {
        Some((at, _)) => format!("{}…", id.get(..at).unwrap_or_default()),
        None => id.to_owned(),
    }
}

fn tool_names(result: &Value) -> Vec<String> {
    let tools = result.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    tools.iter().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect()
}

/// The first line of text in a tool's result, short enough to show.
fn first_text(result: &Value) -> String {
    let content = result.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let text = content.iter().find_map(|block| block.get("text")?.as_str()).unwrap_or("an answer without text");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line: String = words.chars().filter(|c| !c.is_control()).take(72).collect();
    if words.chars().count() > 72 { format!("{line}…") } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_shown_on_one_short_line() {
        let result = |text: &str| serde_json::json!({"content": [{"type": "image"}, {"type": "text", "text": text}]});
        assert_eq!(first_text(&result("{\n  \"time\": \u{1b}[31m12\n}")), "{ \"time\": [31m12 }");
        assert_eq!(first_text(&result(&"x".repeat(100))).chars().count(), 73);
        assert_eq!(first_text(&Value::Null), "an answer without text");
    }

    #[test]
    fn ids_are_shortened_between_characters() {
        assert_eq!(shortened("0123456789abcdefXYZ"), "0123456789abcdef…");
        assert_eq!(shortened("short"), "short");
    }
}
