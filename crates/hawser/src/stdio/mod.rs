//! `hawser stdio`: the gateway for one program that launches this command and speaks MCP on its stdin and stdout.
//!
//! Each line becomes an HTTP request to a gateway in this process ([`head`], [`pump`]), and what it answers becomes lines
//! ([`answer`], [`lines`]). So whatever holds for clients over HTTP holds here; this module knows no method of the protocol
//! beyond what the transport itself is made of.

mod answer;
mod flights;
mod head;
mod lines;
mod listen;
mod pump;
mod tools;

use std::io::IsTerminal as _;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use self::pump::Pump;
use crate::config::{EndpointSettings, Settings};
use crate::failure::Failure;
use crate::serve::{LocalGateway, stop_on_signal};

/// How long calls may still run once the input has ended: "the client SHOULD close the input stream" is how it says goodbye
/// (MCP, Lifecycle, Shutdown), and clients that wait for the exit wait for two seconds or so.
const GRACE: Duration = Duration::from_secs(1);
/// The endpoint that is meant if several could be.
const DEFAULT_ENDPOINT: &str = "default";

/// Serves until the input ends or the process is told to stop.
pub fn run(settings: &Settings, endpoint: Option<&str>) -> Result<(), Failure> {
    let endpoint = choose(settings, endpoint)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    let served = runtime.block_on(serve(settings, endpoint));
    // A thread may still wait for input, and nothing ends that wait.
    runtime.shutdown_background();
    served
}

async fn serve(settings: &Settings, endpoint: &EndpointSettings) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    stop_on_signal(&stop)?;
    let gateway = LocalGateway::build(settings, endpoint)?;
    if std::io::stdin().is_terminal() {
        info!("waiting for JSON-RPC on standard input; this command is for programs that launch it, see --help");
    }
    let beside = tokio::spawn({
        let gateway = gateway.clone();
        async move { gateway.run().await }
    });
    let (output, written) = lines::output(tokio::io::stdout(), stop.clone());
    let pump = Pump::new(gateway.clone(), output, settings);
    lines::input(tokio::io::stdin(), settings.limits.request_body, &stop, &pump).await;
    debug!("stopping");
    let patience = if stop.is_cancelled() { Duration::ZERO } else { GRACE };
    pump.finish(patience).await;
    gateway.shut_down().await;
    beside.abort();
    drop(pump);
    written.finished().await;
    Ok(())
}

fn choose<'s>(settings: &'s Settings, wanted: Option<&str>) -> Result<&'s EndpointSettings, Failure> {
    let called = |name: &str| settings.endpoints.iter().find(|endpoint| endpoint.name.to_string() == name);
    let found = match (wanted, settings.endpoints.as_slice()) {
        (Some(name), _) => called(name),
        (None, [only]) => Some(only),
        (None, _) => called(DEFAULT_ENDPOINT),
    };
    found.ok_or_else(|| {
        let names: Vec<String> = settings.endpoints.iter().map(|endpoint| format!("`{}`", endpoint.name)).collect();
        let message = wanted.map_or_else(
            || "there are several endpoints".to_owned(),
            |name| format!("there is no endpoint {:?}", name.chars().take(64).collect::<String>()),
        );
        Failure::run_with_hint(message, format!("choose one with --endpoint: {}", names.join(", ")))
    })
}
