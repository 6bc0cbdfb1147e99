//! Where the gateway listens, what it is called, and which browsers and host names it answers.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::ExposeSecret as _;
use url::{Host, Url};

use super::Check;
use crate::admin::TOKEN_BYTES_MIN;
use crate::config::overrides::Overrides;
use crate::config::problem::{Problem, Source};
use crate::config::redact;
use crate::config::settings::AdminSettings;
use crate::config::wire::{File, Text};

/// Where the gateway listens if nothing else is said.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8420);
/// Most entries of `allowed_origins`, `allowed_hosts` and `trusted_proxies`: each request is compared with them.
const ALLOWED_MAX: usize = 256;

pub(super) fn listen(check: &mut Check<'_>, file: &File, overrides: &Overrides) -> SocketAddr {
    let configured = check.optional("listen", file.listen.as_ref(), |text| {
        text.parse::<SocketAddr>().map_err(|_| match text.strip_prefix("localhost:") {
            Some(port) => format!("write the address: `127.0.0.1:{}`", redact::value(port)),
            None => "write an IP address and a port, for example `127.0.0.1:8420` or `[::1]:8420`".to_owned(),
        })
    });
    overrides.listen.or(configured).unwrap_or(DEFAULT_LISTEN)
}

/// The public URL is an issuer identifier (RFC 8414 section 2) and the base of resource identifiers (RFC 8707 section 2).
pub(super) fn public_url(
    check: &mut Check<'_>,
    file: &File,
    overrides: &Overrides,
    listen: SocketAddr,
) -> Option<String> {
    let (source, text) = match (&overrides.public_url, &file.public_url) {
        (Some(flag), _) => (Source::Flag("--public-url"), flag.as_str()),
        (None, Some(value)) => (Source::of(value), value.value.as_str()),
        (None, None) => {
            if !listen.ip().is_loopback() {
                let source = match (overrides.listen, &file.listen) {
                    (Some(_), _) => Source::Flag("--listen"),
                    (None, Some(value)) => Source::of(value),
                    (None, None) => Source::File,
                };
                let message =
                    format!("`public_url` is missing: the gateway listens on {listen}, which is not loopback");
                check.problem(
                    Problem::new(source, message)
                        .help("say how clients reach it: `public_url: https://mcp.example.com`"),
                );
            }
            return None;
        }
    };
    match origin(text) {
        Ok(origin) => Some(origin),
        Err(help) => {
            let message = format!("`public_url` cannot be `{}`", redact::value(text));
            check.problem(Problem::new(source, message).help(help));
            None
        }
    }
}

/// An https origin, or an http one on loopback, without trailing slash.
fn origin(text: &str) -> Result<String, &'static str> {
    const EXAMPLE: &str = "write an origin, for example `https://mcp.example.com`";
    let url = Url::parse(text).map_err(|_| EXAMPLE)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err("access tokens travel to this URL: it must be https, unless it is on loopback"),
        _ => return Err(EXAMPLE),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("leave user and password out");
    }
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("leave path, query and fragment out; endpoints have their own `path`");
    }
    Ok(url.origin().ascii_serialization())
}

/// Whether the URL's host is this machine's own.
pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

pub(super) fn data_dir(check: &mut Check<'_>, file: &File, overrides: &Overrides) -> PathBuf {
    let around = check.around;
    if let Some(dir) = &overrides.data_dir {
        return dir.clone();
    }
    if let Some(value) = &file.data_dir {
        if value.value.is_empty() {
            check.wrong("data_dir", value, "write a folder, for example `/var/lib/hawser`");
        }
        return around.path(&value.value);
    }
    // XDG Base Directory: a relative XDG_STATE_HOME is to be ignored.
    let state_home = around.non_empty("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || around.non_empty("HOME").map(|home: OsString| PathBuf::from(home).join(".local/state"));
    if let Some(state) = state_home.or_else(home) {
        return state.join("hawser");
    }
    let problem = Problem::new(Source::File, "there is no folder for data: neither XDG_STATE_HOME nor HOME is set");
    check.problem(problem.help("give one: `--data-dir DIR`, HAWSER_DATA_DIR, or `data_dir: DIR` in the configuration"));
    PathBuf::new()
}

pub(super) fn allowed_origins(check: &mut Check<'_>, file: &File) -> Vec<String> {
    let entries = bounded(check, "allowed_origins", file.allowed_origins.as_deref());
    let read = |text: &str| {
        if text == "*" || text == "null" {
            return Err("every web page could then use a visitor's gateway; name the origins");
        }
        let url = Url::parse(text).map_err(|_| "write an origin, for example `https://app.example.com`")?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        match url.scheme() {
            "http" | "https" if bare && url.password().is_none() => Ok(url.origin().ascii_serialization()),
            _ => Err("an origin is scheme, host and port only: `https://app.example.com`"),
        }
    };
    entries.iter().filter_map(|entry| check.optional("allowed_origins", Some(entry), read)).collect()
}

pub(super) fn allowed_hosts(check: &mut Check<'_>, file: &File) -> Vec<String> {
    let entries = bounded(check, "allowed_hosts", file.allowed_hosts.as_deref());
    let read = |text: &str| {
        if text.contains('*') {
            return Err("name the hosts: a pattern would let DNS rebinding through");
        }
        let help = "write a host name, with a port if it is not the default: `mcp.internal` or `mcp.internal:8443`";
        if text.is_empty() || text.contains(['/', '@', '?', '#', '\\']) || text.contains(char::is_whitespace) {
            return Err(help);
        }
        // Parsed as a URL's authority, so that what is compared with later is in the form that clients send.
        let url = Url::parse(&format!("http://{text}/")).map_err(|_| help)?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or(help)?;
        // Port 80 is this scheme's default, which `Url` leaves out.
        let port = if text.ends_with(":80") { Some(80) } else { url.port() };
        Ok(port.map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
    };
    entries.iter().filter_map(|entry| check.optional("allowed_hosts", Some(entry), read)).collect()
}

pub(super) fn trusted_proxies(check: &mut Check<'_>, file: &File) -> Vec<IpNet> {
    let entries = bounded(check, "trusted_proxies", file.trusted_proxies.as_deref());
    let read = |text: &str| {
        let network = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
        let network = network.map_err(|_| "write an address or a network: `10.0.0.5` or `10.0.0.0/8`")?;
        if network.prefix_len() == 0 {
            return Err("name the proxies: whoever is trusted chooses the address that limits are counted by");
        }
        Ok(network.trunc())
    };
    entries.iter().filter_map(|entry| check.optional("trusted_proxies", Some(entry), read)).collect()
}

fn bounded<'f>(check: &mut Check<'_>, key: &str, entries: Option<&'f [Text]>) -> &'f [Text] {
    let entries = entries.unwrap_or_default();
    if let Some(extra) = entries.get(ALLOWED_MAX) {
        let problem = Problem::new(Source::of(extra), format!("`{key}` has more than {ALLOWED_MAX} entries"));
        check.problem(problem.help("each request is compared with all of them"));
    }
    entries.get(..ALLOWED_MAX).unwrap_or(entries)
}

/// Administration over TCP: on loopback only, since the token travels in clear, and never without one.
pub(super) fn admin(check: &mut Check<'_>, file: &File) -> Option<AdminSettings> {
    let entry = file.admin.as_ref()?;
    let read = |text: &str| {
        let address =
            text.parse::<SocketAddr>().map_err(|_| "write an address and a port, for example `127.0.0.1:8421`")?;
        if !address.ip().is_loopback() {
            return Err("the token would travel in clear; listen on loopback, and reach it through a tunnel");
        }
        Ok(address)
    };
    let (Some(_), Some(token)) = (&entry.value.listen, &entry.value.token) else {
        let missing = if entry.value.listen.is_none() { "listen" } else { "token" };
        let problem = Problem::new(Source::of(entry), format!("`admin` has no `{missing}`"));
        check.problem(problem.help("for example `admin: { listen: \"127.0.0.1:8421\", token: \"env:HAWSER_ADMIN_TOKEN\" }`; without `admin` there is the socket in the data folder"));
        return None;
    };
    let listen = check.optional("admin.listen", entry.value.listen.as_ref(), read);
    let secret = check.secret("admin.token", &Source::of(token), &token.value)?;
    let fits = secret.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
    if secret.expose_secret().len() < TOKEN_BYTES_MIN || !fits {
        let message =
            format!("`admin.token` has fewer than {TOKEN_BYTES_MIN} characters, or others than visible ASCII ones");
        check.problem(Problem::new(Source::of(token), message).help("make one with `openssl rand -hex 32`"));
        return None;
    }
    Some(AdminSettings { listen: listen?, token: secret })
}
