//! A key ring's file: read as a whole, and never there in part.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};

use hawser_owner::{KeyRing, KeyRingDocument, KeyRingError};
use thiserror::Error;
use zeroize::Zeroizing;

/// The key ring's file in the data folder.
pub(crate) const KEY_RING_FILE: &str = "key-ring.json";
/// Largest file that is read; sixteen keys take a few kilobytes.
const BYTES_MAX: u64 = 64 << 10;

/// Why a key ring cannot be had from its file. Of what is in the file, only the place that is wrong is told.
#[derive(Debug, Error)]
pub(crate) enum RingFileError {
    #[error("the key ring {path} is not there")]
    Missing { path: String },
    #[error("the key ring {path} cannot be read: {error}")]
    Read { path: String, error: io::Error },
    #[error("the key ring {path} is larger than {BYTES_MAX} bytes")]
    TooLarge { path: String },
    #[error("the key ring {path} cannot be read: wrong at line {line} column {column}")]
    Syntax { path: String, line: usize, column: usize },
    #[error("the key ring {path} cannot be used: {error}")]
    Unusable { path: String, error: KeyRingError },
    #[error("the key ring {path} cannot be written: {error}")]
    Write { path: String, error: io::Error },
    #[error("the key ring {path} is there already")]
    Exists { path: String },
    #[error("another command is changing the key ring {path}")]
    Busy { path: String },
    #[error("a key ring cannot be written as JSON")]
    Json,
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Reads a ring that can be used.
pub(crate) fn read(path: &Path) -> Result<KeyRingDocument, RingFileError> {
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::NotFound => RingFileError::Missing { path: shown(path) },
        _ => RingFileError::Read { path: shown(path), error },
    };
    let mut text = Zeroizing::new(Vec::new());
    File::open(path).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut text)).map_err(failed)?;
    if text.len() as u64 > BYTES_MAX {
        return Err(RingFileError::TooLarge { path: shown(path) });
    }
    let document: KeyRingDocument = serde_json::from_slice(&text).map_err(|error| RingFileError::Syntax {
        path: shown(path),
        line: error.line(),
        column: error.column(),
    })?;
    match KeyRing::try_from(&document) {
        Ok(_) => Ok(document),
        Err(error) => Err(RingFileError::Unusable { path: shown(path), error }),
    }
}

/// A ring as it is written.
pub(crate) fn to_json(document: &KeyRingDocument) -> Result<Zeroizing<Vec<u8>>, RingFileError> {
    let mut json = serde_json::to_vec_pretty(document).map(Zeroizing::new).map_err(|_| RingFileError::Json)?;
    json.push(b'\n');
    Ok(json)
}

/// Writes a ring where there is none yet. It is written beside its place and linked there, so that it is never there in part,
/// and of two who do this at the same time one is told that the other was first.
pub(crate) fn create(path: &Path, document: &KeyRingDocument) -> Result<(), RingFileError> {
    let draft = Draft::write(path, document)?;
    match fs::hard_link(&draft.path, path).and_then(|()| sync_folder(path)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(RingFileError::Exists { path: shown(path) }),
        Err(error) => Err(RingFileError::Write { path: shown(path), error }),
    }
}

/// Changes a ring in its place, and hands out what it is now. One command at a time; nothing of the old one is left behind.
pub(crate) fn edit<T, E: From<RingFileError>>(
    path: &Path,
    change: impl FnOnce(&mut KeyRingDocument) -> Result<T, E>,
) -> Result<(KeyRingDocument, T), E> {
    // A link is followed here, so that what it leads to is replaced and not the link.
    let place = fs::canonicalize(path).map_err(|_| RingFileError::Missing { path: shown(path) })?;
    let failed = |error| RingFileError::Write { path: shown(path), error };
    let folder = File::open(folder_of(&place)).map_err(failed)?;
    // Let go of when the folder is closed, be it by a crash.
    folder.try_lock().map_err(|_| RingFileError::Busy { path: shown(path) })?;
    let mut document = read(&place)?;
    let done = change(&mut document)?;
    let draft = Draft::write(&place, &document)?;
    draft.keep_owner_of(&place).and_then(|()| fs::rename(&draft.path, &place)).map_err(failed)?;
    folder.sync_all().map_err(failed)?;
    Ok((document, done))
}

/// A ring that is written beside its place; removed when dropped, if it is still there.
struct Draft {
    path: PathBuf,
    file: File,
}

impl Draft {
    fn write(place: &Path, document: &KeyRingDocument) -> Result<Self, RingFileError> {
        let json = to_json(document)?;
        let path = place.with_extension(format!("{}.new", std::process::id()));
        let failed = |error| RingFileError::Write { path: shown(place), error };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let mut draft = Self { path, file };
        draft.file.write_all(&json).and_then(|()| draft.file.sync_all()).map_err(failed)?;
        Ok(draft)
    }

    /// Whoever could read the ring before can read it after: an administrator changes what a service reads.
    fn keep_owner_of(&self, place: &Path) -> io::Result<()> {
        let (old, new) = (fs::metadata(place)?, self.file.metadata()?);
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            fchown(&self.file, Some(old.uid()), Some(old.gid()))?;
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn folder_of(place: &Path) -> &Path {
    place.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_folder(place: &Path) -> io::Result<()> {
    File::open(folder_of(place))?.sync_all()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use hawser_owner::{SystemEntropy, Timestamp};

    use super::*;

    fn made(folder: &Path) -> PathBuf {
        let path = folder.join(KEY_RING_FILE);
        create(&path, &KeyRingDocument::generate(&SystemEntropy::new()).unwrap()).unwrap();
        path
    }

    fn add(document: &mut KeyRingDocument) -> Result<(), RingFileError> {
        document.add(&SystemEntropy::new(), Timestamp::from_seconds(1)).map(drop).map_err(|_| RingFileError::Json)
    }

    #[test]
    fn a_ring_is_changed_as_a_whole_for_its_owner_alone_and_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let (document, ()) = edit(&path, add).unwrap();
        assert_eq!(document.keys.len(), 2);
        assert_eq!(read(&path).unwrap().keys.len(), 2);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(matches!(create(&path, &document), Err(RingFileError::Exists { .. })));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_step_that_fails_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        let before = fs::read(&path).unwrap();
        let refused = edit(&path, |document| {
            document.keys.clear();
            Err::<(), _>(RingFileError::Json)
        });
        assert!(refused.is_err());
        assert_eq!(fs::read(&path).unwrap(), before);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        let link = folder.path().join("link.json");
        symlink(&path, &link).unwrap();
        edit(&link, add).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(read(&path).unwrap().keys.len(), 2);
    }

    #[test]
    fn two_who_change_it_at_the_same_time_do_not_lose_each_others_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = made(folder.path());
        let inner = edit(&path, |document| {
            add(document)?;
            Ok::<_, RingFileError>(edit(&path, add).map(drop))
        });
        assert!(matches!(inner.unwrap().1, Err(RingFileError::Busy { .. })));
        assert_eq!(read(&path).unwrap().keys.len(), 2);
    }

    #[test]
    fn what_cannot_be_used_is_not_read_and_not_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        let missing = read(&path).unwrap_err();
        assert!(matches!(missing, RingFileError::Missing { .. }));
        let long = " ".repeat(70_000);
        for text in [
            r#"{"keys":[{"id":1,"state":"active","secret":"s3cret""#,
            r#"{"keys":[{"id":1,"state":"active","secret":"s3cret"}]}"#,
            r#"{"keys":[{"id":1,"state":"s3cret","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#,
            r#"{"keys":[]}"#,
            long.as_str(),
            "",
        ] {
            fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
            assert!(edit(&path, add).is_err());
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
