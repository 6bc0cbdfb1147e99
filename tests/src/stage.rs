//! The usual stage: a gateway with users, in front of one fixture of chosen eras under its own names, everything that
//! passes on both sides kept.

use anyhow::Result;
use serde_json::{Value, json};
use url::Url;

use crate::capture::Capture;
use crate::fixture::{Fixture, Speaks};
use crate::gateway::Gateway;
use crate::legacy::Legacy;
use crate::modern::Modern;
use crate::person::Person;
use crate::recorder::Recorder;

/// A gateway in front of a fixture.
pub struct Stage {
    /// The gateway.
    pub gateway: Gateway,
    /// The fixture behind it.
    pub fixture: Fixture,
    /// What is between both.
    pub recorder: Recorder,
    /// All messages of both sides.
    pub capture: Capture,
    url: Url,
}

impl Stage {
    /// One whose fixture speaks this.
    pub async fn new(speaks: Speaks) -> Result<Self> {
        Self::with(speaks, json!({})).await
    }

    /// The same with more in the configuration: members of its top level.
    pub async fn with(speaks: Speaks, more: Value) -> Result<Self> {
        let fixture = Fixture::start(speaks).await?;
        let capture = Capture::new();
        let recorder = Recorder::start(fixture.url(), &capture).await?;
        let mut configuration = json!({
            "backends": { "everything": { "url": recorder.url(), "naming": "none" } },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            configuration[name] = value.clone();
        }
        let gateway = Gateway::with_users(configuration).await?;
        let url = gateway.mcp()?;
        Ok(Self { gateway, fixture, recorder, capture, url })
    }

    /// The MCP endpoint.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Logs a user in at a client of their own.
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

    /// How often the fixture began and carried out the side effect of this key.
    pub async fn effects(&self, key: &str) -> Result<(u64, u64)> {
        self.fixture.effects(key).await
    }
}
