//! The gateway under test: the real binary with a data directory of its own, on a free loopback port.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, Version};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;
use url::Url;

use crate::places;
use crate::process::Process;

/// From the start of the process to the line that says that it listens.
const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// The binary, for what is not a server: one run from arguments to exit code.
pub struct Hawser {
    dir: TempDir,
}

impl Hawser {
    /// With an empty working directory.
    pub fn new() -> Result<Self> {
        Ok(Self { dir: TempDir::with_prefix("hawser-test-")? })
    }

    /// The working directory of its runs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file in the working directory.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).with_context(|| format!("writing {name}"))?;
        Ok(path)
    }

    /// Runs with these arguments, `input` on standard input, to the end.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Result<Output> {
        use tokio::io::AsyncWriteExt;
        let mut command = Command::new(places::hawser()?);
        command.args(arguments).current_dir(self.dir.path()).env("XDG_STATE_HOME", self.dir.path());
        command.stdin(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().context("cannot start hawser")?;
        if let Some(mut stdin) = child.stdin.take() {
            // A program that refuses its arguments does not wait for input.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        tokio::time::timeout(STOP_LIMIT, child.wait_with_output())
            .await
            .context("hawser did not end")?
            .map_err(Into::into)
    }

    /// The argon2id hash of a password, as `hawser user hash-password` gives it.
    pub async fn hash_password(password: &str) -> Result<String> {
        let output = Self::new()?.run(&["user", "hash-password"], &format!("{password}\n")).await?;
        anyhow::ensure!(output.status.success(), "hash-password: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

/// What the gateway says when it listens.
#[derive(Debug, Deserialize)]
struct Ready {
    url: Url,
    listen: SocketAddr,
    endpoints: Vec<Endpoint>,
    pid: u32,
}

#[derive(Debug, Deserialize)]
struct Endpoint {
    name: String,
    url: Url,
}

/// A running gateway.
pub struct Gateway {
    dir: TempDir,
    process: Process,
    ready: Ready,
}

impl Gateway {
    /// Starts one with this configuration; where to listen and where to keep data is added.
    pub async fn start(configuration: Value) -> Result<Self> {
        let dir = TempDir::with_prefix("hawser-test-")?;
        Self::start_in(dir, configuration).await
    }

    /// The same in a directory that exists already; its `data` folder becomes the data directory.
    pub async fn start_in(dir: TempDir, configuration: Value) -> Result<Self> {
        // JSON is YAML.
        std::fs::write(dir.path().join("hawser.yaml"), configuration.to_string())?;
        let (process, ready) = launch(dir.path(), "127.0.0.1:0").await?;
        Ok(Self { dir, process, ready })
    }

    /// One with users `alice`, `bob` and `eve`, whose passwords are their names.
    pub async fn with_users(configuration: Value) -> Result<Self> {
        Self::start(Self::users_added(configuration)?).await
    }

    /// The same in a directory that exists already.
    pub async fn with_users_in(dir: TempDir, configuration: Value) -> Result<Self> {
        Self::start_in(dir, Self::users_added(configuration)?).await
    }

    /// A configuration with these users added to it.
    pub(crate) fn users_added(mut configuration: Value) -> Result<Value> {
        let mut users = Vec::new();
        for name in ["alice", "bob", "eve"] {
            users.push(json!({ "name": name, "password": quick_hash(name)? }));
        }
        let Value::Object(members) = &mut configuration else { bail!("the configuration must be an object") };
        let auth = members.entry("auth").or_insert_with(|| json!({}));
        let Value::Object(auth) = auth else { bail!("auth must be an object") };
        let server = auth.entry("authorization_server").or_insert_with(|| json!({}));
        let Value::Object(server) = server else { bail!("authorization_server must be an object") };
        server.insert("users".to_owned(), users.into());
        Ok(configuration)
    }

    /// Its public address, which is also the issuer of its authorization server, without a trailing slash.
    pub fn url(&self) -> &str {
        self.ready.url.as_str().trim_end_matches('/')
    }

    /// `host:port` of its listener.
    pub fn address(&self) -> Result<String> {
        Ok(self.ready.listen.to_string())
    }

    /// Where its listener is.
    pub fn listener(&self) -> SocketAddr {
        self.ready.listen
    }

    /// The address of the endpoint `default`.
    pub fn mcp(&self) -> Result<Url> {
        self.endpoint("default")
    }

    /// The address of an endpoint.
    pub fn endpoint(&self, name: &str) -> Result<Url> {
        let found = self.ready.endpoints.iter().find(|endpoint| endpoint.name == name);
        Ok(found.with_context(|| format!("there is no endpoint {name}"))?.url.clone())
    }

    /// The id that the gateway says its process has.
    pub fn announced_pid(&self) -> u32 {
        self.ready.pid
    }

    /// Its process id as the system has it, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    /// Its working directory; the data directory is `data` in it.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.process.stderr()
    }

    /// Kills it (SIGKILL): nothing is flushed, nothing is said to anybody.
    pub async fn kill(&mut self) -> Result<()> {
        self.process.kill().await
    }

    /// Asks it to stop, and leaves it to do so.
    pub async fn stop_softly(&self) -> Result<()> {
        self.process.terminate().await
    }

    /// Asks it to stop and waits for its end.
    pub async fn stop(&mut self) -> Result<std::process::ExitStatus> {
        self.process.terminate().await?;
        self.process.exit(STOP_LIMIT).await
    }

    /// Waits for its end, after [`Gateway::stop_softly`].
    pub async fn exit(&mut self) -> Result<std::process::ExitStatus> {
        self.process.exit(STOP_LIMIT).await
    }

    /// Starts it again after [`Gateway::kill`] or [`Gateway::stop`]: the same data, the same port, the same file.
    pub async fn start_again(&mut self) -> Result<()> {
        let (process, ready) = launch(self.dir.path(), &self.listener().to_string()).await?;
        (self.process, self.ready) = (process, ready);
        Ok(())
    }

    /// Starts it again with another configuration.
    pub async fn start_again_with(&mut self, configuration: Value) -> Result<()> {
        std::fs::write(self.dir.path().join("hawser.yaml"), configuration.to_string())?;
        self.start_again().await
    }

    /// Kills it and starts it again.
    pub async fn crash(&mut self) -> Result<()> {
        self.kill().await?;
        self.start_again().await
    }
}

async fn launch(dir: &Path, listen: &str) -> Result<(Process, Ready)> {
    let mut command = Command::new(places::hawser()?);
    command.args(["serve", "--json", "--listen", listen, "--config", "hawser.yaml", "--data-dir", "data"]);
    let mut process = Process::start("hawser", command.current_dir(dir))?;
    let ready = process.event("listening", START_LIMIT).await?;
    Ok((process, serde_json::from_value(ready)?))
}

/// An argon2id hash that takes next to no time to check: a test logs in often, and guards nothing.
pub fn quick_hash(password: &str) -> Result<String> {
    let parameters = Params::new(Params::MIN_M_COST, Params::MIN_T_COST, Params::MIN_P_COST, None);
    let parameters = parameters.map_err(|error| anyhow!("argon2: {error}"))?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters);
    let hash = argon2.hash_password(password.as_bytes()).map_err(|error| anyhow!("argon2: {error}"))?;
    Ok(hash.to_string())
}

/// The configuration of a backend that runs `mcp-server-time` as a child process.
pub fn time_backend() -> Result<Value> {
    Ok(json!({ "command": [places::python("mcp-server-time")?, "--local-timezone=UTC"] }))
}
