//! What the system says of a process.

use std::time::Duration;

use anyhow::{Context, Result};

/// Ticks of a second in `/proc`: `USER_HZ`, which is 100 on every Linux of our platforms.
const TICKS: u64 = 100;

/// A process.
pub(super) struct Node {
    pid: u32,
}

impl Node {
    pub(super) const fn of(pid: u32) -> Self {
        Self { pid }
    }

    /// Its resident memory (`VmRSS`).
    pub(super) fn resident_bytes(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().context("VmRSS")?;
        Ok(kib * 1024)
    }

    /// The time that it ran on any core, in user mode and in the kernel.
    pub(super) fn cpu(&self) -> Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        // The name before it may hold spaces (proc(5)); `utime` and `stime` are fields 14 and 15.
        let fields = stat.rsplit_once(')').context("no name")?.1;
        let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse().unwrap_or(0_u64)).sum();
        Ok(Duration::from_millis(ticks * 1000 / TICKS))
    }
}
