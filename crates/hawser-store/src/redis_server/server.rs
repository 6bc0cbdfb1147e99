//! One connection to one server: made, and examined before it is used.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo, Value, cmd};
use rustls::ClientConfig;
use tokio::time::timeout;

use super::failure::{Failure, told};
use super::stream::Stream;
use super::url::{Address, Credentials};

/// How long connecting may take, with TLS, password and examination.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The first version with GETDEL.
const VERSION_MIN: (u32, u32) = (6, 2);
/// Requests that wait to be written to one connection; further ones wait for room, within their time.
const QUEUE_MAX: usize = 1024;

/// How servers are spoken to: everything but where they are.
#[derive(Clone, Debug)]
pub(super) struct Manner {
    pub(super) tls: Option<Arc<ClientConfig>>,
    pub(super) credentials: Credentials,
    pub(super) database: u32,
}

impl Manner {
    /// The library's form of it.
    pub(super) fn info(&self) -> RedisConnectionInfo {
        let mut info = RedisConnectionInfo::default()
            .set_db(i64::from(self.database))
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        if let Some(password) = &self.credentials.password {
            info = info.set_password(password.as_str());
        }
        if let Some(user) = &self.credentials.user {
            info = info.set_username(user);
        }
        info
    }
}

/// What moves bytes between a connection and its server. Ends when the connection is lost.
pub(super) type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Connects. `None` of an answer within the time is a passing failure.
pub(super) async fn connect(address: &Address, manner: &Manner) -> Result<(MultiplexedConnection, Driver), Failure> {
    let connecting = async {
        let stream = Stream::connect(address, manner.tls.as_ref());
        let stream = stream.await.map_err(|error| Failure::connecting(&error))?;
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_pipeline_buffer_size(QUEUE_MAX);
        let made = MultiplexedConnection::new_with_config(&manner.info(), stream, config).await;
        let (connection, driver) = made.map_err(|error| Failure::greeting(&error))?;
        Ok((connection, Box::pin(driver) as Driver))
    };
    let connected = timeout(CONNECT_MAX, connecting).await;
    connected.unwrap_or_else(|_| Err(Failure::passing("the server does not answer")))
}

/// Asks on a fresh connection, which lasts for one answer.
pub(super) async fn ask_once(address: &Address, manner: &Manner, command: &redis::Cmd) -> Result<Value, Failure> {
    let (connection, driver) = connect(address, manner).await?;
    let mut connection = connection;
    let asking = async {
        tokio::select! {
            answer = connection.send_packed_command(command) => answer.and_then(Value::extract_error).map_err(|error| Failure::greeting(&error)),
            () = driver => Err(Failure::passing("the connection was lost")),
        }
    };
    timeout(CONNECT_MAX, asking).await.unwrap_or_else(|_| Err(Failure::passing("the server does not answer")))
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    /// Changes with every start of the server.
    pub(super) run_id: Box<str>,
    /// Its name and version.
    pub(super) version: Box<str>,
    /// Rows that it deletes when its memory is full, if it deletes any.
    pub(super) evicts: Option<Box<str>>,
}

impl About {
    /// Reads `INFO`, and refuses a server that cannot be used.
    pub(super) fn read(info: &str, cluster: bool) -> Result<Self, Failure> {
        let field = |name: &str| {
            info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim).unwrap_or_default()
        };
        check_version(field("redis_version"))?;
        if (field("cluster_enabled") == "1") != cluster {
            let scheme = if cluster { "redis://" } else { "redis+cluster://" };
            let what = if cluster { "no cluster" } else { "part of a cluster" };
            return Err(Failure::lasting(format!("the server is {what}: use {scheme}")));
        }
        is_primary(info)?;
        let valkey = field("valkey_version");
        let version =
            if valkey.is_empty() { format!("Redis {}", field("redis_version")) } else { format!("Valkey {valkey}") };
        let policy = field("maxmemory_policy");
        let evicts = !matches!(field("maxmemory"), "" | "0") && !matches!(policy, "" | "noeviction");
        Ok(Self { run_id: field("run_id").into(), version: version.into(), evicts: evicts.then(|| policy.into()) })
    }
}

fn check_version(version: &str) -> Result<(), Failure> {
    let mut parts = version.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) if (major, minor) >= VERSION_MIN => Ok(()),
        (Some(major), Some(minor)) => {
            Err(Failure::lasting(format!("the server is of version {major}.{minor}: 6.2 or newer is needed")))
        }
        _ => Err(Failure::lasting("the server does not tell its version")),
    }
}

/// Refuses a server that takes no writes because it copies another.
pub(super) fn is_primary(info: &str) -> Result<(), Failure> {
    if info.lines().any(|line| line.trim() == "role:master") {
        return Ok(());
    }
    Err(Failure::passing("the server is a replica: name its primary, or its Sentinels"))
}

/// Has the server tell about itself.
pub(super) async fn examine(connection: &mut MultiplexedConnection, cluster: bool) -> Result<About, Failure> {
    let info = timeout(CONNECT_MAX, info(connection, None)).await;
    About::read(&info.unwrap_or_else(|_| Err(Failure::passing("the server does not answer")))?, cluster)
}

/// `INFO`, of one section or of those that a server chooses.
pub(super) async fn info(connection: &mut MultiplexedConnection, section: Option<&str>) -> Result<String, Failure> {
    let mut command = cmd("INFO");
    if let Some(section) = section {
        command.arg(section);
    }
    match connection.send_packed_command(&command).await.and_then(Value::extract_error) {
        Ok(Value::BulkString(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
        Ok(Value::VerbatimString { text, .. }) => Ok(text),
        Ok(_) => Err(Failure::passing("the server tells nothing about itself")),
        Err(error) if error.code() == Some("NOPERM") => Err(Failure::lasting(told(&error))),
        Err(error) => Err(Failure::greeting(&error)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "# Server\r\nredis_version:7.2.4\r\nvalkey_version:9.1.2\r\nrun_id:abc\r\nmaxmemory:0\r\n\
                        maxmemory_policy:allkeys-lru\r\nrole:master\r\ncluster_enabled:0\r\n";

    #[test]
    fn a_server_in_order_is_taken() {
        let about = About::read(GOOD, false).unwrap();
        assert_eq!((&*about.run_id, &*about.version, about.evicts), ("abc", "Valkey 9.1.2", None));
    }

    #[test]
    fn what_it_would_delete_is_noticed_where_its_memory_is_bounded() {
        let bounded = GOOD.replace("maxmemory:0", "maxmemory:1000");
        assert_eq!(About::read(&bounded, false).unwrap().evicts.as_deref(), Some("allkeys-lru"));
        assert_eq!(About::read(&bounded.replace("allkeys-lru", "noeviction"), false).unwrap().evicts, None);
    }

    #[test]
    fn a_server_that_cannot_be_used_is_refused() {
        for (from, to, lasting) in [
            ("redis_version:7.2.4", "redis_version:6.0.9", true),
            ("redis_version:7.2.4", "redis_version:next", true),
            ("redis_version:7.2.4", "", true),
            ("cluster_enabled:0", "cluster_enabled:1", true),
            ("role:master", "role:slave", false),
        ] {
            let refused = About::read(&GOOD.replace(from, to), false).unwrap_err();
            assert_eq!(refused.lasting, lasting, "{to}: {}", refused.reason);
        }
        assert!(About::read(GOOD, true).unwrap_err().reason.contains("redis://"));
    }

    proptest! {
        #[test]
        fn any_info_is_understood_or_refused(info in "([a-z_]{0,12}:?[ -~]{0,12}\r?\n?){0,8}") {
            let _ = About::read(&info, false);
        }
    }
}
