//! The key ring: configured, or made in the data folder at the first start.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hawser_owner::{Entropy, KeyRing, KeyRingDocument};
use zeroize::Zeroizing;

use super::storage;
use crate::config::{Settings, StoreKind};
use crate::failure::Failure;

/// The key ring's file in the data folder.
const KEY_RING_FILE: &str = "key-ring.json";

/// The key ring to serve with.
pub(super) fn load(settings: &Settings, entropy: &dyn Entropy) -> Result<KeyRing, Failure> {
    let document = match (&settings.key_ring, settings.store) {
        (Some(document), _) => document.clone(),
        // What is kept in memory only needs keys that live as long.
        (None, StoreKind::Memory) => generate(entropy)?,
        (None, StoreKind::File) => {
            storage::make_folder(&settings.data_dir)?;
            read_or_make(&settings.data_dir.join(KEY_RING_FILE), entropy)?
        }
    };
    KeyRing::try_from(&document).map_err(|error| Failure::run(format!("the key ring cannot be used: {error}")))
}

fn generate(entropy: &dyn Entropy) -> Result<KeyRingDocument, Failure> {
    KeyRingDocument::generate(entropy).map_err(|error| Failure::run(format!("cannot make a key ring: {error}")))
}

fn read_or_make(path: &Path, entropy: &dyn Entropy) -> Result<KeyRingDocument, Failure> {
    match fs::read(path).map(Zeroizing::new) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
            // Only where it is wrong is told: the text around it is secret.
            let at = format!("line {} column {}", error.line(), error.column());
            Failure::run_with_hint(
                format!("the key ring {} cannot be read: wrong at {at}", path.display()),
                "restore the file from a backup; without it all sessions and stored secrets are lost",
            )
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => make(path, entropy),
        Err(error) => Err(Failure::run(format!("the key ring {} cannot be read: {error}", path.display()))),
    }
}

/// Writes a new ring beside its place and links it there, so that the file is never there in part, and of two processes that
/// start at the same time one wins and the other reads the winner's.
fn make(path: &Path, entropy: &dyn Entropy) -> Result<KeyRingDocument, Failure> {
    let cannot =
        |error: std::io::Error| Failure::run(format!("the key ring {} cannot be written: {error}", path.display()));
    let document = generate(entropy)?;
    let json = serde_json::to_vec_pretty(&document)
        .map(Zeroizing::new)
        .map_err(|error| Failure::run(format!("cannot write a key ring: {error}")))?;
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(cannot)?;
    let written = file.write_all(&json).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| fs::hard_link(&draft, path));
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => Ok(document),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => read_or_make(path, entropy),
        Err(error) => Err(cannot(error)),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use hawser_owner::SystemEntropy;

    use super::*;

    #[test]
    fn a_key_ring_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        let first = read_or_make(&path, &SystemEntropy::new()).unwrap();
        let second = read_or_make(&path, &SystemEntropy::new()).unwrap();
        assert_eq!(first.keys.first().unwrap().secret, second.keys.first().unwrap().secret);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn a_broken_key_ring_is_neither_replaced_nor_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(KEY_RING_FILE);
        fs::write(&path, br#"{"keys":[{"id":1,"state":"active","secret":"s3cret""#).unwrap();
        let error = read_or_make(&path, &SystemEntropy::new()).unwrap_err();
        assert!(!error.to_string().contains("s3cret"));
        assert!(fs::read_to_string(&path).unwrap().contains("s3cret"));
    }
}
