//! Asking the backends what they are: before any client comes, and again when one may have become another.

use std::sync::Arc;
use std::time::Duration;

use hawser_backend::{Backend, BackendError, BackendSession, ClientHello};
use hawser_catalog::{Source, merge};
use hawser_mcp::{Era, ListKind, ListPage, Outcome, RawJson, Revision};
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::ask::outcome;
use crate::endpoint::Endpoint;
use crate::lists::has_capability;
use crate::profile::{Face, Profile};

/// The first pause after a failed attempt.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const RETRY_LONGEST: Duration = Duration::from_mins(1);
/// A backend that answered is not asked again sooner than this; later, if it had nothing new to say.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Pages of tools that are looked at for names; more are checked when a client lists them.
const PAGES_LOOKED_AT: usize = 8;

/// Asks one backend until it has answered, and again whenever there is reason to.
pub(crate) async fn survey(endpoint: Arc<Endpoint>, position: usize, backend: Backend) {
    let profiles = endpoint.profiles();
    let (mut pause, mut again) = (RETRY_FIRST, AGAIN_AFTER);
    loop {
        match ask(&endpoint, position, &backend).await {
            Ok(profile) => {
                pause = RETRY_FIRST;
                let news = tell(&endpoint, position, &backend, profile);
                again = if news { AGAIN_AFTER } else { (again * 2).min(RETRY_LONGEST) };
                sleep(again).await;
                profiles.doubted(position).await;
            }
            Err(error) => {
                warn!(backend = %backend.name(), %error, "backend does not answer; it is tried again in {} s", pause.as_secs());
                profiles.failed(position, error.to_string());
                sleep(RETRY_FIRST).await;
                // Sooner, if somebody else has reached it.
                let _ = timeout(pause.saturating_sub(RETRY_FIRST), profiles.doubted(position)).await;
                pause = (pause * 2).min(RETRY_LONGEST);
            }
        }
    }
}

/// Publishes what was found out, and logs it if that is news.
fn tell(endpoint: &Endpoint, position: usize, backend: &Backend, profile: Profile) -> bool {
    let faces: Vec<_> = profile.faces().cloned().collect();
    let (tools, warnings) = (profile.tools, profile.warnings.clone());
    if !endpoint.profiles().publish(position, profile) {
        return false;
    }
    let speaks: Vec<_> = faces.iter().map(|face| face.revision.as_str()).collect();
    let face = faces.first();
    let (server, version) = face.map_or(("", ""), |face| (face.name.as_str(), face.version.as_str()));
    info!(backend = %backend.name(), server, version, speaks = speaks.join(", "), tools, "backend is ready");
    for warning in &warnings {
        warn!(backend = %backend.name(), "{warning}");
    }
    true
}

/// Conversations with a backend in which it is asked for its name, capabilities and tools: in the newest era that it speaks, and
/// in the other one if it speaks both. No client takes part, so no capability is declared and nothing can be asked back.
async fn ask(endpoint: &Endpoint, position: usize, backend: &Backend) -> Result<Profile, BackendError> {
    let (session, _unsolicited) = backend.open(&hello(Revision::LATEST_MODERN)).await?;
    let tools = tools(&session).await;
    let server = session.server().clone();
    session.close().await;
    let tools = tools?;
    let other = if server.revision.era() == Era::Modern && server.supported.iter().any(|other| other.is_legacy()) {
        let (session, _unsolicited) = backend.open(&hello(Revision::LATEST)).await?;
        let face = Face::of(session.server());
        session.close().await;
        Some(face).filter(|face| face.revision.is_legacy())
    } else {
        None
    };
    let merged = merge(endpoint.router(), ListKind::Tools, &[Source { backend: position, entries: &tools }]);
    Ok(Profile::new(Face::of(&server), other, merged.entries.len(), merged.warnings))
}

fn hello(revision: Revision) -> ClientHello {
    let client_info = serde_json::json!({ "name": "hawser", "version": env!("CARGO_PKG_VERSION") });
    ClientHello {
        revision,
        capabilities: RawJson::empty_object(),
        client_info: RawJson::from_serialize(&client_info).unwrap_or_else(|_| RawJson::empty_object()),
    }
}

async fn tools(session: &BackendSession) -> Result<Vec<RawJson>, BackendError> {
    let mut entries = Vec::new();
    if !has_capability(&session.server().capabilities, ListKind::Tools.capability()) {
        return Ok(entries);
    }
    let mut params = None;
    for _ in 0..PAGES_LOOKED_AT {
        let exchange = session.request(ListKind::Tools.method(), params).await?;
        let Outcome::Result(result) = outcome(exchange, None).await? else { break };
        let Ok(page) = ListPage::read(ListKind::Tools, &result) else { break };
        entries.extend(page.entries);
        let Some(cursor) = page.next_cursor else { break };
        params = RawJson::from_serialize(&serde_json::json!({ "cursor": cursor })).ok();
    }
    Ok(entries)
}
