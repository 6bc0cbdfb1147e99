//! Somebody with a client: logged in by the same OAuth and MCP client that `hawser probe` uses, with or without an MCP
//! session, able to present whatever a test wants presented.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use hawser_probe::Secret;
use hawser_probe::mcp::{Mcp, Presented, Reply};
use hawser_probe::oauth::{AuthorizationServer, Client, Discovered, Grant, Login};
use hawser_probe::session::{Opening, Session};
use hawser_probe::wire::{Answer, Limits, Wire};
use http::Method;
use serde_json::{Value, json};
use url::Url;

use crate::oidc::Oidc;

/// Longer than any answer takes, shorter than a test may.
const LIMITS: Limits = Limits {
    request: Duration::from_mins(1),
    window: Duration::from_millis(500),
    body: 32 << 20,
    total: Duration::from_mins(10),
};

/// A user at a client, for one MCP endpoint.
pub struct Person {
    name: String,
    mcp: Mcp,
    grant: Grant,
    session: Option<Session>,
    next_id: u64,
}

impl Person {
    /// Logs in where the endpoint's 401 points to, as a user whose password is the name. A new client is registered.
    pub async fn log_in(url: &Url, name: &str) -> Result<Self> {
        let wire = Wire::new(url, LIMITS)?;
        let mcp = Mcp::new(wire.clone(), url.clone());
        let refusal = mcp.post(Presented::default(), ping(0), None).await?.answer;
        ensure!(refusal.status.as_u16() == 401, "{url} without a token: {}", refusal.status);
        let grant = login(name).run(&wire, url, &refusal.headers).await?;
        Ok(Self::new(name, mcp, grant))
    }

    /// Logs in at an external issuer for the endpoint.
    pub async fn log_in_at(issuer: &Oidc, url: &Url, name: &str) -> Result<Self> {
        Self::log_in_for(issuer, url, url.as_str(), name).await
    }

    /// The same, with a token for `resource` instead of for the endpoint.
    pub async fn log_in_for(issuer: &Oidc, url: &Url, resource: &str, name: &str) -> Result<Self> {
        let wire = Wire::new(url, LIMITS)?;
        let metadata = Url::parse(&format!("{}/.well-known/openid-configuration", issuer.issuer()))?;
        let answer = wire.fetch(wire.request(Method::GET, &metadata)).await?;
        let server: AuthorizationServer = serde_json::from_slice(&answer.body)?;
        let client = register(&wire, &server).await?;
        let discovered = Discovered { resource: resource.to_owned(), scope: Some("mcp".to_owned()), server };
        let grant = login(name).authorize(&wire, discovered, client).await?;
        Ok(Self::new(name, Mcp::new(wire, url.clone()), grant))
    }

    fn new(name: &str, mcp: Mcp, grant: Grant) -> Self {
        Self { name: name.to_owned(), mcp, grant, session: None, next_id: 10 }
    }

    /// The same person, the same client and tokens, at another endpoint.
    #[must_use]
    pub fn at(&self, url: &Url) -> Self {
        Self::new(&self.name, Mcp::new(self.mcp.wire().clone(), url.clone()), self.grant.clone())
    }

    /// Another user who logs in at the same client, as it is registered already.
    pub async fn same_client_for(&self, name: &str) -> Result<Self> {
        let Grant { discovered, client, .. } = self.grant.clone();
        let grant = login(name).authorize(self.mcp.wire(), discovered, client).await?;
        Ok(Self::new(name, self.mcp.clone(), grant))
    }

    /// The user's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The MCP endpoint.
    pub fn mcp(&self) -> &Mcp {
        &self.mcp
    }

    /// The grant: client and tokens.
    pub fn grant(&self) -> &Grant {
        &self.grant
    }

    /// The present access token.
    pub fn token(&self) -> &str {
        self.grant.tokens.access.expose()
    }

    /// Gets new tokens for the refresh token; an error unless the access token's bytes are new.
    pub async fn refresh(&mut self) -> Result<()> {
        let before = self.token().to_owned();
        self.grant.refresh(self.mcp.wire()).await?;
        ensure!(self.token() != before, "the refreshed access token is the old one");
        Ok(())
    }

    /// Opens an MCP session and keeps it.
    pub async fn open(&mut self) -> Result<&Session> {
        match Session::open(&self.mcp, Some(&self.grant.tokens.access)).await? {
            Opening::Open(session) => Ok(self.session.insert(session)),
            Opening::Refused(reply) => bail!("initialize: {} {}", reply.answer.status, text(&reply.answer)),
        }
    }

    /// The session that is open.
    pub fn session(&self) -> Result<&Session> {
        self.session.as_ref().context("no session is open")
    }

    /// Its id.
    pub fn session_id(&self) -> Result<&str> {
        self.session()?.id.as_deref().context("the server assigned no session id")
    }

    /// What a request on the open session presents.
    pub fn presented(&self) -> Result<Presented<'_>> {
        Ok(self.session()?.presented(Some(&self.grant.tokens.access)))
    }

    /// The same with another session id.
    pub fn presented_with<'a>(&'a self, session: &'a str) -> Presented<'a> {
        Presented { token: Some(&self.grant.tokens.access), session: Some(session), revision: Some("2025-11-25") }
    }

    /// A request on the open session.
    pub async fn ask(&mut self, method: &str, params: Value) -> Result<Reply> {
        self.next_id += 1;
        let id = self.next_id;
        let body = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }).to_string();
        Ok(self.mcp.post(self.presented()?, body, Some(&id.to_string())).await?)
    }

    /// A request whose response must be a result.
    pub async fn result(&mut self, method: &str, params: Value) -> Result<Value> {
        let reply = self.ask(method, params).await?;
        match self.response(&reply)? {
            Ok(result) => Ok(result),
            Err((code, message)) => bail!("{method}: error {code}: {message}"),
        }
    }

    /// A request whose response must be a JSON-RPC error: its code and message.
    pub async fn error(&mut self, method: &str, params: Value) -> Result<(i64, String)> {
        let reply = self.ask(method, params).await?;
        match self.response(&reply)? {
            Ok(result) => bail!("{method}: a result instead of an error: {result}"),
            Err(error) => Ok(error),
        }
    }

    /// Calls a tool; its result must not be an error.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> Result<Value> {
        self.result("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    /// The names of all tools.
    pub async fn tools(&mut self) -> Result<Vec<String>> {
        let listed = self.result("tools/list", json!({})).await?;
        let tools = listed.get("tools").and_then(Value::as_array).context("no tools")?;
        Ok(tools.iter().filter_map(|tool| tool.get("name")?.as_str().map(str::to_owned)).collect())
    }

    /// The response to the latest request, read out of its reply.
    fn response(&self, reply: &Reply) -> Result<Result<Value, (i64, String)>> {
        let response = reply.response(&self.next_id.to_string());
        let response = response
            .with_context(|| format!("no response; the answer was {} {}", reply.answer.status, text(&reply.answer)))?;
        match (&response.result, &response.error) {
            (Some(result), None) => Ok(Ok(serde_json::from_str(result.get())?)),
            (None, Some(error)) => Ok(Err((error.code, error.message.clone()))),
            _ => bail!("a response with both or neither of result and error"),
        }
    }
}

/// A body, shortened for a message.
pub(crate) fn text(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).chars().take(400).collect()
}

fn login(name: &str) -> Login {
    Login { user: name.to_owned(), password: Some(Secret::new(name)) }
}

fn ping(id: u64) -> String {
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }).to_string()
}

/// Registers a public client with the redirect URI that the login walks to.
async fn register(wire: &Wire, server: &AuthorizationServer) -> Result<Client> {
    let endpoint = Url::parse(server.registration_endpoint.as_deref().context("no registration endpoint")?)?;
    let body = json!({
        "redirect_uris": ["http://127.0.0.1:41717/callback"],
        "application_type": "native",
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    let answer = wire.fetch(wire.request(Method::POST, &endpoint).json(&body)).await?;
    ensure!(answer.status.as_u16() == 201, "registration: {} {}", answer.status, text(&answer));
    let client: Value = serde_json::from_slice(&answer.body)?;
    Ok(Client::registered(client.get("client_id").and_then(Value::as_str).context("no client_id")?, None))
}
