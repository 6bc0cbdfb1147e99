//! The login form: a name and a password, or one of the users of the development login.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, header};

use crate::address::{is_from_this_computer, limit_key};
use crate::audit::Audit;
use crate::authorize::browser_form;
use crate::authorize_request::AuthorizationRequest;
use crate::browser_session::{development_subject, user_subject};
use crate::form::{self, Parameters};
use crate::pages::{BrowserError, see_other};
use crate::password::PasswordCheck;
use crate::pending::Waits;
use crate::server::AuthServer;

pub(crate) async fn submit(State(server): State<Arc<AuthServer>>, request: Request) -> Response {
    let from = Sender { address: limit_key(request.extensions()), is_here: is_from_this_computer(&request) };
    let answer = match browser_form(request).await {
        Ok((headers, form)) => server.log_in(&headers, &form, from).await,
        Err(error) => Err(error),
    };
    answer.unwrap_or_else(|error| error.into_response_with(&server.config.issuer))
}

/// Who sends a login form.
#[derive(Clone, Copy)]
struct Sender {
    address: IpAddr,
    /// On the computer that the server runs on.
    is_here: bool,
}

/// What came of a login form.
enum Outcome {
    Is(String),
    Again(StatusCode, &'static str),
}

impl AuthServer {
    async fn log_in(&self, headers: &HeaderMap, form: &Parameters, from: Sender) -> Result<Response, BrowserError> {
        let cookie = self.cookie(headers).ok_or(BrowserError::STALE)?;
        let field = |name| form.one(name).map_err(|_| BrowserError::STALE);
        let sealed = field("request")?.ok_or(BrowserError::STALE)?;
        let pending =
            self.open_pending::<AuthorizationRequest>(sealed, Waits::Login, &cookie).ok_or(BrowserError::STALE)?;
        if !pending.has_csrf(field("csrf")?) {
            return Err(BrowserError::STALE);
        }
        let username = field("username")?.unwrap_or_default();
        let outcome = match field("development_user")? {
            Some(user) => self.development_login(user, from),
            None => self.password_login(username, field("password")?.unwrap_or_default(), from.address).await,
        };
        match outcome {
            Outcome::Is(subject) => {
                let new_cookie = self.begin_login(&cookie, &subject).await?;
                self.audit().login(&subject, from.address);
                let fields = self.seal_pending(&pending.request, Waits::Consent, &new_cookie)?;
                let query = form::encode(&[("request", &fields.request)]);
                let mut response = see_other(&format!("{}?{query}", self.url("/oauth/consent")));
                if let Some(value) = self.set_cookie(&new_cookie) {
                    response.headers_mut().insert(header::SET_COOKIE, value);
                }
                Ok(response)
            }
            Outcome::Again(status, error) => {
                let client = self.client(&pending.request.client).await?.ok_or(BrowserError::STALE)?;
                Ok(self.login_page(status, &pending.fields(sealed), &client.row, username, Some(error)))
            }
        }
    }

    /// No proof is asked for, so nobody may come from elsewhere: not through a tunnel or proxy in front of the loopback
    /// listener, and not from a web site whose name was made to resolve to loopback.
    fn development_login(&self, user: &str, from: Sender) -> Outcome {
        if !from.is_here {
            Audit::login_refused("development_login_from_elsewhere", from.address);
            return Outcome::Again(
                StatusCode::FORBIDDEN,
                "The development login works only in a browser on the computer that this server runs on.",
            );
        }
        let subject = development_subject(user);
        if self.knows_subject(&subject) {
            return Outcome::Is(subject);
        }
        Outcome::Again(StatusCode::BAD_REQUEST, "There is no such user.")
    }

    async fn password_login(&self, name: &str, password: &str, address: IpAddr) -> Outcome {
        if !self.passwords.any() {
            return Outcome::Again(StatusCode::BAD_REQUEST, "There is no login with a password here.");
        }
        let (reason, again) = match self.passwords.check(name, password, &address.to_string(), self.now()).await {
            PasswordCheck::Right => return Outcome::Is(user_subject(name)),
            PasswordCheck::Wrong => {
                ("wrong_password", Outcome::Again(StatusCode::BAD_REQUEST, "The name or the password is wrong."))
            }
            PasswordCheck::Throttled => (
                "throttled",
                Outcome::Again(StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Please wait a few minutes."),
            ),
            PasswordCheck::Busy => (
                "busy",
                Outcome::Again(StatusCode::SERVICE_UNAVAILABLE, "Too many logins right now. Please try again."),
            ),
        };
        Audit::login_refused(reason, address);
        again
    }
}
