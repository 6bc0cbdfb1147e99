//! Several gateways that are one: the same store, the same key ring, the same public address, in front of one fixture.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use hawser_fixture_valkey::RedisServer;
use hawser_owner::{KeyRingDocument, SystemEntropy};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use crate::capture::Capture;
use crate::entry::Entry;
use crate::fixture::{Fixture, Speaks};
use crate::gateway::Gateway;
use crate::legacy::Legacy;
use crate::modern::Modern;
use crate::person::Person;
use crate::recorder::Recorder;

/// The nodes, and everything they stand on.
pub struct Nodes {
    /// The gateways.
    pub nodes: Vec<Gateway>,
    /// The one address in front of them. It gives each request to the next one.
    pub entry: Entry,
    /// The store that they share.
    pub store: RedisServer,
    /// The fixture behind them.
    pub fixture: Fixture,
    /// What is between them and the fixture.
    pub recorder: Recorder,
    /// All messages of both sides.
    pub capture: Capture,
    configuration: Value,
    url: Url,
    _ring: TempDir,
}

impl Nodes {
    /// So many nodes, in front of a fixture that speaks this.
    pub async fn new(count: usize, speaks: Speaks) -> Result<Self> {
        Self::with(count, speaks, json!({})).await
    }

    /// The same with more in the configuration: members of its top level.
    pub async fn with(count: usize, speaks: Speaks, more: Value) -> Result<Self> {
        let fixture = Fixture::start(speaks).await?;
        let capture = Capture::new();
        let recorder = Recorder::start(fixture.url(), &capture).await?;
        let (store, entry) = (RedisServer::start().await?, Entry::start().await?);
        let ring = TempDir::with_prefix("hawser-test-")?;
        let file = ring.path().join("key-ring.json");
        std::fs::write(&file, serde_json::to_vec(&KeyRingDocument::generate(&SystemEntropy::new())?)?)?;
        let mut configuration = json!({
            "public_url": entry.url().origin().ascii_serialization(),
            "store": store.url(),
            "key_ring": format!("file:{}", file.display()),
            "backends": { "everything": { "url": recorder.url(), "naming": "none" } },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            configuration[name] = value.clone();
        }
        let configuration = Gateway::users_added(configuration)?;
        let url = entry.url().join("/mcp")?;
        let mut nodes =
            Self { nodes: Vec::new(), entry, store, fixture, recorder, capture, configuration, url, _ring: ring };
        for _ in 0..count {
            nodes.add().await?;
        }
        Ok(nodes)
    }

    /// Starts one more node.
    pub async fn add(&mut self) -> Result<()> {
        self.nodes.push(Gateway::start(self.configuration.clone()).await?);
        let listeners: Vec<SocketAddr> = self.nodes.iter().map(Gateway::listener).collect();
        self.entry.lead_to(listeners);
        Ok(())
    }

    /// What the nodes are configured with.
    pub fn configuration(&self) -> &Value {
        &self.configuration
    }

    /// The MCP endpoint, as clients know it.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The same endpoint at one node: what is sent there is sent to no other.
    pub fn at(&self, node: usize) -> Result<Url> {
        let node = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?;
        Ok(Url::parse(&format!("http://{}/mcp", node.listener()))?)
    }

    /// Logs a user in at a client of their own, at whatever nodes it takes.
    pub async fn log_in(&self, name: &str) -> Result<Person> {
        Person::log_in(&self.url, name).await
    }

    /// A modern client for who is logged in, declaring nothing.
    pub fn modern(&self, person: &Person) -> Result<Modern> {
        Modern::new(&self.url, Some(person.token()), &self.capture)
    }

    /// A legacy client for who is logged in, with an open session.
    pub async fn legacy(&self, person: &Person, capabilities: Value) -> Result<Legacy> {
        Legacy::open(&self.url, Some(person.token()), capabilities, &self.capture).await
    }

    /// A legacy client whose session is opened on this node; it goes on at the one address.
    pub async fn legacy_on(&self, node: usize, person: &Person, capabilities: Value) -> Result<Legacy> {
        let there = Legacy::open(&self.at(node)?, Some(person.token()), capabilities, &self.capture).await?;
        Ok(there.at(&self.url))
    }
}
