//! Other gateways, as they install from their registries, each in front of the same backend as its documentation says. They are installed
//! by `cargo xtask bench --peers`, which also writes down what could not be installed.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use url::Url;

use super::process::Process;
use crate::load::connection::Connection;
use crate::load::request::{Asked, Era, Target};

/// Python programs with many modules take their time on a busy machine.
const START_LIMIT: Duration = Duration::from_mins(2);
const ONE_ATTEMPT: Duration = Duration::from_secs(20);
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(500);
/// Who administers a gateway that asks for it.
const ADMIN: &str = "admin@example.com";

/// What was installed, or why not.
#[derive(Debug, Deserialize)]
pub(crate) struct Installed {
    /// Registry, name and version.
    pub(crate) name: String,
    /// Which of the kinds that can be started.
    pub(crate) kind: Kind,
    /// Where it is.
    pub(crate) folder: PathBuf,
    /// Why it is not there.
    pub(crate) failed: Option<String>,
}

/// How a peer is started.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    McpProxyRust,
    Fastmcp,
    McpProxyPython,
    Contextforge,
    Onemcp,
}

/// A running peer.
pub(crate) struct Peer {
    process: Process,
    pub(crate) target: Target,
    /// What it calls the backend's tool.
    pub(crate) tool: String,
}

/// How one is run, and where it then is.
struct Way {
    command: Command,
    path: &'static str,
    token: Option<String>,
}

impl Peer {
    /// Starts it in front of `backend`, and waits until it passes calls on.
    pub(crate) async fn start(installed: &Installed, backend: &Url, dir: &Path) -> Result<Self> {
        if let Some(reason) = &installed.failed {
            bail!("not installed: {reason}");
        }
        let dir = dir.join(installed.folder.file_name().context("a folder without a name")?);
        std::fs::create_dir_all(&dir).context("a folder of its own")?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let mut way = installed.kind.way(&installed.folder, backend, port, &dir)?;
        let mut process = Process::start("peer", way.command.current_dir(&dir), &dir)?;
        let url: Url = format!("http://127.0.0.1:{port}{}", way.path).parse()?;
        let target = Target::new(&url, way.token.as_deref())?;
        let deadline = Instant::now() + START_LIMIT;
        if matches!(installed.kind, Kind::Contextforge) {
            register(&mut process, &target, backend, deadline).await?;
        }
        loop {
            let error = match timeout(ONE_ATTEMPT, first_call(&target)).await {
                Ok(Ok(tool)) => return Ok(Self { process, target, tool }),
                Ok(Err(error)) => error,
                Err(_) => anyhow!("no answer in {} s", ONE_ATTEMPT.as_secs()),
            };
            process.check().context("it does not start")?;
            ensure!(Instant::now() < deadline, "no call passes: {error:#}. {}", process.said());
            sleep(BETWEEN_ATTEMPTS).await;
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Finds the backend's tool under whatever name, and calls it.
async fn first_call(target: &Target) -> Result<String> {
    let mut connection = Connection::open(target).await?;
    let session = connection.open_session(target).await?;
    let list = connection.result(target.request(Era::Legacy, session.spoken(), &Asked::list())).await?;
    let tools = list.get("tools").and_then(Value::as_array).context("no tools")?;
    let names = tools.iter().filter_map(|tool| tool.get("name")?.as_str());
    let tool = names.into_iter().find(|name| name.ends_with("echo")).context("the backend's tool is not listed")?;
    let call = Asked::call(tool, &json!({}));
    let result = connection.result(target.request(Era::Legacy, session.spoken(), &call)).await?;
    ensure!(result.get("isError") != Some(&json!(true)), "the call fails: {result}");
    Ok(tool.to_owned())
}

impl Kind {
    fn way(self, folder: &Path, backend: &Url, port: u16, dir: &Path) -> Result<Way> {
        let port = port.to_string();
        let mut way = match self {
            Self::McpProxyRust => {
                let file = dir.join("proxy.toml");
                let text = format!(
                    "[proxy]\nname = \"bench\"\n[proxy.listen]\nhost = \"127.0.0.1\"\nport = {port}\n\
                     [[backends]]\nname = \"bench\"\ntransport = \"http\"\nurl = \"{backend}\"\n\
                     [observability]\nlog_level = \"error\"\naudit = false\n"
                );
                std::fs::write(&file, text).context("writing its configuration")?;
                let mut command = Command::new(folder.join("bin/mcp-proxy"));
                command.arg("--config").arg(file);
                Way { command, path: "/", token: None }
            }
            Self::Fastmcp => {
                let mut command = Command::new(folder.join("bin/fastmcp"));
                command.args(["run", backend.as_str(), "--transport", "http", "--host", "127.0.0.1", "--port", &port]);
                command.args(["--no-banner", "--log-level", "ERROR"]);
                Way { command, path: "/mcp", token: None }
            }
            // It turns streamable HTTP into stdio, and stdio into streamable HTTP: it takes two for both.
            Self::McpProxyPython => {
                let program = folder.join("bin/mcp-proxy");
                let mut command = Command::new(&program);
                command.args(["--host", "127.0.0.1", "--port", &port, "--log-level", "ERROR", "--"]).arg(&program);
                command.args(["--transport", "streamablehttp", "--log-level", "ERROR", backend.as_str()]);
                Way { command, path: "/mcp", token: None }
            }
            Self::Contextforge => contextforge(folder, &port, dir)?,
            Self::Onemcp => {
                let servers = json!({ "mcpServers": { "bench": { "type": "streamableHttp", "url": backend } } });
                std::fs::write(dir.join("mcp.json"), servers.to_string()).context("writing its configuration")?;
                let mut command = Command::new(folder.join("node_modules/.bin/1mcp"));
                command.args(["serve", "--host", "127.0.0.1", "--port", &port, "--config-dir"]).arg(dir);
                Way { command, path: "/mcp", token: None }
            }
        };
        way.command.env("HOME", dir).env("NO_PROXY", "127.0.0.1,localhost");
        Ok(way)
    }
}

/// One process with a database in a file; requests carry a token that it checks, as they do at the gateway.
fn contextforge(folder: &Path, port: &str, dir: &Path) -> Result<Way> {
    let key = secret()?;
    let mut command = Command::new(folder.join("bin/mcpgateway"));
    command.args(["--host", "127.0.0.1", "--port", port]).env("HOST", "127.0.0.1").env("PORT", port);
    command.env("DATABASE_URL", format!("sqlite:///{}", dir.join("mcp.db").display()));
    command.env("SSRF_ALLOW_LOCALHOST", "true").env("SSRF_ALLOW_PRIVATE_NETWORKS", "true");
    command.env("RATE_LIMITING_ENABLED", "false").env("LOG_LEVEL", "ERROR").env("JWT_SECRET_KEY", &key);
    for name in ["AUTH_ENCRYPTION_SECRET", "BASIC_AUTH_PASSWORD", "PLATFORM_ADMIN_PASSWORD", "DEFAULT_USER_PASSWORD"] {
        command.env(name, secret()?);
    }
    Ok(Way { command, path: "/mcp/", token: Some(admin_token(&key)?) })
}

fn secret() -> Result<String> {
    let mut bytes = [0; 40];
    rand::fill(&mut bytes).map_err(|_| anyhow!("no random bytes"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// A token as its own tool for that makes it.
fn admin_token(key: &str) -> Result<String> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
    let claims = json!({ "sub": ADMIN, "username": ADMIN, "iss": "mcpgateway", "aud": "mcpgateway-api", "jti": secret()?, "iat": now,
        "exp": now + 36_000, "env": "development", "teams": null,
        "user": { "email": ADMIN, "full_name": "bench", "is_admin": true, "auth_provider": "cli" } });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "HS256", "typ": "JWT" })), part(&claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes());
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag)))
}

/// Tells it of the backend, as soon as it answers.
async fn register(process: &mut Process, target: &Target, backend: &Url, deadline: Instant) -> Result<()> {
    let registered = json!({ "name": "bench", "url": backend, "transport": "STREAMABLEHTTP", "visibility": "public" });
    let body = registered.to_string();
    let request = format!(
        "POST /gateways HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        target.host,
        target.token.as_deref().unwrap_or_default(),
        body.len(),
    );
    loop {
        let attempt = async {
            let mut connection = Connection::open(target).await?;
            let (head, body) = connection.exchange(request.as_bytes()).await?;
            anyhow::Ok((head.status, String::from_utf8_lossy(body).into_owned()))
        };
        match timeout(ONE_ATTEMPT, attempt).await {
            Ok(Ok((200..=299, _))) => return Ok(()),
            Ok(Ok((status, said))) => bail!("it does not take the backend: {status} {said}"),
            Ok(Err(_)) | Err(_) => {}
        }
        process.check().context("it does not start")?;
        ensure!(Instant::now() < deadline, "it does not answer. {}", process.said());
        sleep(BETWEEN_ATTEMPTS).await;
    }
}
