//! A message of a client, read no further than it has to be.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;

/// What is counted by its own name.
pub(super) const METHODS: [&str; 9] = [
    "initialize",
    "notifications/initialized",
    "tools/list",
    "tools/call",
    "ping",
    "server/discover",
    "subscriptions/listen",
    "GET",
    "DELETE",
];

#[derive(Deserialize)]
pub(super) struct Message<'a> {
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    params: Params<'a>,
}

#[derive(Default, Deserialize)]
struct Params<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(default)]
    arguments: Arguments,
    #[serde(borrow, default)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "protocolVersion")]
    revision: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
struct Arguments {
    size: Option<usize>,
    pause_ms: Option<u64>,
}

impl<'a> Message<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Self> {
        serde_json::from_slice(body).context("not a message")
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// As it was written.
    pub(super) fn id(&self) -> &str {
        self.id.map_or("null", RawValue::get)
    }

    pub(super) const fn is_notification(&self) -> bool {
        self.id.is_none()
    }

    pub(super) fn tool(&self) -> Option<&str> {
        self.params.name.as_deref()
    }

    /// How long the text of the result is to be.
    pub(super) const fn size(&self) -> Option<usize> {
        self.params.arguments.size
    }

    /// How long to wait in the middle of the result.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.params.arguments.pause_ms.map(Duration::from_millis)
    }

    pub(super) fn cursor(&self) -> Option<&str> {
        self.params.cursor.as_deref()
    }

    pub(super) fn revision(&self) -> Option<&str> {
        self.params.revision.as_deref()
    }
}
