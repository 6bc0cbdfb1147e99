//! The reference: nginx as a plain reverse proxy that knows nothing of what passes.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use url::Url;

use super::process::Process;

const START_LIMIT: Duration = Duration::from_secs(10);
/// Somebody else may take a free port before nginx does.
const ATTEMPTS: usize = 5;

/// A running nginx.
pub(crate) struct Nginx {
    process: Process,
    url: Url,
}

impl Nginx {
    /// Starts this program with so many workers in front of `backend`.
    pub(crate) fn start(program: &Path, workers: usize, backend: &Url, dir: &Path) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            match Self::try_start(program, workers, backend, dir) {
                Ok(nginx) => return Ok(nginx),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("nginx was not started")?)
    }

    fn try_start(program: &Path, workers: usize, backend: &Url, dir: &Path) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let name = format!("nginx-{workers}");
        let prefix = dir.join(&name);
        std::fs::create_dir_all(&prefix).context("a folder for nginx")?;
        let file = prefix.join("nginx.conf");
        std::fs::write(&file, configuration(workers, port, backend)?).context("writing the configuration")?;
        let mut command = Command::new(program);
        command.arg("-p").arg(&prefix).arg("-c").arg(&file).args(["-e", "stderr"]);
        let mut process = Process::start(&name, &mut command, dir)?;
        let deadline = Instant::now() + START_LIMIT;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            process.check()?;
            if Instant::now() > deadline {
                bail!("nginx does not listen. {}", process.said());
            }
            thread::sleep(Duration::from_millis(5));
        }
        // Somebody else may listen there instead.
        thread::sleep(Duration::from_millis(100));
        process.check()?;
        let mut url = backend.clone();
        url.set_port(Some(port)).ok().context("a port")?;
        Ok(Self { process, url })
    }

    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// As its documentation says a reverse proxy with kept connections is configured. Beyond that: no log, and buffers that hold the
/// largest answer of the comparison, so that nothing goes through files.
fn configuration(workers: usize, port: u16, backend: &Url) -> Result<String> {
    let authority = backend.authority();
    anyhow::ensure!(backend.scheme() == "http" && !authority.contains(['"', ';', '{', ' ']), "{backend}");
    Ok(format!(
        r#"daemon off;
worker_processes {workers};
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    tcp_nodelay on;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
    upstream backend {{
        server {authority};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffers 32 8k;
        }}
    }}
}}
"#
    ))
}
