//! Messages of our own (pongs, cancellations) that nobody waits for.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::error::BackendError;
use crate::name::BackendName;

/// How many may be on their way at a time.
const BACKGROUND_MAX: usize = 16;

/// The messages of one session that are on their way.
#[derive(Debug)]
pub(crate) struct Background(Arc<Semaphore>);

impl Default for Background {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(BACKGROUND_MAX)))
    }
}

impl Background {
    /// Sends a message some time soon, or never.
    pub(crate) fn send(
        &self,
        backend: &BackendName,
        sending: impl Future<Output = Result<(), BackendError>> + Send + 'static,
    ) {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else {
            tracing::debug!(%backend, "too many messages are on their way; one is dropped");
            return;
        };
        in_background(async move {
            if let Err(error) = sending.await {
                tracing::debug!(%error, "a message could not be sent");
            }
            drop(permit);
        });
    }
}

/// Runs something to its end that nobody waits for. Without a runtime there is no connection left either.
pub(crate) fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(work);
    }
}
