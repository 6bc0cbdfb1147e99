//! Programs from Debian's packages, unpacked rather than installed, so that no service is started and nobody has to be root.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::exec;

const LIMIT: Duration = Duration::from_mins(10);

/// Whether packages can be had here.
pub(crate) fn is_here() -> bool {
    exec::probe(Command::new("apt-get").arg("--version")).is_some()
}

/// Downloads these packages and unpacks them into `into`, whole or not at all: an interrupted installation is never mistaken for
/// one.
pub(crate) fn unpack(names: &[&str], into: &Path) -> Result<()> {
    let packages = into.with_extension("packages");
    let unpacked = into.with_extension("unpacked");
    for folder in [&packages, &unpacked] {
        if folder.exists() {
            fs::remove_dir_all(folder).with_context(|| format!("removing {}", folder.display()))?;
        }
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
    }
    let download = || {
        let mut command = Command::new("apt-get");
        // As whoever runs this: the user that apt has for downloads cannot write here.
        command.args(["download", "-q", "-o", "APT::Sandbox::User="]).args(names).current_dir(&packages);
        exec::check(&mut command, LIMIT)
    };
    // On a new machine, or one whose lists are old, the package lists are fetched first.
    if download().is_err() {
        exec::check(Command::new("apt-get").args(["update", "-q"]), LIMIT).context("fetching package lists")?;
        download().with_context(|| format!("downloading Debian's {}", names.join(", ")))?;
    }
    for package in fs::read_dir(&packages).context("reading the packages")? {
        exec::check(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(&unpacked), LIMIT)?;
    }
    fs::rename(&unpacked, into).with_context(|| format!("putting {} in its place", into.display()))
}
