//! A crowd: many sessions of many owners, opened over real HTTP, that then do nothing. What does that cost the node?
//!
//! `cargo xtask crowd` runs it with a million sessions; a test runs it with a few thousand and looks at the slope.

mod connection;
mod issuer;
mod node;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use hawser_fixture_valkey::RedisServer;
use hawser_owner::{KeyRingDocument, SystemEntropy};
use serde::Serialize;
use serde_json::json;

use self::connection::Connection;
use self::issuer::Issuer;
use self::node::Node;
use crate::fixture::{Fixture, Speaks};
use crate::gateway::Gateway;
use crate::process::until;

/// Connections that open sessions at the same time.
const OPENING: usize = 32;
/// Connections that call at the same time, each in a session of its own.
const CALLING: usize = 8;
/// Calls of each of them.
const CALLS: usize = 250;
/// Longest wait for the node to give back what sessions needed to be opened.
const SETTLED_WITHIN: Duration = Duration::from_mins(2);

/// How large a crowd, and of whom.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// How many sessions.
    pub sessions: usize,
    /// How many owners they belong to.
    pub owners: usize,
}

/// Where the gateway keeps the rows of sessions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Rows {
    /// In its own memory, where they count as well.
    Memory,
    /// In a Valkey server beside it.
    Valkey,
}

/// What was measured at one moment.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Moment {
    /// Sessions that were open.
    pub sessions: usize,
    /// Resident memory of the gateway's process.
    pub resident_bytes: u64,
    /// Of a call in an owned session.
    pub call: Latency,
    /// Part of one core that the process used while nothing happened, in percent.
    pub idle_cpu_percent: f64,
}

/// How long calls took, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Latency {
    /// Half of them took no longer.
    pub p50_us: u64,
    /// All but one in a hundred took no longer.
    pub p99_us: u64,
}

/// A gateway with a crowd in front of it.
pub struct Crowd {
    gateway: Gateway,
    _rows: Option<RedisServer>,
    _fixture: Fixture,
    issuer: Arc<Issuer>,
    audience: String,
    owners: usize,
    /// Their tokens and sessions.
    callers: Vec<(String, String)>,
    opened: usize,
}

impl Crowd {
    /// A gateway without anybody in front of one backend.
    pub async fn gather(rows: Rows, size: Size) -> Result<Self> {
        let valkey = if rows == Rows::Valkey { Some(RedisServer::start().await?) } else { None };
        let dir = tempfile::TempDir::with_prefix("hawser-test-")?;
        let ring = KeyRingDocument::generate(&SystemEntropy::new())?;
        std::fs::write(dir.path().join("ring.json"), serde_json::to_vec(&ring)?)?;
        let (fixture, issuer) = (Fixture::start(Speaks::Legacy).await?, Issuer::start().await?);
        // More than one owner's part, so that the callers have room as well.
        let per_owner = size.sessions.div_ceil(size.owners) + CALLING;
        let configuration = json!({
            "store": valkey.as_ref().map_or_else(|| "memory".to_owned(), RedisServer::url),
            "key_ring": "file:ring.json",
            "backends": { "everything": { "url": fixture.url(), "naming": "none" } },
            "auth": { "authorization_server": { "enabled": false },
                      "issuers": [{ "issuer": issuer.url(), "jwks_uri": issuer.keys_url(), "algorithms": ["ES256"] }] },
            "sessions": { "per_owner": per_owner, "total": (size.sessions + CALLING * 2).max(per_owner) },
        });
        let gateway = Gateway::start_in(dir, configuration).await?;
        let audience = gateway.mcp()?.to_string();
        let mut crowd = Self {
            gateway,
            _rows: valkey,
            _fixture: fixture,
            issuer: Arc::new(issuer),
            audience,
            owners: size.owners,
            callers: Vec::new(),
            opened: 0,
        };
        for caller in 0..CALLING {
            let token = crowd.issuer.token(&format!("caller-{caller}"), &crowd.audience)?;
            let mut connection = Connection::open(&crowd.gateway.address()?, &token).await?;
            let session = connection.open_session().await?;
            connection.call(&session, 0).await?;
            crowd.callers.push((token, session));
        }
        Ok(crowd)
    }

    /// Opens sessions until there are so many, and tells how long that took. `said` hears how many there are, now and then.
    pub async fn grow(&mut self, sessions: usize, said: impl Fn(usize) + Send + Sync + 'static) -> Result<Duration> {
        let began = Instant::now();
        let next = Arc::new(AtomicUsize::new(self.opened));
        let said = Arc::new(said);
        // Blocks of one owner's sessions, so that tokens are verified once, as they are for real clients.
        let block = sessions.div_ceil(self.owners).clamp(1, 100);
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..OPENING {
            let (next, said, issuer) = (Arc::clone(&next), Arc::clone(&said), Arc::clone(&self.issuer));
            let (address, audience, owners) = (self.gateway.address()?, self.audience.clone(), self.owners);
            opening.spawn(async move {
                loop {
                    let start = next.fetch_add(block, Ordering::Relaxed);
                    if start >= sessions {
                        return anyhow::Ok(());
                    }
                    let token = issuer.token(&format!("owner-{}", (start / block) % owners), &audience)?;
                    let mut connection = Connection::open(&address, &token).await?;
                    for number in start..(start + block).min(sessions) {
                        connection.open_session().await.with_context(|| format!("session {number}"))?;
                    }
                    if start % (block * 100) == 0 {
                        said(start);
                    }
                }
            });
        }
        while let Some(done) = opening.join_next().await {
            done??;
        }
        self.opened = sessions;
        Ok(began.elapsed())
    }

    /// What there is now, when the node has come to rest and was watched for so long while nothing happened.
    pub async fn measure(&self, watched: Duration) -> Result<Moment> {
        let node = Node::of(self.gateway.pid().context("the gateway has ended")?);
        let mut last = node.resident_bytes()?;
        until("the memory of the node comes to rest", SETTLED_WITHIN, async || {
            tokio::time::sleep(Duration::from_secs(6)).await;
            let before = std::mem::replace(&mut last, node.resident_bytes()?);
            Ok((last.abs_diff(before) < before / 200).then_some(()))
        })
        .await?;
        let (used, began) = (node.cpu()?, Instant::now());
        tokio::time::sleep(watched).await;
        let idle = node.cpu()?.saturating_sub(used).as_secs_f64() / began.elapsed().as_secs_f64();
        let resident_bytes = node.resident_bytes()?;
        let call = self.call().await?;
        Ok(Moment { sessions: self.opened, resident_bytes, call, idle_cpu_percent: (idle * 1000.0).round() / 10.0 })
    }

    async fn call(&self) -> Result<Latency> {
        let mut calling = tokio::task::JoinSet::new();
        for (token, session) in self.callers.clone() {
            let address = self.gateway.address()?;
            calling.spawn(async move {
                let mut connection = Connection::open(&address, &token).await?;
                let mut took = Vec::with_capacity(CALLS);
                for number in 1..=CALLS {
                    let began = Instant::now();
                    connection.call(&session, number).await?;
                    took.push(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
                }
                anyhow::Ok(took)
            });
        }
        let mut all = Vec::new();
        while let Some(done) = calling.join_next().await {
            all.extend(done??);
        }
        all.sort_unstable();
        let at = |percent: usize| all.get((all.len() * percent / 100).min(all.len().saturating_sub(1))).copied();
        ensure!(!all.is_empty(), "nobody called");
        Ok(Latency { p50_us: at(50).unwrap_or_default(), p99_us: at(99).unwrap_or_default() })
    }
}

/// What one session of those costs that came between two moments.
pub fn bytes_per_session(before: &Moment, after: &Moment) -> u64 {
    let sessions = u64::try_from(after.sessions.saturating_sub(before.sessions)).unwrap_or(u64::MAX).max(1);
    after.resident_bytes.saturating_sub(before.resident_bytes) / sessions
}
