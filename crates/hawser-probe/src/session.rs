//! Opening a session: what `initialize` says about a server.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::mcp::{Mcp, NEWEST_REVISION, Presented, REVISIONS, Reply};
use crate::secret::Secret;
use crate::wire::WireError;

/// An MCP session, or what stands for it on a server that assigns no session id.
#[derive(Debug, Clone)]
pub struct Session {
    /// `Mcp-Session-Id`; absent on a stateless server.
    pub id: Option<String>,
    /// The negotiated revision.
    pub revision: String,
    /// The server's name and version, as it says.
    pub server: Option<ServerInfo>,
    /// The server's capabilities, raw.
    pub capabilities: Option<Box<RawValue>>,
}

/// Who the server says it is.
#[derive(Debug, Clone, Deserialize, serde::Serialize)]
pub struct ServerInfo {
    /// Name.
    pub name: String,
    /// Version.
    #[serde(default)]
    pub version: String,
}

/// What came of an attempt to open a session.
#[derive(Debug)]
pub enum Opening {
    /// It is open.
    Open(Session),
    /// The server answered something else.
    Refused(Box<Reply>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InitializeResult {
    protocol_version: String,
    #[serde(default)]
    server_info: Option<ServerInfo>,
    #[serde(default)]
    capabilities: Option<Box<RawValue>>,
}

/// The `initialize` request with the id `id`. Roots are offered because some servers then ask for them, which is the one
/// harmless way to see a request of the server's own.
pub fn initialize_body(id: u64) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{NEWEST_REVISION}","capabilities":{{"roots":{{"listChanged":true}}}},"clientInfo":{{"name":"hawser-probe","version":"{}"}}}}}}"#,
        env!("CARGO_PKG_VERSION")
    )
}

/// `notifications/initialized`.
pub const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;

impl Session {
    /// Sends `initialize` and `notifications/initialized`.
    pub async fn open(mcp: &Mcp, token: Option<&Secret>) -> Result<Opening, WireError> {
        let reply = mcp.post(Presented { token, ..Presented::default() }, initialize_body(1), Some("1")).await?;
        let Some(session) = Self::from_reply(&reply, "1") else {
            return Ok(Opening::Refused(Box::new(reply)));
        };
        mcp.submit(session.presented(token), INITIALIZED.to_owned()).await?;
        Ok(Opening::Open(session))
    }

    /// Reads the session out of the answer to the `initialize` request with the id `id`.
    pub fn from_reply(reply: &Reply, id: &str) -> Option<Self> {
        if !reply.answer.status.is_success() {
            return None;
        }
        let result = reply.response(id)?.result.as_deref()?;
        let read: InitializeResult = serde_json::from_str(result.get()).ok()?;
        REVISIONS.contains(&read.protocol_version.as_str()).then(|| Self {
            id: reply.session_id().map(str::to_owned),
            revision: read.protocol_version,
            server: read.server_info,
            capabilities: read.capabilities,
        })
    }

    /// What a request on this session presents with `token`.
    pub fn presented<'a>(&'a self, token: Option<&'a Secret>) -> Presented<'a> {
        // 2025-03-26 does not know the version header.
        let revision = (self.revision != REVISIONS[0]).then_some(self.revision.as_str());
        Presented { token, session: self.id.as_deref(), revision }
    }
}
