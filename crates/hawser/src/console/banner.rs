//! What `hawser serve` says once it listens: for people with lines to paste, for programs as one line of JSON.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Serialize;

use super::Paint;
use crate::config::{self, Settings};

/// The facts of a gateway that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listening {
    /// The public URL.
    pub url: String,
    /// Where it really listens.
    pub bound: SocketAddr,
    /// Whether sessions outlive the process.
    pub keeps_sessions: bool,
    /// What it offers.
    pub endpoints: Vec<ListeningEndpoint>,
    /// What it fronts.
    pub backends: Vec<ListeningBackend>,
    /// Whether anyone on this machine can log in with one click.
    pub development_login: bool,
    /// What people should know, for instance tool names that are longer than model providers take.
    pub warnings: Vec<String>,
}

/// One endpoint of a gateway that listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListeningEndpoint {
    /// Its name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its URL: what clients connect to.
    pub url: String,
}

/// One backend of a gateway that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListeningBackend {
    /// Its name.
    pub name: String,
    /// Its URL or command, without secrets.
    pub target: String,
    /// What it said of itself, or that it did not.
    pub state: Option<String>,
}

impl Listening {
    /// What the settings make of a listener that was bound to this address.
    pub fn new(settings: &Settings, bound: SocketAddr) -> Self {
        let url = settings.public_url_when_bound(bound);
        let endpoints = settings.endpoints.iter().map(|endpoint| ListeningEndpoint {
            name: endpoint.name.to_string(),
            path: endpoint.path.clone(),
            url: format!("{url}{}", endpoint.path),
        });
        let backends = settings.backends.iter().map(|backend| ListeningBackend {
            name: backend.name.to_string(),
            target: config::shown_target(backend),
            state: None,
        });
        Self {
            endpoints: endpoints.collect(),
            backends: backends.collect(),
            development_login: settings.authorization_server.as_ref().is_some_and(|server| server.development_login),
            warnings: settings.warnings.clone(),
            bound,
            keeps_sessions: settings.store.is_lasting(),
            url,
        }
    }
}

/// The one line of `serve --json`, without line break.
pub fn ready_line(listening: &Listening, pid: u32) -> String {
    let backends: Vec<&str> = listening.backends.iter().map(|backend| backend.name.as_str()).collect();
    serde_json::json!({
        "event": "listening",
        "url": listening.url,
        "listen": listening.bound,
        "endpoints": listening.endpoints,
        "backends": backends,
        "pid": pid,
    })
    .to_string()
}

/// The same facts for people.
pub fn banner(listening: &Listening, paint: Paint) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_banner(&mut out, listening, paint);
    out
}

fn write_banner(out: &mut String, listening: &Listening, paint: Paint) -> std::fmt::Result {
    let name = paint.strong(concat!("hawser ", env!("CARGO_PKG_VERSION")));
    let local = format!("http://{}", listening.bound);
    if listening.url == local {
        writeln!(out, "{name} listens on {local}")?;
    } else {
        writeln!(out, "{name} listens on {local} and is reached at {}", listening.url)?;
    }
    let endpoint_rows = listening.endpoints.iter().map(|endpoint| (endpoint.name.as_str(), endpoint.url.as_str()));
    write_rows(out, "endpoints", endpoint_rows, paint)?;
    if listening.backends.is_empty() {
        writeln!(out, "\n{}\n  none", paint.strong("backends"))?;
    } else {
        let shown = |backend: &ListeningBackend| match &backend.state {
            Some(state) => format!("{}\n{:indent$}{state}", backend.target, "", indent = 4),
            None => backend.target.clone(),
        };
        let shown: Vec<_> = listening.backends.iter().map(|backend| (backend.name.as_str(), shown(backend))).collect();
        write_rows(out, "backends", shown.iter().map(|(name, text)| (*name, text.as_str())), paint)?;
    }
    if let Some(endpoint) = listening.endpoints.first() {
        write_clients(out, endpoint, paint)?;
        if listening.endpoints.len() > 1 {
            writeln!(out, "  the other endpoints: the same with their URL")?;
        }
    }
    writeln!(out)?;
    if listening.development_login {
        writeln!(out, "{} one-click development login is on, for this machine only", paint.warning("note:"))?;
    }
    for warning in &listening.warnings {
        writeln!(out, "{} {warning}", paint.warning("warning:"))?;
    }
    let kept = if listening.keeps_sessions { "sessions are kept" } else { "sessions end with it (store: memory)" };
    writeln!(out, "stop with Ctrl-C; {kept}")
}

fn write_rows<'a>(
    out: &mut String,
    title: &str,
    rows: impl Iterator<Item = (&'a str, &'a str)> + Clone,
    paint: Paint,
) -> std::fmt::Result {
    let width = rows.clone().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    writeln!(out, "\n{}", paint.strong(title))?;
    for (name, value) in rows {
        writeln!(out, "  {name:width$}  {value}")?;
    }
    Ok(())
}

fn write_clients(out: &mut String, endpoint: &ListeningEndpoint, paint: Paint) -> std::fmt::Result {
    let name = if endpoint.name == "default" { "hawser".to_owned() } else { format!("hawser-{}", endpoint.name) };
    let url = &endpoint.url;
    // An IPv6 address has brackets, which some shells take for a pattern.
    let word = shlex::try_quote(url).unwrap_or(Cow::Borrowed(url));
    let json = |value: serde_json::Value| value.to_string();
    let vs_code = json(serde_json::json!({"name": name, "type": "http", "url": url}));
    let cursor = json(serde_json::json!({"mcpServers": {&name: {"url": url}}}));
    let lines = [
        ("Claude Code", format!("claude mcp add --transport http {name} {word}")),
        ("VS Code", format!("code --add-mcp '{vs_code}'")),
        ("Codex", format!("codex mcp add {name} --url {word}")),
        (
            "MCP Inspector",
            format!("npx @modelcontextprotocol/inspector --cli {word} --transport http --method tools/list"),
        ),
        ("Cursor and others, in mcp.json", cursor),
    ];
    writeln!(out, "\n{}", paint.strong("connect a client"))?;
    for (client, line) in lines {
        writeln!(out, "  {client}\n    {}", paint.paste(&line))?;
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::config::{Overrides, Surroundings, settings};

    fn listening(text: &str, bound: &str) -> Listening {
        let variable = |name: &str| (name == "HOME").then(|| "/home/alice".into());
        let around = Surroundings { variable: &variable, folder: "".into() };
        Listening::new(&settings("test", text, &Overrides::default(), &around).unwrap(), bound.parse().unwrap())
    }

    #[test]
    fn the_ready_line_is_one_line_of_the_contract() {
        let listening = listening("listen: 127.0.0.1:0\nbackends: { time: { command: x } }", "127.0.0.1:9");
        let line = ready_line(&listening, 123);
        assert!(!line.contains('\n'));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&line).unwrap(),
            serde_json::json!({
                "event": "listening",
                "url": "http://127.0.0.1:9",
                "listen": "127.0.0.1:9",
                "endpoints": [{"name": "default", "path": "/mcp", "url": "http://127.0.0.1:9/mcp"}],
                "backends": ["time"],
                "pid": 123,
            })
        );
    }

    #[test]
    fn the_banner_has_a_line_to_paste_for_each_client() {
        let listening = listening(
            "backends: { time: { command: uvx mcp-server-time }, web: { url: 'http://h/mcp' } }",
            "127.0.0.1:8420",
        );
        let expected = format!(
            r#"hawser {} listens on http://127.0.0.1:8420

endpoints
  default  http://127.0.0.1:8420/mcp

backends
  time  uvx mcp-server-time
  web   http://h/mcp

connect a client
  Claude Code
    claude mcp add --transport http hawser http://127.0.0.1:8420/mcp
  VS Code
    code --add-mcp '{{"name":"hawser","type":"http","url":"http://127.0.0.1:8420/mcp"}}'
  Codex
    codex mcp add hawser --url http://127.0.0.1:8420/mcp
  MCP Inspector
    npx @modelcontextprotocol/inspector --cli http://127.0.0.1:8420/mcp --transport http --method tools/list
  Cursor and others, in mcp.json
    {{"mcpServers":{{"hawser":{{"url":"http://127.0.0.1:8420/mcp"}}}}}}

note: one-click development login is on, for this machine only
stop with Ctrl-C; sessions are kept
"#,
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(banner(&listening, Paint::plain()), expected);
    }

    #[test]
    fn brackets_of_an_ipv6_address_are_quoted_for_the_shell() {
        let shown = banner(&listening("listen: '[::1]:8420'", "[::1]:8420"), Paint::plain());
        assert!(shown.contains("--transport http hawser 'http://[::1]:8420/mcp'"), "{shown}");
        assert!(shown.contains("warning: there are no backends"), "{shown}");
    }
}
