//! Reads, away from the threads that tasks run on.
//!
//! A read blocks its thread for as long as the disk does. It therefore runs in a thread for blocking work, and only so many
//! do at a time: a disk that stalls holds these threads until it works again, whether or not their callers still wait, and
//! must not take all threads that the runtime has for such work.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redb::{Error, ReadTransaction};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::database::{OpenFile, ReadFailed};
use super::limits::Limits;
use super::table;
use crate::key::Key;
use crate::port::Unavailable;
use crate::row::Moment;
use crate::scan::{ScanPage, Span};

/// How long a read that failed waits for the file to be opened again.
const REOPEN_WAIT_MAX: Duration = Duration::from_secs(3);

/// Reads from a snapshot; may be called twice.
trait Read<T>: Fn(&ReadTransaction) -> Result<T, Error> + Send + Sync + 'static {}

impl<T, F: Fn(&ReadTransaction) -> Result<T, Error> + Send + Sync + 'static> Read<T> for F {}

/// The way to rows that are not changed.
pub(super) struct Reader {
    file: Arc<OpenFile>,
    turns: Arc<Semaphore>,
    limits: Limits,
}

impl Reader {
    pub(super) fn new(file: Arc<OpenFile>, limits: Limits) -> Self {
        Self { file, turns: Arc::new(Semaphore::new(limits.reads)), limits }
    }

    /// The value of a row that exists at `now`.
    pub(super) async fn get(&self, key: &Key, now: Moment) -> Result<Option<Bytes>, Unavailable> {
        let key = key.clone();
        self.read(move |transaction| table::read(transaction, &key, now)).await
    }

    /// Rows of the span that exist at `now`, of `limit` that are looked at.
    pub(super) async fn page(&self, span: Span, limit: usize, now: Moment) -> Result<ScanPage, Unavailable> {
        self.read(move |transaction| table::page(transaction, &span, limit, now)).await
    }

    async fn read<T: Send + 'static>(&self, read: impl Read<T>) -> Result<T, Unavailable> {
        match timeout(self.limits.wait, self.read_or_retry(Arc::new(read))).await {
            Ok(answer) => answer,
            Err(_) => Err(Unavailable { reason: format!("the disk did not answer within {:?}", self.limits.wait) }),
        }
    }

    /// If the disk had failed just before, waits until the file is open again and reads then.
    async fn read_or_retry<T: Send + 'static>(&self, read: Arc<impl Read<T>>) -> Result<T, Unavailable> {
        let mut reopened = match self.read_once(Arc::clone(&read)).await? {
            Ok(answer) => return Ok(answer),
            Err(ReadFailed::Closed(reason)) => return Err(reason),
            Err(ReadFailed::Failed { reopened, .. }) => reopened,
        };
        // Whether it was opened or the time is up, the next attempt says what is the matter.
        let _ = timeout(REOPEN_WAIT_MAX, reopened.changed()).await;
        self.read_once(read).await?.map_err(ReadFailed::into_reason)
    }

    async fn read_once<T: Send + 'static>(
        &self,
        read: Arc<impl Read<T>>,
    ) -> Result<Result<T, ReadFailed>, Unavailable> {
        let turn = Arc::clone(&self.turns).acquire_owned().await;
        let turn = turn.map_err(|_| Unavailable { reason: "it is closed".to_owned() })?;
        let file = Arc::clone(&self.file);
        let read = spawn_blocking(move || {
            // Held for as long as the thread is, not just until the caller gives up.
            let _turn = turn;
            file.try_read(&*read)
        });
        read.await.map_err(|error| {
            if error.is_panic() {
                self.file.distrust();
                Unavailable { reason: "the database library failed".to_owned() }
            } else {
                Unavailable { reason: "the runtime is shutting down".to_owned() }
            }
        })
    }

    /// Reads that could begin now.
    #[cfg(test)]
    pub(super) fn turns_left(&self) -> usize {
        self.turns.available_permits()
    }
}
