//! What can go wrong with a backend.

use std::time::Duration;

use thiserror::Error;

use crate::name::BackendName;

/// A failed `open`, request or notification. The texts are for operators: they name the backend and what to do, and quote
/// causes; what an end client is told is [`BackendError::client_message`].
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendError {
    /// No connection, so nothing was sent.
    #[error("backend `{backend}` cannot be reached: {reason}; check its address and that it is running")]
    Unreachable {
        /// Which one.
        backend: BackendName,
        /// What the connection attempt ended with.
        reason: String,
    },
    /// The server does not know the session any more (Transports, Session Management: 404).
    #[error("backend `{backend}` has ended the session; open a new one")]
    SessionGone {
        /// Which one.
        backend: BackendName,
    },
    /// The connection or the child ended after the request may have been read.
    #[error("backend `{backend}` was lost before it answered: {reason}")]
    Lost {
        /// Which one.
        backend: BackendName,
        /// How it ended.
        reason: String,
    },
    /// The child or the stream was gone before the request was sent.
    #[error("backend `{backend}` was gone before the request was sent: {reason}")]
    Gone {
        /// Which one.
        backend: BackendName,
        /// How it ended.
        reason: String,
    },
    /// No message of the exchange for too long, or the exchange took too long as a whole.
    #[error("backend `{backend}` did not answer within {} s; raise its timeout if it needs longer", .after.as_secs_f64())]
    TimedOut {
        /// Which one.
        backend: BackendName,
        /// The limit that was reached.
        after: Duration,
    },
    /// It does not speak the protocol.
    #[error("backend `{backend}` broke the protocol: {reason}")]
    Protocol {
        /// Which one.
        backend: BackendName,
        /// What it did.
        reason: String,
    },
    /// It answered `initialize` with an error.
    #[error("backend `{backend}` refused to initialize: {message:?} ({code})")]
    Initialize {
        /// Which one.
        backend: BackendName,
        /// The error's code.
        code: i64,
        /// The error's message, shortened.
        message: String,
    },
    /// A message over `message_bytes_max`.
    #[error("backend `{backend}` sent a message of more than {bytes_max} bytes; raise its limit if that is right")]
    TooLarge {
        /// Which one.
        backend: BackendName,
        /// The limit.
        bytes_max: usize,
    },
    /// An HTTP status that is no answer.
    #[error("backend `{backend}` refused with HTTP status {status}{}", hint(*.status))]
    Refused {
        /// Which one.
        backend: BackendName,
        /// The status.
        status: u16,
    },
    /// The messages of an exchange were not taken as fast as they came.
    #[error("backend `{backend}` sent messages faster than they were read")]
    Overrun {
        /// Which one.
        backend: BackendName,
    },
    /// No place for another child.
    #[error("backend `{backend}` was not started: the limit of child processes is reached; close sessions or raise it")]
    TooManyChildren {
        /// Which one.
        backend: BackendName,
    },
    /// The child could not be started, or it ended before it answered `initialize`.
    #[error("backend `{backend}` could not be started: {reason}")]
    Spawn {
        /// Which one.
        backend: BackendName,
        /// What the system or the child's last words say.
        reason: String,
    },
    /// Too many failed attempts to open; it is left alone for a while.
    #[error("backend `{backend}` failed repeatedly and is tried again in {} s; it last said: {last}", .retry_in.as_secs().max(1))]
    Resting {
        /// Which one.
        backend: BackendName,
        /// When it is tried again.
        retry_in: Duration,
        /// The error before.
        last: String,
    },
    /// The session was closed on this side.
    #[error("the session with backend `{backend}` is closed")]
    Closed {
        /// Which one.
        backend: BackendName,
    },
}

fn hint(status: u16) -> &'static str {
    match status {
        300..=399 => "; redirects are not followed, configure the final URL",
        401 | 403 => "; check the credentials configured for it",
        404 | 405 => "; check the path of its URL",
        _ => "",
    }
}

impl BackendError {
    /// Whether the request certainly was not processed, so that it is safe to open a new session and repeat it once,
    /// whatever its method.
    pub const fn was_not_processed(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::SessionGone { .. }
                | Self::Gone { .. }
                | Self::TooManyChildren { .. }
                | Self::Spawn { .. }
                | Self::Resting { .. }
                | Self::Closed { .. }
        )
    }

    /// Whether a failed attempt to open tells about the backend as such, not about the client it was made for.
    pub(crate) const fn is_the_backends_state(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::Gone { .. }
            | Self::TimedOut { .. }
            | Self::Protocol { .. }
            | Self::TooLarge { .. }
            | Self::Spawn { .. } => true,
            Self::Refused { status, .. } => matches!(*status, 300..=399 | 401 | 403 | 404 | 405 | 429 | 500..=599),
            Self::SessionGone { .. }
            | Self::Initialize { .. }
            | Self::Overrun { .. }
            | Self::TooManyChildren { .. }
            | Self::Resting { .. }
            | Self::Closed { .. } => false,
        }
    }

    /// Which backend it was.
    pub const fn backend(&self) -> &BackendName {
        match self {
            Self::Unreachable { backend, .. }
            | Self::SessionGone { backend }
            | Self::Lost { backend, .. }
            | Self::Gone { backend, .. }
            | Self::TimedOut { backend, .. }
            | Self::Protocol { backend, .. }
            | Self::Initialize { backend, .. }
            | Self::TooLarge { backend, .. }
            | Self::Refused { backend, .. }
            | Self::Overrun { backend }
            | Self::TooManyChildren { backend }
            | Self::Spawn { backend, .. }
            | Self::Resting { backend, .. }
            | Self::Closed { backend } => backend,
        }
    }

    /// What an end client may be told: which backend and what kind of failure, no causes.
    pub fn client_message(&self) -> String {
        let what = match self {
            Self::Unreachable { .. } | Self::Gone { .. } | Self::Spawn { .. } => "cannot be reached",
            Self::SessionGone { .. } | Self::Closed { .. } => "has ended the session",
            Self::Lost { .. } => "was lost before it answered; the request may have been processed",
            Self::TimedOut { .. } => "did not answer in time",
            Self::Protocol { .. } => "broke the protocol",
            Self::Initialize { .. } => "refused to initialize",
            Self::TooLarge { .. } => "sent a message over the size limit",
            Self::Refused { .. } => "refused the request",
            Self::Overrun { .. } => "sent messages faster than they were read",
            Self::TooManyChildren { .. } => "was not started: the limit of child processes is reached",
            Self::Resting { .. } => "failed repeatedly and is left alone for a while",
        };
        format!("backend `{}` {what}", self.backend())
    }
}
