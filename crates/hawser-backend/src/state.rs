//! What the parts of one session share: whether it is over, why, and where unsolicited messages go.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use hawser_mcp::{Message, RequestId};
use tokio_util::sync::CancellationToken;

use crate::error::BackendError;
use crate::name::BackendName;
use crate::queue;

/// Most server requests that are waited for at a time. More are passed on, but do not stretch a timeout.
const QUESTIONS_MAX: usize = 1024;

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Closed on this side.
    Closed,
    /// The server does not know it any more.
    Forgotten,
    /// The child ended, or had to be ended.
    Died(String),
}

#[derive(Debug)]
pub(crate) struct SessionState {
    backend: BackendName,
    over: CancellationToken,
    ending: OnceLock<Ending>,
    unsolicited: queue::Sender,
    questions: Mutex<HashSet<RequestId>>,
}

impl SessionState {
    pub(crate) fn new(backend: BackendName, unsolicited: queue::Sender) -> Self {
        Self {
            backend,
            over: CancellationToken::new(),
            ending: OnceLock::new(),
            unsolicited,
            questions: Mutex::default(),
        }
    }

    /// Cancelled when the session is over.
    pub(crate) const fn over(&self) -> &CancellationToken {
        &self.over
    }

    /// Ends the session; the first reason stays.
    pub(crate) fn end(&self, ending: Ending) {
        let _ = self.ending.set(ending);
        self.over.cancel();
    }

    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.get()
    }

    /// Refuses what would be sent into a session that is over.
    pub(crate) fn check_open(&self) -> Result<(), BackendError> {
        let backend = || self.backend.clone();
        match self.ending.get() {
            None => Ok(()),
            Some(Ending::Closed) => Err(BackendError::Closed { backend: backend() }),
            Some(Ending::Forgotten) => Err(BackendError::SessionGone { backend: backend() }),
            Some(Ending::Died(reason)) => Err(BackendError::Gone { backend: backend(), reason: reason.clone() }),
        }
    }

    /// Where messages outside of any exchange go.
    pub(crate) const fn unsolicited(&self) -> &queue::Sender {
        &self.unsolicited
    }

    /// The server asked something and waits.
    pub(crate) fn asked(&self, id: &RequestId) {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if questions.len() < QUESTIONS_MAX {
            questions.insert(id.clone());
        }
    }

    /// The server has its answer, or nobody is left to give one.
    pub(crate) fn answered(&self, id: &RequestId) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    /// Whether the server still waits for an answer to this.
    pub(crate) fn is_waiting_for(&self, id: &RequestId) -> bool {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    /// Passes a message on if there is room; what nobody reads must not hold up answers.
    pub(crate) fn offer(&self, message: Message) {
        if let Err(queue::Rejected::Full) = self.unsolicited.try_send(message) {
            tracing::debug!(backend = %self.backend, "an unsolicited message was dropped: nobody reads them");
        }
    }
}
