//! The key ring: configured, or made in the data folder at the first start; and read again while running.
//!
//! A ring in a file is looked at every [`EVERY`], at a SIGHUP, and at once when something comes that was made under a key that
//! it does not have: so nodes need not learn of a new key at the same moment. A file that cannot be used changes nothing.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hawser_owner::{Entropy, KeyRing, KeyRingDocument, RingChange};
use tokio::signal::unix::Signal;
use tracing::{error, info, warn};

use super::storage;
use crate::config::{Settings, StoreKind};
use crate::failure::Failure;
use crate::key_ring_file::{self, KEY_RING_FILE, RingFileError};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(2);

/// A key ring, and what keeps it as its file says.
pub(super) struct LoadedRing {
    pub(super) ring: Arc<KeyRing>,
    /// `None` where the keys do not come from a file: they are what they are until the process ends.
    pub(super) file: Option<Arc<RingFile>>,
}

/// The key ring to serve with.
pub(super) fn load(settings: &Settings, entropy: &dyn Entropy) -> Result<LoadedRing, Failure> {
    let file = match (&settings.key_ring, &settings.store) {
        (Some(configured), _) => configured.file.clone(),
        // Nodes that share a store share their keys: the configuration is refused without.
        (None, StoreKind::Redis(_)) => {
            return Err(Failure::run_with_hint(
                "a store that gateways share needs a configured key ring",
                "make one with `hawser keys generate FILE` and set `key_ring: file:FILE`",
            ));
        }
        // What is kept in memory only needs keys that live as long.
        (None, StoreKind::Memory) => None,
        (None, StoreKind::File) => {
            storage::make_folder(&settings.data_dir)?;
            Some(settings.data_dir.join(KEY_RING_FILE))
        }
    };
    // Looked at first: what is written after that is read again.
    let seen = file.as_deref().and_then(|path| State::of(path).ok());
    let document = match (&settings.key_ring, &file) {
        (Some(configured), _) => configured.document.clone(),
        (None, None) => generate(entropy)?,
        (None, Some(path)) => read_or_make(path, entropy)?,
    };
    let ring = KeyRing::try_from(&document)
        .map(Arc::new)
        .map_err(|error| Failure::run(format!("the key ring cannot be used: {error}")))?;
    let file = file.map(|path| Arc::new(RingFile { path, seen: Mutex::new(seen) }));
    if let Some(file) = &file {
        let file = Arc::clone(file);
        ring.on_unknown_key(Box::new(move |ring, _| file.look(ring, Look::IfChanged)));
    }
    Ok(LoadedRing { ring, file })
}

fn generate(entropy: &dyn Entropy) -> Result<KeyRingDocument, Failure> {
    KeyRingDocument::generate(entropy)
        .map(|document| document.dated(SystemTime::now().into()))
        .map_err(|error| Failure::run(format!("cannot make a key ring: {error}")))
}

fn read_or_make(path: &Path, entropy: &dyn Entropy) -> Result<KeyRingDocument, Failure> {
    let read = match key_ring_file::read(path) {
        Err(RingFileError::Missing { .. }) => {
            let document = generate(entropy)?;
            match key_ring_file::create(path, &document) {
                Ok(()) => return Ok(document),
                // Another process was first: its ring is the one.
                Err(RingFileError::Exists { .. }) => key_ring_file::read(path),
                Err(error) => Err(error),
            }
        }
        read => read,
    };
    Ok(read?)
}

/// The file that a ring comes from.
#[derive(Debug)]
pub(super) struct RingFile {
    path: PathBuf,
    seen: Mutex<Option<State>>,
}

/// How hard to look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Only if the file is not the one that was read.
    IfChanged,
    /// In any case.
    Again,
}

/// A file as it was found.
#[derive(Clone, Copy, Debug)]
struct State {
    version: Version,
    /// So young that another change could look the same.
    young: bool,
}

/// What tells one version of a file from another, wherever links lead to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    file: (u64, u64, u64),
    written: (i64, i64),
    changed: (i64, i64),
}

impl State {
    fn of(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        let age = SystemTime::now().duration_since(found.modified()?).unwrap_or_default();
        let version = Version {
            file: (found.dev(), found.ino(), found.size()),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        };
        Ok(Self { version, young: age < Duration::from_secs(1) })
    }
}

/// Keeps a ring as its file says, until the task is dropped.
pub(super) async fn follow(file: Option<Arc<RingFile>>, ring: Arc<KeyRing>, mut hang_up: Signal) {
    let mut every = tokio::time::interval(EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let look = tokio::select! {
            _ = every.tick() => Look::IfChanged,
            Some(()) = hang_up.recv() => Look::Again,
        };
        match &file {
            Some(file) => {
                let (file, ring) = (Arc::clone(file), Arc::clone(&ring));
                let _ = tokio::task::spawn_blocking(move || file.look(&ring, look)).await;
            }
            None if look == Look::Again => warn!("the key ring does not come from a file: it changes with a restart"),
            None => {}
        }
    }
}

impl RingFile {
    /// Reads the file if there is something new in it. Who comes while it is being read waits and has what was read.
    fn look(&self, ring: &KeyRing, look: Look) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the file is read: a change after this moment is seen the next time.
        let state = State::of(&self.path).ok();
        let same = seen.map(|seen| seen.version) == state.map(|state| state.version);
        if look == Look::IfChanged && same && seen.is_none_or(|seen| !seen.young) {
            return;
        }
        let again = look == Look::Again || !same;
        *seen = state;
        match key_ring_file::read(&self.path).map_err(|error| error.to_string()) {
            Ok(document) => match ring.replace(&document) {
                Ok(change) => tell(ring, &change, again),
                Err(error) => keep(&format!("the key ring {} cannot be used: {error}", self.path.display()), again),
            },
            Err(error) => keep(&error, again),
        }
    }
}

fn keep(error: &str, again: bool) {
    if again {
        error!("{error}; the keys of before stay in use");
    }
}

/// Says which keys there are now, for whoever waits until every node has a key.
fn tell(ring: &KeyRing, change: &RingChange, again: bool) {
    if *change == RingChange::default() && !again {
        return;
    }
    let keys: Vec<_> = ring.states().iter().map(|(id, state)| format!("{id} {}", state.as_str())).collect();
    info!(keys = keys.join(", "), "the key ring was read again");
    if let (Some(key), true) = (change.activated, change.unpublished) {
        warn!(%key, "a key was activated that was not published here before: nodes that do not have it yet refuse what is made under it");
    }
    if let Some(key) = change.lost {
        warn!(%key, "the key that was active until now was removed: what was made under it is refused from now on");
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::os::unix::fs::symlink;

    use hawser_owner::{KeyId, SystemEntropy};

    use super::*;

    fn file(path: &Path) -> (RingFile, KeyRing) {
        let document = read_or_make(path, &SystemEntropy::new()).unwrap();
        let ring = KeyRing::try_from(&document).unwrap();
        (RingFile { path: path.to_path_buf(), seen: Mutex::new(State::of(path).ok()) }, ring)
    }

    fn write(path: &Path, document: &KeyRingDocument) {
        fs::write(path, key_ring_file::to_json(document).unwrap()).unwrap();
    }

    fn activate_another(document: &mut KeyRingDocument) -> KeyId {
        let now = SystemTime::now().into();
        let id = document.add(&SystemEntropy::new(), now).unwrap();
        document.activate(id, now).unwrap();
        id
    }

    #[test]
    fn a_key_ring_is_made_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        let first = read_or_make(&path, &SystemEntropy::new()).unwrap();
        let second = read_or_make(&path, &SystemEntropy::new()).unwrap();
        assert_eq!(first.keys.first().unwrap().secret, second.keys.first().unwrap().secret);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_broken_key_ring_is_not_replaced_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        for broken in [r#"{"keys":[{"id":1,"#, r#"{"keys":[]}"#] {
            fs::write(&path, broken).unwrap();
            read_or_make(&path, &SystemEntropy::new()).unwrap_err();
            assert_eq!(fs::read_to_string(&path).unwrap(), broken);
        }
    }

    #[test]
    fn a_file_that_is_written_over_or_replaced_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        let (file, ring) = file(&path);
        let mut document = key_ring_file::read(&path).unwrap();
        let first = activate_another(&mut document);
        write(&path, &document);
        file.look(&ring, Look::IfChanged);
        assert_eq!(ring.active_key(), first);

        let (_, second) =
            key_ring_file::edit(&path, |document| Ok::<_, RingFileError>(activate_another(document))).unwrap();
        file.look(&ring, Look::IfChanged);
        assert_eq!(ring.active_key(), second);
    }

    #[test]
    fn a_file_that_cannot_be_used_changes_nothing_and_a_good_one_does_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        let (file, ring) = file(&path);
        let mut document = key_ring_file::read(&path).unwrap();
        let states = ring.states();
        for broken in ["", "{}", r#"{"keys":[]}"#] {
            fs::write(&path, broken).unwrap();
            file.look(&ring, Look::Again);
            assert_eq!(ring.states(), states);
        }
        fs::remove_file(&path).unwrap();
        file.look(&ring, Look::IfChanged);
        assert_eq!(ring.states(), states);
        let new = activate_another(&mut document);
        write(&path, &document);
        file.look(&ring, Look::IfChanged);
        assert_eq!(ring.active_key(), new);
    }

    /// As an orchestrator mounts secrets: a link to a link to a folder, of which the middle one is swapped.
    #[test]
    fn a_link_that_is_swapped_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["..1", "..2"] {
            fs::create_dir(at(name)).unwrap();
        }
        let (_, _) = file(&at("..1").join(KEY_RING_FILE));
        let mut document = key_ring_file::read(&at("..1").join(KEY_RING_FILE)).unwrap();
        let new = activate_another(&mut document);
        write(&at("..2").join(KEY_RING_FILE), &document);
        symlink("..1", at("..data")).unwrap();
        symlink(Path::new("..data").join(KEY_RING_FILE), at(KEY_RING_FILE)).unwrap();

        let (file, ring) = file(&at(KEY_RING_FILE));
        assert_ne!(ring.active_key(), new);
        symlink("..2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        file.look(&ring, Look::IfChanged);
        assert_eq!(ring.active_key(), new);
    }
}
