//! The validated configuration: plain values, every default filled in, every secret fetched.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use hawser_owner::KeyRingDocument;
use hawser_store::RedisOptions;
use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use super::scalar::Name;

/// Everything `hawser serve` needs to know.
#[derive(Debug)]
pub struct Settings {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The configured public URL, an origin without trailing slash. See [`Settings::public_url_when_bound`].
    pub public_url: Option<String>,
    /// Folder for the key ring and the store.
    pub data_dir: PathBuf,
    /// Where state is kept.
    pub store: StoreKind,
    /// The key ring, if it is configured and not made in the data folder.
    pub key_ring: Option<KeyRingSettings>,
    /// Browser origins besides the public URL's own.
    pub allowed_origins: Vec<String>,
    /// `Host` names besides the public URL's: a name or a name and port, in lower case.
    pub allowed_hosts: Vec<String>,
    /// Reverse proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The MCP servers behind the gateway, in the order of the configuration.
    pub backends: Vec<BackendSettings>,
    /// The endpoints; never empty.
    pub endpoints: Vec<EndpointSettings>,
    /// The embedded authorization server, unless it is off.
    pub authorization_server: Option<AuthorizationServerSettings>,
    /// External authorization servers.
    pub issuers: Vec<IssuerSettings>,
    /// Lifetimes and numbers of sessions.
    pub sessions: SessionSettings,
    /// Sizes and times of requests.
    pub limits: LimitSettings,
    /// How the gateway stops.
    pub drain: DrainSettings,
    /// Administration over TCP.
    pub admin: Option<AdminSettings>,
    /// What is allowed and probably not meant, for people to read.
    pub warnings: Vec<String>,
}

impl Settings {
    /// The public URL: the configured one, else `http://` and the address the listener got. No trailing slash.
    pub fn public_url_when_bound(&self, bound: SocketAddr) -> String {
        self.public_url.clone().unwrap_or_else(|| format!("http://{bound}"))
    }

    /// The endpoint's backends, in the order of the configuration.
    pub fn backends_of<'a>(&'a self, endpoint: &'a EndpointSettings) -> impl Iterator<Item = &'a BackendSettings> {
        self.backends.iter().filter(|backend| endpoint.backends.contains(&backend.name))
    }
}

/// A key ring that is configured.
#[derive(Debug)]
pub struct KeyRingSettings {
    /// The keys, as they were when the configuration was read.
    pub document: KeyRingDocument,
    /// The file they come from, which may change while the gateway runs; `None` if they come from the environment.
    pub file: Option<PathBuf>,
}

/// Where state is kept.
#[derive(Debug)]
pub enum StoreKind {
    /// In one file in the data folder.
    File,
    /// In memory: a restart forgets everything.
    Memory,
    /// At a Valkey or Redis server, which other nodes may share.
    Redis(Box<RedisOptions>),
}

impl StoreKind {
    /// Whether what it keeps outlives the process.
    pub const fn is_lasting(&self) -> bool {
        !matches!(self, Self::Memory)
    }
}

/// The name it has in the configuration, or where the server is: without its password.
impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File => f.write_str("file"),
            Self::Memory => f.write_str("memory"),
            Self::Redis(options) => options.fmt(f),
        }
    }
}

/// One MCP server.
#[derive(Debug)]
pub struct BackendSettings {
    /// Its name, which also prefixes its tools.
    pub name: Name,
    /// How it is reached.
    pub transport: Transport,
    /// Whether its tools and prompts are prefixed.
    pub naming: Naming,
    /// How long it may be silent while a request waits.
    pub timeout: Duration,
}

/// How a backend is reached.
#[derive(Debug)]
pub enum Transport {
    /// Streamable HTTP, or HTTP+SSE if the server turns out to speak only that.
    Http {
        /// The MCP endpoint.
        url: Url,
        /// Headers sent with every request.
        headers: Vec<(http::HeaderName, SecretString)>,
    },
    /// HTTP+SSE, the transport of revision 2024-11-05.
    Sse {
        /// Where the stream is opened.
        url: Url,
        /// Headers sent with every request.
        headers: Vec<(http::HeaderName, SecretString)>,
    },
    /// A child process that speaks MCP on stdin and stdout.
    Stdio {
        /// The program.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
        /// Environment variables set for it.
        env: Vec<(String, SecretString)>,
        /// Its working folder, if not the gateway's.
        cwd: Option<PathBuf>,
    },
}

/// How a backend's tools and prompts are called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// `<backend>_<name>`
    Prefix,
    /// As the backend calls them.
    None,
}

/// One virtual MCP server.
#[derive(Debug)]
pub struct EndpointSettings {
    /// Its name.
    pub name: Name,
    /// Its path, such as `/mcp`.
    pub path: String,
    /// Its backends.
    pub backends: Vec<Name>,
    /// Whether everybody is let in without a credential.
    pub anonymous: bool,
}

/// The embedded authorization server.
#[derive(Debug)]
pub struct AuthorizationServerSettings {
    /// One click logs in.
    pub development_login: bool,
    /// Local users.
    pub users: Vec<UserSettings>,
    /// Lifetime of an access token.
    pub access_token_lifetime: Duration,
    /// How long a replaced refresh token gives the same answer.
    pub refresh_grace: Duration,
    /// Lifetime of a grant without refresh.
    pub refresh_idle: Duration,
    /// Lifetime of a grant in any case.
    pub refresh_lifetime: Duration,
    /// How long a key signs tokens before another one does.
    pub signing_key_lifetime: Duration,
}

/// A local user.
#[derive(Debug)]
pub struct UserSettings {
    /// Login name and subject.
    pub name: String,
    /// An argon2id hash in PHC form.
    pub password_hash: SecretString,
}

/// An external authorization server.
#[derive(Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// Its identifier, exactly as configured.
    pub issuer: String,
    /// Where its keys are, if not by discovery.
    pub jwks_uri: Option<Url>,
    /// Accepted signature algorithms (RFC 7518 names).
    pub algorithms: Vec<String>,
    /// Accepted values of `typ`.
    pub token_types: Vec<String>,
    /// The claim that names the user.
    pub subject_claim: String,
    /// The claim that names the tenant.
    pub tenant_claim: Option<String>,
    /// The only tenant let in.
    pub tenant: Option<String>,
    /// The client ids that its logout tokens are for; none are taken without any.
    pub logout_audience: Vec<String>,
}

/// Lifetimes and numbers of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionSettings {
    /// End after this long without use.
    pub idle: Duration,
    /// End after this long in any case.
    pub lifetime: Duration,
    /// Most sessions of one owner that are held in memory.
    pub per_owner: usize,
    /// Most sessions that are held in memory.
    pub total: usize,
    /// Most sessions that hold more than themselves: backend sessions, calls, streams.
    pub at_work: usize,
}

/// Sizes and times of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitSettings {
    /// Largest request body in bytes.
    pub request_body: usize,
    /// Largest message from a backend in bytes.
    pub response_body: usize,
    /// Largest result in bytes that is passed on as it arrives; with 0 none is.
    pub streamed_result: usize,
    /// Deepest nesting of a JSON message.
    pub depth: usize,
    /// Most child processes at one time.
    pub children: usize,
    /// The timeout of backends that have none of their own.
    pub request_timeout: Duration,
    /// How long a question of a backend waits for its client.
    pub client_answer: Duration,
}

/// Administration over TCP.
#[derive(Debug)]
pub struct AdminSettings {
    /// Where it listens: on loopback.
    pub listen: SocketAddr,
    /// What it demands.
    pub token: SecretString,
}

/// How the gateway stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainSettings {
    /// How long everything is still served after the signal.
    pub delay: Duration,
    /// How long calls under way may take after that.
    pub grace: Duration,
}
