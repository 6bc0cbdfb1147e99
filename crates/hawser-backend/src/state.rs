//! What the parts of one session share: whether it is over, why, what the server asked, and where unsolicited messages go.

use std::sync::{Mutex, OnceLock, PoisonError};

use hawser_mcp::{Members, Message, Notification, RequestId, method, notification};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::BackendError;
use crate::name::BackendName;
use crate::questions::Questions;
use crate::queue;

/// How a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Closed on this side.
    Closed,
    /// The server does not know it any more.
    Forgotten,
    /// The child or the stream ended, or had to be ended.
    Died(String),
}

#[derive(Debug)]
pub(crate) struct SessionState {
    backend: BackendName,
    over: CancellationToken,
    ending: OnceLock<Ending>,
    unsolicited: queue::Sender,
    questions: Mutex<Questions>,
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

    /// Takes note of what is passed on: a question, or that the server withdraws one. A `ping` is no question, it is answered
    /// at once. Call it before anybody else can know the message, so that no answer comes before its question.
    pub(crate) fn heard(&self, message: &Message, exchange: Option<u64>) {
        match message {
            Message::Request(request) if request.method == method::PING => {}
            Message::Request(request) => {
                self.questions(|questions| questions.asked(&request.id, exchange, Instant::now()));
            }
            Message::Notification(told) => {
                if let Some(id) = withdrawn(told) {
                    self.answered(&id);
                }
            }
            Message::Response(_) => {}
        }
    }

    /// The server has its answer, or nobody is left to give one.
    pub(crate) fn answered(&self, id: &RequestId) {
        self.questions(|questions| questions.settled(id, Instant::now()));
    }

    /// Forgets the questions of an exchange that is over.
    pub(crate) fn exchange_ended(&self, exchange: u64) {
        self.questions(|questions| questions.exchange_ended(exchange));
    }

    /// Until when the server's silence in an exchange was due to questions that were not answered.
    pub(crate) fn excuse(&self, exchange: u64, began: Instant, now: Instant) -> Option<Instant> {
        self.questions(|questions| questions.excuse(exchange, began, now))
    }

    fn questions<T>(&self, act: impl FnOnce(&mut Questions) -> T) -> T {
        act(&mut self.questions.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Passes a message on if there is room; what nobody reads must not hold up answers.
    pub(crate) fn offer(&self, message: Message) {
        if let Err(queue::Rejected::Full) = self.unsolicited.try_send(message) {
            tracing::debug!(backend = %self.backend, "an unsolicited message was dropped: nobody reads them");
        }
    }
}

/// The question that the server takes back (MCP, Utilities, Cancellation).
fn withdrawn(told: &Notification) -> Option<RequestId> {
    if told.method != notification::CANCELLED {
        return None;
    }
    RequestId::from_raw(Members::read(told.params.as_ref()?, &[]).ok()?.get("requestId")?)
}
