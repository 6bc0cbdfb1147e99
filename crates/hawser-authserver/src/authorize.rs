//! The authorization endpoint (OAuth 2.1 section 3.1): from a client's request to a login page, a consent page or a code.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use hawser_owner::Timestamp;
use http::{HeaderMap, StatusCode, header};

use crate::authorize_request::{AuthorizationRequest, ErrorRedirect, RequestError, client_id, judge};
use crate::browser_session::{BrowserCookie, Login, shown_user};
use crate::client::Client;
use crate::form::Parameters;
use crate::grant::{CodeRecord, Grant, Stage, grant_of_code};
use crate::pages::{BrowserError, ConsentPage, LoginPage, page, see_other, style};
use crate::pending::{HiddenFields, Waits};
use crate::redirect_uri::{self, RedirectKind};
use crate::server::AuthServer;
use crate::token::form_of;

/// Longest request in bytes: it is carried along in pages.
const REQUEST_BYTES_MAX: usize = 12 * 1024;

pub(crate) async fn by_query(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let answer = match parameters(query.as_bytes()) {
        Ok(parameters) => server.authorize(&parameters, request.headers()).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

/// OpenID Connect Core section 3.1.2.1 asks for POST as well. Another site's POST brings no cookie (`SameSite=Lax`), and an
/// answer to it would replace the one of a user who is logged in; so the browser is sent on to ask with GET, which does.
pub(crate) async fn by_form(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let answer = match browser_form(request).await {
        Ok((_, parameters)) => server.ask_with_get("/oauth/authorize", &parameters),
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

pub(crate) fn parameters(text: &[u8]) -> Result<Parameters, BrowserError> {
    if text.len() > REQUEST_BYTES_MAX {
        return Err(TOO_LONG);
    }
    Parameters::parse(text).map_err(|_| UNREADABLE)
}

const TOO_LONG: BrowserError = BrowserError::Page(StatusCode::URI_TOO_LONG, "The request of the app is too long.");
pub(crate) const UNREADABLE: BrowserError = BrowserError::Page(StatusCode::BAD_REQUEST, "The request cannot be read.");

/// The form that a browser sends to one of the pages.
pub(crate) async fn browser_form(request: Request) -> Result<(HeaderMap, Parameters), BrowserError> {
    form_of(request).await.map_err(|_| UNREADABLE)
}

impl AuthServer {
    async fn authorize(&self, parameters: &Parameters, headers: &HeaderMap) -> Result<Response, BrowserError> {
        let id = client_id(parameters)?;
        let client = self.client(id).await?.ok_or(BrowserError::Page(
            StatusCode::BAD_REQUEST,
            "The app is not known here (client_id). It may have to be connected anew.",
        ))?;
        let request = judge(parameters, &client.row, &self.config)?;
        let cookie = self.cookie(headers);
        let login = match &cookie {
            Some(cookie) => self.login_of(cookie).await?,
            None => None,
        };
        let fresh = login.filter(|login| is_fresh(login, &request, self.now()));
        match (cookie, fresh) {
            (Some(cookie), Some(login)) => self.ask_or_answer(&cookie, &login, &client.row, &request).await,
            _ if request.prompt.none => {
                Err(RequestError::Redirect(error_for(&request, "login_required", "the user is not logged in")).into())
            }
            (cookie, _) => self.ask_for_login(cookie, &client.row, &request),
        }
    }

    /// Sends the browser on to ask the same with GET.
    pub(crate) fn ask_with_get(&self, path: &str, parameters: &Parameters) -> Result<Response, BrowserError> {
        let query = parameters.encode();
        if query.len() > REQUEST_BYTES_MAX {
            return Err(TOO_LONG);
        }
        Ok(see_other(&format!("{}?{query}", self.url(path))))
    }

    fn ask_for_login(
        &self,
        cookie: Option<BrowserCookie>,
        client: &Client,
        request: &AuthorizationRequest,
    ) -> Result<Response, BrowserError> {
        let (cookie, is_new) = match cookie {
            Some(cookie) => (cookie, false),
            None => (self.new_cookie()?, true),
        };
        let fields = self.seal_pending(request, Waits::Login, &cookie)?;
        let mut response = self.login_page(StatusCode::OK, &fields, client, "", None);
        if is_new && let Some(value) = self.set_cookie(&cookie) {
            response.headers_mut().insert(header::SET_COOKIE, value);
        }
        Ok(response)
    }

    pub(crate) fn login_page(
        &self,
        status: StatusCode,
        fields: &HiddenFields,
        client: &Client,
        username: &str,
        error: Option<&'static str>,
    ) -> Response {
        let development = self.config.login.development.as_ref();
        let template = LoginPage {
            style: style(),
            action: self.url("/oauth/login"),
            request: &fields.request,
            csrf: &fields.csrf,
            client_name: client.shown_name(),
            with_password: self.passwords.any(),
            username,
            development_users: development.map_or(&[], |login| login.users.as_slice()),
            error,
        };
        page(status, &template)
    }

    /// Somebody is logged in: the consent page, or the answer if it was given before.
    pub(crate) async fn ask_or_answer(
        &self,
        cookie: &BrowserCookie,
        login: &Login,
        client: &Client,
        request: &AuthorizationRequest,
    ) -> Result<Response, BrowserError> {
        if !request.prompt.consent && self.consent_is_remembered(&login.subject, client, request).await? {
            return self.answer_with_code(cookie, login, request).await;
        }
        if request.prompt.none {
            return Err(refuse(request, "consent_required", "the user has to be asked"));
        }
        let fields = self.seal_pending(request, Waits::Consent, cookie)?;
        Ok(self.consent_page(&fields, login, client, request))
    }

    fn consent_page(
        &self,
        fields: &HiddenFields,
        login: &Login,
        client: &Client,
        request: &AuthorizationRequest,
    ) -> Response {
        let kind = redirect_uri::kind(&request.redirect_uri);
        let resource = self.config.resources.iter().find(|resource| resource.identifier == request.resource);
        let template = ConsentPage {
            style: style(),
            action: self.url("/oauth/consent"),
            request: &fields.request,
            csrf: &fields.csrf,
            client_name: client.shown_name(),
            client_id: &client.id,
            user: shown_user(&login.subject),
            redirect_host: redirect_uri::shown_host(&request.redirect_uri),
            loopback: kind == RedirectKind::Loopback,
            private_scheme: kind == RedirectKind::PrivateScheme,
            scopes: &request.scope,
            resource_name: resource.map_or("", |resource| resource.name.as_str()),
            resource: &request.resource,
        };
        page(StatusCode::OK, &template)
    }

    /// The user granted it: a code for the client (OAuth 2.1 section 4.1.2).
    pub(crate) async fn answer_with_code(
        &self,
        cookie: &BrowserCookie,
        login: &Login,
        request: &AuthorizationRequest,
    ) -> Result<Response, BrowserError> {
        let grant = Grant {
            subject: login.subject.clone(),
            client: request.client.clone(),
            scope: request.scope.clone(),
            resource: request.resource.clone(),
            auth_time: login.auth_time,
            code: CodeRecord {
                digest: String::new(),
                redirect_uri: request.redirect_uri.clone(),
                challenge: request.challenge.clone(),
                nonce: request.nonce.clone(),
                expires: self.now().plus(self.config.code_lifetime),
            },
            stage: Stage::Pending,
        };
        let code = self.begin_grant(grant).await?;
        if !self.note_grant(cookie, grant_of_code(&code)).await? {
            // The user logged out meanwhile, here or in another window.
            self.end_grant(grant_of_code(&code), "logged_out").await?;
            return Err(BrowserError::STALE);
        }
        let mut parameters = vec![("code", code.as_str())];
        if let Some(state) = &request.state {
            parameters.push(("state", state));
        }
        parameters.push(("iss", &self.config.issuer));
        Ok(see_other(&redirect_uri::with_parameters(&request.redirect_uri, &parameters)))
    }
}

/// Whether the login is recent enough for what the client asks (OpenID Connect Core section 3.1.2.1).
fn is_fresh(login: &Login, request: &AuthorizationRequest, now: Timestamp) -> bool {
    // A maximum age of zero is the same as prompt=login.
    let young = |max_age| max_age > 0 && now.since(login.auth_time).as_secs() <= max_age;
    !request.prompt.login && request.max_age.is_none_or(young)
}

/// An error response to the client of a valid request, after its user logged in.
pub(crate) fn refuse(request: &AuthorizationRequest, error: &'static str, description: &'static str) -> BrowserError {
    BrowserError::Redirect(error_for(request, error, description))
}

fn error_for(request: &AuthorizationRequest, error: &'static str, description: &'static str) -> ErrorRedirect {
    ErrorRedirect { redirect_uri: request.redirect_uri.clone(), state: request.state.clone(), error, description }
}
