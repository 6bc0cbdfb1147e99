//! The store that the nodes share: a real Valkey on loopback, with a link from each node.

use std::collections::BTreeMap;

use anyhow::Result;
use hawser_tests::RedisServer;

use crate::link::Link;

/// The store and the ways to it.
pub(crate) struct SharedStore {
    pub(crate) server: RedisServer,
    pub(crate) links: Vec<Link>,
}

impl SharedStore {
    /// Starts it, with links for so many nodes.
    pub(crate) async fn start(nodes: usize) -> Result<Self> {
        let server = RedisServer::start().await?;
        let mut links = Vec::new();
        for _ in 0..nodes {
            links.push(Link::to(format!("127.0.0.1:{}", server.port())).await?);
        }
        Ok(Self { server, links })
    }

    /// How often each command was carried out so far.
    pub(crate) async fn commands(&self) -> Result<BTreeMap<String, u64>> {
        let stats = self.server.ask(&["INFO", "commandstats"]).await?;
        let count = |line: &str| {
            let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
        };
        Ok(stats.text().lines().filter_map(count).collect())
    }
}
