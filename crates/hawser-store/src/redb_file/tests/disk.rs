//! A disk that fails when it is told to, at every point at which a disk can.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Builder, Database, DatabaseError, StorageBackend};

use super::stall::Stall;
use super::*;

/// What goes wrong, and when.
#[derive(Debug, Default)]
pub(super) struct Faults {
    mode: AtomicU8,
    /// Accesses that still work.
    remaining: AtomicI64,
    /// Where the file grows.
    pub(super) growth: Stall,
    /// Where it is read.
    pub(super) reading: Stall,
}

const NONE: u8 = 0;
const WRITES_FAIL: u8 = 1;
const ONE_WRITE_FAILS: u8 = 2;
const ONE_WRITE_PANICS: u8 = 3;
const ONE_READ_FAILS: u8 = 4;

impl Faults {
    fn set(&self, mode: u8, after: i64) {
        self.remaining.store(after, Ordering::SeqCst);
        self.mode.store(mode, Ordering::SeqCst);
    }

    /// Whether the fault happened, or would now.
    fn happened(&self) -> bool {
        self.remaining.load(Ordering::SeqCst) <= 0
    }

    fn on_write(&self) -> io::Result<()> {
        let mode = self.mode.load(Ordering::SeqCst);
        if !matches!(mode, WRITES_FAIL | ONE_WRITE_FAILS | ONE_WRITE_PANICS) {
            return Ok(());
        }
        if self.remaining.fetch_sub(1, Ordering::SeqCst) > 0 {
            return Ok(());
        }
        if mode != WRITES_FAIL {
            self.mode.store(NONE, Ordering::SeqCst);
        }
        assert_ne!(mode, ONE_WRITE_PANICS, "as the test wants it");
        Err(io::ErrorKind::StorageFull.into())
    }

    fn on_read(&self) -> io::Result<()> {
        if self.mode.compare_exchange(ONE_READ_FAILS, NONE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return Err(io::Error::other("the disk cannot be read"));
        }
        Ok(())
    }
}

pub(super) struct FaultyDisk(pub(super) Arc<Faults>);

impl Disk for FaultyDisk {
    fn writable(&self, builder: &Builder, file: File) -> Result<Database, DatabaseError> {
        builder.create_with_backend(FaultyFile { file: FileBackend::new(file)?, faults: Arc::clone(&self.0) })
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl StorageBackend for FaultyFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.faults.reading.pass();
        self.faults.on_read()?;
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.faults.growth.pass();
        self.faults.on_write()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.on_write()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.faults.on_write()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

fn open(path: &Path, options: RedbOptions) -> (RedbStore, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let disk = Box::new(FaultyDisk(Arc::clone(&faults)));
    (RedbStore::open_on(disk, path, options, Limits::default()).unwrap(), faults)
}

fn is_unavailable<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable(_)))
}

/// Lets the disk fail after `after` accesses that write. Returns whether it came to that, and whether the write was refused.
async fn fail_once(path: &Path, mode: u8, after: i64) -> (bool, bool) {
    let (store, faults) = open(path, RedbOptions::default());
    store.put(&key("before"), "kept".into(), None).await.unwrap();
    store.put(&key("row"), "old".into(), None).await.unwrap();
    faults.set(mode, after);
    let answer = store.put(&key("row"), vec![b'n'; 300_000].into(), None).await;
    let happened = faults.happened();
    let refused = answer.is_err();
    if happened {
        // It may also come after the commit, when pages are put in order for the next one: then the write is done.
        assert!(answer.is_ok() || is_unavailable(&answer), "{mode} after {after}: {answer:?}");
        assert_eq!(store.get(&key("before")).await.unwrap().unwrap(), "kept", "{mode} after {after}: reads go on");
        if mode == WRITES_FAIL {
            assert!(is_unavailable(&store.delete(&key("before")).await), "{mode} after {after}");
            assert_eq!(store.get(&key("before")).await.unwrap().unwrap(), "kept");
        }
    } else {
        answer.unwrap();
    }
    faults.set(NONE, 0);
    let row = store.get(&key("row")).await.unwrap().unwrap();
    assert!(
        row == "old" && refused || row == vec![b'n'; 300_000],
        "{mode} after {after}: neither the old value nor the new one"
    );
    store.put(&key("after"), "works".into(), None).await.unwrap();
    assert_eq!(store.get(&key("before")).await.unwrap().unwrap(), "kept");
    drop(store);
    let store = RedbStore::open(path).unwrap();
    assert_eq!(store.get(&key("before")).await.unwrap().unwrap(), "kept");
    assert_eq!(store.get(&key("after")).await.unwrap().unwrap(), "works");
    (happened, refused)
}

async fn fail_everywhere(mode: u8) {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for after in 0..200 {
        // A file of its own each time, so that it has to grow.
        let path = folder.path().join(format!("store-{after}"));
        let (happened, was_refused) = fail_once(&path, mode, after).await;
        refused += u32::from(was_refused);
        if !happened {
            assert!(refused > 4, "only {refused} of the accesses of a write matter");
            return;
        }
    }
    panic!("one write takes more than 200 accesses to the disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_at_any_point_fails_writes_alone() {
    fail_everywhere(WRITES_FAIL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passing_fault_at_any_point_fails_one_write_alone() {
    fail_everywhere(ONE_WRITE_FAILS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_at_any_point_fails_one_write_alone() {
    fail_everywhere(ONE_WRITE_PANICS).await;
}

#[tokio::test]
async fn a_read_is_tried_again_after_a_fault() {
    let folder = tempfile::tempdir().unwrap();
    // Without a cache every read is a read of the disk.
    let options = RedbOptions { cache_bytes: 0, ..RedbOptions::default() };
    let (store, faults) = open(&folder.path().join("store"), options);
    store.put(&key("row"), vec![7; 100_000].into(), None).await.unwrap();
    faults.set(ONE_READ_FAILS, 0);
    assert_eq!(store.get(&key("row")).await.unwrap().unwrap(), vec![7; 100_000]);
    assert_eq!(faults.mode.load(Ordering::SeqCst), NONE, "the fault happened");
    store.put(&key("row"), "x".into(), None).await.unwrap();
}
