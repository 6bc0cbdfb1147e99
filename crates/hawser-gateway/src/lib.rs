//! The MCP edge: HTTP in, sessions, dispatch, streams out.
//!
//! A request passes through fixed steps, each of which yields what the next one demands: the [edge](edge) checks its head, the
//! authenticator turns its credential into a principal, the frame is read, the session id is admitted
//! (`Owned<Entered>`), and only then does [dispatch](dispatch) act. POST, GET and DELETE, requests, notifications and
//! responses all take this one way.

mod allowance;
mod ask;
mod audit;
mod call;
mod checked;
mod claims;
mod client_kind;
mod config;
mod credential;
mod dispatch;
mod edge;
mod endpoint;
mod event_log;
mod extensions;
mod gate;
mod gateway;
mod get;
mod hearsay;
mod in_flight;
mod initialize;
mod large;
mod listeners;
mod lists;
mod modern;
mod nodes;
mod outbox;
mod pending;
mod places;
mod profile;
mod question_id;
mod record;
mod refusal;
mod relay;
mod reply;
mod resumption;
mod session;
mod sessions;
mod survey;
mod trace;
mod unsolicited;
mod upstream;
mod waiting;
mod wishes;

pub use audit::TARGET as AUDIT_TARGET;
pub use config::{EndpointConfig, GatewayConfig, Hosts, Limits, ReplayLimits, SessionPolicy, SharedLimits};
pub use credential::Revocation;
#[cfg(feature = "stages")]
pub use gateway::Stages;
pub use gateway::{Gateway, GatewayDependencies, GatewayError, ServedEndpoint};
pub use profile::BackendReport;
pub use relay::{Hears, NodeName, NodeNameError, NotReached, Relay, RelayDependencies, Relayed, Serves};
pub use reply::{Body, BrokenAnswer};
pub use sessions::{Grants, Revoked, Selection, SessionInfo, SessionPage};
