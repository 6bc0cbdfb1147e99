//! The threads that serve connections: one for each core, each with a runtime of its own.
//!
//! A connection stays with the thread that it is given to, and so does all that is done for it: the connection to a backend is of
//! the same thread, so nothing of a call wakes another core. Who has the fewest connections is given the next one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::failure::Failure;

/// What a thread is given: it makes a task of it.
type Job = Box<dyn FnOnce() + Send>;

/// How long threads have to end, once they are told to.
const END: Duration = Duration::from_secs(1);

/// The threads. Whoever drops them ends what they still do.
pub(super) struct Cores {
    cores: Vec<Core>,
    ended: Mutex<mpsc::Receiver<()>>,
}

struct Core {
    inbox: UnboundedSender<Job>,
    held: Arc<AtomicUsize>,
}

/// Counts as one of a core's connections for as long as it lives.
struct Place(Arc<AtomicUsize>);

impl Cores {
    /// Starts a thread for each core that this process may use.
    pub(super) fn start() -> Result<Self, Failure> {
        let (ending, ended) = mpsc::channel();
        let cores = (0..count()).map(|at| Core::start(at, ending.clone())).collect::<Result<_, _>>()?;
        Ok(Self { cores, ended: Mutex::new(ended) })
    }

    /// Has the least busy thread run the future that `begin` makes there. What belongs to a runtime's reactor must be made in
    /// `begin`.
    pub(super) fn run<F: Future<Output = ()> + Send + 'static>(&self, begin: impl FnOnce() -> F + Send + 'static) {
        let Some(core) = self.cores.iter().min_by_key(|core| core.held.load(Ordering::Relaxed)) else { return };
        core.held.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&core.held));
        // A thread takes jobs until it is dropped here.
        let _ = core.inbox.send(Box::new(move || {
            tokio::spawn(async move {
                let _place = place;
                begin().await;
            });
        }));
    }
}

impl Core {
    fn start(at: usize, ending: mpsc::Sender<()>) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::run(format!("cannot start a thread: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(cannot)?;
        let (inbox, jobs) = unbounded_channel();
        let work = move || {
            work(&runtime, jobs);
            runtime.shutdown_background();
            drop(ending);
        };
        thread::Builder::new().name(format!("core-{at}")).spawn(work).map_err(cannot)?;
        Ok(Self { inbox, held: Arc::default() })
    }
}

fn work(runtime: &Runtime, mut jobs: UnboundedReceiver<Job>) {
    runtime.block_on(async {
        while let Some(job) = jobs.recv().await {
            job();
        }
    });
}

/// How many cores this process may use: affinity and quotas count.
pub(super) fn count() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.cores.clear();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nobody sends: it is disconnected when the last thread has let go.
        let _ = ended.recv_timeout(END);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn work_is_dealt_evenly_and_ends_with_its_thread() {
        let cores = Cores::start().unwrap();
        let (told, heard) = mpsc::channel();
        for _ in 0..2 * count() {
            let told = told.clone();
            cores.run(move || async move {
                told.send(thread::current().id()).unwrap();
                std::future::pending::<()>().await;
            });
        }
        drop(told);
        let mut threads: Vec<_> = (0..2 * count()).map(|_| heard.recv().unwrap()).collect();
        threads.sort_by_key(|id| format!("{id:?}"));
        assert!(threads.chunks(2).all(|pair| pair[0] == pair[1]));
        threads.dedup();
        assert_eq!(threads.len(), count());
        drop(cores);
        assert!(heard.recv().is_err());
    }
}
