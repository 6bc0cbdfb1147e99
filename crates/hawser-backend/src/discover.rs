//! `server/discover`: what a modern server says of itself, and how one is told from a legacy server (MCP 2026-07-28,
//! Discovery; Streamable HTTP and stdio, Backward Compatibility).

use std::sync::Arc;
use std::time::Duration;

use hawser_mcp::{Members, Outcome, RawJson, Revision, code, freshness, meta_key, method};
use http::HeaderMap;
use tokio::time::{Instant, timeout};

use crate::error::BackendError;
use crate::exchange::{Exchange, ExchangeItem};
use crate::hello::{ServerHello, detached, quote_error};
use crate::known::Discovery;
use crate::modern::Modern;
use crate::name::BackendName;
use crate::session::SessionCore;

/// Most versions of a server's list that are looked at.
const VERSIONS_MAX: usize = 64;
/// Most messages that a server may send before it answers.
const MESSAGES_MAX: usize = 1000;
/// Over HTTP answers come on connections of their own, and not always in order.
const LATE_TIME_MAX: Duration = Duration::from_millis(100);

/// What the probe showed.
#[derive(Debug)]
pub(crate) enum Probe {
    /// A modern server.
    Server(Box<Discovery>),
    /// A modern server that cannot be spoken to.
    Refusal(BackendError),
    /// No modern server.
    NotModern(BackendError),
    /// It tells nothing for sure.
    Unclear(BackendError),
    /// No answer in time. The answer may still come.
    Silence(Box<Exchange>),
    /// Nothing can be had from this server now.
    Broken(BackendError),
}

/// Asks what the server is, and waits for this long.
pub(crate) async fn discover(core: &Arc<SessionCore>, modern: &Modern, limit: Duration) -> Probe {
    let broken = |reason: &str| {
        Probe::Broken(BackendError::Protocol { backend: core.config.name.clone(), reason: reason.to_owned() })
    };
    let Ok(prepared) = modern.prepare(method::SERVER_DISCOVER, None, None, &HeaderMap::new()) else {
        return broken("the client's description of itself cannot be passed on");
    };
    let began = core.begin_direct(method::SERVER_DISCOVER, Some(prepared.params), Some(&prepared.headers)).await;
    let mut exchange = match began {
        Ok(exchange) => exchange,
        Err(error) => return failed(error),
    };
    match timeout(limit, answer(&mut exchange)).await {
        Ok(Some(item)) => judge(&core.config.name, item),
        Ok(None) => broken("it sends and sends before it answers server/discover"),
        Err(_) => Probe::Silence(Box::new(exchange)),
    }
}

/// What an answer that came late says, if it is there by now: the server has answered what it was asked after it.
pub(crate) async fn late(exchange: &mut Exchange) -> Option<Discovery> {
    let item = timeout(LATE_TIME_MAX, answer(exchange)).await.ok()??;
    match judge(&exchange.backend().clone(), item) {
        Probe::Server(discovery) => Some(*discovery),
        _ => None,
    }
}

/// The end of the exchange; `None` if it does not come to one.
async fn answer(exchange: &mut Exchange) -> Option<ExchangeItem> {
    for _ in 0..MESSAGES_MAX {
        // Whatever else comes belongs to nothing that was asked.
        let item = exchange.next().await;
        if matches!(item, ExchangeItem::Response(_) | ExchangeItem::Failed(_)) {
            return Some(item);
        }
    }
    None
}

fn judge(backend: &BackendName, item: ExchangeItem) -> Probe {
    match item {
        ExchangeItem::Response(outcome) => read(backend, &outcome),
        ExchangeItem::Failed(error) => failed(error),
        ExchangeItem::Notification(_) | ExchangeItem::Request(_) | ExchangeItem::LargeResult => {
            Probe::Unclear(BackendError::Closed { backend: backend.clone() })
        }
    }
}

/// What a failure tells of the era. "Do 401 handling before judging": a refusal of the gateway's own credentials says nothing.
fn failed(error: BackendError) -> Probe {
    match error {
        BackendError::Refused { status: 401 | 403, .. }
        | BackendError::Unreachable { .. }
        | BackendError::TooLarge { .. }
        | BackendError::TooManyChildren { .. }
        | BackendError::Spawn { .. }
        | BackendError::Resting { .. }
        | BackendError::Closed { .. } => Probe::Broken(error),
        BackendError::Refused { status: 429 | 500..=599, .. } | BackendError::TimedOut { .. } => Probe::Unclear(error),
        // Also a child that ends, and a connection that does, over a request that it does not know.
        BackendError::SessionGone { .. }
        | BackendError::Lost { .. }
        | BackendError::Gone { .. }
        | BackendError::Protocol { .. }
        | BackendError::Initialize { .. }
        | BackendError::Refused { .. }
        | BackendError::Overrun { .. } => Probe::NotModern(error),
    }
}

/// What the answer to `server/discover` says.
fn read(backend: &BackendName, outcome: &Outcome) -> Probe {
    match outcome {
        Outcome::Error(error) => {
            let (code, message) = quote_error(error);
            let refused = BackendError::Initialize { backend: backend.clone(), code, message };
            // "If the body contains a recognized modern JSON-RPC error, the server speaks a modern version."
            let modern =
                [code::HEADER_MISMATCH, code::MISSING_REQUIRED_CLIENT_CAPABILITY, code::UNSUPPORTED_PROTOCOL_VERSION];
            let speaks_legacy = supported_of(error).iter().any(|revision| revision.is_legacy());
            if modern.into_iter().any(|known| i64::from(known) == code) && !speaks_legacy {
                Probe::Refusal(refused)
            } else {
                Probe::NotModern(refused)
            }
        }
        Outcome::Result(result) => match server(result) {
            Ok(server) => {
                let fresh_for = freshness(result).map_or(Duration::ZERO, |fresh| Duration::from_millis(fresh.ttl_ms));
                Probe::Server(Box::new(Discovery { server, fresh_for, at: Instant::now() }))
            }
            Err(reason) => Probe::NotModern(BackendError::Protocol { backend: backend.clone(), reason }),
        },
    }
}

/// Reads a discover result. One without a version that is spoken here is none: a legacy server may answer anything with
/// something.
fn server(result: &RawJson) -> Result<ServerHello, String> {
    let members = Members::read(result, &["supportedVersions", "capabilities", "instructions", "_meta"])
        .map_err(|error| format!("the answer to server/discover: {error}"))?;
    let supported = members.get("supportedVersions").map(|versions| known_revisions(&versions)).unwrap_or_default();
    let revision = supported.iter().copied().filter(|revision| revision.is_modern()).max();
    let revision = revision.ok_or("its answer to server/discover names no version that is spoken here")?;
    let object = |value: Option<RawJson>, name: &str| match value {
        None => Ok(RawJson::empty_object()),
        Some(value) if value.is_object() => detached(&value).map_err(|error| error.to_string()),
        Some(_) => Err(format!("`{name}` in the answer to server/discover is not an object")),
    };
    let meta = members.get("_meta").and_then(|meta| Members::read(&meta, &[]).ok()?.get(meta_key::SERVER_INFO));
    let instructions = match members.get("instructions") {
        None => None,
        Some(text) => Some(text.as_string().ok_or("`instructions` is not a string")?),
    };
    Ok(ServerHello {
        revision,
        capabilities: object(members.get("capabilities"), "capabilities")?,
        server_info: object(meta, meta_key::SERVER_INFO)?,
        instructions,
        supported,
    })
}

/// The versions that a `-32022` says are supported.
fn supported_of(error: &RawJson) -> Vec<Revision> {
    let list = || Members::read(&Members::read(error, &[]).ok()?.get("data")?, &[]).ok()?.get("supported");
    list().map(|versions| known_revisions(&versions)).unwrap_or_default()
}

fn known_revisions(versions: &RawJson) -> Vec<Revision> {
    let named: Vec<String> = versions.read().unwrap_or_default();
    let known = named.iter().take(VERSIONS_MAX).filter_map(|name| Revision::from_name(name));
    let mut known: Vec<Revision> = known.collect();
    known.sort_unstable();
    known.dedup();
    known
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawJson {
        RawJson::parse(&bytes::Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn probe(outcome: &Outcome) -> Probe {
        read(&BackendName::new("x").unwrap(), outcome)
    }

    #[test]
    fn a_server_is_what_it_says_of_itself() {
        let text = r#"{"resultType":"complete","supportedVersions":["2030-01-01","2026-07-28","2025-11-25"],
            "capabilities":{"tools":{}},"instructions":"Use it.","ttlMs":5000,"cacheScope":"public",
            "_meta":{"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#;
        let Probe::Server(found) = probe(&Outcome::Result(raw(text))) else { panic!("no server") };
        assert_eq!(found.fresh_for, Duration::from_secs(5));
        let server = found.server;
        assert_eq!(server.revision, Revision::V2026_07_28);
        assert_eq!(server.supported, [Revision::V2025_11_25, Revision::V2026_07_28]);
        assert_eq!((server.capabilities.as_str(), server.server_info.as_str()), (r#"{"tools":{}}"#, r#"{"name":"s"}"#));
        assert_eq!(server.instructions.as_deref(), Some("Use it."));
    }

    #[test]
    fn what_names_no_version_spoken_here_is_no_modern_server() {
        for other in [
            "{}",
            r#"{"supportedVersions":[]}"#,
            r#"{"supportedVersions":["2025-11-25"]}"#,
            r#"{"supportedVersions":["2030-01-01"]}"#,
            r#"{"supportedVersions":"2026-07-28"}"#,
            r#"{"supportedVersions":["2026-07-28"],"capabilities":7}"#,
            r#"{"supportedVersions":["2026-07-28"],"SupportedVersions":[]}"#,
            "7",
        ] {
            assert!(matches!(probe(&Outcome::Result(raw(other))), Probe::NotModern(_)), "{other}");
        }
    }

    #[test]
    fn only_errors_that_modern_servers_alone_have_tell_a_modern_server() {
        for code in [-32020, -32021, -32022] {
            let error = format!(r#"{{"code":{code},"message":"no","data":{{"supported":["2030-01-01"]}}}}"#);
            assert!(matches!(probe(&Outcome::Error(raw(&error))), Probe::Refusal(_)), "{code}");
        }
        let both = r#"{"code":-32022,"message":"no","data":{"supported":["2030-01-01","2025-11-25"]}}"#;
        assert!(matches!(probe(&Outcome::Error(raw(both))), Probe::NotModern(_)), "it can be spoken to as of old");
        for code in [-32601, -32602, -32600, -32000, -32023, 0] {
            let error = format!(r#"{{"code":{code},"message":"no"}}"#);
            assert!(matches!(probe(&Outcome::Error(raw(&error))), Probe::NotModern(_)), "{code}");
        }
    }

    #[test]
    fn refused_credentials_are_no_era() {
        let refused = |status| failed(BackendError::Refused { backend: BackendName::new("x").unwrap(), status });
        for status in [401, 403] {
            assert!(matches!(refused(status), Probe::Broken(_)), "{status}");
        }
        for status in [429, 500, 503] {
            assert!(matches!(refused(status), Probe::Unclear(_)), "{status}");
        }
        for status in [302, 404, 405, 406, 415] {
            assert!(matches!(refused(status), Probe::NotModern(_)), "{status}");
        }
    }
}
