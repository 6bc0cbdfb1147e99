//! A disk that takes its time: what waits for it is bounded, and no task waits that need not.

use std::sync::{Condvar, Mutex};

use tokio::task::{JoinHandle, spawn, yield_now};

use super::disk::{Faults, FaultyDisk};
use super::*;

/// Longest stall: one that the test should have ended by then, had it not been held up itself.
const OVERDUE: Duration = Duration::from_secs(20);

/// A place in the disk where it stops until the test lets it go on.
#[derive(Debug, Default)]
pub(super) struct Stall {
    stage: Mutex<Stage>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    None,
    /// The next access will stall.
    Begun,
    /// One does.
    Reached,
    /// One did for too long.
    Overdue,
}

impl Stall {
    /// The disk is here.
    pub(super) fn pass(&self) {
        if *self.stage.lock().unwrap() == Stage::Begun {
            self.set(Stage::Reached);
            self.wait(Stage::Reached, Stage::Overdue);
        }
    }

    fn begin(&self) {
        self.set(Stage::Begun);
    }

    /// Blocks until the disk stalls.
    fn reached(&self) {
        self.wait(Stage::Begun, Stage::Overdue);
        assert_eq!(*self.stage.lock().unwrap(), Stage::Reached);
    }

    fn end(&self) {
        assert_eq!(*self.stage.lock().unwrap(), Stage::Reached, "the test itself was held up by the stall");
        self.set(Stage::None);
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap() = stage;
        self.changed.notify_all();
    }

    fn wait(&self, during: Stage, too_long: Stage) {
        let stage = self.stage.lock().unwrap();
        let (mut stage, waited) = self.changed.wait_timeout_while(stage, OVERDUE, |stage| *stage == during).unwrap();
        if waited.timed_out() {
            *stage = too_long;
        }
    }
}

/// A store with a row, whose disk stalls under a write of another, large one.
struct Stalled {
    store: Arc<RedbStore>,
    faults: Arc<Faults>,
    write: JoinHandle<Result<(), StoreError>>,
    _folder: tempfile::TempDir,
}

impl Stalled {
    async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let disk = Box::new(FaultyDisk(Arc::clone(&faults)));
        let path = folder.path().join("store");
        let store = Arc::new(RedbStore::open_on(disk, &path, RedbOptions::default(), limits).unwrap());
        store.put(&key("small"), "x".into(), None).await.unwrap();
        faults.growth.begin();
        let write = Self::put(&store, "large", VALUE_BYTES_MAX);
        yield_now().await;
        faults.growth.reached();
        Self { store, faults, write, _folder: folder }
    }

    fn put(store: &Arc<RedbStore>, name: &'static str, bytes: usize) -> JoinHandle<Result<(), StoreError>> {
        let store = Arc::clone(store);
        spawn(async move { store.put(&key(name), vec![7; bytes].into(), None).await })
    }
}

fn get(store: &Arc<RedbStore>) -> JoinHandle<Result<Option<Bytes>, StoreError>> {
    let store = Arc::clone(store);
    spawn(async move { store.get(&key("small")).await })
}

fn reason<T: fmt::Debug>(answer: Result<T, StoreError>) -> String {
    match answer.unwrap_err() {
        StoreError::Unavailable(unavailable) => unavailable.reason,
        other => panic!("{other}"),
    }
}

/// On one thread, which a read must not block.
#[tokio::test]
async fn reads_during_a_stall_hold_up_no_task_and_are_bounded() {
    let stalled = Stalled::with(Limits { reads: 2, ..Limits::default() }).await;
    let reads: Vec<_> = (0..5).map(|_| get(&stalled.store)).collect();
    while stalled.store.reader.turns_left() > 0 {
        yield_now().await;
    }
    stalled.faults.growth.end();
    for read in reads {
        assert_eq!(read.await.unwrap().unwrap().unwrap(), "x");
    }
    stalled.write.await.unwrap().unwrap();
    assert_eq!(stalled.store.reader.turns_left(), 2);
}

#[tokio::test]
async fn a_read_gives_up_in_time_and_keeps_its_turn_until_the_disk_answers() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let disk = Box::new(FaultyDisk(Arc::clone(&faults)));
    // Without a cache every read is a read of the disk.
    let options = RedbOptions { cache_bytes: 0, ..RedbOptions::default() };
    let limits = Limits { reads: 1, ..Limits::default() };
    let store = Arc::new(RedbStore::open_on(disk, &folder.path().join("store"), options, limits).unwrap());
    store.put(&key("small"), "x".into(), None).await.unwrap();
    faults.reading.begin();
    let read = get(&store);
    yield_now().await;
    faults.reading.reached();
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    assert_eq!(reason(read.await.unwrap()), "the disk did not answer within 30s");
    assert_eq!(store.reader.turns_left(), 0, "its thread is not free yet");
    tokio::time::resume();
    faults.reading.end();
    assert_eq!(get(&store).await.unwrap().unwrap().unwrap(), "x");
}

#[tokio::test]
async fn a_write_gives_up_in_time_and_may_still_happen() {
    let stalled = Stalled::with(Limits::default()).await;
    tokio::time::pause();
    let refused = reason(stalled.write.await.unwrap());
    assert_eq!(refused, "a write was not confirmed within 30s; it may still happen");
    tokio::time::resume();
    stalled.faults.growth.end();
    stalled.store.put(&key("after"), "y".into(), None).await.unwrap();
    assert_eq!(stalled.store.get(&key("large")).await.unwrap().unwrap().len(), VALUE_BYTES_MAX);
}

#[tokio::test]
async fn the_queue_of_writes_is_bounded_in_bytes() {
    let limits = Limits { queue_bytes: 2 * 1024 * 1024, ..Limits::default() };
    let stalled = Stalled::with(limits).await;
    let left = stalled.store.writer.room_left();
    assert!((900_000..1024 * 1024).contains(&left), "{left}");
    let [fits, waits] =
        [("fits", 500_000), ("waits", 600_000)].map(|(name, size)| Stalled::put(&stalled.store, name, size));
    yield_now().await;
    assert!(stalled.store.writer.room_left() <= left - 500_000);
    tokio::time::pause();
    reason(waits.await.unwrap());
    reason(fits.await.unwrap());
    reason(stalled.write.await.unwrap());
    tokio::time::resume();
    stalled.faults.growth.end();
    // Larger than what is left, so that all of the queue must have become free.
    stalled.store.put(&key("after"), vec![8; VALUE_BYTES_MAX].into(), None).await.unwrap();
    assert_eq!(stalled.store.get(&key("fits")).await.unwrap().unwrap().len(), 500_000);
    assert_eq!(stalled.store.get(&key("waits")).await.unwrap(), None, "it was never in the queue");
    assert_eq!(stalled.store.writer.room_left(), limits.queue_bytes as usize);
}

#[tokio::test]
async fn a_write_larger_than_the_queue_waits_until_it_is_alone_there() {
    let stalled = Stalled::with(Limits { queue_bytes: 1000, ..Limits::default() }).await;
    assert_eq!(stalled.store.writer.room_left(), 0);
    stalled.faults.growth.end();
    stalled.write.await.unwrap().unwrap();
    Stalled::put(&stalled.store, "again", 5000).await.unwrap().unwrap();
    assert_eq!(stalled.store.get(&key("again")).await.unwrap().unwrap().len(), 5000);
}
