//! Opening the file: creating it whole or not at all, and saying what is wrong when it does not open.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, Error, ReadableDatabase as _, TableError};
use thiserror::Error;

use super::overlay::Overlay;
use super::table::{META, SCHEMA, SCHEMA_VERSION, create_tables};

/// Files up to this size are verified page by page when they are opened. Larger ones would keep the gateway from
/// starting for seconds; their pages are still guarded by checksums when a crash makes recovery necessary.
const VERIFY_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why a store file did not open. Each says which file and, where there is something to do, what.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has it open.
    #[error("the store file {} is in use by another process: stop that one, or give this one a file of its own", .path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// It is something else.
    #[error("{} is not a store file ({reason}); it was left as it is", .path.display())]
    NotAStore {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        reason: String,
    },
    /// It was a store file once.
    #[error("the store file {} is damaged ({reason}): restore it from a backup, or move it away to start anew", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// A later version wrote it.
    #[error("the store file {} has schema {found}, this version knows schemas up to {supported}: use a newer version", .path.display())]
    NewerSchema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// The newest schema that this version knows.
        supported: u64,
    },
    /// The folder that it should be in does not exist.
    #[error("the folder {} of the store file does not exist", .folder.display())]
    NoFolder {
        /// The folder.
        folder: PathBuf,
    },
    /// It, or its folder, may not be read and written.
    #[error("no permission to read and write the store file {}", .path.display())]
    Permission {
        /// The file.
        path: PathBuf,
    },
    /// There is no space for it.
    #[error("no space is left for the store file {}", .path.display())]
    DiskFull {
        /// The file.
        path: PathBuf,
    },
    /// Something else that the operating system said.
    #[error("the store file {} cannot be opened: {source}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Turns a file into a database. Tests put a disk that fails on demand in between.
pub(super) trait Disk: Send + Sync + 'static {
    fn writable(&self, builder: &Builder, file: File) -> Result<Database, DatabaseError>;
}

/// The disk as it is.
pub(super) struct PlainDisk;

impl Disk for PlainDisk {
    fn writable(&self, builder: &Builder, file: File) -> Result<Database, DatabaseError> {
        builder.create_with_backend(FileBackend::new(file)?)
    }
}

/// Where the store file is and how it is opened.
pub(super) struct Location {
    pub(super) path: PathBuf,
    pub(super) cache_bytes: usize,
    pub(super) disk: Box<dyn Disk>,
}

impl Location {
    /// Opens the file, which is created if there is none.
    pub(super) fn open_or_create(&self) -> Result<Database, OpenError> {
        let file = match self.file() {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.create()?;
                self.file()
            }
            file => file,
        };
        self.database(file.map_err(|error| self.io(error))?, true)
    }

    /// Opens the file that was there before; never makes a new one in its place.
    pub(super) fn reopen(&self) -> Result<Database, OpenError> {
        self.database(self.file().map_err(|error| self.io(error))?, false)
    }

    /// Opens the file without changing anything in it, for as long as it cannot be written.
    pub(super) fn reopen_read_only(&self) -> Result<Database, OpenError> {
        let overlay = File::open(&self.path).and_then(Overlay::new).map_err(|error| self.io(error))?;
        self.guarded(|| self.builder().create_with_backend(overlay).map_err(|error| self.failed(error.into())))
    }

    fn file(&self) -> io::Result<File> {
        OpenOptions::new().read(true).write(true).open(&self.path)
    }

    /// Makes the file under another name and moves it to its place when it is complete, so that a crash on the way does
    /// not leave half a file where the next start expects a whole one. Only the owner may read it (mode 0600).
    fn create(&self) -> Result<(), OpenError> {
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(OpenError::NoFolder { folder: folder.to_path_buf() });
        }
        let new = tempfile::Builder::new().prefix(".new-store-").tempfile_in(folder).map_err(|error| self.io(error))?;
        let file = new.as_file().try_clone().map_err(|error| self.io(error))?;
        let database = self.disk.writable(&self.builder(), file).map_err(|error| self.failed(error.into()))?;
        create_tables(&database).map_err(|error| self.failed(error))?;
        database.close().map_err(|error| self.failed(error.into()))?;
        match new.persist_noclobber(&self.path) {
            Ok(_) => File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.io(error)),
            // Another process was faster: then it is that file that matters.
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(self.io(error.error)),
        }
    }

    fn builder(&self) -> Builder {
        let mut builder = Builder::new();
        builder.set_cache_size(self.cache_bytes);
        builder
    }

    fn database(&self, file: File, verify: bool) -> Result<Database, OpenError> {
        let metadata = file.metadata().map_err(|error| self.io(error))?;
        if !metadata.is_file() {
            return Err(self.not_a_store("it is not a regular file"));
        }
        // The database library would start anew in it. But files are made whole, so this one lost what it held.
        if metadata.len() == 0 {
            return Err(self.not_a_store("it is empty: remove it to start anew"));
        }
        warn_if_others_may_read(&self.path, &metadata);
        let mut builder = self.builder();
        builder.set_check_integrity_on_open(verify && metadata.len() <= VERIFY_BYTES_MAX);
        self.guarded(|| {
            let database = self.disk.writable(&builder, file).map_err(|error| self.failed(error.into()))?;
            self.check_schema(&database)?;
            Ok(database)
        })
    }

    /// The database library trusts what its checksums do not cover, and panics where that trust is betrayed.
    fn guarded<T>(&self, open: impl FnOnce() -> Result<T, OpenError>) -> Result<T, OpenError> {
        let panicked = |_| Err(self.corrupt("its structure contradicts itself"));
        catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(panicked)
    }

    fn check_schema(&self, database: &Database) -> Result<(), OpenError> {
        match read_schema(database).map_err(|error| self.failed(error))? {
            Schema::Version(SCHEMA_VERSION) => Ok(()),
            Schema::Version(found) if found > SCHEMA_VERSION => {
                Err(OpenError::NewerSchema { path: self.path.clone(), found, supported: SCHEMA_VERSION })
            }
            Schema::Version(found) => Err(self.corrupt(&format!("there never was a schema {found}"))),
            Schema::Foreign => Err(self.not_a_store("it is a database of something else")),
        }
    }

    fn not_a_store(&self, reason: &(impl ToString + ?Sized)) -> OpenError {
        OpenError::NotAStore { path: self.path.clone(), reason: reason.to_string() }
    }

    fn corrupt(&self, reason: &(impl ToString + ?Sized)) -> OpenError {
        OpenError::Corrupt { path: self.path.clone(), reason: reason.to_string() }
    }

    fn failed(&self, error: Error) -> OpenError {
        match error {
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => OpenError::Locked { path: self.path.clone() },
            // So the database library says that the file lacks its magic number.
            Error::Io(error) if error.kind() == ErrorKind::InvalidData => self.not_a_store(&error),
            Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => self.corrupt("it ends early"),
            Error::Io(error) => self.io(error),
            Error::Corrupted(reason) => self.corrupt(&reason),
            other => self.corrupt(&other),
        }
    }

    fn io(&self, source: io::Error) -> OpenError {
        let path = self.path.clone();
        match source.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => OpenError::Permission { path },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => OpenError::DiskFull { path },
            ErrorKind::WouldBlock => OpenError::Locked { path },
            ErrorKind::IsADirectory => self.not_a_store("it is a folder"),
            ErrorKind::NotADirectory => {
                OpenError::NoFolder { folder: path.parent().map(Path::to_path_buf).unwrap_or_default() }
            }
            _ => OpenError::Io { path, source },
        }
    }
}

/// What a database says it is.
enum Schema {
    Version(u64),
    Foreign,
}

fn read_schema(database: &Database) -> Result<Schema, Error> {
    let read = database.begin_read()?;
    match read.open_table(META) {
        Ok(meta) => Ok(meta.get(SCHEMA)?.map_or(Schema::Foreign, |row| Schema::Version(row.value()))),
        Err(TableError::Storage(error)) => Err(error.into()),
        Err(_) => Ok(Schema::Foreign),
    }
}

#[cfg(unix)]
fn warn_if_others_may_read(path: &Path, metadata: &std::fs::Metadata) {
    use std::os::unix::fs::PermissionsExt as _;

    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        tracing::warn!(file = %path.display(), mode = %format_args!("{mode:o}"), "others than its owner may open the store file: its mode should be 600");
    }
}

#[cfg(not(unix))]
fn warn_if_others_may_read(_path: &Path, _metadata: &std::fs::Metadata) {}
