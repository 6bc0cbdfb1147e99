//! The consent form: the user's yes or no.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::HeaderMap;

use crate::authorize::{browser_form, refuse};
use crate::authorize_request::AuthorizationRequest;
use crate::browser_session::{BrowserCookie, Login};
use crate::form::Parameters;
use crate::pages::BrowserError;
use crate::pending::{Pending, Waits};
use crate::server::AuthServer;

/// Shows the page after a login.
pub(crate) async fn show(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let answer = match Parameters::parse(query.as_bytes()) {
        Ok(parameters) => server.show_consent(request.headers(), &parameters).await,
        Err(_) => Err(BrowserError::STALE),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

/// Takes the decision.
pub(crate) async fn decide(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let answer = match browser_form(request).await {
        Ok((headers, form)) => server.take_decision(&headers, &form).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

impl AuthServer {
    async fn show_consent(&self, headers: &HeaderMap, parameters: &Parameters) -> Result<Response, BrowserError> {
        let (cookie, login, pending) = self.waiting_for_consent(headers, parameters).await?;
        let client = self.client(&pending.request.client).await?.ok_or(BrowserError::STALE)?;
        self.ask_or_answer(&cookie, &login, &client.row, &pending.request).await
    }

    async fn take_decision(&self, headers: &HeaderMap, form: &Parameters) -> Result<Response, BrowserError> {
        let (cookie, login, pending) = self.waiting_for_consent(headers, form).await?;
        let field = |name| form.one(name).map_err(|_| BrowserError::STALE);
        if !pending.has_csrf(field("csrf")?) {
            return Err(BrowserError::STALE);
        }
        let request = &pending.request;
        // The client may be gone, or changed, since the page was shown.
        let client = self.client(&request.client).await?.ok_or(BrowserError::STALE)?.row;
        if !client.allows_redirect_to(&request.redirect_uri) {
            return Err(BrowserError::STALE);
        }
        let approved = match field("decision")? {
            Some("approve") => true,
            Some("deny") => false,
            _ => return Err(BrowserError::STALE),
        };
        self.audit().consent(&login.subject, &client.id, approved);
        if !approved {
            return Err(refuse(request, "access_denied", "the user said no"));
        }
        self.remember_consent(&login.subject, &client, request).await?;
        self.answer_with_code(&cookie, &login, request).await
    }

    /// The request that this browser's user is to decide on; there is one only after a login.
    async fn waiting_for_consent(
        &self,
        headers: &HeaderMap,
        parameters: &Parameters,
    ) -> Result<(BrowserCookie, Login, Pending<AuthorizationRequest>), BrowserError> {
        let cookie = self.cookie(headers).ok_or(BrowserError::STALE)?;
        let sealed = parameters.one("request").ok().flatten().ok_or(BrowserError::STALE)?;
        let pending =
            self.open_pending::<AuthorizationRequest>(sealed, Waits::Consent, &cookie).ok_or(BrowserError::STALE)?;
        let login = self.login_of(&cookie).await?.ok_or(BrowserError::STALE)?;
        Ok((cookie, login, pending))
    }
}
