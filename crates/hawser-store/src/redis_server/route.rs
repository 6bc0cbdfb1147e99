//! From a request to the server that has the row, and back with the answer.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value, cmd, pipe};
use tokio::time::Instant;

use super::cluster::{Cluster, Elsewhere, after_asking};
use super::failure::{Failure, told};
use super::link::{Link, Live, NoAnswer, Source};
use super::scripts::Order;
use super::sentinels::Sentinels;
use super::server::Manner;
use super::slots::slot_of;
use super::url::{Address, Place};

/// Redirections that one request follows.
const REDIRECTIONS_MAX: usize = 5;

/// All servers of a store.
pub(super) enum Route {
    /// The one with all rows.
    One(Link),
    /// Those that share the rows.
    Cluster(Cluster),
}

impl Route {
    /// Begins to connect.
    pub(super) fn start(place: Place, manner: Manner) -> Self {
        match place {
            Place::One(address) => Self::One(Link::start(Source::At { address, cluster: false }, manner)),
            Place::Sentinels { addresses, name, credentials } => {
                let theirs = Manner { credentials, database: 0, ..manner.clone() };
                Self::One(Link::start(Source::Sentinels(Arc::new(Sentinels::new(addresses, name, theirs))), manner))
            }
            Place::Cluster(seeds) => Self::Cluster(Cluster::start(seeds, manner)),
        }
    }

    /// Waits until every row can be reached.
    pub(super) async fn ready(&self, within: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + within;
        match self {
            Self::One(link) => link.ready(deadline).await,
            Self::Cluster(cluster) => cluster.ready(deadline).await,
        }
    }

    /// Has the order done at the server that has the row.
    pub(super) async fn send(&self, order: &Order, deadline: Instant) -> Result<Value, Failure> {
        match self.send_short(order, false, deadline).await {
            Err(NoAnswer::Refused(error)) if error.code() == Some("NOSCRIPT") => {
                self.send_short(order, true, deadline).await
            }
            answer => answer,
        }
        .map_err(failed)
    }

    /// `whole`: with the text of a script, for a server that does not know it yet.
    async fn send_short(&self, order: &Order, whole: bool, deadline: Instant) -> Result<Value, NoAnswer> {
        let command = order.command(whole);
        match self {
            Self::One(link) => link.live(deadline).await.map_err(NoAnswer::Failed)?.send(&command, deadline).await,
            Self::Cluster(cluster) => send_in(cluster, slot_of(order.name()), &command, deadline).await,
        }
    }

    /// Every server with rows, in the order of their addresses.
    pub(super) async fn servers(&self, deadline: Instant) -> Result<Vec<Arc<Live>>, Failure> {
        match self {
            Self::One(link) => Ok(vec![link.live(deadline).await?]),
            Self::Cluster(cluster) => {
                let mut servers = Vec::new();
                for (_, link) in cluster.map()?.links() {
                    servers.push(link.live(deadline).await?);
                }
                Ok(servers)
            }
        }
    }

    /// Changes when servers come, go or start anew, or when rows move between them.
    pub(super) fn fingerprint(&self, servers: &[Arc<Live>]) -> u64 {
        let mut hasher = DefaultHasher::new();
        for server in servers {
            (&server.address, &server.about.run_id).hash(&mut hasher);
        }
        if let Self::Cluster(cluster) = self
            && let Ok(map) = cluster.map()
        {
            map.ranges().for_each(|range| range.hash(&mut hasher));
        }
        hasher.finish()
    }

    /// The server to publish and to listen at. Any server of a cluster hears all that is published, but from the others with
    /// a delay: where all nodes take the first that is there, messages come in order and none from before a subscription.
    pub(super) async fn exchange(&self, deadline: Instant) -> Result<Arc<Live>, Failure> {
        match self {
            Self::One(link) => link.live(deadline).await,
            Self::Cluster(cluster) => {
                let links = cluster.learned(deadline).await?.links();
                if let Some(up) = links.iter().find_map(|(_, link)| link.now()) {
                    return Ok(up);
                }
                // Just learned of, they may be on their way.
                for (_, link) in &links {
                    if let Ok(live) = link.live(deadline).await {
                        return Ok(live);
                    }
                }
                Err(Failure::passing("no server of the cluster is there"))
            }
        }
    }

    /// Publishes.
    pub(super) async fn publish(&self, channel: &[u8], message: &[u8], deadline: Instant) -> Result<(), Failure> {
        let mut command = cmd("PUBLISH");
        command.arg(channel).arg(message);
        self.exchange(deadline).await?.send(&command, deadline).await.map(drop).map_err(failed)
    }

    /// Whether that server is still one to listen at.
    pub(super) fn is_heard_at(&self, address: &Address) -> bool {
        match self {
            Self::One(link) => link.now().is_some_and(|live| live.address == *address),
            Self::Cluster(cluster) => {
                cluster.map().is_ok_and(|map| map.at(address).is_some_and(|link| link.now().is_some()))
            }
        }
    }
}

/// Sends to the primary of the slot, following redirections.
async fn send_in(cluster: &Cluster, slot: u16, command: &Cmd, deadline: Instant) -> Result<Value, NoAnswer> {
    let mut instead: Option<(Arc<Link>, bool)> = None;
    for _ in 0..REDIRECTIONS_MAX {
        let map = cluster.map().map_err(NoAnswer::Failed)?;
        let none = || NoAnswer::Failed(Failure::passing("no server of the cluster has this row"));
        let here = || map.of_slot(slot).map(|link| (link, false));
        let (link, asking) = instead.take().or_else(here).ok_or_else(none)?;
        let live = link.live(deadline).await.map_err(NoAnswer::Failed)?;
        let answer = if asking {
            let mut both = pipe();
            both.add_command(cmd("ASKING")).add_command(command.clone());
            live.send_all(&both, 2, deadline).await.and_then(after_asking)
        } else {
            live.send(command, deadline).await
        };
        let refused = match answer {
            Ok(answer) => return Ok(answer),
            Err(refused) => refused,
        };
        let (place, asking) = match Elsewhere::of(&refused, &live.address) {
            Some(Elsewhere::Moved(place)) => (place, false),
            Some(Elsewhere::Ask(place)) => (place, true),
            None => {
                // It may have lost its slots with its connection.
                cluster.ask_again();
                return Err(refused);
            }
        };
        instead = place.and_then(|place| map.at(&place)).map(|link| (link, asking));
        if instead.is_some() {
            cluster.ask_again();
        } else {
            cluster.asked_again(deadline).await;
        }
    }
    Err(NoAnswer::Failed(Failure::passing("the servers of the cluster send the request around")))
}

/// What is told of a request that failed.
pub(super) fn failed(answer: NoAnswer) -> Failure {
    match answer {
        NoAnswer::Refused(error) => Failure::passing(told(&error)),
        NoAnswer::Failed(failure) => failure,
    }
}
