//! Which gateway is meant: the socket in its data folder, or what `--admin` names.

use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use url::Url;

use crate::admin::SOCKET_FILE;
use crate::cli::AdminArgs;
use crate::config::{self, Overrides, Settings};
use crate::failure::Failure;

/// Where administration is.
#[derive(Debug)]
pub(super) enum Target {
    Socket(PathBuf),
    Tcp { address: SocketAddr, token: SecretString },
}

/// Finds it in the flags, else by the configuration.
pub(super) fn find(args: &AdminArgs) -> Result<Target, Failure> {
    match args.admin.as_deref().filter(|admin| !admin.is_empty()) {
        Some(url) if url.contains("://") => tcp(url, args),
        Some(path) => Ok(Target::Socket(PathBuf::from(path))),
        None => Ok(Target::Socket(data_dir(args)?.join(SOCKET_FILE))),
    }
}

fn data_dir(args: &AdminArgs) -> Result<PathBuf, Failure> {
    match args.data_dir.clone().filter(|folder| !folder.as_os_str().is_empty()) {
        // What else the configuration says does not matter then, and its secrets need not be at hand.
        Some(folder) => Ok(folder),
        None => Ok(settings(args)?.data_dir),
    }
}

fn settings(args: &AdminArgs) -> Result<Settings, Failure> {
    Ok(config::load(args.config.as_deref(), &Overrides::default())?.settings)
}

fn tcp(url: &str, args: &AdminArgs) -> Result<Target, Failure> {
    let wrong =
        |what: &str| Failure::run_with_hint(format!("--admin {url}: {what}"), "for example http://127.0.0.1:8421");
    let parsed = Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
    let host = parsed.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let host = if host == "localhost" { "127.0.0.1" } else { host };
    let address = host.parse().ok().zip(parsed.port()).map(|(ip, port)| SocketAddr::new(ip, port));
    match address {
        // The token would travel in clear.
        Some(address) if parsed.scheme() == "http" && address.ip().is_loopback() => {
            let token = match &args.admin_token {
                Some(reference) => config::referenced(reference).map_err(Failure::run)?,
                None => settings(args)?.admin.map(|admin| admin.token).ok_or_else(|| {
                    Failure::run_with_hint("there is no token for it", "name it with --admin-token env:NAME")
                })?,
            };
            Ok(Target::Tcp { address, token })
        }
        _ => Err(wrong("administration is http on loopback, with a port")),
    }
}
