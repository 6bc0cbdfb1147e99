//! Runs the program under callgrind, and reads what that wrote.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::judge::Cost;
use crate::workspace::Workspace;
use crate::{debian, exec};

const RUN_LIMIT: Duration = Duration::from_mins(10);
/// What a program asks the C library for memory with.
const ALLOCATORS: [&str; 6] = ["malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc", "memalign"];

/// The program that counts.
pub(super) struct Valgrind {
    program: PathBuf,
    /// Where its parts are, if not where it was built for.
    parts: Option<PathBuf>,
}

impl Valgrind {
    /// The machine's own, or Debian's package, unpacked.
    pub(super) fn ensure(workspace: &Workspace) -> Result<Self> {
        let own = Self { program: PathBuf::from("valgrind"), parts: None };
        if own.version().is_ok() {
            return Ok(own);
        }
        let folder = workspace.target().join("budget-parts/valgrind");
        // Not the script beside it, which wants to be where the package puts it.
        let program = folder.join("usr/bin/valgrind.bin");
        if !program.exists() {
            ensure!(
                debian::is_here(),
                "no valgrind on the machine, and no apt-get to get it with: install valgrind 3.19 or newer"
            );
            debian::unpack(&["valgrind"], &folder)?;
        }
        let unpacked = Self { program, parts: Some(folder.join("usr/libexec/valgrind")) };
        unpacked.version().context("Debian's valgrind was unpacked and does not run")?;
        Ok(unpacked)
    }

    pub(super) fn version(&self) -> Result<String> {
        exec::probe(self.command().arg("--version")).context("valgrind does not run")
    }

    /// Nothing of the environment, which decides where the stack begins and what a library chooses.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(self.parts.as_ref().map(|parts| ("VALGRIND_LIB", parts)));
        command
    }
}

/// What one step costs: the difference between `times` and twice as many, so that what comes before does not count.
pub(super) fn count(
    valgrind: &Valgrind,
    workspace: &Workspace,
    program: &Path,
    stage: &str,
    times: u64,
) -> Result<Cost> {
    let run = |times: u64| {
        let file = workspace.target().join(format!("budget-{stage}-{times}.callgrind"));
        let mut command = valgrind.command();
        command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
        command.arg(program).args(["--stage", stage, "--count", &times.to_string()]);
        let outcome = exec::run_quietly(&mut command, RUN_LIMIT)?;
        if !outcome.success {
            bail!("the program failed: {}", outcome.output);
        }
        let text = fs::read_to_string(&file).context("what callgrind wrote")?;
        fs::remove_file(&file).context("removing what callgrind wrote")?;
        read(&text)
    };
    let (once, twice) = std::thread::scope(|scope| {
        let twice = scope.spawn(|| run(2 * times));
        (run(times), twice.join())
    });
    let (once, twice) = (once?, twice.map_err(|_| anyhow::anyhow!("the second run panicked"))??);
    let each = |once: u64, twice: u64| {
        let more = twice.checked_sub(once).context("twice as many cost less")?;
        // To the nearest whole: what grows now and then, as a table does, is shared by all.
        Ok::<_, anyhow::Error>((more + times / 2) / times)
    };
    Ok(Cost {
        instructions: each(once.instructions, twice.instructions)?,
        allocations: each(once.allocations, twice.allocations)?,
    })
}

/// Instructions and allocations of a whole run (Callgrind Format Specification: `summary`, `fn`, `cfn`, `calls`; names are written
/// once and then known by a number).
fn read(text: &str) -> Result<Cost> {
    let mut names: HashMap<&str, bool> = HashMap::new();
    let mut total = None;
    let mut allocations = 0;
    let mut of_an_allocator = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("fn=").or_else(|| line.strip_prefix("cfn=")) {
            let (number, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                names.insert(number, ALLOCATORS.contains(&name));
            }
            of_an_allocator = line.starts_with('c') && names.get(number).copied().unwrap_or(false);
        } else if let Some(calls) = line.strip_prefix("calls=") {
            let calls = calls.split_whitespace().next().and_then(|calls| calls.parse::<u64>().ok());
            let calls = calls.with_context(|| format!("a line that is not understood: {line}"))?;
            allocations += if of_an_allocator { calls } else { 0 };
        } else if let Some(summary) = line.strip_prefix("summary: ").or_else(|| line.strip_prefix("totals: ")) {
            total = summary.split_whitespace().next().and_then(|total| total.parse().ok());
        }
    }
    let instructions = total.context("no sum of instructions in what callgrind wrote")?;
    ensure!(allocations > 0, "no allocation in what callgrind wrote: the allocator's names are not known here");
    Ok(Cost { instructions, allocations })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_of_the_allocator_are_counted_by_name_and_by_number() -> Result<()> {
        let text = "version: 1\nevents: Ir\n\nfn=(1) main\n16 400\ncfn=(2) malloc\ncalls=3 0 \n16 90\ncfn=(3) other\ncalls=7 0\n\
                    16 9\nfn=(2)\n1 90\ncfn=(4) _int_malloc\ncalls=3 0\n1 5\nfn=(3)\n1 1\ncob=(2)\ncfi=(3)\ncfn=(2)\ncalls=2 0\n1 1\n\
                    cfn=(5) realloc\ncalls=1 0\n1 1\n\ntotals: 1234\n";
        assert_eq!(read(text)?, Cost { instructions: 1234, allocations: 6 });
        Ok(())
    }

    #[test]
    fn what_has_no_sum_or_no_allocation_is_no_count() {
        assert!(read("fn=(1) main\ncfn=(2) malloc\ncalls=1 0\n1 1\n").is_err());
        assert!(read("fn=(1) main\n1 1\ntotals: 5\n").is_err());
    }
}
