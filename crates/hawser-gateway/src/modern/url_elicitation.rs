//! `URLElicitationRequiredError` of 2025-11-25 for a modern client, which knows no such error: the pages become questions.

use hawser_mcp::{ErrorObject, Members, RawJson, Request, code, translate};
use serde_json::json;

use super::ModernCaller;
use super::answer::Answer;
use super::request_state::Waits;
use super::state::{nonce, seal};

/// The call was refused before it did anything, and is sent again when the client has been to these pages.
pub(super) fn url_elicitations(caller: &ModernCaller, request: &Request, error: &RawJson) -> Answer {
    let Some(mut asked) = translate::url_elicitations(error) else {
        return Answer::over("the backend demands a visit to a page that it does not name");
    };
    if !accepts_urls(&caller.head.capabilities) {
        let error = ErrorObject::new(code::MISSING_REQUIRED_CLIENT_CAPABILITY, "this needs URL elicitation")
            .with_data(json!({ "requiredCapabilities": { "elicitation": { "url": {} } } }));
        return Answer::error(error.to_raw());
    }
    let sealed = nonce(caller).and_then(|nonce| seal(caller, request, Waits::Nobody { nonce }));
    let Some(state) = sealed else { return Answer::over("the call could not be kept while it waits for input") };
    asked.request_state = Some(state);
    Answer::result(translate::with_server_info(asked.to_result(), caller.session().endpoint().server_info()))
}

fn accepts_urls(capabilities: &RawJson) -> bool {
    let elicitation = Members::read(capabilities, &[]).ok().and_then(|members| members.get("elicitation"));
    elicitation.is_some_and(|elicitation| crate::lists::has_capability(&elicitation, "url"))
}
