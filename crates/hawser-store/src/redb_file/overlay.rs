//! The file as it would be after recovery, when it cannot be written.
//!
//! redb finishes recovery in the file before it reads from it. On a disk that takes no writes (mounted read-only after an
//! error, say) the few blocks that this changes are kept in memory instead, so that rows can be read all the same.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::{Mutex, PoisonError};

use redb::StorageBackend;

const BLOCK: usize = 4096;

/// A file that is read, with changes that are not written to it.
#[derive(Debug)]
pub(super) struct Overlay {
    file: File,
    changed: Mutex<Changed>,
}

#[derive(Debug)]
struct Changed {
    len: u64,
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    /// Takes the lock on the file that keeps other processes from writing it.
    pub(super) fn new(file: File) -> io::Result<Self> {
        file.try_lock().map_err(|error| match error {
            TryLockError::WouldBlock => io::ErrorKind::WouldBlock.into(),
            TryLockError::Error(error) => error,
        })?;
        let len = file.metadata()?.len();
        Ok(Self { file, changed: Mutex::new(Changed { len, blocks: BTreeMap::new() }) })
    }

    /// The block as it is in the file; beyond its end there are zeros.
    fn block(&self, number: u64) -> io::Result<Box<[u8]>> {
        let mut block = vec![0; BLOCK].into_boxed_slice();
        let (mut filled, start) = (0, number * BLOCK as u64);
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, start + filled as u64)? {
                0 => break,
                read => filled += read,
            }
        }
        Ok(block)
    }

    /// Calls `each` for every block that the range touches: its number, the range in it, and the range of the buffer.
    fn blocks(
        offset: u64,
        len: usize,
        mut each: impl FnMut(u64, std::ops::Range<usize>, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = usize::try_from(at % BLOCK as u64).map_err(io::Error::other)?;
            let part = (BLOCK - within).min(len - done);
            each(at / BLOCK as u64, within..within + part, done..done + part)?;
            done += part;
        }
        Ok(())
    }

    fn changed(&self) -> std::sync::MutexGuard<'_, Changed> {
        self.changed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changed().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let changed = self.changed();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > changed.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::blocks(offset, out.len(), |number, within, at| {
            let out = &mut out[at];
            match changed.blocks.get(&number) {
                Some(block) => out.copy_from_slice(&block[within]),
                None => out.copy_from_slice(&self.block(number)?[within]),
            }
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.changed().len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut changed = self.changed();
        Self::blocks(offset, data.len(), |number, within, at| {
            let block = match changed.blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(vacant) => vacant.insert(self.block(number)?),
            };
            block[within].copy_from_slice(&data[at]);
            Ok(())
        })
    }

    fn close(&self) -> io::Result<()> {
        self.file.unlock()
    }
}
