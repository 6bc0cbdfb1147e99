//! The one thread that writes, and the queue of writes in front of it.
//!
//! Making a transaction durable costs the same whether it holds one write or a thousand, so everything that is waiting
//! when the thread is free goes into one (group commit). A write is answered after its transaction is on the disk.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use redb::{Database, Error};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;

use super::database::OpenFile;
use super::table::{RowTables, any_past, begin};
use crate::decision::{Change, Decision};
use crate::key::Key;
use crate::port::Unavailable;
use crate::row::{Current, Moment, WallClock};

/// Bytes that may wait in the queue.
const QUEUE_BYTES: u32 = 64 * 1024 * 1024;
/// What a waiting write costs beside its bytes, roughly.
const WRITE_BYTES: usize = 256;
/// Writes in one transaction.
const BATCH_MAX: usize = 1024;
/// How long a caller waits for the queue and the disk together.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks at an idle file.
const IDLE: Duration = Duration::from_secs(1);
/// Rows past their time that one idle look removes.
const IDLE_SWEEP_ROWS: usize = 256;
/// Rows past their time that a batch removes beside two for each of its writes, so that the sweep outpaces the writes.
const BATCH_SWEEP_ROWS: usize = 32;

/// A row's write on its way through the queue.
trait Job: Send {
    fn key(&self) -> &Key;
    /// Decides, and keeps the answer until it is durable.
    fn decide(&mut self, current: Option<Current<'_>>, now: Moment) -> Change;
    /// Answers the caller. If the transaction failed, with that.
    fn finish(self: Box<Self>, outcome: Result<(), &str>);
}

struct Waiting<D: Decision> {
    key: Key,
    decision: D,
    answer: Option<D::Answer>,
    reply: oneshot::Sender<Result<D::Answer, Unavailable>>,
    _room: OwnedSemaphorePermit,
}

impl<D: Decision> Job for Waiting<D> {
    fn key(&self) -> &Key {
        &self.key
    }

    fn decide(&mut self, current: Option<Current<'_>>, now: Moment) -> Change {
        let (change, answer) = self.decision.decide(current, now);
        self.answer = Some(answer);
        change
    }

    fn finish(self: Box<Self>, outcome: Result<(), &str>) {
        let answer = match (outcome, self.answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Err(reason), _) => Err(Unavailable { reason: reason.to_owned() }),
            (Ok(()), None) => Err(Unavailable { reason: "the write was not carried out".to_owned() }),
        };
        // A caller that went away wants no answer; its write is done nevertheless.
        let _ = self.reply.send(answer);
    }
}

/// The way in to the writer thread. Dropping it lets the thread finish what is waiting, close the file and end.
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: Arc<OpenFile>, clock: WallClock) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("hawser-store".to_owned())
            .spawn(move || Thread { file, clock, jobs, failing: false }.run())?;
        Ok(Self { queue: Some(queue), room: Arc::new(Semaphore::new(QUEUE_BYTES as usize)), thread: Some(thread) })
    }

    /// Waits until the write is durable, or has failed.
    pub(super) async fn write<D: Decision>(&self, key: &Key, decision: D) -> Result<D::Answer, Unavailable> {
        match timeout(WAIT_MAX, self.enqueue(key, decision)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unavailable {
                reason: format!("a write was not confirmed within {} seconds; it may still happen", WAIT_MAX.as_secs()),
            }),
        }
    }

    async fn enqueue<D: Decision>(&self, key: &Key, decision: D) -> Result<D::Answer, Unavailable> {
        let ended = || Unavailable { reason: "its writer has ended".to_owned() };
        let bytes = WRITE_BYTES + key.as_str().len() + decision.weight();
        let bytes = u32::try_from(bytes).unwrap_or(QUEUE_BYTES).min(QUEUE_BYTES);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| ended())?;
        let (reply, answer) = oneshot::channel();
        let job = Waiting { key: key.clone(), decision, answer: None, reply, _room: room };
        self.queue.as_ref().ok_or_else(ended)?.send(Box::new(job)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer thread ended in a panic");
        }
    }
}

struct Thread {
    file: Arc<OpenFile>,
    clock: WallClock,
    jobs: Receiver<Box<dyn Job>>,
    /// Whether the last transaction failed.
    failing: bool,
}

impl Thread {
    fn run(mut self) {
        let mut pause = IDLE;
        loop {
            match self.jobs.recv_timeout(pause) {
                Ok(first) => {
                    let mut batch = vec![first];
                    batch.extend(self.jobs.try_iter().take(BATCH_MAX - 1));
                    self.carry_out(batch);
                }
                Err(RecvTimeoutError::Timeout) => pause = self.idle(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.file.close();
    }

    fn carry_out(&mut self, mut batch: Vec<Box<dyn Job>>) {
        if !self.file.is_writable() {
            self.file.reopen();
        }
        let now = Moment::now(&self.clock);
        let outcome = self.guarded(|database| commit(database, &mut batch, now)).map_err(|error| error.reason);
        self.note(outcome.as_ref().err());
        if self.file.is_suspect() {
            self.file.reopen();
        }
        let outcome = outcome.as_ref().copied().map_err(String::as_str);
        for job in batch {
            job.finish(outcome);
        }
    }

    /// Opens the file again if it has failed, and removes some rows that are past their time. Returns when to look again.
    fn idle(&mut self) -> Duration {
        if !self.file.is_writable() {
            self.file.reopen();
            return IDLE;
        }
        let now = Moment::now(&self.clock);
        let swept = match self.file.try_read(|transaction| any_past(transaction, now)) {
            Ok(true) => self.guarded(|database| sweep(database, now)),
            Ok(false) => return IDLE,
            Err(error) => Err(error.into_reason()),
        };
        self.note(swept.as_ref().err().map(|error| &error.reason));
        if swept.is_ok_and(|rows| rows == IDLE_SWEEP_ROWS) { IDLE / 100 } else { IDLE }
    }

    /// A panic of the database library fails the transaction, not the thread that every write depends on.
    fn guarded<T>(&self, write: impl FnOnce(&Database) -> Result<T, Error>) -> Result<T, Unavailable> {
        catch_unwind(AssertUnwindSafe(|| self.file.write(write))).unwrap_or_else(|_| {
            self.file.distrust();
            Err(Unavailable { reason: "the database library failed".to_owned() })
        })
    }

    /// Logs when writing begins to fail and when it works again, not every write in between.
    fn note(&mut self, failure: Option<&String>) {
        let file = self.file.location().path.display();
        match failure {
            Some(reason) if !self.failing => tracing::error!(%file, reason, "the store cannot write"),
            None if self.failing => tracing::info!(%file, "the store writes again"),
            _ => {}
        }
        self.failing = failure.is_some();
    }
}

/// Carries out all writes in one transaction; none of them if it fails.
fn commit(database: &Database, batch: &mut [Box<dyn Job>], now: Moment) -> Result<(), Error> {
    let transaction = begin(database)?;
    let mut changed = false;
    {
        let mut tables = RowTables::open(&transaction)?;
        for job in batch.iter_mut() {
            let key = job.key().clone();
            changed |= tables.apply(&key, now, |current| job.decide(current, now))?;
        }
        changed |= tables.sweep(now, BATCH_SWEEP_ROWS + 2 * batch.len())? > 0;
    }
    // What was read here is durable already: nothing to write, nothing to wait for.
    if changed { Ok(transaction.commit()?) } else { Ok(transaction.abort()?) }
}

fn sweep(database: &Database, now: Moment) -> Result<usize, Error> {
    let transaction = begin(database)?;
    let swept = RowTables::open(&transaction)?.sweep(now, IDLE_SWEEP_ROWS)?;
    transaction.commit()?;
    Ok(swept)
}
