//! Walking through a family at servers that keep no order.
//!
//! A server's own cursor means something to that server alone, from its start to its end. So a cursor of ours carries a
//! fingerprint of all servers: if that is another when the walk goes on, it begins anew, and rows come twice rather than not
//! at all.

use bytes::Bytes;
use redis::{Value, cmd, pipe};
use tokio::time::Instant;

use super::failure::{Failure, told};
use super::link::Live;
use super::route::{Route, failed};
use crate::key::Key;
use crate::port::{StoreError, Unavailable, VALUE_BYTES_MAX};
use crate::scan::{ScanCursor, ScanPage, UnknownCursor};

/// How often a server is asked for one page, if it has nothing of the family where it looks.
const LOOKS_MAX: usize = 16;

/// Where a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// Of the servers as they were.
    fingerprint: u64,
    /// The place of the server among them.
    server: usize,
    /// Its own cursor.
    cursor: u64,
}

impl Position {
    fn parse(cursor: &ScanCursor) -> Result<Self, UnknownCursor> {
        let mut parts = cursor.as_str().split('.');
        let (Some(fingerprint), Some(server), Some(cursor), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(UnknownCursor);
        };
        Ok(Self {
            fingerprint: u64::from_str_radix(fingerprint, 16).map_err(|_| UnknownCursor)?,
            server: server.parse().map_err(|_| UnknownCursor)?,
            cursor: cursor.parse().map_err(|_| UnknownCursor)?,
        })
    }

    fn cursor(self) -> Result<ScanCursor, UnknownCursor> {
        ScanCursor::parse(&format!("{:x}.{}.{}", self.fingerprint, self.server, self.cursor))
    }
}

/// One page.
pub(super) async fn page(
    route: &Route,
    prefix: &str,
    family: &str,
    after: Option<&ScanCursor>,
    limit: usize,
    deadline: Instant,
) -> Result<ScanPage, StoreError> {
    let from = after.map(Position::parse).transpose()?;
    let servers = route.servers(deadline).await.map_err(Unavailable::from)?;
    let fingerprint = route.fingerprint(&servers);
    let mut at = from.filter(|position| position.fingerprint == fingerprint && position.server < servers.len());
    let mut position = at.take().unwrap_or(Position { fingerprint, server: 0, cursor: 0 });
    let beginning = format!("{prefix}{family}/");
    for _ in 0..LOOKS_MAX {
        let Some(server) = servers.get(position.server) else { break };
        let (next, names) =
            look(server, &beginning, position.cursor, limit, deadline).await.map_err(Unavailable::from)?;
        position = match next {
            0 => Position { server: position.server + 1, cursor: 0, ..position },
            cursor => Position { cursor, ..position },
        };
        if !names.is_empty() {
            let rows = values(server, prefix, names, deadline).await.map_err(Unavailable::from)?;
            let next = (position.server < servers.len()).then(|| position.cursor()).transpose()?;
            return Ok(ScanPage { rows, next });
        }
    }
    let next = (position.server < servers.len()).then(|| position.cursor()).transpose()?;
    Ok(ScanPage { rows: Vec::new(), next })
}

/// Names that begin so, and the server's next cursor.
async fn look(
    server: &Live,
    beginning: &str,
    cursor: u64,
    limit: usize,
    deadline: Instant,
) -> Result<(u64, Vec<Vec<u8>>), Failure> {
    let mut command = cmd("SCAN");
    command.arg(cursor).arg("MATCH").arg(format!("{}*", literally(beginning))).arg("COUNT").arg(limit);
    let strange = || Failure::passing("the server's answer to SCAN is not understood");
    let Value::Array(parts) = server.send(&command, deadline).await.map_err(failed)? else { return Err(strange()) };
    let Ok([Value::BulkString(next), Value::Array(names)]) = <[Value; 2]>::try_from(parts) else {
        return Err(strange());
    };
    let next = std::str::from_utf8(&next).ok().and_then(|next| next.parse().ok()).ok_or_else(strange)?;
    let names = names.into_iter().filter_map(|name| match name {
        Value::BulkString(name) if name.starts_with(beginning.as_bytes()) => Some(name),
        _ => None,
    });
    Ok((next, names.collect()))
}

/// The rows of these names that are still there.
async fn values(
    server: &Live,
    prefix: &str,
    names: Vec<Vec<u8>>,
    deadline: Instant,
) -> Result<Vec<(Key, Bytes)>, Failure> {
    let mut reads = pipe();
    for name in &names {
        reads.cmd("GET").arg(name);
    }
    let answers = server.send_all(&reads, names.len(), deadline).await.map_err(failed)?;
    let mut rows = Vec::with_capacity(names.len());
    for (name, answer) in names.into_iter().zip(answers) {
        let value = match answer.extract_error() {
            Ok(Value::BulkString(value)) if value.len() <= VALUE_BYTES_MAX => value,
            // Moved to another server between two answers: the walk begins anew once that is known.
            Err(error) if matches!(error.code(), Some("MOVED" | "ASK")) => return Err(Failure::passing(told(&error))),
            // Gone by now, or no row of ours.
            _ => continue,
        };
        let name = std::str::from_utf8(&name).ok().and_then(|name| name.strip_prefix(prefix));
        if let Some(key) = name.and_then(|name| Key::parse(name).ok()) {
            rows.push((key, Bytes::from(value)));
        }
    }
    Ok(rows)
}

/// A pattern that this text alone matches.
fn literally(text: &str) -> String {
    text.chars()
        .flat_map(|c| matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-').then_some('\\').into_iter().chain([c]))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_are_literal() {
        assert_eq!(literally("a*[b]?\\"), "a\\*\\[b\\]\\?\\\\");
    }

    proptest! {
        #[test]
        fn positions_outlive_their_text(fingerprint: u64, server: usize, cursor: u64) {
            let position = Position { fingerprint, server, cursor };
            prop_assert_eq!(Position::parse(&position.cursor().unwrap()).unwrap(), position);
        }

        #[test]
        fn any_cursor_is_understood_or_refused(text in "[!-~]{1,60}") {
            let _ = Position::parse(&ScanCursor::parse(&text).unwrap());
        }
    }
}
