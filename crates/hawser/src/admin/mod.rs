//! Administration: what an operator may see and end, over a socket in the data folder, and over TCP if it is configured.
//!
//! Who reaches the socket is who may read the data folder (mode 0600, and the peer's user is asked of the system); over TCP a
//! token is demanded. Nothing of this is served where clients come in. What is shown are ids and digests: the store has no names,
//! and no handle is ever shown.

pub(crate) mod connections;
mod query;
mod routes;
mod sessions;
mod signing_keys;
pub(crate) mod socket;
mod token;
pub(crate) mod wire;

use std::path::PathBuf;
use std::sync::Arc;

use hawser_authserver::AuthServer;
use hawser_gateway::Gateway;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tracing::{info, warn};

pub(crate) use self::socket::SOCKET_FILE;
use self::socket::{AdminSocket, NotBound};
pub(crate) use self::token::TOKEN_BYTES_MIN;
use crate::config::{AdminSettings, Settings, StoreKind};
use crate::failure::Failure;
use crate::serve::{Health, make_folder};

/// What administration works on. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Administered {
    pub(crate) gateway: Gateway,
    pub(crate) health: Health,
    /// The embedded authorization server and its issuer identifier, if there is one.
    pub(crate) authorization_server: Option<(Arc<AuthServer>, String)>,
    /// Names and paths of the endpoints.
    pub(crate) endpoints: Arc<[(String, String)]>,
    /// What kind of store it is, and where.
    pub(crate) store: Arc<str>,
    pub(crate) started: std::time::Instant,
}

/// The listeners; they end when this is dropped, and the socket is removed.
pub(crate) struct Administration {
    _serving: JoinSet<()>,
    _socket: Option<AdminSocket>,
}

impl Administration {
    /// Begins to serve.
    pub(crate) async fn start(settings: &Settings, administered: Administered) -> Result<Self, Failure> {
        let mut serving = JoinSet::new();
        let socket = bind_socket(settings)?;
        if let Some((socket, listener)) = &socket {
            info!(path = %socket.path().display(), "administration");
            let service = routes::router(administered.clone());
            let listener = Arc::clone(listener);
            serving.spawn(async move { connections::serve_socket(&listener, service).await });
        }
        if let Some(AdminSettings { listen, token }) = &settings.admin {
            let listener = TcpListener::bind(listen).await.map_err(|error| {
                Failure::run_with_hint(
                    format!("cannot listen on {listen} for administration: {error}"),
                    "choose another address with `admin.listen`",
                )
            })?;
            if let Ok(bound) = listener.local_addr() {
                info!(address = %bound, "administration");
            }
            let service = token::guarded(routes::router(administered), token);
            serving.spawn(async move { connections::serve_tcp(&listener, service).await });
        }
        Ok(Self { _serving: serving, _socket: socket.map(|(socket, _)| socket) })
    }
}

type Bound = Option<(AdminSocket, Arc<tokio::net::UnixListener>)>;

/// The socket. A gateway whose store is its memory has no folder for it. Where the store is elsewhere the folder serves for nothing
/// else, so a gateway that cannot have the socket goes on without: any other node that shares the store will do.
fn bind_socket(settings: &Settings) -> Result<Bound, Failure> {
    const WITHOUT: &str = "there is no socket for administration";
    if !settings.store.is_lasting() {
        return Ok(None);
    }
    let path: PathBuf = settings.data_dir.join(SOCKET_FILE);
    let needed = matches!(settings.store, StoreKind::File);
    let bound = match make_folder(&settings.data_dir) {
        Ok(()) => AdminSocket::bind(&path),
        Err(failure) if needed => return Err(failure),
        Err(failure) => {
            warn!(reason = %failure, "{WITHOUT}");
            return Ok(None);
        }
    };
    match bound {
        Ok((socket, listener)) => Ok(Some((socket, Arc::new(listener)))),
        Err(NotBound::Io(error)) if needed => {
            Err(Failure::run(format!("cannot make the socket for administration {}: {error}", path.display())))
        }
        Err(reason) => {
            warn!(path = %path.display(), %reason, "{WITHOUT}");
            Ok(None)
        }
    }
}
