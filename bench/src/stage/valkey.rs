//! A Valkey server, where rows of more sessions are kept than fit into the gateway's own memory.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::process::Process;

const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server, empty.
pub(crate) struct Valkey {
    _process: Process,
    url: String,
}

impl Valkey {
    pub(crate) fn start(program: &Path, dir: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "no", "--dir"]);
        let mut process = Process::start("valkey", command.arg(dir), dir)?;
        let deadline = Instant::now() + START_LIMIT;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            process.check()?;
            if Instant::now() > deadline {
                bail!("Valkey does not listen. {}", process.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
        process.check()?;
        Ok(Self { _process: process, url: format!("redis://127.0.0.1:{port}/0") })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }
}
