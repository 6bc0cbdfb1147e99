//! The data folder and what is kept in it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use hawser_store::{MemoryStore, OpenError, RedbStore, Store};

use crate::config::{Settings, StoreKind};
use crate::failure::Failure;

/// The store's file in the data folder.
const STORE_FILE: &str = "hawser.redb";

/// Opens the configured store.
pub(super) fn open(settings: &Settings) -> Result<Arc<dyn Store>, Failure> {
    match settings.store {
        StoreKind::Memory => Ok(Arc::new(MemoryStore::new())),
        StoreKind::File => {
            make_folder(&settings.data_dir)?;
            let store = RedbStore::open(settings.data_dir.join(STORE_FILE));
            Ok(Arc::new(store.map_err(|error| match error {
                OpenError::Locked { .. } => Failure::run_with_hint(
                    error.to_string(),
                    "another gateway uses this data folder; choose another with --data-dir or HAWSER_DATA_DIR",
                ),
                other => Failure::run(other.to_string()),
            })?))
        }
    }
}

/// Makes the data folder, for its owner alone: the key ring in it opens every handle.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::run_with_hint(
            format!("cannot make the data folder {}: {error}", folder.display()),
            "choose another with --data-dir or HAWSER_DATA_DIR",
        )
    })
}
