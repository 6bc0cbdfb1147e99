//! Where the process is in its life, and the signals that move it on.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;

/// Where the process is in its life. It only ever moves on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Not everything is there yet.
    Starting,
    /// Serves.
    Ready,
    /// Was told to stop: serves what is under way, and new work should go elsewhere.
    Draining,
}

impl Phase {
    /// The name that probes and administrators read.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Draining => "draining",
        }
    }
}

/// The phase, shared by all who serve.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lifecycle(Arc<AtomicU8>);

impl Lifecycle {
    pub(crate) fn phase(&self) -> Phase {
        match self.0.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Ready,
            _ => Phase::Draining,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.0.fetch_max(phase as u8, Ordering::AcqRel);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.phase() == Phase::Draining
    }
}

/// SIGTERM and SIGINT: the first asks for an orderly stop, the second for the end.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    pub(super) stop: CancellationToken,
    pub(super) now: CancellationToken,
}

impl Signals {
    /// Waits for them from now on.
    pub(super) fn listen() -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::run(format!("cannot wait for signals: {error}"));
        let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(cannot)?;
        let signals = Self::default();
        let told = signals.clone();
        tokio::spawn(async move {
            for token in [told.stop, told.now] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_back_from_draining() {
        let life = Lifecycle::default();
        assert_eq!(life.phase(), Phase::Starting);
        life.enter(Phase::Ready);
        life.enter(Phase::Draining);
        life.enter(Phase::Ready);
        assert!(life.is_draining());
    }
}
