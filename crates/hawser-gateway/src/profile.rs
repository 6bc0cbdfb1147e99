//! What the backends say of themselves, asked once before any client comes: `initialize` is answered from it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hawser_backend::{Backend, BackendError, BackendSession, ClientHello};
use hawser_catalog::{NameWarning, Source, merge};
use hawser_mcp::{ListKind, ListPage, Members, Outcome, RawJson, Revision};
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::ask::outcome;
use crate::endpoint::Endpoint;
use crate::lists::has_capability;

/// The first pause after a failed attempt.
const RETRY_FIRST: Duration = Duration::from_secs(1);
/// The longest pause between attempts.
const RETRY_LONGEST: Duration = Duration::from_mins(1);
/// Pages of tools that are looked at for names; more are checked when a client lists them.
const PAGES_LOOKED_AT: usize = 8;
/// Longest instructions that one backend contributes, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;

/// One backend as it introduced itself.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    capabilities: RawJson,
    instructions: Option<String>,
    name: String,
    version: String,
    tools: usize,
    warnings: Vec<NameWarning>,
}

/// What is known of a backend so far.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// Not asked yet, or the first attempt is still running.
    NotYet,
    /// The last attempt failed.
    Failed(String),
    /// It answered.
    Profile(Arc<Profile>),
}

/// A backend's state for people and tools: what `hawser serve` prints.
#[derive(Clone, Debug, Serialize)]
pub struct BackendReport {
    /// The backend's name in the configuration.
    pub backend: String,
    /// The server's own name and version, if it answered.
    pub server: Option<String>,
    /// How many tools it offers.
    pub tools: Option<usize>,
    /// What is wrong, if it did not answer.
    pub error: Option<String>,
    /// What an administrator should know of its names.
    pub warnings: Vec<String>,
}

/// What is known of an endpoint's backends.
#[derive(Debug)]
pub(crate) struct Profiles {
    known: Vec<watch::Sender<Known>>,
}

impl Profiles {
    pub(crate) fn new(backends: usize) -> Self {
        Self { known: (0..backends).map(|_| watch::Sender::new(Known::NotYet)).collect() }
    }

    /// Waits until every backend has answered or failed once, at most `patience`.
    pub(crate) async fn settled(&self, patience: Duration) {
        let all = self.known.iter().map(|known| async move {
            let mut known = known.subscribe();
            let _ = known.wait_for(|known| !matches!(known, Known::NotYet)).await;
        });
        let _ = tokio::time::timeout(patience, futures_util::future::join_all(all)).await;
    }

    /// The server capabilities to declare: what any backend offers. A backend that has not answered yet may offer anything,
    /// and a client asks only for what was declared at `initialize`.
    pub(crate) fn capabilities(&self) -> serde_json::Value {
        let mut offered: BTreeSet<(&str, Option<&str>)> = BTreeSet::new();
        for known in &self.known {
            let known = known.borrow();
            let profile = if let Known::Profile(profile) = &*known { Some(profile) } else { None };
            for (capability, members) in DECLARABLE {
                let declared = profile.map(|profile| capability_members(&profile.capabilities, capability));
                match declared {
                    Some(None) => {}
                    Some(Some(has)) => {
                        offered.insert((capability, None));
                        offered.extend(
                            members.iter().filter(|member| has(member)).map(|member| (*capability, Some(*member))),
                        );
                    }
                    None => {
                        offered.insert((capability, None));
                        offered.extend(members.iter().map(|member| (*capability, Some(*member))));
                    }
                }
            }
        }
        let mut capabilities = serde_json::Map::new();
        for (capability, member) in offered {
            let entry = capabilities.entry(capability).or_insert_with(|| serde_json::json!({}));
            if let (Some(member), Some(object)) = (member, entry.as_object_mut()) {
                object.insert(member.to_owned(), serde_json::json!(true));
            }
        }
        capabilities.into()
    }

    /// The backends' instructions, each under its backend's name.
    pub(crate) fn instructions(&self, endpoint: &Endpoint) -> Option<String> {
        let parts = self.known.iter().enumerate().filter_map(|(position, known)| {
            let Known::Profile(profile) = &*known.borrow() else { return None };
            let text = profile.instructions.as_deref()?;
            Some(format!("## {}\n{text}", endpoint.router().name(position)))
        });
        let parts: Vec<_> = parts.collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// What is known, for people.
    pub(crate) fn report(&self, endpoint: &Endpoint) -> Vec<BackendReport> {
        let reports = self.known.iter().enumerate().map(|(position, known)| {
            let mut report = BackendReport {
                backend: endpoint.router().name(position).to_owned(),
                server: None,
                tools: None,
                error: None,
                warnings: Vec::new(),
            };
            match &*known.borrow() {
                Known::NotYet => {}
                Known::Failed(error) => report.error = Some(error.clone()),
                Known::Profile(profile) => {
                    report.server = Some(format!("{} {}", profile.name, profile.version));
                    report.tools = Some(profile.tools);
                    report.warnings = profile.warnings.iter().map(ToString::to_string).collect();
                }
            }
            report
        });
        reports.collect()
    }
}

/// Capabilities that the gateway can keep the promise of, and their flags.
const DECLARABLE: &[(&str, &[&str])] = &[
    ("completions", &[]),
    ("logging", &[]),
    ("prompts", &["listChanged"]),
    ("resources", &["listChanged", "subscribe"]),
    ("tools", &["listChanged"]),
];

/// Which flags a capability has set, `None` if it is not declared.
fn capability_members(capabilities: &RawJson, name: &str) -> Option<impl Fn(&str) -> bool + use<>> {
    let value = Members::read(capabilities, &[]).ok()?.get(name).filter(RawJson::is_object)?;
    Some(move |flag: &str| {
        let flags = Members::read(&value, &[]).ok();
        flags.and_then(|flags| flags.get(flag)).is_some_and(|value| value.as_str() == "true")
    })
}

/// Asks one backend until it has answered, then stops.
pub(crate) async fn survey(endpoint: Arc<Endpoint>, position: usize, backend: Backend) {
    let Some(known) = endpoint.profiles().known.get(position) else {
        return;
    };
    let mut pause = RETRY_FIRST;
    loop {
        match ask(&endpoint, position, &backend).await {
            Ok(profile) => {
                info!(backend = %backend.name(), server = profile.name, version = profile.version, tools = profile.tools, "backend is ready");
                for warning in &profile.warnings {
                    warn!(backend = %backend.name(), "{warning}");
                }
                known.send_replace(Known::Profile(Arc::new(profile)));
                return;
            }
            Err(error) => {
                warn!(backend = %backend.name(), %error, "backend does not answer; it is tried again in {} s", pause.as_secs());
                known.send_replace(Known::Failed(error.to_string()));
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY_LONGEST);
    }
}

/// One conversation with a backend in which it is asked for its name, capabilities and tools. No client takes part, so no
/// capability is declared and nothing can be asked back.
async fn ask(endpoint: &Endpoint, position: usize, backend: &Backend) -> Result<Profile, BackendError> {
    let client_info = serde_json::json!({ "name": "hawser", "version": env!("CARGO_PKG_VERSION") });
    let hello = ClientHello {
        revision: Revision::LATEST,
        capabilities: RawJson::empty_object(),
        client_info: RawJson::from_serialize(&client_info).unwrap_or_else(|_| RawJson::empty_object()),
    };
    let (session, _unsolicited) = backend.open(&hello).await?;
    let tools = tools(&session).await;
    let server = session.server().clone();
    session.close().await;
    let tools = tools?;
    let merged = merge(endpoint.router(), ListKind::Tools, &[Source { backend: position, entries: &tools }]);
    let text = |name: &str| {
        let members = Members::read(&server.server_info, &[]).ok()?;
        members.string(name).map(|text| text.chars().filter(|c| !c.is_control()).take(128).collect::<String>())
    };
    Ok(Profile {
        capabilities: server.capabilities.clone(),
        instructions: server.instructions.clone().filter(|text| text.len() <= INSTRUCTIONS_BYTES_MAX),
        name: text("name").unwrap_or_else(|| "unnamed".to_owned()),
        version: text("version").unwrap_or_default(),
        tools: merged.entries.len(),
        warnings: merged.warnings,
    })
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
