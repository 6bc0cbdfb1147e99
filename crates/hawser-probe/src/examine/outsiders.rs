//! Hands without a right: no token, an id that never was, an altered one, a deleted one.

use super::Examiner;
use super::refresh::in_words;
use crate::finding::Fault;
use crate::judge::{self, Outcome, State};
use crate::mcp::Presented;
use crate::operation::Operation;
use crate::report::{Attacker, Attempt, Survival};

impl Examiner<'_> {
    /// Every operation without a token on the owner's session.
    pub(super) async fn no_token(&mut self) {
        if self.owner.token.is_none() {
            self.note_gaps_for_attacker(Attacker::NoToken, "the server asks for no token");
            return;
        }
        let id = self.session.id.clone();
        self.try_all(Attacker::NoToken, id).await;
        self.check_owner_after(Attacker::NoToken).await;
    }

    /// Every operation with a session id that never was.
    pub(super) async fn made_up_session(&mut self) {
        let id = self.session.id.as_deref().map(|id| made_up(id, self.next_id));
        self.try_all(Attacker::MadeUpSession, id.clone()).await;
        self.was_adopted(id.as_deref()).await;
    }

    /// Every operation with the session id, one character changed.
    pub(super) async fn altered_session(&mut self) {
        let id = self.session.id.as_deref().and_then(altered);
        if id.is_none() {
            self.note_gaps_for_attacker(Attacker::AlteredSession, "the session id has no letter or digit to change");
            return;
        }
        self.try_all(Attacker::AlteredSession, id).await;
        self.check_owner_after(Attacker::AlteredSession).await;
    }

    /// The owner's DELETE, then every operation once more.
    pub(crate) async fn deleted_session(&mut self) {
        self.stage("The owner ends the session");
        let id = self.session.id.clone();
        let older = self.session_is_older_than_token && self.report.refresh.done;
        let Some(tried) = self.owner_attempt(Operation::Delete).await else { return };
        let (outcome, status) = (tried.heard.outcome, tried.heard.status);
        if outcome == Outcome::Http(405) {
            self.note_gaps_for_attacker(Attacker::DeletedSession, "the server does not let clients end sessions (405)");
            return;
        }
        let survived = outcome == Outcome::Accepted;
        if older {
            let note = if survived { String::new() } else { in_words(outcome) };
            self.survived(Survival { operation: Operation::Delete, survived, status, note });
        }
        if !survived {
            let why = format!("the owner's DELETE was answered: {}", in_words(outcome));
            self.note_gaps_for_attacker(Attacker::DeletedSession, &why);
            return;
        }
        self.try_all(Attacker::DeletedSession, id).await;
    }

    async fn try_all(&mut self, attacker: Attacker, session: Option<String>) {
        self.stage(&capitalised(attacker.words()));
        for operation in Operation::ALL {
            if operation == Operation::PendingResponse || self.late(attacker.words()) {
                continue;
            }
            let id = self.take_id();
            let token = (attacker != Attacker::NoToken).then_some(self.owner.token.as_ref()).flatten();
            let presented = Presented { session: session.as_deref(), ..self.session.presented(token) };
            let Some(tried) = self.attempt(operation, id, presented).await else { continue };
            let (state, note) = judge::outsider(operation, self.baseline(operation), &tried.heard);
            if let Some(stray) = tried.heard.session.filter(|stray| Some(stray) != session.as_ref()) {
                self.clean_up(&stray, token.is_some()).await;
            }
            let outcome = tried.heard.outcome;
            self.report_outsider(attacker, operation, state, outcome);
            let status = tried.heard.status;
            let note = note.to_owned();
            let (like_unknown, owner_works) = (None, None);
            self.attempted(Attempt { attacker, operation, state, status, like_unknown, owner_works, note });
        }
    }

    fn report_outsider(&mut self, attacker: Attacker, operation: Operation, state: State, outcome: Outcome) {
        let fault = match state {
            State::NotApplicable => None,
            State::Accepted => served(attacker),
            // Where anonymous callers are served, an owned session is simply not theirs.
            State::Refused if attacker == Attacker::NoToken && self.serves_anybody() => None,
            State::Refused => refused_wrongly(attacker, operation, outcome),
        };
        if let Some(fault) = fault {
            self.fault(fault, Some(operation), format!("{}: {}", operation.name(), in_words(outcome)));
        }
    }

    /// A made-up id that the server now treats as a session was adopted by one of the attempts.
    async fn was_adopted(&mut self, id: Option<&str>) {
        let Some(id) = id else { return };
        let request = self.take_id();
        let first =
            self.report.attempts_by(Attacker::MadeUpSession).find(|attempt| attempt.operation == Operation::Ping);
        let ignored = first.is_some_and(|attempt| attempt.state == State::Accepted);
        // On an id of its own: the attempts before may have deleted what was adopted.
        let fresh = made_up(id, request);
        let presented = Presented { session: Some(&fresh), ..self.owner_presents() };
        let Some(opened) = self.attempt(Operation::Initialize, request, presented).await else { return };
        let returned = opened.heard.session.clone();
        let pinged = self.attempt(Operation::Ping, request + 1, presented).await;
        let answers = pinged.is_some_and(|tried| tried.heard.outcome == Outcome::Result);
        self.next_id = request + 1;
        if returned.as_deref() == Some(&fresh) || (answers && !ignored) {
            let observed = "`initialize` with a made-up `Mcp-Session-Id` opened a session under that id";
            self.fault(Fault::ClientChosenSession, Some(Operation::Initialize), observed);
        }
        for stray in returned.into_iter().chain(answers.then_some(fresh)) {
            self.clean_up(&stray, true).await;
        }
    }

    /// Ends a session that an attempt opened by the way.
    async fn clean_up(&self, session: &str, with_token: bool) {
        let token = with_token.then_some(self.owner.token.as_ref()).flatten();
        let presented = Presented { session: Some(session), ..self.session.presented(token) };
        // Housekeeping: what fails here expires on the server.
        drop(self.mcp.delete(presented).await);
    }

    async fn check_owner_after(&mut self, attacker: Attacker) {
        if self.owner_works().await {
            return;
        }
        let observed = format!("after {}, the owner's own session no longer worked", attacker.words());
        self.fault(Fault::OwnerLostSession, None, observed);
        if !self.reopen().await {
            self.gap("what follows", "the owner's session was lost and no other could be opened");
        }
    }
}

/// The fault in being served; being a stranger is judged elsewhere.
fn served(attacker: Attacker) -> Option<Fault> {
    match attacker {
        Attacker::NoToken => Some(Fault::NoTokenAdmitted),
        Attacker::MadeUpSession => Some(Fault::UnknownSessionServed),
        Attacker::AlteredSession => Some(Fault::AlteredSessionServed),
        Attacker::DeletedSession => Some(Fault::DeletedSessionServed),
        Attacker::Stranger => None,
    }
}

/// The fault in how a refusal is worded.
fn refused_wrongly(attacker: Attacker, operation: Operation, outcome: Outcome) -> Option<Fault> {
    // `initialize` is how a client starts anew: with a token, any answer to a dead id beside it will do.
    match (attacker, outcome) {
        (_, Outcome::Result) | (Attacker::NoToken, Outcome::Http(401)) => None,
        (Attacker::NoToken, _) => Some(Fault::NoTokenNot401),
        (_, Outcome::Http(404)) => None,
        (_, Outcome::Http(_)) if operation == Operation::Initialize => None,
        _ => Some(Fault::UnknownSessionNot404),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// An id in the shape of `id` that no server gave out: every letter and digit replaced by one of its kind.
pub(crate) fn made_up(id: &str, salt: u64) -> String {
    let seed = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, format!("{salt}\n{id}").as_bytes());
    let mut block = seed.as_ref().to_vec();
    let mut out = String::with_capacity(id.len());
    let hexadecimal = id.chars().filter(char::is_ascii_alphanumeric).all(|c| c.is_ascii_hexdigit());
    for (at, c) in id.chars().enumerate() {
        if at % block.len() == 0 && at > 0 {
            block = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &block).as_ref().to_vec();
        }
        let random = block.get(at % block.len()).copied().unwrap_or_default();
        out.push(replaced(c, random, hexadecimal));
    }
    out
}

fn replaced(c: char, random: u8, hexadecimal: bool) -> char {
    let letters = if hexadecimal { 6 } else { 26 };
    let pick = |first: u8, count: u8| char::from(first + random % count);
    match c {
        '0'..='9' => pick(b'0', 10),
        'a'..='z' => pick(b'a', letters),
        'A'..='Z' => pick(b'A', letters),
        other => other,
    }
}

/// `id` with one character changed, in the middle: the last one of a base64 text may carry bits that do not count.
pub(crate) fn altered(id: &str) -> Option<String> {
    let alphanumeric: Vec<usize> =
        id.char_indices().filter(|(_, c)| c.is_ascii_alphanumeric()).map(|(at, _)| at).collect();
    let at = *alphanumeric.get(alphanumeric.len() / 2)?;
    let old = id.get(at..)?.chars().next()?;
    let new = match old {
        '9' => '0',
        'z' => 'a',
        'Z' => 'A',
        // Hexadecimal ids stay hexadecimal.
        'f' => 'e',
        'F' => 'E',
        other => char::from(u8::try_from(other).ok()? + 1),
    };
    Some(format!("{}{new}{}", id.get(..at)?, id.get(at + 1..)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_keep_their_shape() {
        let uuid = "3f2b8c1e-77aa-4b0c-9d3e-0a1b2c3d4e5f";
        let other = made_up(uuid, 1);
        assert_ne!(other, uuid);
        assert_ne!(other, made_up(uuid, 2));
        assert_eq!(other.len(), uuid.len());
        assert!(other.chars().zip(uuid.chars()).all(|(new, old)| (new == '-') == (old == '-')), "{other}");
        assert!(other.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{other}");
    }

    proptest! {
        #[test]
        fn an_altered_id_differs_in_exactly_one_character(id in "[!-~]{1,60}") {
            if let Some(new) = altered(&id) {
                prop_assert_eq!(new.chars().zip(id.chars()).filter(|(new, old)| new != old).count(), 1);
                prop_assert_eq!(new.len(), id.len());
            } else {
                prop_assert!(!id.chars().any(|c| c.is_ascii_alphanumeric()));
            }
        }
    }
}
