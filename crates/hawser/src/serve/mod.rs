//! `hawser serve`: puts the parts together, listens, and stops cleanly.

mod backchannel;
mod body;
mod build;
mod client_address;
mod cores;
mod drain;
mod health;
mod http;
mod issuer;
mod key_ring;
mod lifecycle;
mod local;
mod revocations;
mod signing_keys;
mod storage;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hawser_gateway::BackendReport;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use self::cores::Cores;
use self::drain::Serving;
pub(crate) use self::health::{HEALTH as HEALTH_PATH, Health, READINESS as READINESS_PATH};
use self::lifecycle::{Lifecycle, Phase, Signals};
pub(crate) use self::local::{HOST as LOCAL_HOST, LocalGateway};
pub(crate) use self::storage::make_folder;
use crate::admin::Administration;
use crate::config::Settings;
use crate::console::{Listening, Paint, banner, ready_line};
use crate::failure::Failure;

/// How long the start waits for backends to introduce themselves before it says what it fronts.
const BACKENDS_PATIENCE: Duration = Duration::from_secs(5);
/// Most threads for what is done beside requests: the store, other nodes, backends' introductions.
const BESIDE_MAX: usize = 4;

/// How `serve` speaks.
#[derive(Clone, Copy, Debug)]
pub struct ServeOptions {
    /// One line of JSON on standard output instead of text.
    pub json: bool,
}

/// Serves until the process is told to stop.
pub fn run(settings: &Settings, options: ServeOptions) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores::count().min(BESIDE_MAX))
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    let cores = Arc::new(Cores::start()?);
    let served = runtime.block_on(serve(settings, options, Arc::clone(&cores)));
    // Whatever still runs has had its grace period.
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(cores);
    served
}

async fn serve(settings: &Settings, options: ServeOptions, cores: Arc<Cores>) -> Result<(), Failure> {
    let signals = Signals::listen()?;
    let hang_up = hang_up()?;
    let listener = listen(settings.listen).await?;
    let bound =
        listener.local_addr().map_err(|error| Failure::run(format!("cannot tell the bound address: {error}")))?;
    let life = Lifecycle::default();
    let parts = build::build(settings, bound, &life).await?;
    let gateway = parts.gateway.clone();

    let beside = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.run().await }
    });
    let revoked = parts.revocations.map(|revocations| tokio::spawn(revocations.follow()));
    let keys = tokio::spawn(key_ring::follow(parts.ring_file, parts.ring, hang_up));
    let signing_keys = parts.signing_keys.map(|keys| tokio::spawn(keys.follow()));
    let stop_listening = CancellationToken::new();
    let server = tokio::spawn(http::serve(listener, parts.service, cores, stop_listening.clone()));
    let administration = Administration::start(settings, parts.administered).await?;
    life.enter(Phase::Ready);

    announce(settings, bound, &gateway, options).await?;
    signals.stop.cancelled().await;
    let serving = Serving { gateway, life, stop_listening, server, others: parts.others };
    let stopped = serving.stop(settings.drain, &signals).await;
    drop(administration);
    beside.abort();
    keys.abort();
    if let Some(signing_keys) = signing_keys {
        signing_keys.abort();
    }
    if let Some(revoked) = revoked {
        revoked.abort();
    }
    stopped
}

/// Before anything that takes time: a signal that comes while the gateway starts must not end it.
fn hang_up() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(|error| Failure::run(format!("cannot wait for signals: {error}")))
}

async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("cannot listen on {address}: {error}");
        if error.kind() == std::io::ErrorKind::AddrInUse {
            return Failure::run_with_hint(
                message,
                "another program has that port; stop it, or choose another with --listen (port 0 takes a free one)",
            );
        }
        Failure::run(message)
    })
}

/// Says where the gateway listens. Programs are told at once; people are told a little later, with what the backends said.
async fn announce(
    settings: &Settings,
    bound: SocketAddr,
    gateway: &hawser_gateway::Gateway,
    options: ServeOptions,
) -> Result<(), Failure> {
    let mut listening = Listening::new(settings, bound);
    let text = if options.json {
        format!("{}\n", ready_line(&listening, std::process::id()))
    } else {
        for report in gateway.report(BACKENDS_PATIENCE).await.into_iter().flat_map(|(_, reports)| reports) {
            describe(&mut listening, report);
        }
        listening.warnings.dedup();
        banner(&listening, Paint::for_stream(&std::io::stdout()))
    };
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::run(format!("cannot write to standard output: {error}")))
}

/// Adds what a backend said of itself.
fn describe(listening: &mut Listening, report: BackendReport) {
    let state = match (report.server, report.tools, report.error) {
        (Some(server), Some(tools), _) => format!("{server}, {tools} tools, speaks {}", report.revisions.join(" and ")),
        (.., Some(error)) => format!("does not answer yet, and is tried again: {error}"),
        _ => "has not answered yet".to_owned(),
    };
    if let Some(backend) = listening.backends.iter_mut().find(|backend| backend.name == report.backend) {
        backend.state = Some(state);
    }
    listening.warnings.extend(report.warnings);
}

pub(crate) fn stop_on_signal(stop: &CancellationToken) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::run(format!("cannot wait for signals: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
    let stop = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    });
    Ok(())
}
