//! An authorization request, judged (OAuth 2.1 section 4.1.1, RFC 7636, RFC 8707, OpenID Connect Core section 3.1.2.1).

use serde::{Deserialize, Serialize};

use crate::client::Client;
use crate::config::AuthServerConfig;
use crate::form::Parameters;
use crate::resource;
use crate::scope;

/// Longest `state` and `nonce` that are carried through the login.
const CARRIED_BYTES_MAX: usize = 4096;

/// A valid authorization request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuthorizationRequest {
    pub(crate) client: String,
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) scope: Vec<String>,
    /// Canonical resource identifier.
    pub(crate) resource: String,
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) prompt: Prompt,
    pub(crate) max_age: Option<u64>,
}

/// What the client wants the user to be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Prompt {
    /// Nothing: answer at once or fail.
    pub(crate) none: bool,
    /// To log in again.
    pub(crate) login: bool,
    /// To consent again.
    pub(crate) consent: bool,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestError {
    /// The client or its redirect URI cannot be trusted: the user is told, nobody is redirected (section 4.1.2.1).
    Page(&'static str),
    /// The client is told.
    Redirect(ErrorRedirect),
}

/// An error response to the client.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ErrorRedirect {
    pub(crate) redirect_uri: String,
    pub(crate) state: Option<String>,
    pub(crate) error: &'static str,
    pub(crate) description: &'static str,
}

/// The client id that a request names.
pub(crate) fn client_id(parameters: &Parameters) -> Result<&str, RequestError> {
    match parameters.one("client_id") {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(RequestError::Page("The request does not say which app it is from (client_id).")),
        Err(_) => Err(RequestError::Page("The request names its app twice (client_id).")),
    }
}

/// Judges a request of a known client.
pub(crate) fn judge(
    parameters: &Parameters,
    client: &Client,
    config: &AuthServerConfig,
) -> Result<AuthorizationRequest, RequestError> {
    let redirect_uri = redirect_uri(parameters, client)?;
    // A state that occurs twice is no state; the error below says so.
    let state = parameters.one("state").ok().flatten().map(str::to_owned);
    judge_rest(parameters, client, config, &redirect_uri, state.clone()).map_err(|(error, description)| {
        RequestError::Redirect(ErrorRedirect { redirect_uri, state, error, description })
    })
}

fn redirect_uri(parameters: &Parameters, client: &Client) -> Result<String, RequestError> {
    match (parameters.one("redirect_uri"), client.redirect_uris.as_slice()) {
        (Ok(Some(uri)), _) if client.allows_redirect_to(uri) => Ok(uri.to_owned()),
        (Ok(Some(_)), _) => {
            Err(RequestError::Page("The app did not register the address to return to (redirect_uri)."))
        }
        (Ok(None), [only]) => Ok(only.clone()),
        (Ok(None), _) => Err(RequestError::Page("The request does not say where to return to (redirect_uri).")),
        (Err(_), _) => Err(RequestError::Page("The request says twice where to return to (redirect_uri).")),
    }
}

type Refused = (&'static str, &'static str);

fn judge_rest(
    parameters: &Parameters,
    client: &Client,
    config: &AuthServerConfig,
    redirect_uri: &str,
    state: Option<String>,
) -> Result<AuthorizationRequest, Refused> {
    let invalid = |description| ("invalid_request", description);
    let twice = |_| invalid("a parameter occurs twice");
    parameters.refuse_duplicates(&["resource"]).map_err(twice)?;
    for (parameter, error) in [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")] {
        if parameters.one(parameter).map_err(twice)?.is_some() {
            return Err((error, "request objects are not supported"));
        }
    }
    match parameters.one("response_type").map_err(twice)? {
        Some("code") => {}
        Some(_) => return Err(("unsupported_response_type", "response_type must be code")),
        None => return Err(invalid("response_type is missing")),
    }
    if parameters.one("response_mode").map_err(twice)?.is_some_and(|mode| mode != "query") {
        return Err(invalid("response_mode must be query"));
    }
    let challenge = parameters.one("code_challenge").map_err(twice)?.ok_or(invalid("code_challenge is missing"))?;
    if parameters.one("code_challenge_method").map_err(twice)? != Some("S256") {
        return Err(invalid("code_challenge_method must be S256"));
    }
    if !is_verifier(challenge) {
        return Err(invalid("code_challenge must have 43 to 128 unreserved characters"));
    }
    let nonce = parameters.one("nonce").map_err(twice)?.map(str::to_owned);
    if [&state, &nonce].into_iter().flatten().any(|text| text.len() > CARRIED_BYTES_MAX) {
        return Err(invalid("state or nonce is too long"));
    }
    let scope = scope::requested(parameters.one("scope").map_err(twice)?, &config.scopes)
        .map_err(|_| ("invalid_scope", "none of the scopes exists here"))?;
    let resource = resource::meant(parameters.all("resource"), &config.resources)
        .map_err(|_| ("invalid_target", "the resource is not served here, or there are several"))?;
    Ok(AuthorizationRequest {
        client: client.id.clone(),
        redirect_uri: redirect_uri.to_owned(),
        state,
        scope,
        resource: resource.to_owned(),
        challenge: challenge.to_owned(),
        nonce,
        prompt: prompt(parameters.one("prompt").map_err(twice)?)?,
        max_age: max_age(parameters.one("max_age").map_err(twice)?)?,
    })
}

fn prompt(text: Option<&str>) -> Result<Prompt, Refused> {
    let mut prompt = Prompt::default();
    let words: Vec<&str> = text.unwrap_or_default().split(' ').filter(|word| !word.is_empty()).collect();
    for word in &words {
        match *word {
            "none" if words.len() == 1 => prompt.none = true,
            "none" => return Err(("invalid_request", "prompt none stands alone")),
            // Choosing an account is done by logging in.
            "login" | "select_account" => prompt.login = true,
            "consent" => prompt.consent = true,
            _ => return Err(("invalid_request", "prompt has an unknown value")),
        }
    }
    Ok(prompt)
}

fn max_age(text: Option<&str>) -> Result<Option<u64>, Refused> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    text.map(|text| {
        text.parse().ok().filter(|_| digits(text)).ok_or(("invalid_request", "max_age must be a number of seconds"))
    })
    .transpose()
}

/// 43 to 128 unreserved characters (RFC 7636 sections 4.1 and 4.2).
pub(crate) fn is_verifier(text: &str) -> bool {
    (43..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
