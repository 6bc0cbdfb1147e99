//! Where a server is, as one text: `redis://user:password@host:6379/0` and its relatives.
//!
//! | scheme | where |
//! |---|---|
//! | `redis`, `rediss` | one server; with the second `s`, over TLS |
//! | `redis+sentinel`, `rediss+sentinel` | the primary that Sentinels name: `host:26379,host:26379/NAME/0` |
//! | `redis+cluster`, `rediss+cluster` | a cluster, of which these servers are asked first: `host:6379,host:6379` |
//!
//! `valkey`, `valkeys` and their `+sentinel` and `+cluster` mean the same. No error holds any part of the text, which may be
//! a secret.

use std::fmt;
use std::net::IpAddr;

use percent_encoding::percent_decode_str;
use thiserror::Error;
use zeroize::Zeroizing;

/// Longest text.
const BYTES_MAX: usize = 4096;
/// Most servers that are named.
const ADDRESSES_MAX: usize = 64;
const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26_379;
/// Schemes without what may follow a `+`.
const SCHEMES: [(&str, bool); 4] = [("redis", false), ("rediss", true), ("valkey", false), ("valkeys", true)];

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub(super) host: Box<str>,
    pub(super) port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            return write!(f, "[{}]:{}", self.host, self.port);
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Who the gateway is to the server.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: Option<Box<str>>,
    pub(super) password: Option<Zeroizing<String>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Which servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// This one.
    One(Address),
    /// The primary of this name that the Sentinels at these addresses name.
    Sentinels { addresses: Vec<Address>, name: Box<str>, credentials: Credentials },
    /// The cluster that these belong to.
    Cluster(Vec<Address>),
}

/// A text that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) place: Place,
    pub(super) tls: bool,
    pub(super) credentials: Credentials,
    pub(super) database: u32,
}

/// A text names no server: what is wrong with it, without any of it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum RedisUrlError {
    /// Not `redis://…` or a relative.
    #[error(
        "it does not begin with redis://, rediss://, redis+sentinel://, rediss+sentinel://, redis+cluster:// or rediss+cluster://"
    )]
    Scheme,
    /// Too long.
    #[error("it is longer than {BYTES_MAX} bytes")]
    TooLong,
    /// The part before `@`.
    #[error(
        "the part before `@` is not `user:password`, `:password`, or nothing; special characters in it are written as %XX"
    )]
    Credentials,
    /// A host or a port.
    #[error("a host or a port is missing or wrong: hosts are written as `host:port`, IPv6 addresses as `[::1]:port`")]
    Host,
    /// Several hosts where one is meant.
    #[error("several hosts need redis+sentinel:// or redis+cluster://")]
    SeveralHosts,
    /// Too many of them.
    #[error("more than {ADDRESSES_MAX} hosts")]
    TooManyHosts,
    /// The name of the primary is missing.
    #[error("the name of the primary is missing: redis+sentinel://host:26379,host:26379/NAME")]
    Name,
    /// The number of the database.
    #[error("what follows the host is not the number of a database")]
    Database,
    /// A cluster has one database.
    #[error("a cluster has no numbered databases")]
    ClusterDatabase,
    /// A parameter.
    #[error("there are no parameters but sentinel_user and sentinel_password, with redis+sentinel:// only")]
    Parameter,
}

impl RedisUrl {
    pub(super) fn parse(text: &str) -> Result<Self, RedisUrlError> {
        if text.len() > BYTES_MAX {
            return Err(RedisUrlError::TooLong);
        }
        let (scheme, rest) = text.split_once("://").ok_or(RedisUrlError::Scheme)?;
        let (base, kind) = scheme.split_once('+').map_or((scheme, None), |(base, kind)| (base, Some(kind)));
        let (_, tls) = SCHEMES.into_iter().find(|(name, _)| *name == base).ok_or(RedisUrlError::Scheme)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(authority, path)| (authority, path));
        let (user, hosts) = authority.rsplit_once('@').map_or((None, authority), |(user, hosts)| (Some(user), hosts));
        let credentials = user.map(credentials).transpose()?.unwrap_or_default();
        let (place, database) = match kind {
            None => {
                let mut hosts = addresses(hosts, SERVER_PORT)?;
                let one = hosts.pop().ok_or(RedisUrlError::Host)?;
                if !hosts.is_empty() {
                    return Err(RedisUrlError::SeveralHosts);
                }
                (Place::One(one), database(path)?)
            }
            Some("sentinel") => sentinels(hosts, path, query)?,
            Some("cluster") if matches!(path, "" | "0") => (Place::Cluster(addresses(hosts, SERVER_PORT)?), 0),
            Some("cluster") => return Err(RedisUrlError::ClusterDatabase),
            Some(_) => return Err(RedisUrlError::Scheme),
        };
        if query.is_some() && kind != Some("sentinel") {
            return Err(RedisUrlError::Parameter);
        }
        Ok(Self { place, tls, credentials, database })
    }
}

impl RedisUrl {
    /// Whether all servers that are named are on this machine.
    pub(super) fn is_local(&self) -> bool {
        let addresses = match &self.place {
            Place::One(address) => std::slice::from_ref(address),
            Place::Sentinels { addresses, .. } | Place::Cluster(addresses) => addresses,
        };
        addresses.iter().all(|address| {
            &*address.host == "localhost" || address.host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        })
    }
}

/// Shows everything but passwords.
impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = |addresses: &[Address]| addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(",");
        let (kind, hosts, path) = match &self.place {
            Place::One(address) => ("", address.to_string(), format!("/{}", self.database)),
            Place::Sentinels { addresses, name, .. } => {
                ("+sentinel", several(addresses), format!("/{name}/{}", self.database))
            }
            Place::Cluster(addresses) => ("+cluster", several(addresses), String::new()),
        };
        let user = match (&self.credentials.user, &self.credentials.password) {
            (_, None) => String::new(),
            (user, Some(_)) => format!("{}:***@", user.as_deref().unwrap_or_default()),
        };
        write!(f, "redis{}{kind}://{user}{hosts}{path}", if self.tls { "s" } else { "" })
    }
}

fn sentinels(hosts: &str, path: &str, query: Option<&str>) -> Result<(Place, u32), RedisUrlError> {
    let (name, rest) = path.split_once('/').map_or((path, ""), |(name, rest)| (name, rest));
    let name = decoded(name).filter(|name| !name.is_empty()).ok_or(RedisUrlError::Name)?;
    let mut credentials = Credentials::default();
    for (parameter, value) in
        query.iter().flat_map(|query| query.split('&')).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
    {
        let value = decoded(value).filter(|value| !value.is_empty()).ok_or(RedisUrlError::Parameter)?;
        match parameter {
            "sentinel_user" => credentials.user = Some(value.as_str().into()),
            "sentinel_password" => credentials.password = Some(value),
            _ => return Err(RedisUrlError::Parameter),
        }
    }
    if credentials.user.is_some() && credentials.password.is_none() {
        return Err(RedisUrlError::Parameter);
    }
    let addresses = addresses(hosts, SENTINEL_PORT)?;
    Ok((Place::Sentinels { addresses, name: name.as_str().into(), credentials }, database(rest)?))
}

fn credentials(text: &str) -> Result<Credentials, RedisUrlError> {
    let (user, password) = text.split_once(':').ok_or(RedisUrlError::Credentials)?;
    let (user, password) = (decoded(user), decoded(password));
    let (Some(user), Some(password)) = (user, password) else { return Err(RedisUrlError::Credentials) };
    match (user.is_empty(), password.is_empty()) {
        (true, true) => Ok(Credentials::default()),
        (false, true) => Err(RedisUrlError::Credentials),
        (true, false) => Ok(Credentials { user: None, password: Some(password) }),
        (false, false) => Ok(Credentials { user: Some(user.as_str().into()), password: Some(password) }),
    }
}

fn decoded(text: &str) -> Option<Zeroizing<String>> {
    let bytes = Zeroizing::new(percent_decode_str(text).collect::<Vec<u8>>());
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

fn database(path: &str) -> Result<u32, RedisUrlError> {
    if path.is_empty() { Ok(0) } else { path.parse().map_err(|_| RedisUrlError::Database) }
}

fn addresses(hosts: &str, port: u16) -> Result<Vec<Address>, RedisUrlError> {
    if hosts.split(',').count() > ADDRESSES_MAX {
        return Err(RedisUrlError::TooManyHosts);
    }
    hosts.split(',').map(|host| address(host, port)).collect()
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn address(text: &str, default_port: u16) -> Result<Address, RedisUrlError> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(RedisUrlError::Host)?,
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':'));
    if host.is_empty() || !plain {
        return Err(RedisUrlError::Host);
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => default_port,
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(RedisUrlError::Host)?,
        None => return Err(RedisUrlError::Host),
    };
    Ok(Address { host: host.into(), port })
}

#[cfg(test)]
mod tests;
