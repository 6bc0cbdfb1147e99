//! What the gateway is told at start: plain values, already validated by who read them.

use std::time::Duration;

use hawser_backend::Backend;
use hawser_catalog::Naming;
use hawser_identity::Resource;

/// One virtual MCP server: a path with some backends behind it.
#[derive(Debug)]
pub struct EndpointConfig {
    /// For people and logs.
    pub name: String,
    /// Where it is served, for instance `/mcp`.
    pub path: String,
    /// What it is called as a protected resource (RFC 9728).
    pub resource: Resource,
    /// The scopes that tokens of the embedded authorization server need here. Those of other issuers need what the resource says:
    /// they may not know ours.
    pub local_scopes: Vec<String>,
    /// The backends in their order, and how each is named towards clients.
    pub backends: Vec<(Backend, Naming)>,
}

/// How long sessions live, and how many.
#[derive(Clone, Copy, Debug)]
pub struct SessionPolicy {
    /// Longest pause between two requests of the owner.
    pub idle: Duration,
    /// Absolute lifetime from `initialize` on.
    pub lifetime: Duration,
    /// Most sessions held in memory for one owner.
    pub per_owner: usize,
    /// Most sessions held in memory.
    pub total: usize,
    /// Most sessions that hold more than themselves: backend sessions, calls, streams, questions.
    pub at_work: usize,
    /// Whether all who come without a credential are the same person, since nobody else can reach the gateway.
    pub one_person: bool,
}

impl Default for SessionPolicy {
    fn default() -> Self {
        Self {
            idle: Duration::from_hours(24),
            lifetime: Duration::from_hours(7 * 24),
            per_owner: 100,
            total: 1_000_000,
            at_work: 10_000,
            one_person: false,
        }
    }
}

/// Bounds of the edge.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest request body in bytes.
    pub request_body: usize,
    /// Depth and batch size of messages.
    pub frames: hawser_mcp::Limits,
    /// Most entries in one page of a list.
    pub list_page: usize,
    /// Most requests of one session that run at the same time.
    pub in_flight: usize,
    /// Most requests of backends that wait for one session's client.
    pub pending: usize,
    /// Most calls of modern clients that wait for their input.
    pub parked: SharedLimits,
    /// Most GET streams of one session.
    pub streams: usize,
    /// Most `subscriptions/listen` streams.
    pub listeners: SharedLimits,
    /// Most messages queued for one stream; a reader slower than that loses the stream, not the gateway its memory.
    pub stream_queue: usize,
    /// After this long without a message a waiting answer becomes a stream with keep-alive comments.
    pub keep_alive: Duration,
    /// Longest wait for a request body to arrive.
    pub body_timeout: Duration,
    /// Longest wait for the answer of a client to a backend's request.
    pub client_answer: Duration,
    /// What is remembered of streams.
    pub replay: ReplayLimits,
}

/// How many there may be of something that owners share.
#[derive(Clone, Copy, Debug)]
pub struct SharedLimits {
    /// Of one client that says the same of itself.
    pub session: usize,
    /// Of one owner.
    pub owner: usize,
    /// Altogether.
    pub total: usize,
}

/// Bounds of what is remembered of streams, so that clients may take them up again.
#[derive(Clone, Copy, Debug)]
pub struct ReplayLimits {
    /// Most events of one stream.
    pub stream_events: usize,
    /// Most bytes of one stream; a single larger event is kept alone.
    pub stream_bytes: usize,
    /// Most streams of one session.
    pub streams: usize,
    /// Most events of one session.
    pub session_events: usize,
    /// Most bytes of one session.
    pub session_bytes: usize,
    /// Most bytes of one owner's sessions.
    pub owner_bytes: usize,
    /// Most bytes of all sessions.
    pub bytes: usize,
    /// How long a stream is kept after its end, or after its GET was left.
    pub kept: Duration,
    /// How long a client is asked to wait before it takes up a stream again.
    pub retry: Duration,
    /// Most calls of one session that go on after their client has left.
    pub session_unread: usize,
    /// Most such calls of one owner.
    pub owner_unread: usize,
    /// Most such calls of all.
    pub unread: usize,
}

impl Default for ReplayLimits {
    fn default() -> Self {
        Self {
            stream_events: 1024,
            stream_bytes: 16 * 1024 * 1024,
            streams: 256,
            session_events: 4096,
            session_bytes: 32 * 1024 * 1024,
            owner_bytes: 64 * 1024 * 1024,
            bytes: 256 * 1024 * 1024,
            kept: Duration::from_mins(5),
            retry: Duration::from_secs(1),
            session_unread: 32,
            owner_unread: 128,
            unread: 2048,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            request_body: 4 * 1024 * 1024,
            frames: hawser_mcp::Limits::default(),
            list_page: 1000,
            in_flight: 64,
            pending: 32,
            parked: SharedLimits { session: 32, owner: 128, total: 4096 },
            streams: 4,
            listeners: SharedLimits { session: 32, owner: 128, total: 8192 },
            stream_queue: 256,
            keep_alive: Duration::from_secs(15),
            body_timeout: Duration::from_secs(30),
            client_answer: Duration::from_mins(30),
            replay: ReplayLimits::default(),
        }
    }
}

/// Whom the edge talks to: the defence against DNS rebinding (MCP, Streamable HTTP, Security Warning).
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Accepted `Host` names, lower case, without port.
    pub hosts: Vec<String>,
    /// Accepted `Origin` values, exactly as browsers send them.
    pub origins: Vec<String>,
    /// Accept loopback names in both, whatever the port: for a listener on loopback.
    pub loopback: bool,
}

/// Everything the gateway is told.
#[derive(Debug, Default)]
pub struct GatewayConfig {
    /// The endpoints.
    pub endpoints: Vec<EndpointConfig>,
    /// Host and Origin rules.
    pub hosts: Hosts,
    /// Session lifetimes and numbers.
    pub sessions: SessionPolicy,
    /// Bounds.
    pub limits: Limits,
}
