//! Checking passwords: slow by design, so bounded in number, and as slow for a name that does not exist.

use std::sync::Arc;
use std::time::Duration;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordVerifier as _};
use hawser_owner::Timestamp;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use crate::config::LoginMethods;
use crate::throttle::Throttle;

/// Passwords checked at the same time: each takes a core and the memory that its hash names.
const CHECKS_AT_ONCE: usize = 2;
/// Logins waiting for that.
const WAITING_MAX: usize = 32;
const PASSWORD_BYTES_MAX: usize = 1024;
const WINDOW: Duration = Duration::from_mins(5);
/// Failures within the window: of one name from one address, of one address, and of one name from anywhere.
const FAILURES_PAIR: u32 = 5;
const FAILURES_ADDRESS: u32 = 30;
const FAILURES_NAME: u32 = 50;

/// What came of checking a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PasswordCheck {
    Right,
    Wrong,
    /// Too many wrong ones before; nothing was checked.
    Throttled,
    /// Too many logins at the same time; nothing was checked.
    Busy,
}

struct User {
    name: String,
    hash: Arc<str>,
}

/// The users with passwords.
pub(crate) struct Passwords {
    users: Vec<User>,
    checks: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    by_pair: Throttle,
    by_address: Throttle,
    by_name: Throttle,
}

impl Passwords {
    pub(crate) fn new(login: &LoginMethods) -> Self {
        let users =
            login.users.iter().map(|user| User { name: user.name.clone(), hash: user.password_hash.as_str().into() });
        Self {
            users: users.collect(),
            checks: Arc::new(Semaphore::new(CHECKS_AT_ONCE)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            by_pair: Throttle::new(FAILURES_PAIR, WINDOW),
            by_address: Throttle::new(FAILURES_ADDRESS, WINDOW),
            by_name: Throttle::new(FAILURES_NAME, WINDOW),
        }
    }

    /// Whether anybody has a password here.
    pub(crate) fn any(&self) -> bool {
        !self.users.is_empty()
    }

    /// Whether the name is a user's.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.users.iter().any(|user| user.name == name)
    }

    pub(crate) async fn check(&self, name: &str, password: &str, address: &str, now: Timestamp) -> PasswordCheck {
        // A name of any length is an input; what is remembered of it is not.
        let name_key = crate::secret::digest_text(name.as_bytes());
        let pair_key = format!("{name_key}/{address}");
        let allowed = self.by_address.begin(address, now)
            && self.by_pair.begin(&pair_key, now)
            && self.by_name.begin(&name_key, now);
        if !allowed {
            return PasswordCheck::Throttled;
        }
        let checked = self.verify(name, password).await;
        if checked != PasswordCheck::Wrong {
            self.by_address.succeeded(address);
            self.by_pair.succeeded(&pair_key);
            self.by_name.succeeded(&name_key);
        }
        checked
    }

    async fn verify(&self, name: &str, password: &str) -> PasswordCheck {
        if password.is_empty() || password.len() > PASSWORD_BYTES_MAX {
            return PasswordCheck::Wrong;
        }
        let Ok(place) = Arc::clone(&self.waiting).try_acquire_owned() else { return PasswordCheck::Busy };
        let Ok(turn) = Arc::clone(&self.checks).acquire_owned().await else { return PasswordCheck::Busy };
        let user = self.users.iter().find(|user| user.name == name);
        // An unknown name is checked against somebody's hash, so that it takes the same time; the result is not used.
        let Some(hash) = user.or(self.users.first()).map(|user| Arc::clone(&user.hash)) else {
            return PasswordCheck::Wrong;
        };
        let password = Zeroizing::new(password.to_owned());
        let matches = tokio::task::spawn_blocking(move || {
            // Held until the work is done, even if nobody waits for it any more.
            let _held = (place, turn);
            PasswordHash::new(&hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
        });
        let right = matches.await.unwrap_or(false) && user.is_some();
        if right { PasswordCheck::Right } else { PasswordCheck::Wrong }
    }
}
