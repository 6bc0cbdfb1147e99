//! The open database, replaced when the disk has failed it.
//!
//! After an I/O error redb refuses everything until the file is opened anew, for good reason: after a failed `fsync` what
//! is in its memory and in the kernel's may differ from the disk. So the database sits in a slot, readers hold the slot
//! for the time of a read, and the writer thread opens the file again when it failed. As long as that does not work for
//! writing (a full disk), the file is opened for reading alone.
//!
//! A read mostly takes microseconds, but it may wait: for the disk itself, for the slot while the file is opened again, and
//! for a lock of redb's that is held while the file grows. So everything here blocks; [`Reader`](super::reader::Reader)
//! keeps that away from tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use redb::{Database, Error, ReadTransaction, ReadableDatabase as _};
use tokio::sync::watch;

use super::open::{Location, OpenError};
use crate::port::Unavailable;

/// The database of one file.
pub(super) struct OpenFile {
    location: Location,
    state: RwLock<State>,
    /// Whether a read or a write failed since the file was opened.
    suspect: AtomicBool,
    /// Tells readers that failed that the file was opened again.
    reopened: watch::Sender<()>,
}

enum State {
    Writable(Database),
    /// What would be written stays in memory, so nothing is.
    ReadOnly(Database),
    /// For the moment of opening it again, or with what it said when that failed.
    Closed(Option<OpenError>),
}

impl OpenFile {
    pub(super) fn open(location: Location) -> Result<Self, OpenError> {
        let database = location.open_or_create()?;
        Ok(Self {
            location,
            state: RwLock::new(State::Writable(database)),
            suspect: AtomicBool::new(false),
            reopened: watch::Sender::new(()),
        })
    }

    pub(super) fn location(&self) -> &Location {
        &self.location
    }

    /// Reads in a snapshot of what was committed last.
    pub(super) fn try_read<T>(&self, read: impl Fn(&ReadTransaction) -> Result<T, Error>) -> Result<T, ReadFailed> {
        let state = self.shared();
        let transaction = match &*state {
            State::Writable(database) | State::ReadOnly(database) => database.begin_read(),
            State::Closed(reason) => return Err(ReadFailed::Closed(closed(reason.as_ref()))),
        };
        transaction.map_err(Error::from).and_then(|transaction| read(&transaction)).map_err(|error| {
            self.distrust();
            // Opening it again needs the lock that is held here, so it cannot be missed.
            ReadFailed::Failed { reason: failed(&error), reopened: self.reopened.subscribe() }
        })
    }

    /// Writes. For the writer thread alone.
    pub(super) fn write<T>(&self, write: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Unavailable> {
        match &*self.shared() {
            State::Writable(database) => write(database).map_err(|error| {
                self.distrust();
                failed(&error)
            }),
            State::ReadOnly(_) => Err(Unavailable { reason: "its file cannot be written at present".to_owned() }),
            State::Closed(reason) => Err(closed(reason.as_ref())),
        }
    }

    /// Notes that the file must be opened again before anything else is written.
    pub(super) fn distrust(&self) {
        self.suspect.store(true, Ordering::Relaxed);
    }

    /// Whether something failed since the file was opened.
    pub(super) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Whether there is nothing against writing now.
    pub(super) fn is_writable(&self) -> bool {
        !self.is_suspect() && matches!(&*self.shared(), State::Writable(_))
    }

    /// Opens the file again. Waits for the reads under way, and lets those that come meanwhile wait.
    pub(super) fn reopen(&self) {
        let mut state = self.exclusive();
        // Closes the file, and with it gives up the lock on it, before it is opened again.
        let before = std::mem::replace(&mut *state, State::Closed(None));
        let was_writable = matches!(before, State::Writable(_));
        // A panic within the database library left its locks poisoned, on which closing panics again. What it holds is
        // released all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(before)));
        self.suspect.store(false, Ordering::Relaxed);
        *state = match self.location.reopen() {
            Ok(database) => State::Writable(database),
            Err(error) => {
                if was_writable {
                    tracing::warn!(%error, "the store file cannot be written");
                }
                self.location.reopen_read_only().map_or(State::Closed(Some(error)), State::ReadOnly)
            }
        };
        self.reopened.send_replace(());
    }

    /// Closes the file for good.
    pub(super) fn close(&self) {
        let state = std::mem::replace(&mut *self.exclusive(), State::Closed(None));
        if let State::Writable(database) = state
            && let Err(error) = database.close()
        {
            tracing::warn!(file = %self.location.path.display(), %error, "the store file was not closed cleanly");
        }
    }

    fn shared(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn exclusive(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a read failed.
pub(super) enum ReadFailed {
    /// The file does not open at present.
    Closed(Unavailable),
    /// The disk failed; the file is going to be opened again.
    Failed { reason: Unavailable, reopened: watch::Receiver<()> },
}

impl ReadFailed {
    pub(super) fn into_reason(self) -> Unavailable {
        match self {
            Self::Closed(reason) | Self::Failed { reason, .. } => reason,
        }
    }
}

fn failed(error: &Error) -> Unavailable {
    Unavailable { reason: error.to_string() }
}

fn closed(reason: Option<&OpenError>) -> Unavailable {
    Unavailable { reason: reason.map_or_else(|| "its file is closed".to_owned(), ToString::to_string) }
}
