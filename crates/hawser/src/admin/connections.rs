//! Connections of administrators: few, each bounded in time.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, warn};

/// Most connections at a time; further ones wait in the listener's queue.
const CONNECTIONS_MAX: usize = 32;
/// Longest wait for a request's head, and between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest life of a connection: no request takes long.
const CONNECTION_LIFE: Duration = Duration::from_mins(2);
/// Largest request head in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Pause after the system refused a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the socket. Only this process's own user is let in, and root, who may do everything anyway.
pub(super) async fn serve_socket(listener: &UnixListener, service: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => match stream.peer_cred().map(|peer| peer.uid()) {
                Ok(user) if user == 0 || user == rustix::process::geteuid().as_raw() => {
                    serve(stream, service.clone(), place);
                }
                other => warn!(user = ?other.ok(), "another user was refused at the socket for administration"),
            },
            Err(error) => refused(&error).await,
        }
    }
}

/// Serves a TCP listener.
pub(super) async fn serve_tcp(listener: &TcpListener, service: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => serve(stream, service.clone(), place),
            Err(error) => refused(&error).await,
        }
    }
}

async fn refused(error: &std::io::Error) {
    warn!(%error, "a connection for administration could not be accepted");
    tokio::time::sleep(ACCEPT_PAUSE).await;
}

fn serve(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, service: Router, place: OwnedSemaphorePermit) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    tokio::spawn(async move {
        let _place = place;
        if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_LIFE, connection).await {
            debug!(%error, "a connection for administration ended");
        }
    });
}
