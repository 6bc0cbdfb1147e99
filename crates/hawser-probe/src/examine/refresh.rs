//! The refresh: new token bytes, the same principal, and the same session going on.

use super::Examiner;
use super::owner::BASELINE;
use crate::finding::Fault;
use crate::judge::Outcome;
use crate::operation::Operation;
use crate::report::Survival;

impl Examiner<'_> {
    /// Refreshes the owner's token, then tries everything again on the same session.
    pub(crate) async fn refresh(&mut self) {
        if self.owner.token.is_none() {
            self.gap("what survives a refresh", "the server asks for no token");
            return;
        }
        if !self.owner.can_renew() {
            self.gap("what survives a refresh", "there is neither a refresh token nor a second token for the owner");
            return;
        }
        self.stage("Refreshing the owner's token, keeping the session");
        let old = self.owner.clone();
        if let Err(error) = self.owner.renew(&self.mcp).await {
            self.gap("what survives a refresh", error.to_string());
            return;
        }
        self.compare_principal(&old);
        self.session_is_older_than_token = true;
        for operation in BASELINE {
            if self.late("what survives a refresh") {
                break;
            }
            self.after_refresh(operation, &old).await;
        }
        // The rest is about other people's hands: it starts from a session that the present token can use.
        if !self.owner_works().await && !self.reopen().await {
            self.gap("other users and dead sessions", "no session can be opened with the refreshed token");
        }
    }

    fn compare_principal(&mut self, old: &super::Holder) {
        let (before, after) = (old.person(), self.owner.person());
        let same = |one: &Option<String>, other: &Option<String>| Some(one.as_ref()? == other.as_ref()?);
        let refresh = &mut self.report.refresh;
        refresh.done = true;
        refresh.new_bytes = Some(old.token != self.owner.token);
        refresh.same_issuer = same(&before.issuer, &after.issuer);
        refresh.same_subject = same(&before.subject, &after.subject);
        if refresh.same_issuer == Some(false) || refresh.same_subject == Some(false) {
            let claim = if refresh.same_issuer == Some(false) { "iss" } else { "sub" };
            self.fault(Fault::PrincipalChangesOnRefresh, None, format!("the claim `{claim}` of the new token differs"));
        }
    }

    /// Each operation is judged on a session that is alive before it, so that one that kills does not hide the others.
    async fn after_refresh(&mut self, operation: Operation, old: &super::Holder) {
        let Some(before) = self.baseline(operation).filter(|before| *before != Outcome::Http(405)) else { return };
        let Some(tried) = self.owner_attempt(operation).await else { return };
        let (outcome, status) = (tried.heard.outcome, tried.heard.status);
        let survived = outcome == before;
        let mut note = String::new();
        if survived && matches!(outcome, Outcome::RpcError(_) | Outcome::ToolError | Outcome::Http(_)) {
            "the same error as before".clone_into(&mut note);
        }
        if !survived {
            note = in_words(outcome);
            self.fault(Fault::SessionDiesOnRefresh, Some(operation), format!("{}: {note}", operation.name()));
            if !self.owner_works().await && !self.reopen_with(old.token.as_ref()).await {
                "; no further session could be opened with the old token".clone_into(&mut note);
            }
        }
        self.survived(Survival { operation, survived, status, note });
    }
}

/// What an answer was, for a sentence.
pub(super) fn in_words(outcome: Outcome) -> String {
    match outcome {
        Outcome::Result => "a result".to_owned(),
        Outcome::ToolError => "a tool error inside a 2xx answer".to_owned(),
        Outcome::RpcError(code) => format!("the JSON-RPC error {code} inside a 2xx answer"),
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::Stream => "an open stream".to_owned(),
        Outcome::Http(status) => format!("HTTP {status}"),
        Outcome::Silent => "no answer in time".to_owned(),
    }
}
