//! `URLElicitationRequiredError` of 2025-11-25 for a modern client, which knows no such error: the pages become questions.

use hawser_mcp::{
    ErrorObject, INPUT_REQUESTS_MAX, InputRequest, InputRequired, Members, RawJson, Request, code, method, translate,
};
use serde::Deserialize;
use serde_json::json;

use super::ModernCaller;
use super::answer::Answer;
use super::request_state::Waits;
use super::state::{nonce, seal};

/// The call was refused before it did anything, and is sent again when the client
/// has been to these pages.
pub(super) fn url_elicitations(caller: &ModernCaller, request: &Request, error: &RawJson) -> Answer {
    #[derive(Deserialize)]
    struct Required {
        data: Elicitations,
    }
    #[derive(Deserialize)]
    struct Elicitations {
        elicitations: Vec<Elicitation>,
    }
    #[derive(Deserialize)]
    struct Elicitation {
        url: String,
        message: String,
    }
    let unreadable = || Answer::over("the backend demands a visit to a page that it does not name");
    let Ok(required) = error.read::<Required>() else { return unreadable() };
    let elicitations = required.data.elicitations;
    if elicitations.is_empty() || elicitations.len() > INPUT_REQUESTS_MAX {
        return unreadable();
    }
    if !accepts_urls(&caller.head.capabilities) {
        let error = ErrorObject::new(code::MISSING_REQUIRED_CLIENT_CAPABILITY, "this needs URL elicitation")
            .with_data(json!({ "requiredCapabilities": { "elicitation": { "url": {} } } }));
        return Answer::error(error.to_raw());
    }
    let questions = elicitations.into_iter().enumerate().map(|(at, elicitation)| {
        let params = json!({ "mode": "url", "message": elicitation.message, "url": elicitation.url });
        let params = RawJson::from_serialize(&params).ok();
        ((at + 1).to_string(), InputRequest { method: method::ELICITATION_CREATE.to_owned(), params })
    });
    let sealed = nonce(caller).and_then(|nonce| seal(caller, request, Waits::Nobody { nonce }));
    let Some(state) = sealed else { return Answer::over("the call could not be kept while it waits for input") };
    let asked = InputRequired { input_requests: questions.collect(), request_state: Some(state) };
    Answer::result(translate::with_server_info(asked.to_result(), caller.session().endpoint().server_info()))
}

fn accepts_urls(capabilities: &RawJson) -> bool {
    let elicitation = Members::read(capabilities, &[]).ok().and_then(|members| members.get("elicitation"));
    elicitation.is_some_and(|elicitation| crate::lists::has_capability(&elicitation, "url"))
}
