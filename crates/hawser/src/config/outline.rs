//! What a configuration would do, for people as a table and for programs as JSON. No secret is in it.

use std::fmt::Write as _;

use http::HeaderName;
use secrecy::SecretString;
use serde::Serialize;

use super::scalar::{show_duration, show_size};
use super::settings::{BackendSettings, Naming, Settings, Transport};
use super::{Loaded, redact};
use crate::admin::SOCKET_FILE;
use crate::console::Paint;

/// A configuration in outline.
#[derive(Debug, Serialize)]
pub struct Outline {
    ok: bool,
    file: Option<String>,
    listen: String,
    public_url: String,
    data_dir: String,
    store: String,
    key_ring: &'static str,
    endpoints: Vec<EndpointOutline>,
    backends: Vec<BackendOutline>,
    login: Vec<String>,
    sessions: Vec<(&'static str, String)>,
    limits: Vec<(&'static str, String)>,
    drain: Vec<(&'static str, String)>,
    admin: String,
    warnings: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EndpointOutline {
    name: String,
    path: String,
    backends: Vec<String>,
    anonymous: bool,
}

#[derive(Debug, Serialize)]
struct BackendOutline {
    name: String,
    transport: &'static str,
    target: String,
    naming: &'static str,
    timeout: String,
    /// Names of the headers or environment variables that are set; never their values.
    sets: Vec<String>,
}

impl Outline {
    /// The outline of what was loaded.
    pub fn of(loaded: &Loaded) -> Self {
        let settings = &loaded.settings;
        let free_port = settings.public_url.is_none() && settings.listen.port() == 0;
        Self {
            ok: true,
            file: loaded.file.as_ref().map(|file| file.display().to_string()),
            listen: settings.listen.to_string(),
            public_url: if free_port {
                format!("http://{}:<free port>", settings.listen.ip())
            } else {
                settings.public_url_when_bound(settings.listen)
            },
            data_dir: settings.data_dir.display().to_string(),
            store: settings.store.to_string(),
            key_ring: if settings.key_ring.is_some() { "configured" } else { "made in the data folder" },
            endpoints: settings
                .endpoints
                .iter()
                .map(|endpoint| EndpointOutline {
                    name: endpoint.name.to_string(),
                    path: endpoint.path.clone(),
                    backends: endpoint.backends.iter().map(ToString::to_string).collect(),
                    anonymous: endpoint.anonymous,
                })
                .collect(),
            backends: settings.backends.iter().map(backend).collect(),
            login: login(settings),
            sessions: vec![
                ("idle", show_duration(settings.sessions.idle)),
                ("lifetime", show_duration(settings.sessions.lifetime)),
                ("per_owner", settings.sessions.per_owner.to_string()),
                ("total", settings.sessions.total.to_string()),
                ("at_work", settings.sessions.at_work.to_string()),
            ],
            limits: limits(settings),
            drain: vec![("delay", show_duration(settings.drain.delay)), ("grace", show_duration(settings.drain.grace))],
            admin: admin(settings),
            warnings: settings.warnings.clone(),
        }
    }

    /// The outline as a table.
    pub fn table(&self, paint: Paint) -> String {
        // Writing to a String cannot fail.
        let mut rows: Vec<(String, String)> = Vec::new();
        let mut row = |name: &str, value: String| rows.push((name.to_owned(), value));
        row("file", self.file.clone().unwrap_or_else(|| "none; the defaults apply".to_owned()));
        row("listens on", self.listen.clone());
        row("public URL", self.public_url.clone());
        row("data folder", self.data_dir.clone());
        row("store", self.store.clone());
        row("key ring", self.key_ring.to_owned());
        for endpoint in &self.endpoints {
            let members =
                if endpoint.backends.is_empty() { "no backend".to_owned() } else { endpoint.backends.join(", ") };
            let open = if endpoint.anonymous { " (anonymous: everybody is let in)" } else { "" };
            row(&format!("endpoint {}", endpoint.name), format!("{} → {members}{open}", endpoint.path));
        }
        for backend in &self.backends {
            let mut value = format!("{} {}", backend.transport, backend.target);
            if !backend.sets.is_empty() {
                let _ = write!(value, ", sets {}", backend.sets.join(", "));
            }
            let _ = write!(value, ", names {}, timeout {}", backend.naming, backend.timeout);
            row(&format!("backend {}", backend.name), value);
        }
        for login in &self.login {
            row("log in", login.clone());
        }
        let join = |pairs: &[(&str, String)]| {
            pairs.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
        };
        row("sessions", join(&self.sessions));
        row("limits", join(&self.limits));
        row("drain", join(&self.drain));
        row("admin", self.admin.clone());
        for warning in &self.warnings {
            row("warning", warning.clone());
        }
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let mut out = String::new();
        for (name, value) in &rows {
            let _ = writeln!(out, "{}  {value}", paint.strong(&format!("{name:width$}")));
        }
        out
    }
}

/// Where a backend is, as it may be shown: a URL without its query, a command without what sounds like a secret.
pub(crate) fn target(backend: &BackendSettings) -> String {
    match &backend.transport {
        Transport::Http { url, .. } | Transport::Sse { url, .. } => {
            let mut shown = url.clone();
            shown.set_query(None);
            if url.query().is_some() { format!("{shown}?…") } else { shown.to_string() }
        }
        Transport::Stdio { program, arguments, .. } => {
            let words = redact::words(std::iter::once(program.as_str()).chain(arguments.iter().map(String::as_str)));
            words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ")
        }
    }
}

/// Words with spaces in quotes, so that it shows how a command was split.
fn quote(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

fn backend(backend: &BackendSettings) -> BackendOutline {
    let (transport, sets) = match &backend.transport {
        Transport::Http { headers, .. } => ("http", names(headers)),
        Transport::Sse { headers, .. } => ("sse", names(headers)),
        Transport::Stdio { env, .. } => ("stdio", env.iter().map(|(name, _)| name.clone()).collect()),
    };
    BackendOutline {
        name: backend.name.to_string(),
        transport,
        target: target(backend),
        naming: match backend.naming {
            Naming::Prefix => "prefix",
            Naming::None => "none",
        },
        timeout: show_duration(backend.timeout),
        sets,
    }
}

fn names(headers: &[(HeaderName, SecretString)]) -> Vec<String> {
    headers.iter().map(|(name, _)| name.to_string()).collect()
}

fn admin(settings: &Settings) -> String {
    let socket = settings.store.is_lasting().then(|| format!("at the socket {SOCKET_FILE} in the data folder"));
    let tcp = settings.admin.as_ref().map(|admin| format!("on {} with a token", admin.listen));
    let both: Vec<_> = socket.into_iter().chain(tcp).collect();
    if both.is_empty() { "nowhere: without a data folder it needs `admin`".to_owned() } else { both.join(", ") }
}

fn login(settings: &Settings) -> Vec<String> {
    let mut login = Vec::new();
    if let Some(server) = &settings.authorization_server {
        let mut ways = Vec::new();
        if server.development_login {
            ways.push("one-click development login".to_owned());
        }
        if !server.users.is_empty() {
            ways.push(format!("{} local user{}", server.users.len(), if server.users.len() == 1 { "" } else { "s" }));
        }
        if !ways.is_empty() {
            login.push(format!("embedded authorization server: {}", ways.join(", ")));
        }
    }
    login.extend(settings.issuers.iter().map(|issuer| format!("issuer {}", issuer.issuer)));
    login
}

fn limits(settings: &Settings) -> Vec<(&'static str, String)> {
    let limits = &settings.limits;
    let size = |bytes: usize| u64::try_from(bytes).map_or_else(|_| bytes.to_string(), show_size);
    vec![
        ("request_body", size(limits.request_body)),
        ("response_body", size(limits.response_body)),
        ("streamed_result", size(limits.streamed_result)),
        ("depth", limits.depth.to_string()),
        ("children", limits.children.to_string()),
        ("request_timeout", show_duration(limits.request_timeout)),
        ("client_answer", show_duration(limits.client_answer)),
    ]
}
