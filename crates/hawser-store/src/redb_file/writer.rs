//! The one thread that writes, and the queue of writes in front of it.
//!
//! Making a transaction durable costs the same whether it holds one write or a thousand, so everything that is waiting
//! when the thread is free goes into one (group commit), up to a number of writes and of bytes: what one transaction
//! changes is in memory until it is committed. A write is answered after its transaction is on the disk.

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
use super::limits::Limits;
use super::table::{RowTables, any_past, begin};
use crate::decision::{Change, Decision};
use crate::key::Key;
use crate::port::Unavailable;
use crate::row::{Current, Moment, WallClock};

/// What a waiting write costs beside its bytes, roughly.
const WRITE_BYTES: usize = 256;
/// Writes in one transaction.
const BATCH_MAX: usize = 1024;
/// A transaction that holds this many bytes takes no further write.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Pause between two looks at an idle file.
const IDLE: Duration = Duration::from_secs(1);
/// Rows past their time that one idle look removes.
const IDLE_SWEEP_ROWS: usize = 256;
/// Rows past their time that a batch removes beside two for each of its writes, so that the sweep outpaces the writes.
const BATCH_SWEEP_ROWS: usize = 32;

/// A row's write on its way through the queue.
trait Job: Send {
    fn key(&self) -> &Key;
    /// Bytes that it holds.
    fn bytes(&self) -> usize;
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
    room: OwnedSemaphorePermit,
}

impl<D: Decision> Job for Waiting<D> {
    fn key(&self) -> &Key {
        &self.key
    }

    fn bytes(&self) -> usize {
        bytes(&self.key, &self.decision)
    }

    fn decide(&mut self, current: Option<Current<'_>>, now: Moment) -> Change {
        let (change, answer) = self.decision.decide(current, now);
        self.answer = Some(answer);
        change
    }

    fn finish(self: Box<Self>, outcome: Result<(), &str>) {
        let Self { answer, reply, room, .. } = *self;
        let answer = match (outcome, answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Err(reason), _) => Err(Unavailable { reason: reason.to_owned() }),
            (Ok(()), None) => Err(Unavailable { reason: "the write was not carried out".to_owned() }),
        };
        // First, so that the caller finds it free.
        drop(room);
        // A caller that went away wants no answer; its write is done nevertheless.
        let _ = reply.send(answer);
    }
}

fn bytes(key: &Key, decision: &impl Decision) -> usize {
    WRITE_BYTES + key.as_str().len() + decision.weight()
}

/// The way in to the writer thread. Dropping it lets the thread finish what is waiting, close the file and end.
pub(super) struct Writer {
    /// `None` only while it is dropped.
    queue: Option<mpsc::Sender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    limits: Limits,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    pub(super) fn start(file: Arc<OpenFile>, clock: WallClock, limits: Limits) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("hawser-store".to_owned())
            .spawn(move || Thread { file, clock, jobs, failing: false }.run())?;
        let room = Arc::new(Semaphore::new(limits.queue_bytes as usize));
        Ok(Self { queue: Some(queue), room, limits, thread: Some(thread) })
    }

    /// Waits until the write is durable, or has failed.
    pub(super) async fn write<D: Decision>(&self, key: &Key, decision: D) -> Result<D::Answer, Unavailable> {
        match timeout(self.limits.wait, self.enqueue(key, decision)).await {
            Ok(answer) => answer,
            Err(_) => Err(Unavailable {
                reason: format!("a write was not confirmed within {:?}; it may still happen", self.limits.wait),
            }),
        }
    }

    async fn enqueue<D: Decision>(&self, key: &Key, decision: D) -> Result<D::Answer, Unavailable> {
        let ended = || Unavailable { reason: "its writer has ended".to_owned() };
        // What is larger than the whole queue waits until it is alone there.
        let bytes = u32::try_from(bytes(key, &decision)).unwrap_or(u32::MAX).min(self.limits.queue_bytes);
        let room = Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| ended())?;
        let (reply, answer) = oneshot::channel();
        let job = Waiting { key: key.clone(), decision, answer: None, reply, room };
        self.queue.as_ref().ok_or_else(ended)?.send(Box::new(job)).map_err(|_| ended())?;
        answer.await.map_err(|_| ended())?
    }

    /// Bytes that the queue still takes.
    #[cfg(test)]
    pub(super) fn room_left(&self) -> usize {
        self.room.available_permits()
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
                    let batch = batch(first, &self.jobs);
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

/// What goes into one transaction: what is waiting now, until there is enough of it. The write that makes it enough is the
/// last one, so a transaction is over the limit by less than one write.
fn batch(first: Box<dyn Job>, waiting: &Receiver<Box<dyn Job>>) -> Vec<Box<dyn Job>> {
    let mut bytes = first.bytes();
    let mut batch = vec![first];
    while batch.len() < BATCH_MAX
        && bytes < BATCH_BYTES
        && let Ok(next) = waiting.try_recv()
    {
        bytes += next.bytes();
        batch.push(next);
    }
    batch
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    /// A write of some bytes that does nothing.
    struct Load(Key, usize);

    impl Job for Load {
        fn key(&self) -> &Key {
            &self.0
        }

        fn bytes(&self) -> usize {
            self.1
        }

        fn decide(&mut self, _current: Option<Current<'_>>, _now: Moment) -> Change {
            Change::Keep
        }

        fn finish(self: Box<Self>, _outcome: Result<(), &str>) {}
    }

    /// How many of these go into each transaction, one after the other.
    fn batches(loads: &[usize]) -> Vec<usize> {
        let (queue, waiting) = mpsc::channel::<Box<dyn Job>>();
        for bytes in loads {
            queue.send(Box::new(Load(Key::new("row", "a").unwrap(), *bytes))).unwrap();
        }
        std::iter::from_fn(|| Some(batch(waiting.try_recv().ok()?, &waiting).len())).collect()
    }

    #[test]
    fn what_is_waiting_goes_into_one_transaction() {
        assert_eq!(batches(&[]), [0_usize; 0]);
        assert_eq!(batches(&[1]), [1]);
        assert_eq!(batches(&[300; 1000]), [1000]);
    }

    #[test]
    fn a_transaction_is_bounded_in_writes() {
        assert_eq!(batches(&[300; BATCH_MAX + 1]), [BATCH_MAX, 1]);
    }

    #[test]
    fn a_transaction_is_bounded_in_bytes() {
        assert_eq!(batches(&[1024 * 1024; 20]), [8, 8, 4]);
        assert_eq!(batches(&[BATCH_BYTES - 1, 1024 * 1024, 1]), [2, 1], "over the limit by less than one write");
        assert_eq!(batches(&[BATCH_BYTES, 1, 1]), [1, 2]);
        assert_eq!(batches(&[BATCH_BYTES * 3, BATCH_BYTES * 3]), [1, 1], "one write always goes");
    }
}
