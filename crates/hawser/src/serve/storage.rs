//! The data folder and what is kept in it.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hawser_store::{MemoryStore, OpenError, OpenRedisError, RedbStore, RedisOptions, RedisStore, Store};
use tracing::error;

use crate::config::{Settings, StoreKind};
use crate::failure::Failure;

/// The store's file in the data folder.
const STORE_FILE: &str = "hawser.redb";

/// How long a server may take to be there: a gateway is often started together with its store.
const SERVER_WAIT: Duration = Duration::from_secs(30);
/// How long is waited for it where the gateway can begin without.
const SERVER_WAIT_SHORT: Duration = Duration::from_secs(5);

/// Opens the configured store.
pub(super) async fn open(settings: &Settings) -> Result<Arc<dyn Store>, Failure> {
    match &settings.store {
        StoreKind::Redis(options) => {
            // Its signing keys are in the store.
            let needed = settings.authorization_server.is_some();
            Ok(Arc::new(at_server(RedisOptions::clone(options), needed).await?))
        }
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

/// Waits for a server that is not there yet, telling so in the log. Where it is not needed to begin with, the gateway begins
/// without it: sessions are served by their seals until it is there.
async fn at_server(options: RedisOptions, needed: bool) -> Result<RedisStore, Failure> {
    let store = RedisStore::start(options);
    let error = match store.ready(if needed { SERVER_WAIT } else { SERVER_WAIT_SHORT }).await {
        Ok(()) => return Ok(store),
        Err(error) => error,
    };
    let hint = match &error {
        OpenRedisError::Refused { .. } => "see docs/store.md for what the gateway needs of its store",
        OpenRedisError::Unreachable { .. } if !needed => {
            error!(%error, "the store is not there; what needs it is refused until it is");
            return Ok(store);
        }
        OpenRedisError::Unreachable { .. } => "start the store first, or check `store` in the configuration",
    };
    Err(Failure::run_with_hint(error.to_string(), hint))
}

/// Makes the data folder, for its owner alone: the key ring in it opens every handle.
pub(crate) fn make_folder(folder: &Path) -> Result<(), Failure> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(|error| {
        Failure::run_with_hint(
            format!("cannot make the data folder {}: {error}", folder.display()),
            "choose another with --data-dir or HAWSER_DATA_DIR",
        )
    })
}
