//! A gateway with two servers behind it, and a caller who has a token and an open session.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use hawser_catalog::Naming;
use hawser_gateway::{EndpointConfig, Gateway, GatewayConfig, GatewayDependencies, Hosts, Limits, SessionPolicy};
use hawser_identity::{Authenticator, ExternalIssuer, IdentityConfig, Resource};
use hawser_owner::{Clock, KeyRing, KeyRingDocument, Timestamp};
use hawser_store::MemoryStore;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use url::Url;

use crate::backend::Which;
use crate::issuer::{Counter, ISSUER, KEYS, NOW, RESOURCE, token};

/// How long the gateway may take to find out what its backends are.
const PATIENCE: Duration = Duration::from_mins(1);

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"budget","version":"1"}}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"old_weather","arguments":{"city":"Lisbon","days":3,"units":"metric"}}}"#;
const CALL_MODERN: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"new_weather","arguments":{"city":"Lisbon","days":3,"units":"metric"},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"budget","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// Who calls.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Client {
    /// On an owned session (2025-11-25).
    Legacy,
    /// Without one (2026-07-28).
    Modern,
}

/// The gateway and its caller.
pub(crate) struct Stand {
    gateway: Gateway,
    authorization: HeaderValue,
    session: HeaderValue,
}

impl Stand {
    /// Builds it, and opens the session.
    pub(crate) async fn build() -> Result<Self> {
        let (token, keys) = token()?;
        let clock: Clock = Arc::new(|| Timestamp::from_seconds(NOW));
        let issuer = ExternalIssuer { jwks_uri: Url::parse(KEYS).ok(), ..ExternalIssuer::new(ISSUER) };
        let identity = IdentityConfig { issuers: vec![issuer], ..IdentityConfig::default() };
        let authenticator = Authenticator::new(identity, None, Arc::clone(&clock), Arc::new(keys))?;
        let entropy = Arc::new(Counter::default());
        let ring = KeyRingDocument::generate(entropy.as_ref())?;
        let dependencies = GatewayDependencies {
            authenticator: Arc::new(authenticator),
            grants: None,
            ring: Arc::new(KeyRing::try_from(&ring)?),
            store: Arc::new(MemoryStore::new()),
            clock,
            entropy,
        };
        let gateway = Gateway::new(config()?, dependencies)?;
        let beside = gateway.clone();
        let beside = tokio::spawn(async move { beside.run().await });
        gateway.report(PATIENCE).await;
        // What goes on beside requests would be counted with them, now and then.
        beside.abort();
        let _ = beside.await;
        let authorization = HeaderValue::try_from(format!("Bearer {token}"))?;
        let mut stand = Self { gateway, authorization, session: HeaderValue::from_static("") };
        stand.session = stand.open().await?;
        Ok(stand)
    }

    /// The gateway.
    pub(crate) const fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    async fn open(&self) -> Result<HeaderValue> {
        let response = self.gateway.handle(self.post(INITIALIZE)?.map(Full::new)).await;
        ensure!(response.status() == StatusCode::OK, "no session: {}", response.status());
        response.headers().get("mcp-session-id").cloned().context("no session id")
    }

    /// Calls a tool, and reads the answer.
    pub(crate) async fn call(&self, client: Client) -> Result<()> {
        let response = self.gateway.handle(self.request(client)?.map(Full::new)).await;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let good = status == StatusCode::OK && body.starts_with(br#"{"jsonrpc":"2.0","id":7,"result":{"#);
        ensure!(good, "a call failed: {status}, {}", String::from_utf8_lossy(&body));
        Ok(())
    }

    /// The request for a call.
    pub(crate) fn request(&self, client: Client) -> Result<Request<Bytes>> {
        let modern = HeaderValue::from_static("2026-07-28");
        let (body, version) = match client {
            Client::Legacy => (CALL, HeaderValue::from_static("2025-11-25")),
            Client::Modern => (CALL_MODERN, modern),
        };
        let mut request = self.post(body)?;
        let headers = request.headers_mut();
        headers.insert("mcp-protocol-version", version);
        match client {
            Client::Legacy => headers.insert("mcp-session-id", self.session.clone()),
            Client::Modern => {
                headers.insert("mcp-method", HeaderValue::from_static("tools/call"));
                headers.insert("mcp-name", HeaderValue::from_static("new_weather"))
            }
        };
        Ok(request)
    }

    fn post(&self, body: &'static str) -> Result<Request<Bytes>> {
        let request = Request::post("/mcp")
            .header(HOST, "gateway.example")
            .header(AUTHORIZATION, self.authorization.clone())
            .header(ACCEPT, "application/json, text/event-stream")
            .header(CONTENT_TYPE, "application/json");
        Ok(request.body(Bytes::from_static(body.as_bytes()))?)
    }
}

fn config() -> Result<GatewayConfig> {
    let endpoint = EndpointConfig {
        name: "default".to_owned(),
        path: "/mcp".to_owned(),
        resource: Resource::new(RESOURCE, "counted", Vec::new(), false)?,
        local_scopes: Vec::new(),
        backends: vec![(Which::Old.backend()?, Naming::Prefix), (Which::New.backend()?, Naming::Prefix)],
    };
    Ok(GatewayConfig {
        endpoints: vec![endpoint],
        hosts: Hosts { hosts: vec!["gateway.example".to_owned()], ..Hosts::default() },
        limits: Limits::default(),
        sessions: SessionPolicy::default(),
    })
}
