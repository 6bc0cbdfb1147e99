//! Where things are: the repository, the target directory, and what the tasks keep under it.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The paths every task works with.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the repository from where this crate was built, and the target directory as cargo does.
    pub(crate) fn locate() -> Result<Self> {
        let root =
            Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent directory")?.to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => env::current_dir().context("current directory")?.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// The repository's top directory.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Where the pinned npm and Python packages of `tests/real/` are installed.
    pub(crate) fn real_parts(&self) -> PathBuf {
        self.target.join("real-parts")
    }

    /// Where cargo subcommands that the machine lacks are installed (`bin/` below it).
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }
}
