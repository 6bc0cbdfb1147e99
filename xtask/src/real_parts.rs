//! The clients, servers and issuers that nobody here wrote, installed from their registries as `tests/real/` pins them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::exec;
use crate::report::Finding;
use crate::workspace::Workspace;

const INSTALL_LIMIT: Duration = Duration::from_mins(15);
/// The files under `tests/real/` that decide what is installed.
const PINS: [&str; 3] = ["package.json", "package-lock.json", "requirements.txt"];

/// Installs what is missing or pinned anew; does nothing when all is in place.
pub(crate) fn install(workspace: &Workspace) -> Result<Finding> {
    let parts = workspace.real_parts();
    let pins = read_pins(workspace)?;
    let stamp = parts.join("installed");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == pins) {
        return Ok(Finding::passed("already installed as pinned"));
    }
    // Removed first: an interrupted installation is never mistaken for a whole one.
    if stamp.exists() {
        fs::remove_file(&stamp).context("removing the stamp of the last installation")?;
    }
    install_npm(workspace, &parts.join("node"))?;
    install_python(workspace, &parts.join("python"))?;
    fs::write(&stamp, pins).context("writing the stamp")?;
    Ok(Finding::passed("installed from npm and PyPI"))
}

fn read_pins(workspace: &Workspace) -> Result<String> {
    let mut all = String::new();
    for name in PINS {
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

const SUITABLE_PYTHON: &str = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))";
