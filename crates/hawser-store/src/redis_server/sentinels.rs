//! Who the primary is: what most of the Sentinels say.

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use redis::{FromRedisValue as _, Value, cmd};
use tokio::time::timeout;

use super::failure::Failure;
use super::server::{self, Manner};
use super::url::Address;

/// How long all of them together may take.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// The Sentinels of one primary.
#[derive(Debug)]
pub(super) struct Sentinels {
    addresses: Vec<Address>,
    name: Box<str>,
    manner: Manner,
}

impl Sentinels {
    /// `manner` is how the Sentinels themselves are spoken to.
    pub(super) fn new(addresses: Vec<Address>, name: Box<str>, manner: Manner) -> Self {
        Self { addresses, name, manner }
    }

    /// The addresses that they name, the one that most name first.
    pub(super) async fn candidates(&self) -> Result<Vec<Address>, Failure> {
        let asked = self.addresses.iter().map(|sentinel| async {
            let asked = timeout(ANSWER_MAX, self.ask(sentinel)).await;
            asked.unwrap_or_else(|_| Err(Failure::passing("it does not answer")))
        });
        let mut named: Vec<(Address, usize)> = Vec::new();
        let mut failure = None;
        for answer in join_all(asked).await {
            match answer {
                Ok(address) => match named.iter_mut().find(|(known, _)| *known == address) {
                    Some((_, count)) => *count += 1,
                    None => named.push((address, 1)),
                },
                Err(error) => failure = Some(error),
            }
        }
        if named.is_empty() {
            let reason = failure.map(|failure| failure.reason).unwrap_or_default();
            return Err(Failure::passing(format!("no Sentinel names the primary: {reason}")));
        }
        // Stable, so that a tie is decided by the order in which they are configured.
        named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(named.into_iter().map(|(address, _)| address).collect())
    }

    async fn ask(&self, sentinel: &Address) -> Result<Address, Failure> {
        let mut command = cmd("SENTINEL");
        command.arg("GET-MASTER-ADDR-BY-NAME").arg(&*self.name);
        match server::ask_once(sentinel, &self.manner, &command).await? {
            Value::Nil => Err(Failure::passing("the Sentinels know no primary of this name")),
            answer => {
                let (host, port) = <(String, u16)>::from_redis_value(answer)
                    .map_err(|_| Failure::passing("a Sentinel's answer is not understood"))?;
                Ok(Address { host: host.into(), port })
            }
        }
    }
}

impl fmt::Display for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by its Sentinels", self.name)
    }
}
