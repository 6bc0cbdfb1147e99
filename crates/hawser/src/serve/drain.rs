//! The orderly stop: first nobody is sent here any more, then what is under way is finished, then everything is let go.
//!
//! - From the signal on `/readyz` says no and every answer ends its connection, so that load balancers and clients with kept
//!   connections turn elsewhere. For `drain.delay` everything else goes on as before, until they have noticed.
//! - Then no new work is taken, and streams that would never end by themselves are ended: their clients open them elsewhere.
//!   Where other nodes share the store the listener closes now; what is still about this node's calls (an answer to a question,
//!   the retry of a parked call) comes from them. A node that is alone keeps its listener open for that.
//! - Calls under way get `drain.grace`. Then backend sessions are closed, and the process ends.

use std::time::Duration;

use hawser_gateway::Gateway;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::lifecycle::{Lifecycle, Phase, Signals};
use crate::config::DrainSettings;
use crate::failure::Failure;

/// How long answers that are made already may take to be read.
const FLUSH: Duration = Duration::from_secs(3);

/// What is stopped.
pub(super) struct Serving {
    pub(super) gateway: Gateway,
    pub(super) life: Lifecycle,
    /// Closes the listener.
    pub(super) stop_listening: CancellationToken,
    /// Ends when the listener is closed and its connections are done.
    pub(super) server: JoinHandle<()>,
    /// Whether other nodes may bring what is about this node's calls.
    pub(super) others: bool,
}

impl Serving {
    /// Stops in order, or at once if a second signal says so.
    pub(super) async fn stop(self, settings: DrainSettings, signals: &Signals) -> Result<(), Failure> {
        let gateway = self.gateway.clone();
        tokio::select! {
            ended = self.drain(settings) => ended,
            () = signals.now.cancelled() => {
                let calls = gateway.calls_under_way();
                warn!(calls, "told to stop a second time; ending at once");
                Err(Failure::run(format!("ended at once, with {} cut off", shown(calls))))
            }
        }
    }

    async fn drain(self, settings: DrainSettings) -> Result<(), Failure> {
        self.life.enter(Phase::Draining);
        let (calls, delay, grace) = (self.gateway.calls_under_way(), settings.delay, settings.grace);
        info!(calls, ?delay, ?grace, "stopping; a second signal ends at once");
        tokio::time::sleep(settings.delay).await;
        if self.others {
            self.stop_listening.cancel();
        }
        let calls = self.gateway.drain(settings.grace).await;
        self.stop_listening.cancel();
        if calls > 0 {
            warn!(calls, "calls are cut off: the grace period is over");
        }
        // Before the connections: a call that is cut off says so on its own.
        self.gateway.close().await;
        if tokio::time::timeout(FLUSH, self.server).await.is_err() {
            warn!("connections were still open at the end");
        }
        info!("stopped");
        if calls > 0 {
            return Err(Failure::run(format!("stopped with {} cut off at the end of `drain.grace`", shown(calls))));
        }
        Ok(())
    }
}

fn shown(calls: usize) -> String {
    if calls == 1 { "1 call".to_owned() } else { format!("{calls} calls") }
}
