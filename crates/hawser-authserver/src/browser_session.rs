//! The browser's cookie: who is logged in there.
//!
//! The cookie is a random value, stored as its digest, and replaced at login. A browser that is not logged in gets one
//! too, so that its login form is bound to it. Cookies exist for the pages of this server alone.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::{EntropyError, Timestamp};
use hawser_store::{StoreError, Unavailable};
use http::{HeaderMap, HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::rows::Row;
use crate::secret::{digest_text, random_text};
use crate::server::AuthServer;

/// Subjects of users with a password.
const USER_PREFIX: &str = "user:";
/// Subjects of the development login.
const DEVELOPMENT_PREFIX: &str = "dev:";

/// Who is logged in, since when, until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Login {
    pub(crate) subject: String,
    pub(crate) auth_time: Timestamp,
    expires: Timestamp,
    /// The grants that were made in it, the oldest first.
    #[serde(default)]
    grants: Vec<String>,
}

impl Row for Login {
    const FAMILY: &'static str = "as-login";
}

/// Most grants of one login that are known. One more ends the oldest, so that logging out ends all there are.
const GRANTS_MAX: usize = 256;
/// How often a compare-and-set is tried: far more than windows of one browser race in earnest.
const ATTEMPTS: usize = 32;

/// The value of the cookie.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BrowserCookie(String);

impl BrowserCookie {
    /// What the store and sealed requests know of it.
    pub(crate) fn digest(&self) -> String {
        digest_text(self.0.as_bytes())
    }
}

/// The subject of a user with a password.
pub(crate) fn user_subject(name: &str) -> String {
    format!("{USER_PREFIX}{name}")
}

/// The subject of a user of the development login.
pub(crate) fn development_subject(name: &str) -> String {
    format!("{DEVELOPMENT_PREFIX}{name}")
}

/// The name in a subject.
pub(crate) fn shown_user(subject: &str) -> &str {
    subject.split_once(':').map_or(subject, |(_, name)| name)
}

impl AuthServer {
    /// Whether the user still exists: what was granted to or logged in as a removed user is worth nothing.
    pub(crate) fn knows_subject(&self, subject: &str) -> bool {
        if let Some(name) = subject.strip_prefix(USER_PREFIX) {
            return self.passwords.knows(name);
        }
        let offered = self.config.login.development.as_ref().map_or(&[][..], |login| login.users.as_slice());
        subject.strip_prefix(DEVELOPMENT_PREFIX).is_some_and(|name| offered.iter().any(|user| user == name))
    }

    /// `__Host-` forbids the cookie to come from or go to anywhere else (RFC 6265bis section 4.1.3.2). It needs https; on
    /// loopback, where cookies are shared between ports, the port is part of the name instead.
    fn cookie_name(&self) -> String {
        if self.issuer_url.scheme() == "https" {
            "__Host-hawser-login".to_owned()
        } else {
            format!("hawser-login-{}", self.issuer_url.port_or_known_default().unwrap_or_default())
        }
    }

    /// The browser's cookie. Two of the name are none: one of them was planted.
    pub(crate) fn cookie(&self, headers: &HeaderMap) -> Option<BrowserCookie> {
        let name = self.cookie_name();
        let mut values = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(found, _)| *found == name)
            .map(|(_, value)| value);
        let value = values.next()?;
        let ours = URL_SAFE_NO_PAD.decode(value).is_ok_and(|bytes| bytes.len() == 32);
        (values.next().is_none() && ours).then(|| BrowserCookie(value.to_owned()))
    }

    pub(crate) fn new_cookie(&self) -> Result<BrowserCookie, EntropyError> {
        Ok(BrowserCookie(random_text::<32>(&*self.entropy)?))
    }

    /// The header that sets the cookie.
    pub(crate) fn set_cookie(&self, cookie: &BrowserCookie) -> Option<HeaderValue> {
        let secure = if self.issuer_url.scheme() == "https" { "; Secure" } else { "" };
        let text = format!(
            "{}={}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{secure}",
            self.cookie_name(),
            cookie.0,
            self.config.login_lifetime.as_secs(),
        );
        HeaderValue::from_str(&text).ok()
    }

    /// Who is logged in in this browser.
    pub(crate) async fn login_of(&self, cookie: &BrowserCookie) -> Result<Option<Login>, StoreError> {
        let login = self.rows.get::<Login>(&cookie.digest()).await?.map(|loaded| loaded.row);
        Ok(login.filter(|login| self.now() < login.expires && self.knows_subject(&login.subject)))
    }

    /// Logs in: a new cookie, and the old one ends (session fixation).
    pub(crate) async fn begin_login(&self, old: &BrowserCookie, subject: &str) -> Result<BrowserCookie, LoginError> {
        let cookie = self.new_cookie()?;
        let now = self.now();
        let lifetime = self.config.login_lifetime;
        // Who logs in again is still to be logged out of what was granted before.
        let before = self.rows.get::<Login>(&old.digest()).await?;
        let same = before.as_ref().filter(|before| before.row.subject == subject);
        let grants = same.map(|before| before.row.grants.clone()).unwrap_or_default();
        let login = Login { subject: subject.to_owned(), auth_time: now, expires: now.plus(lifetime), grants };
        self.rows.put(&cookie.digest(), &login, Some(lifetime)).await?;
        self.rows.delete::<Login>(&old.digest()).await?;
        Ok(cookie)
    }

    /// Takes down that a grant was made in this login. Tells whether there still is one.
    pub(crate) async fn note_grant(&self, cookie: &BrowserCookie, grant: &str) -> Result<bool, StoreError> {
        let id = cookie.digest();
        for _ in 0..ATTEMPTS {
            let Some(loaded) = self.rows.get::<Login>(&id).await? else { return Ok(false) };
            let mut next = loaded.row.clone();
            next.grants.push(grant.to_owned());
            let too_many = next.grants.len() > GRANTS_MAX;
            let oldest = too_many.then(|| next.grants.remove(0));
            if self.rows.replace(&id, &loaded, &next, Some(next.expires.since(self.now()))).await? {
                if let Some(oldest) = oldest {
                    self.end_grant(&oldest, "too_many_of_one_login").await?;
                }
                return Ok(true);
            }
        }
        Err(Unavailable { reason: "a login changed too often to be written".to_owned() }.into())
    }

    /// Ends a login with the grants that were made in it. The grants first: should the store fail in between, the login is still
    /// there to try again.
    pub(crate) async fn end_login(&self, cookie: &BrowserCookie) -> Result<(), StoreError> {
        let id = cookie.digest();
        for _ in 0..ATTEMPTS {
            let Some(loaded) = self.rows.get::<Login>(&id).await? else { return Ok(()) };
            for grant in &loaded.row.grants {
                self.end_grant(grant, "logged_out").await?;
            }
            // One that was made meanwhile is in the row, and ended in the next round.
            if self.rows.remove(&id, &loaded).await? {
                self.audit().logout(&loaded.row.subject, loaded.row.grants.len());
                return Ok(());
            }
        }
        Err(Unavailable { reason: "a login changed too often to be ended".to_owned() }.into())
    }

    /// The header that takes the cookie back.
    pub(crate) fn remove_cookie(&self) -> Option<HeaderValue> {
        let secure = if self.issuer_url.scheme() == "https" { "; Secure" } else { "" };
        HeaderValue::from_str(&format!("{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{secure}", self.cookie_name()))
            .ok()
    }
}

/// Why a login cannot be begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoginError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Entropy(#[from] EntropyError),
}
