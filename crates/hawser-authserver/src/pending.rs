//! A request that waits for its user.
//!
//! It travels in the pages themselves, sealed and bound to the browser's cookie, so that unauthenticated requests write
//! nothing to the store. The form repeats a random value from inside the seal: what another site makes a browser send
//! cannot have it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hawser_owner::{EntropyError, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::browser_session::BrowserCookie;
use crate::secret::{random_text, same};
use crate::server::AuthServer;

/// How long a page may stay open.
const LIFETIME: Duration = Duration::from_mins(10);
const SEALED_CHARS_MAX: usize = 32 * 1024;
const VERSION: u32 = 1;

/// What the request waits for. A request that waits for a login is no use to the consent page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    Login,
    Consent,
    /// A request to log out waits for a yes.
    Logout,
}

impl Waits {
    const fn seal_label(self) -> &'static str {
        match self {
            Self::Login => "as-pending/login",
            Self::Consent => "as-pending/consent",
            Self::Logout => "as-pending/logout",
        }
    }
}

/// A waiting request.
#[derive(Serialize, Deserialize)]
pub(crate) struct Pending<R> {
    v: u32,
    pub(crate) request: R,
    browser: String,
    csrf: String,
    expires: Timestamp,
}

/// The two hidden fields of a form.
pub(crate) struct HiddenFields {
    pub(crate) request: String,
    pub(crate) csrf: String,
}

impl AuthServer {
    /// Seals a request for the browser that holds the cookie.
    pub(crate) fn seal_pending<R: Serialize>(
        &self,
        request: &R,
        waits: Waits,
        cookie: &BrowserCookie,
    ) -> Result<HiddenFields, EntropyError> {
        let csrf = random_text::<32>(&*self.entropy)?;
        let pending = Pending {
            v: VERSION,
            request,
            browser: cookie.digest(),
            csrf: csrf.clone(),
            expires: self.now().plus(LIFETIME),
        };
        let text = Zeroizing::new(serde_json::to_vec(&pending).map_err(|_| EntropyError)?);
        let sealed = self.ring.seal_row(waits.seal_label(), &text, &*self.entropy)?;
        Ok(HiddenFields { request: URL_SAFE_NO_PAD.encode(sealed.0), csrf })
    }

    /// Opens what a browser sends back: untouched, in time, from the same browser.
    pub(crate) fn open_pending<R: DeserializeOwned>(
        &self,
        sealed: &str,
        waits: Waits,
        cookie: &BrowserCookie,
    ) -> Option<Pending<R>> {
        if sealed.len() > SEALED_CHARS_MAX {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let text = self.ring.open_row(waits.seal_label(), &bytes).ok()?;
        let pending: Pending<R> = serde_json::from_slice(&text).ok()?;
        let stands = pending.v == VERSION && self.now() < pending.expires && same(&pending.browser, &cookie.digest());
        stands.then_some(pending)
    }
}

impl<R> Pending<R> {
    /// Whether the form came from our own page.
    pub(crate) fn has_csrf(&self, given: Option<&str>) -> bool {
        given.is_some_and(|given| same(&self.csrf, given))
    }

    /// The hidden fields of a page that shows this very request again.
    pub(crate) fn fields(&self, sealed: &str) -> HiddenFields {
        HiddenFields { request: sealed.to_owned(), csrf: self.csrf.clone() }
    }
}
