//! What the backends say of themselves: `initialize` and `server/discover` are answered from it. Found out by
//! [`crate::survey`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hawser_backend::ServerHello;
use hawser_catalog::NameWarning;
use hawser_mcp::{Era, Members, RawJson, Revision};
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

use crate::endpoint::Endpoint;
use crate::extensions;

/// Longest instructions that one backend contributes, in bytes.
const INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;

/// A backend as it introduces itself in one era.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Face {
    pub(crate) revision: Revision,
    /// Raw, extensions included.
    pub(crate) capabilities: RawJson,
    pub(crate) name: String,
    pub(crate) version: String,
    instructions: Option<String>,
}

impl Face {
    pub(crate) fn of(server: &ServerHello) -> Self {
        let text = |name: &str| {
            let members = Members::read(&server.server_info, &[]).ok()?;
            members.string(name).map(|text| text.chars().filter(|c| !c.is_control()).take(128).collect::<String>())
        };
        Self {
            revision: server.revision,
            capabilities: server.capabilities.clone(),
            name: text("name").unwrap_or_else(|| "unnamed".to_owned()),
            version: text("version").unwrap_or_default(),
            instructions: server.instructions.clone().filter(|text| text.len() <= INSTRUCTIONS_BYTES_MAX),
        }
    }

    /// Whether another session was shown the same server. Instructions may differ from one session to the next, and what is
    /// offered from one revision to another.
    fn is_still(&self, other: &Self) -> bool {
        (&self.name, &self.version) == (&other.name, &other.version)
            && (self.revision != other.revision || self.capabilities == other.capabilities)
    }
}

/// One backend as it introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    /// In the era that was asked for first, and in the other one if it speaks both.
    face: Face,
    other: Option<Face>,
    pub(crate) tools: usize,
    pub(crate) warnings: Vec<NameWarning>,
}

impl Profile {
    pub(crate) const fn new(face: Face, other: Option<Face>, tools: usize, warnings: Vec<NameWarning>) -> Self {
        Self { face, other, tools, warnings }
    }

    pub(crate) fn faces(&self) -> impl Iterator<Item = &Face> {
        std::iter::once(&self.face).chain(&self.other)
    }

    fn in_era(&self, era: Era) -> Option<&Face> {
        self.faces().find(|face| face.revision.era() == era)
    }

    /// How it is spoken to on behalf of clients of an era: in theirs if it can.
    fn towards(&self, era: Era) -> &Face {
        self.in_era(era).unwrap_or(&self.face)
    }
}

/// What is known of a backend so far.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// Not asked yet, or the first attempt is still running.
    NotYet,
    /// It has never answered so far; why the last attempt failed.
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
    /// The revision that is spoken to it in each era that it speaks.
    pub revisions: Vec<String>,
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
    entries: Vec<Entry>,
    since: Instant,
}

#[derive(Debug)]
struct Entry {
    known: watch::Sender<Known>,
    /// Told when there is reason to ask again.
    doubted: Notify,
}

impl Entry {
    fn profile(&self) -> Option<Arc<Profile>> {
        match &*self.known.borrow() {
            Known::Profile(profile) => Some(Arc::clone(profile)),
            Known::NotYet | Known::Failed(_) => None,
        }
    }
}

impl Profiles {
    pub(crate) fn new(backends: usize) -> Self {
        let entry = |_| Entry { known: watch::Sender::new(Known::NotYet), doubted: Notify::new() };
        Self { entries: (0..backends).map(entry).collect(), since: Instant::now() }
    }

    /// Waits until something is known of every backend: that it answered, or that it failed once. Everybody together waits at
    /// most `patience` from the start on, so that one that hangs delays only the first clients.
    pub(crate) async fn settled(&self, patience: Duration) {
        let all = self.entries.iter().map(|entry| async move {
            let mut known = entry.known.subscribe();
            let _ = known.wait_for(|known| !matches!(known, Known::NotYet)).await;
        });
        let _ = timeout_at(self.since + patience, futures_util::future::join_all(all)).await;
    }

    /// What was found out of a backend; tells whether that is news.
    pub(crate) fn publish(&self, backend: usize, profile: Profile) -> bool {
        let Some(entry) = self.entries.get(backend) else { return false };
        entry.known.send_if_modified(|known| {
            let news = !matches!(known, Known::Profile(before) if **before == profile);
            *known = Known::Profile(Arc::new(profile));
            news
        })
    }

    /// A backend could not be asked. What it once said stands.
    pub(crate) fn failed(&self, backend: usize, error: String) {
        let Some(entry) = self.entries.get(backend) else { return };
        entry.known.send_if_modified(|known| {
            let unknown = !matches!(known, Known::Profile(_));
            if unknown {
                *known = Known::Failed(error);
            }
            unknown
        });
    }

    /// A backend introduced itself to somebody's session. What it said there is not told to others; but if it is not what is
    /// known, it is asked again.
    pub(crate) fn heard(&self, backend: usize, server: &ServerHello) {
        let Some(entry) = self.entries.get(backend) else { return };
        let face = Face::of(server);
        let as_known = match &*entry.known.borrow() {
            Known::NotYet => true,
            Known::Failed(_) => false,
            Known::Profile(profile) => profile.in_era(face.revision.era()).is_some_and(|known| known.is_still(&face)),
        };
        if !as_known {
            entry.doubted.notify_one();
        }
    }

    /// A backend was lost: whoever answers next may be another one.
    pub(crate) fn lost(&self, backend: usize) {
        if let Some(entry) = self.entries.get(backend) {
            entry.doubted.notify_one();
        }
    }

    /// Becomes ready when there is reason to ask a backend again.
    pub(crate) async fn doubted(&self, backend: usize) {
        match self.entries.get(backend) {
            Some(entry) => entry.doubted.notified().await,
            None => std::future::pending().await,
        }
    }

    /// The capabilities to declare to clients of an era: what any backend offers. A backend that has not answered yet may offer
    /// anything, and a client asks only for what was declared to it.
    pub(crate) fn capabilities(&self, era: Era) -> serde_json::Value {
        let mut offered: BTreeSet<(&str, Option<&str>)> = BTreeSet::new();
        for entry in &self.entries {
            let known = entry.known.borrow();
            let face = if let Known::Profile(profile) = &*known { Some(profile.towards(era)) } else { None };
            for (capability, members) in DECLARABLE {
                let declared = face.map(|face| capability_members(&face.capabilities, capability));
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
        if let Some(extensions) = self.extensions(era) {
            capabilities.insert("extensions".to_owned(), extensions);
        }
        capabilities.into()
    }

    fn extensions(&self, era: Era) -> Option<serde_json::Value> {
        let profiles: Vec<_> = self.entries.iter().filter_map(Entry::profile).collect();
        let faces = profiles.iter().map(|profile| profile.towards(era));
        extensions::to_declare(era, faces.map(|face| (face.revision.era(), &face.capabilities)))
    }

    /// The backends that may have methods which only an extension defines.
    pub(crate) fn with_own_methods(&self) -> Vec<usize> {
        let has = |entry: &Entry| {
            let profile = entry.profile()?;
            profile.in_era(Era::Modern).map(|face| extensions::may_define_methods(&face.capabilities))
        };
        self.entries.iter().enumerate().filter(|(_, entry)| has(entry) == Some(true)).map(|(at, _)| at).collect()
    }

    /// The backends' instructions for clients of an era, each under its backend's name.
    pub(crate) fn instructions(&self, endpoint: &Endpoint, era: Era) -> Option<String> {
        let parts = self.entries.iter().enumerate().filter_map(|(position, entry)| {
            let Known::Profile(profile) = &*entry.known.borrow() else { return None };
            let text = profile.towards(era).instructions.as_deref()?;
            Some(format!("## {}\n{text}", endpoint.router().name(position)))
        });
        let parts: Vec<_> = parts.collect();
        (!parts.is_empty()).then(|| parts.join("\n\n"))
    }

    /// What is known, for people.
    pub(crate) fn report(&self, endpoint: &Endpoint) -> Vec<BackendReport> {
        let reports = self.entries.iter().enumerate().map(|(position, entry)| {
            let mut report = BackendReport {
                backend: endpoint.router().name(position).to_owned(),
                server: None,
                revisions: Vec::new(),
                tools: None,
                error: None,
                warnings: Vec::new(),
            };
            match &*entry.known.borrow() {
                Known::NotYet => {}
                Known::Failed(error) => report.error = Some(error.clone()),
                Known::Profile(profile) => {
                    report.server = Some(format!("{} {}", profile.face.name, profile.face.version));
                    report.revisions = profile.faces().map(|face| face.revision.to_string()).collect();
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

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use bytes::Bytes;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn hello(revision: Revision, capabilities: &str, version: &str) -> ServerHello {
        let raw = |text: &str| RawJson::parse(&Bytes::copy_from_slice(text.as_bytes())).unwrap();
        ServerHello {
            revision,
            capabilities: raw(capabilities),
            server_info: raw(&format!(r#"{{"name":"s","version":"{version}"}}"#)),
            instructions: None,
            supported: vec![revision],
        }
    }

    fn profile(hello: &ServerHello) -> Profile {
        Profile::new(Face::of(hello), None, 0, Vec::new())
    }

    async fn is_doubted(profiles: &Profiles) -> bool {
        tokio::time::timeout(Duration::from_millis(1), profiles.doubted(0)).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_backend_that_says_something_else_than_is_known_is_asked_again() {
        let profiles = Profiles::new(1);
        let legacy = hello(Revision::V2025_11_25, r#"{"tools":{}}"#, "1");
        profiles.heard(0, &legacy);
        assert!(!is_doubted(&profiles).await, "it is being asked already");
        profiles.failed(0, "gone".to_owned());
        profiles.heard(0, &legacy);
        assert!(is_doubted(&profiles).await, "it is there after all");
        assert!(profiles.publish(0, profile(&legacy)) && !profiles.publish(0, profile(&legacy)));
        profiles.heard(0, &ServerHello { revision: Revision::V2025_06_18, ..legacy.clone() });
        assert!(!is_doubted(&profiles).await, "each client has its revision");
        for other in [
            hello(Revision::V2025_11_25, r#"{"tools":{}}"#, "2"),
            hello(Revision::V2025_11_25, r#"{"tools":{},"prompts":{}}"#, "1"),
            hello(Revision::V2026_07_28, r#"{"tools":{}}"#, "1"),
        ] {
            profiles.heard(0, &other);
            assert!(is_doubted(&profiles).await, "{other:?}");
            assert_eq!(profiles.capabilities(Era::Legacy), serde_json::json!({ "tools": {} }), "not told on");
        }
        profiles.lost(0);
        assert!(is_doubted(&profiles).await);
        profiles.failed(0, "gone".to_owned());
        assert_eq!(profiles.capabilities(Era::Legacy), serde_json::json!({ "tools": {} }), "what it said stands");
    }

    #[tokio::test(start_paused = true)]
    async fn everybody_together_waits_only_once_for_a_backend_that_hangs() {
        let profiles = Profiles::new(2);
        profiles.publish(0, profile(&hello(Revision::LATEST, "{}", "1")));
        let started = Instant::now();
        profiles.settled(PATIENCE).await;
        assert_eq!(started.elapsed(), PATIENCE);
        profiles.settled(PATIENCE).await;
        assert_eq!(started.elapsed(), PATIENCE);
    }

    #[test]
    fn clients_of_each_era_are_told_what_a_server_offers_in_theirs() {
        let profiles = Profiles::new(1);
        let modern = Face::of(&hello(Revision::LATEST_MODERN, r#"{"tools":{"listChanged":true}}"#, "1"));
        let legacy = Face::of(&hello(Revision::LATEST, r#"{"tools":{},"logging":{}}"#, "1"));
        profiles.publish(0, Profile::new(modern.clone(), Some(legacy), 0, Vec::new()));
        assert_eq!(profiles.capabilities(Era::Modern), serde_json::json!({ "tools": { "listChanged": true } }));
        assert_eq!(profiles.capabilities(Era::Legacy), serde_json::json!({ "tools": {}, "logging": {} }));
        profiles.publish(0, Profile::new(modern, None, 0, Vec::new()));
        assert_eq!(profiles.capabilities(Era::Legacy), serde_json::json!({ "tools": { "listChanged": true } }));
    }
}
