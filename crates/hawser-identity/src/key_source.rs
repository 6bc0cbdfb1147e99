//! Where an issuer's key set comes from: the embedded authorization server, a configured URL, or discovery.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hawser_owner::Timestamp;
use thiserror::Error;
use url::{Position, Url};

use crate::discovery::{METADATA_BYTES_MAX, MetadataError, jwks_uri, metadata_urls};
use crate::fetch::{Fetch, FetchError};
use crate::key_set::{KEY_SET_BYTES_MAX, KeySet, KeySetError};
use crate::local::{LocalIssuer, Unavailable};

/// A discovered `jwks_uri` is looked up anew after this time, so that an issuer may move its keys.
const DISCOVERY_LIFETIME: Duration = Duration::from_hours(1);
/// Longest time that getting a key set may take, discovery included.
const LOAD_TIMEOUT: Duration = Duration::from_secs(20);

/// Where keys come from.
pub(crate) enum KeySource {
    /// The embedded authorization server: no HTTP to ourselves.
    Local(Arc<dyn LocalIssuer>),
    /// A URL that the administrator configured.
    Configured { fetcher: Arc<dyn Fetch>, jwks_uri: Url },
    /// The issuer's metadata.
    Discovered { fetcher: Arc<dyn Fetch>, issuer: String, issuer_url: Url, known: Mutex<Option<(Url, Timestamp)>> },
}

/// A key set could not be had.
#[derive(Debug, Error)]
pub(crate) enum KeySourceError {
    #[error(transparent)]
    Local(#[from] Unavailable),
    #[error("fetching {what} at {place}: {error}")]
    Fetch { what: &'static str, place: String, error: FetchError },
    #[error("took longer than {} seconds", LOAD_TIMEOUT.as_secs())]
    Timeout,
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

impl KeySource {
    pub(crate) fn discovered(fetcher: Arc<dyn Fetch>, issuer: String, issuer_url: Url) -> Self {
        Self::Discovered { fetcher, issuer, issuer_url, known: Mutex::new(None) }
    }

    /// The present key set, within a bounded time.
    pub(crate) async fn load(&self, now: Timestamp) -> Result<KeySet, KeySourceError> {
        let document = tokio::time::timeout(LOAD_TIMEOUT, self.document(now)).await;
        Ok(KeySet::parse(&document.map_err(|_| KeySourceError::Timeout)??)?)
    }

    async fn document(&self, now: Timestamp) -> Result<Bytes, KeySourceError> {
        match self {
            Self::Local(local) => Ok(local.jwks().await?),
            Self::Configured { fetcher, jwks_uri } => get_keys(fetcher.as_ref(), jwks_uri).await,
            Self::Discovered { fetcher, issuer, issuer_url, known } => {
                let remembered = recall(known, now);
                let uri = match remembered {
                    Some(uri) => uri,
                    None => discover(fetcher.as_ref(), issuer, issuer_url).await?,
                };
                match get_keys(fetcher.as_ref(), &uri).await {
                    Ok(document) => {
                        remember(known, uri, now);
                        Ok(document)
                    }
                    Err(error) => {
                        // It may have moved: look it up next time.
                        forget(known);
                        Err(error)
                    }
                }
            }
        }
    }
}

async fn get_keys(fetcher: &dyn Fetch, uri: &Url) -> Result<Bytes, KeySourceError> {
    fetcher.get(uri, KEY_SET_BYTES_MAX).await.map_err(|error| failed("the key set", uri, error))
}

/// Asks at each place the metadata may be; the first document that is this issuer's counts.
async fn discover(fetcher: &dyn Fetch, issuer: &str, issuer_url: &Url) -> Result<Url, KeySourceError> {
    let mut failure = KeySourceError::Metadata(MetadataError::NoKeys);
    for url in metadata_urls(issuer_url) {
        match fetcher.get(&url, METADATA_BYTES_MAX).await {
            Ok(document) => match jwks_uri(&document, issuer, issuer_url) {
                Ok(uri) => return Ok(uri),
                Err(error) => failure = error.into(),
            },
            Err(error @ FetchError::NoAnswer(_)) => return Err(failed("the metadata", &url, error)),
            // "Not found" at one place is normal; it must not hide what is wrong with a document at another.
            Err(error) if !matches!(failure, KeySourceError::Metadata(MetadataError::OtherIssuer)) => {
                failure = failed("the metadata", &url, error);
            }
            Err(_) => {}
        }
    }
    Err(failure)
}

/// Names host and path, so neither a password nor a query of a configured URL is logged.
fn failed(what: &'static str, url: &Url, error: FetchError) -> KeySourceError {
    KeySourceError::Fetch { what, place: url[Position::BeforeHost..Position::AfterPath].to_owned(), error }
}

type Known = Mutex<Option<(Url, Timestamp)>>;

fn recall(known: &Known, now: Timestamp) -> Option<Url> {
    let known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.as_ref().filter(|(_, at)| now.since(*at) < DISCOVERY_LIFETIME).map(|(uri, _)| uri.clone())
}

fn remember(known: &Known, uri: Url, now: Timestamp) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    // The time of the discovery counts, not that of later fetches.
    match known.as_ref() {
        Some((same, at)) if *same == uri && now.since(*at) < DISCOVERY_LIFETIME => {}
        _ => *known = Some((uri, now)),
    }
}

fn forget(known: &Known) {
    *known.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
