//! Everybody who takes part, logged in before anything begins.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result};
use futures_util::future::try_join_all;
use hawser_probe::oauth::Grant;
use hawser_tests::Person;
use tokio::runtime::Handle;
use url::Url;

use crate::issuer::Issuer;
use crate::owner::Owner;

/// Users that share a registered client: as many programs as people would be more registrations than one address may make.
const OF_ONE_CLIENT: usize = 8;

/// The users of the embedded authorization server for so many owners and strangers.
pub(crate) struct Cast {
    pub(crate) owners: Vec<String>,
    pub(crate) strangers: Vec<String>,
}

/// Whoever changes what backends offer.
pub(crate) const CHANGER: &str = "changer";

impl Cast {
    pub(crate) fn new(owners: u16, strangers: u16) -> Self {
        let names = |what: &str, count: u16| (0..count).map(|number| format!("{what}-{number:04}")).collect();
        Self { owners: names("owner", owners), strangers: names("stranger", strangers) }
    }

    /// Who needs a password.
    pub(crate) fn users(&self) -> Vec<String> {
        let owners = self.owners.iter().enumerate().filter(|(number, _)| !is_external(*number));
        let owners = owners.map(|(_, name)| name.clone());
        owners.chain(self.strangers.iter().cloned()).chain([CHANGER.to_owned()]).collect()
    }

    /// The subjects of the owners whom the external issuer knows.
    pub(crate) fn external_subjects(&self) -> Vec<String> {
        let external = self.owners.iter().enumerate().filter(|(number, _)| is_external(*number));
        external.map(|(_, name)| name.clone()).collect()
    }
}

/// Whether the owner of this number is known to the external issuer.
pub(crate) fn is_external(number: usize) -> bool {
    number % 3 == 2
}

/// Logs in these users.
pub(crate) async fn log_in(url: &Url, names: &[String]) -> Result<Vec<Arc<Owner>>> {
    let groups = names.chunks(OF_ONE_CLIENT).map(async |group| {
        let mut owners = Vec::new();
        let (first, others) = group.split_first().context("nobody")?;
        let person = Person::log_in(url, first).await.with_context(|| format!("logging {first} in"))?;
        owners.push(Arc::new(Owner::embedded(first, person.grant())?));
        for name in others {
            let other = person.same_client_for(name).await.with_context(|| format!("logging {name} in"))?;
            owners.push(Arc::new(Owner::embedded(name, other.grant())?));
        }
        anyhow::Ok(owners)
    });
    let mut all: Vec<_> = try_join_all(groups).await?.into_iter().flatten().collect();
    all.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// People who log in once more, in the middle of a run: one of them registers a client, and the others use it too.
#[derive(Clone, Default)]
pub(crate) struct Logins(Arc<Mutex<Option<(Instant, Person)>>>);

impl Logins {
    /// Logs in `name`, at a client that was registered after `emptied`.
    pub(crate) async fn again(&self, url: &Url, name: &str, emptied: Option<Instant>) -> Result<Grant> {
        let (shared, url, name) = (Arc::clone(&self.0), url.clone(), name.to_owned());
        let runtime = Handle::current();
        // A thread of its own: they go one after the other, and what a login is made of does not move between threads.
        let login = move || {
            let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, first)) = shared.as_ref().filter(|(registered, _)| Some(*registered) >= emptied) {
                return Ok(runtime.block_on(first.same_client_for(&name))?.grant().clone());
            }
            let registered = Instant::now();
            let person = runtime.block_on(Person::log_in(&url, &name))?;
            let grant = person.grant().clone();
            *shared = Some((registered, person));
            Ok(grant)
        };
        tokio::task::spawn_blocking(login).await?
    }
}

/// Somebody known to the external issuer.
pub(crate) fn external(name: &str, subject: &str, issuer: &Arc<Issuer>, url: &Url) -> Result<Arc<Owner>> {
    Ok(Arc::new(Owner::external(name, subject, issuer, url.as_str())?))
}
