//! What went wrong at a server, told without anything that was sent to it.

use std::io;

use redis::{ErrorKind, RedisError};

use crate::port::Unavailable;

/// Codes of a server's errors whose text says what is the matter, and never repeats what was sent.
const PLAIN_SPOKEN: [&str; 9] =
    ["NOPERM", "NOAUTH", "WRONGPASS", "READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN", "MISCONF", "OOM"];

/// Why a server is of no use.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    /// For the operator.
    pub(super) reason: String,
    /// It will not change by waiting: a wrong password, an old server.
    pub(super) lasting: bool,
}

impl Failure {
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lasting: false }
    }

    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), lasting: true }
    }

    /// A connection could not be made. A certificate that is not trusted will not be in a moment.
    pub(super) fn connecting(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let lasting = matches!(tls, Some(rustls::Error::InvalidCertificate(_)));
        let reason = if tls.is_some() { format!("TLS: {error}") } else { error.to_string() };
        Self { reason, lasting }
    }

    /// A server's answer to what is asked of it first. Refused credentials, and commands that this user may not give.
    pub(super) fn greeting(error: &RedisError) -> Self {
        let refused = error.kind() == ErrorKind::AuthenticationFailed
            || matches!(error.code(), Some("NOPERM" | "NOAUTH" | "WRONGPASS"));
        Self { reason: told(error), lasting: refused }
    }
}

impl From<Failure> for Unavailable {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.reason }
    }
}

/// The error for the operator.
pub(super) fn told(error: &RedisError) -> String {
    match error.code() {
        Some(code) if PLAIN_SPOKEN.contains(&code) => {
            format!("the server says {code} {}", error.detail().unwrap_or_default())
        }
        Some(code) => format!("the server says {code}"),
        None if error.kind() == ErrorKind::AuthenticationFailed => {
            "the server refuses the user or the password".to_owned()
        }
        None if error.is_timeout() => "the server does not answer".to_owned(),
        None if error.is_io_error() => "the connection was lost".to_owned(),
        None => format!("the server's answer is not understood ({})", error.category()),
    }
}
