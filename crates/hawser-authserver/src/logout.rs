//! Logging out (OpenID Connect RP-Initiated Logout 1.0): the browser's login ends, and with it every grant that was made in it
//! and all that was opened under them.
//!
//! An app that shows an ID token of ours for the very user of this browser logs out at once (section 2). Everybody else is asked:
//! another web site must not be able to log people out. Where an app wants its user back it must have registered that address,
//! letter for letter (section 3); nobody is sent there by itself unless the app showed an ID token or the user said yes, since
//! anyone can register a site.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};

use crate::authorize::{UNREADABLE, browser_form, parameters};
use crate::browser_session::{BrowserCookie, Login, shown_user};
use crate::form::Parameters;
use crate::id_token_hint::IdTokenHint;
use crate::pages::{BrowserError, LoggedOutPage, LogoutPage, page, see_other, style};
use crate::pending::Waits;
use crate::redirect_uri;
use crate::server::AuthServer;

/// Longest `state` that is carried along.
const STATE_BYTES_MAX: usize = 4096;

/// Asks whether to log out, or does it.
pub(crate) async fn by_query(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let answer = match parameters(query.as_bytes()) {
        Ok(parameters) => server.ask_to_log_out(&parameters, request.headers()).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

/// The form of our own page; or the request of an app by POST (section 2), which is sent on to ask with GET: another site's POST
/// brings no cookie (`SameSite=Lax`).
pub(crate) async fn by_form(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let answer = match browser_form(request).await {
        Ok((headers, form)) if form.has("csrf") => server.log_out(&headers, &form).await,
        Ok((_, form)) => server.ask_with_get("/oauth/logout", &form),
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

/// What is left of a logout request once it is judged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct LogoutRequest {
    /// Where the app wants its user back: one of its registered addresses, with the state.
    back: Option<String>,
    client_name: Option<String>,
}

impl AuthServer {
    async fn ask_to_log_out(&self, parameters: &Parameters, headers: &HeaderMap) -> Result<Response, BrowserError> {
        let (request, hint) = self.judge_logout(parameters).await?;
        let browser = match self.cookie(headers) {
            Some(cookie) => self.login_of(&cookie).await?.map(|login| (cookie, login)),
            None => None,
        };
        match browser {
            None => Ok(logged_out(&request, hint.is_some())),
            Some((cookie, login)) if hint.as_ref().is_some_and(|hint| hint.subject == login.subject) => {
                self.end_login(&cookie).await?;
                Ok(self.without_cookie(logged_out(&request, true)))
            }
            Some((cookie, login)) => self.confirm_logout(&cookie, &login, &request),
        }
    }

    async fn judge_logout(
        &self,
        parameters: &Parameters,
    ) -> Result<(LogoutRequest, Option<IdTokenHint>), BrowserError> {
        parameters.refuse_duplicates(&[]).map_err(|_| UNREADABLE)?;
        let one = |name| parameters.one(name).map_err(|_| UNREADABLE);
        // One that is not ours, or of a user or client that is gone, is as good as none.
        let hint = one("id_token_hint")?.and_then(|token| self.id_token_hint(token));
        let named = one("client_id")?;
        if let (Some(named), Some(hint)) = (named, &hint)
            && named != hint.client
        {
            // "the OP MUST verify that the Client Identifier matches" (section 2).
            return Err(BrowserError::Page(StatusCode::BAD_REQUEST, "The request is for two different apps."));
        }
        let client = match named.or(hint.as_ref().map(|hint| hint.client.as_str())) {
            Some(id) => self.client(id).await?.map(|loaded| loaded.row),
            None => None,
        };
        let state = one("state")?.filter(|state| state.len() <= STATE_BYTES_MAX);
        let back = one("post_logout_redirect_uri")?.filter(|uri| {
            client.as_ref().is_some_and(|client| client.post_logout_redirect_uris.iter().any(|known| known == uri))
        });
        let back = back.map(|uri| match state {
            Some(state) => redirect_uri::with_parameters(uri, &[("state", state)]),
            None => uri.to_owned(),
        });
        let client_name = client.map(|client| client.shown_name().to_owned());
        Ok((LogoutRequest { back, client_name }, hint))
    }

    fn confirm_logout(
        &self,
        cookie: &BrowserCookie,
        login: &Login,
        request: &LogoutRequest,
    ) -> Result<Response, BrowserError> {
        let fields = self.seal_pending(request, Waits::Logout, cookie)?;
        let template = LogoutPage {
            style: style(),
            action: self.url("/oauth/logout"),
            request: &fields.request,
            csrf: &fields.csrf,
            user: shown_user(&login.subject),
            client_name: request.client_name.as_deref(),
        };
        Ok(page(StatusCode::OK, &template))
    }

    /// The user said yes.
    async fn log_out(&self, headers: &HeaderMap, form: &Parameters) -> Result<Response, BrowserError> {
        let cookie = self.cookie(headers).ok_or(BrowserError::STALE)?;
        let field = |name| form.one(name).map_err(|_| BrowserError::STALE);
        let sealed = field("request")?.ok_or(BrowserError::STALE)?;
        let pending = self.open_pending::<LogoutRequest>(sealed, Waits::Logout, &cookie).ok_or(BrowserError::STALE)?;
        if !pending.has_csrf(field("csrf")?) {
            return Err(BrowserError::STALE);
        }
        self.end_login(&cookie).await?;
        Ok(self.without_cookie(logged_out(&pending.request, true)))
    }

    fn without_cookie(&self, mut response: Response) -> Response {
        if let Some(value) = self.remove_cookie() {
            response.headers_mut().insert(header::SET_COOKIE, value);
        }
        response
    }
}

/// Nobody is logged in here any more: back to the app, or a page that says so.
fn logged_out(request: &LogoutRequest, sent_back: bool) -> Response {
    match &request.back {
        Some(back) if sent_back => see_other(back),
        back => {
            let host = back.as_deref().map(redirect_uri::shown_host);
            page(StatusCode::OK, &LoggedOutPage { style: style(), back: back.as_deref().zip(host.as_deref()) })
        }
    }
}
