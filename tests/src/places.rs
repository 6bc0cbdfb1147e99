//! Where the parts of a test are: the binary under test, the installed real parts, our scripts for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, ensure};

const INSTALL: &str = "install it with `cargo xtask real-parts`";

/// Cargo's target directory, found from where this test program lies.
pub fn target_dir() -> Result<PathBuf> {
    Ok(profile_dir()?.parent().context("the profile directory has no parent")?.to_path_buf())
}

/// `<target>/<profile>`, above `deps/<test program>`.
fn profile_dir() -> Result<PathBuf> {
    let exe = env::current_exe().context("this program's own path")?;
    let profile = exe.ancestors().find(|dir| dir.join("deps").is_dir()).context("not in a target directory")?;
    Ok(profile.to_path_buf())
}

/// The `hawser` binary of the same build as this test program.
pub fn hawser() -> Result<PathBuf> {
    match env::var_os("HAWSER_BIN") {
        Some(path) => Ok(path.into()),
        None => sibling("hawser"),
    }
}

/// A program of the same build as this test program.
pub fn sibling(name: &str) -> Result<PathBuf> {
    let path = profile_dir()?.join(name);
    ensure!(path.is_file(), "{} is missing: build it with `cargo build --workspace`", path.display());
    Ok(path)
}

fn real_parts() -> Result<PathBuf> {
    let parts = target_dir()?.join("real-parts");
    ensure!(parts.join("installed").is_file(), "the real parts are not in {}: {INSTALL}", parts.display());
    Ok(parts)
}

/// The folder with `node_modules`.
pub(crate) fn node_home() -> Result<PathBuf> {
    Ok(real_parts()?.join("node"))
}

/// Node of the pinned version; on a platform that the registry has none for, the machine's own.
pub fn node() -> Result<PathBuf> {
    let platform = format!("node-{}-{}", env::consts::OS, if cfg!(target_arch = "x86_64") { "x64" } else { "arm64" });
    let pinned = node_home()?.join("node_modules").join(platform).join("bin/node");
    Ok(if pinned.is_file() { pinned } else { "node".into() })
}

/// A program that a Python package brought.
pub fn python(name: &str) -> Result<PathBuf> {
    let path = real_parts()?.join("python/bin").join(name);
    ensure!(path.exists(), "{} is missing: {INSTALL}", path.display());
    Ok(path)
}

/// The entry file of an installed npm package.
pub fn package_file(path: &str) -> Result<PathBuf> {
    let path = node_home()?.join("node_modules").join(path);
    ensure!(path.exists(), "{} is missing: {INSTALL}", path.display());
    Ok(path)
}

/// One of our scripts under `tests/real/`, where Node finds the packages it imports: beside `node_modules`.
pub fn script(name: &str) -> Result<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("real");
    if Path::new(name).extension().is_some_and(|extension| extension == "py") {
        return Ok(source.join(name));
    }
    let home = node_home()?;
    // All of them, since they import each other; renamed into place, since tests run at the same time.
    for entry in fs::read_dir(&source).with_context(|| format!("reading {}", source.display()))? {
        let from = entry?.path();
        let file = from.file_name().map(OsString::from).unwrap_or_default();
        if from.extension().is_some_and(|extension| extension == "mjs") {
            let unique = home.join(format!("{}.{}", file.to_string_lossy(), std::process::id()));
            fs::copy(&from, &unique).with_context(|| format!("copying {}", from.display()))?;
            fs::rename(&unique, home.join(&file)).context("putting a script in its place")?;
        }
    }
    Ok(home.join(name))
}
