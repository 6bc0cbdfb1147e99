//! What the system says of processes: the time that they ran, and the memory that they have.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// A tick of `utime` and `stime` in `/proc`: `USER_HZ` is 100 on every Linux of our platforms.
const TICK: Duration = Duration::from_millis(10);
/// What ticks may be off by.
const TICKS_OFF: Duration = Duration::from_millis(20);

/// The time that a process and its descendants ran on any core, in user mode and in the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// To the nanosecond, without threads that have ended.
    exact: Duration,
    /// In ticks, with them.
    ticks: Duration,
}

impl Used {
    /// What was used since. Where threads or children ended meanwhile only the ticks know it all.
    pub(crate) fn since(self, before: Self) -> Duration {
        let exact = self.exact.saturating_sub(before.exact);
        let ticks = self.ticks.saturating_sub(before.ticks);
        exact.max(ticks.saturating_sub(TICKS_OFF))
    }
}

/// What the process and its descendants used so far.
pub(crate) fn used(pid: u32) -> Result<Used> {
    let mut sum = Used::default();
    for process in tree(pid)? {
        let Ok(stat) = fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        // `utime`, `stime`, `cutime` and `cstime` are fields 14 to 17 of proc(5); the name before them may hold spaces.
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        let ticks: u32 = fields.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<u32>().ok()).sum();
        sum.ticks += TICK * ticks;
        let Ok(tasks) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
        for task in tasks.flatten() {
            sum.exact += ran(&task.path().join("schedstat").to_string_lossy());
        }
    }
    Ok(sum)
}

/// What this thread used so far.
pub(crate) fn used_here() -> Duration {
    ran("/proc/thread-self/schedstat")
}

fn ran(path: &str) -> Duration {
    let text = fs::read_to_string(path).unwrap_or_default();
    Duration::from_nanos(text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default())
}

/// Resident memory of the process and its descendants, now.
pub(crate) fn resident(pid: u32) -> Result<u64> {
    Ok(tree(pid)?.into_iter().filter_map(|process| status_bytes(process, "VmRSS:")).sum())
}

/// The most resident memory that one process ever had.
pub(crate) fn peak_resident(pid: u32) -> Result<u64> {
    status_bytes(pid, "VmHWM:").with_context(|| format!("process {pid} has ended"))
}

fn status_bytes(pid: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().trim_end_matches("kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The process and its descendants.
pub(crate) fn tree(root: u32) -> Result<Vec<u32>> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").context("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(1)?.parse().ok());
        parents.push((pid, parent.unwrap_or(0_u32)));
    }
    let mut found = vec![root];
    let mut at = 0;
    while let Some(&process) = found.get(at) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == process).map(|(pid, _)| *pid));
        at += 1;
    }
    Ok(found)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_time() {
        let pid = std::process::id();
        let before = used(pid).unwrap();
        let mut sum = 0_u64;
        while used(pid).unwrap().since(before) < Duration::from_millis(30) {
            sum = (0..100_000).fold(sum, |sum: u64, number| std::hint::black_box(sum.wrapping_add(number)));
        }
        assert!(used_here() > Duration::ZERO);
        assert!(resident(pid).unwrap() > 1 << 20);
        assert!(peak_resident(pid).unwrap() > 1 << 20);
    }
}
