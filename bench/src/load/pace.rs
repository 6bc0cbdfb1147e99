//! Calls at a given rate, on time: the runtime's own timer counts in milliseconds, so this one is the kernel's.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::io::{Errno, read};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;
use tokio::task::JoinHandle;
use tokio::time::Instant;

const RATE_MAX: f64 = 1e6;

/// Ends the calls when it goes out of scope.
pub(super) struct Pace(JoinHandle<()>);

impl Drop for Pace {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells `due` of each call when it is due, and since when.
pub(super) fn start(rate: f64, due: impl Fn(Instant) + 'static) -> Result<Pace> {
    ensure!(rate > 0.0 && rate <= RATE_MAX, "a rate of {rate} calls a second");
    let interval = Duration::from_secs_f64(1.0 / rate);
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    let spec = Timespec { tv_sec: i64::try_from(interval.as_secs())?, tv_nsec: i64::from(interval.subsec_nanos()) };
    let began = Instant::now();
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: spec, it_value: spec })?;
    #[expect(
        deprecated,
        reason = "what replaces it is unsafe for types that lie about their descriptor; `OwnedFd` does not"
    )]
    let timer = AsyncFd::new(timer).context("watching the timer")?;
    let pacing = async move {
        let mut next = began + interval;
        while let Ok(times) = expirations(&timer).await {
            for _ in 0..times {
                due(next);
                next += interval;
            }
        }
    };
    Ok(Pace(tokio::task::spawn_local(pacing)))
}

/// How often the timer has gone off since it was asked last.
async fn expirations(timer: &AsyncFd<OwnedFd>) -> Result<u64> {
    loop {
        let mut ready = timer.readable().await?;
        let mut count = [0; 8];
        match read(timer.get_ref(), &mut count) {
            Ok(_) => return Ok(u64::from_ne_bytes(count)),
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(error) => return Err(error.into()),
        }
    }
}
