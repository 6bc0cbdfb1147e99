//! The pages people see: plain HTML that works without scripts, escaped by the template engine, and sent with headers that
//! keep them out of frames, caches and referrers (OAuth 2.1 section 7.11, RFC 9700 section 4.16).

use std::sync::OnceLock;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hawser_owner::EntropyError;
use hawser_store::StoreError;
use http::{HeaderValue, StatusCode, header};

use crate::authorize_request::{ErrorRedirect, RequestError};
use crate::browser_session::LoginError;
use crate::redirect_uri::{self, RedirectKind};
use crate::token_error::TokenError;

const STYLE: &str = include_str!("../templates/style.css");

/// Asks who the user is.
#[derive(Template)]
#[template(path = "login.html")]
pub(crate) struct LoginPage<'a> {
    pub(crate) style: &'static str,
    pub(crate) action: String,
    pub(crate) request: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) client_name: &'a str,
    pub(crate) with_password: bool,
    pub(crate) username: &'a str,
    pub(crate) development_users: &'a [String],
    pub(crate) error: Option<&'static str>,
}

/// Asks what the user grants.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct ConsentPage<'a> {
    pub(crate) style: &'static str,
    pub(crate) action: String,
    pub(crate) request: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) client_name: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) user: &'a str,
    pub(crate) redirect_host: String,
    pub(crate) loopback: bool,
    pub(crate) private_scheme: bool,
    pub(crate) scopes: &'a [String],
    pub(crate) resource_name: &'a str,
    pub(crate) resource: &'a str,
}

/// Asks whether to log out.
#[derive(Template)]
#[template(path = "logout.html")]
pub(crate) struct LogoutPage<'a> {
    pub(crate) style: &'static str,
    pub(crate) action: String,
    pub(crate) request: &'a str,
    pub(crate) csrf: &'a str,
    pub(crate) user: &'a str,
    /// The app that asks for it, if one does.
    pub(crate) client_name: Option<&'a str>,
}

/// Says that nobody is logged in.
#[derive(Template)]
#[template(path = "logged_out.html")]
pub(crate) struct LoggedOutPage<'a> {
    pub(crate) style: &'static str,
    /// Where an app wants its user back: address and host.
    pub(crate) back: Option<(&'a str, &'a str)>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    style: &'static str,
    message: &'static str,
    /// Where the app waits for the answer.
    back: Option<Back<'a>>,
}

struct Back<'a> {
    reason: &'static str,
    host: &'a str,
    location: &'a str,
}

/// The style sheet, part of every page.
pub(crate) const fn style() -> &'static str {
    STYLE
}

/// Why a browser does not get what it asked for.
#[derive(Debug)]
pub(crate) enum BrowserError {
    /// A page says so.
    Page(StatusCode, &'static str),
    /// The client is told.
    Redirect(ErrorRedirect),
    /// The user is told and may go back to the client. Anyone can register a site, so before somebody has logged in nothing
    /// sends a browser to one by itself (RFC 9700 section 4.11.2, MCP Authorization, Open Redirection).
    GoBack(ErrorRedirect),
}

impl BrowserError {
    /// A form that is not ours, not this browser's, or too old.
    pub(crate) const STALE: Self = Self::Page(
        StatusCode::FORBIDDEN,
        "This page is out of date or belongs to another browser. Go back to the app and start again.",
    );

    const UNAVAILABLE: Self = Self::Page(
        StatusCode::SERVICE_UNAVAILABLE,
        "The server cannot answer right now. Please try again in a moment.",
    );
    const INTERNAL: Self = Self::Page(StatusCode::INTERNAL_SERVER_ERROR, "The server failed. Please try again later.");
}

/// Renders a page.
pub(crate) fn page(status: StatusCode, template: &impl Template) -> Response {
    match template.render() {
        Ok(html) => guarded(status, Body::from(html)),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            guarded(StatusCode::INTERNAL_SERVER_ERROR, Body::empty())
        }
    }
}

pub(crate) fn error_page(status: StatusCode, message: &'static str) -> Response {
    page(status, &ErrorPage { style: STYLE, message, back: None })
}

/// Sends the browser on. 303 turns a POST into a GET; 307 would repeat the password to the client (RFC 9700 section 4.12).
pub(crate) fn see_other(location: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(location) else {
        return BrowserError::INTERNAL.into_response_with("");
    };
    let mut response = guarded(StatusCode::SEE_OTHER, Body::empty());
    response.headers_mut().insert(header::LOCATION, location);
    response
}

impl BrowserError {
    /// The answer; `issuer` goes into error responses to clients (RFC 9207 section 2).
    pub(crate) fn into_response_with(self, issuer: &str) -> Response {
        match self {
            Self::Page(status, message) => error_page(status, message),
            Self::Redirect(error) => see_other(&error.location(issuer)),
            Self::GoBack(error) => {
                let host = redirect_uri::shown_host(&error.redirect_uri);
                let location = error.location(issuer);
                let back = Back { reason: error.description, host: &host, location: &location };
                let message = "The app's request cannot be answered.";
                page(StatusCode::BAD_REQUEST, &ErrorPage { style: STYLE, message, back: Some(back) })
            }
        }
    }
}

impl ErrorRedirect {
    /// The error response (OAuth 2.1 section 4.1.2.1, RFC 9207 section 2).
    fn location(&self, issuer: &str) -> String {
        let mut parameters = vec![("error", self.error), ("error_description", self.description)];
        if let Some(state) = &self.state {
            parameters.push(("state", state));
        }
        parameters.push(("iss", issuer));
        redirect_uri::with_parameters(&self.redirect_uri, &parameters)
    }
}

fn guarded(status: StatusCode, body: Body) -> Response {
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(header::CONTENT_SECURITY_POLICY, content_security_policy());
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Nothing but our own style sheet. `form-action` is left out on purpose: browsers apply it to every redirect that follows
/// a form, so it would have to name where the client sends people next, which only the client knows.
fn content_security_policy() -> HeaderValue {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    POLICY
        .get_or_init(|| {
            let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
            let policy =
                format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'");
            HeaderValue::from_str(&policy)
                .unwrap_or(HeaderValue::from_static("default-src 'none'; base-uri 'none'; frame-ancestors 'none'"))
        })
        .clone()
}

impl From<StoreError> for BrowserError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the authorization server's store failed");
        Self::UNAVAILABLE
    }
}

impl From<EntropyError> for BrowserError {
    fn from(error: EntropyError) -> Self {
        tracing::error!(%error, "no randomness");
        Self::INTERNAL
    }
}

impl From<LoginError> for BrowserError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Store(error) => error.into(),
            LoginError::Entropy(error) => error.into(),
        }
    }
}

impl From<TokenError> for BrowserError {
    fn from(error: TokenError) -> Self {
        if matches!(error, TokenError::Unavailable) { Self::UNAVAILABLE } else { Self::INTERNAL }
    }
}

impl From<RequestError> for BrowserError {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Page(message) => Self::Page(StatusCode::BAD_REQUEST, message),
            RequestError::Redirect(error) if redirect_uri::kind(&error.redirect_uri) == RedirectKind::Https => {
                Self::GoBack(error)
            }
            RequestError::Redirect(error) => Self::Redirect(error),
        }
    }
}
