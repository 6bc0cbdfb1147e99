//! Changes of lists, told to sessions that cannot hear of them themselves.
//!
//! Lists are kept for all sessions of an owner, or for everyone, on the word of whoever has a session with the backend open. Who
//! was given such a list asked the backend nothing, so the backend does not know of it. It is told here when that word makes the list
//! stale (2025-11-25, Tools, List Changed Notification), and when nobody is left who would hear of a change: its client lists anew
//! then, and so opens a session with the backend that hears. Listeners of the modern era have such sessions of their own.
//!
//! Nothing is done for a session until then. What comes within a moment is told at once, and all of it by one task.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hawser_mcp::{ListKind, Notification, notification};
use hawser_owner::{EndpointId, LocalOwner};
use tokio::time::sleep;
use tracing::debug;

use crate::endpoint::Endpoint;
use crate::nodes::ListNews;
use crate::session::Session;
use crate::sessions::Sessions;

/// How long a change waits for others.
const TOGETHER: Duration = Duration::from_millis(20);
/// Between two rounds.
const PAUSE: Duration = Duration::from_millis(200);
/// Most owners of whom something waits to be told. There are not more who have backend sessions open.
const WAITING_MAX: usize = 64 * 1024;
/// Sessions that are told in one go.
const AT_A_STEP: usize = 512;
/// How often it is tried to pass a change on to the node where its client listens, while too much waits to be said.
const ATTEMPTS: usize = 20;

/// A list of a backend, by the backend's position in its endpoint.
pub(crate) type Topic = (usize, ListKind);

/// Whose sessions have the same list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Among {
    /// One owner's.
    Owner(LocalOwner),
    /// Those of all anonymous callers, who are one owner and are not counted.
    Anonymous(LocalOwner),
    /// All.
    Everyone,
}

/// What is to be told.
#[derive(Debug)]
struct News {
    endpoint: Arc<Endpoint>,
    /// What changed, and whether this node heard of it: then others are told.
    changed: BTreeMap<Topic, bool>,
    /// What somebody heard of who is not there any more.
    unheard: BTreeSet<Topic>,
}

/// What waits to be told.
#[derive(Debug, Default)]
pub(crate) struct Hearsay(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: HashMap<(EndpointId, Among), News>,
    /// Whether a task is at it.
    passing: bool,
}

impl Hearsay {
    /// Takes note. Tells whether somebody has to be found who passes it on.
    fn note(&self, endpoint: &Arc<Endpoint>, among: Among, add: impl FnOnce(&mut News)) -> bool {
        let mut state = self.lock();
        let to = (endpoint.id(), among);
        if state.waiting.len() >= WAITING_MAX && !state.waiting.contains_key(&to) {
            debug!("a change of a list is not told: too many wait to be told something");
            return false;
        }
        add(state.waiting.entry(to).or_insert_with(|| News {
            endpoint: Arc::clone(endpoint),
            changed: BTreeMap::new(),
            unheard: BTreeSet::new(),
        }));
        !std::mem::replace(&mut state.passing, true)
    }

    /// Takes all of it; if there is nothing, the task that asks is done.
    fn take(&self) -> Option<HashMap<(EndpointId, Among), News>> {
        let mut state = self.lock();
        state.passing = !state.waiting.is_empty();
        state.passing.then(|| std::mem::take(&mut state.waiting))
    }

    /// Consistent between any two statements.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// A backend announced here that a list changed.
    pub(crate) fn heard_of_change(&self, backend: usize, kind: ListKind) {
        self.spread((backend, kind), |news, topic| {
            news.changed.insert(topic, true);
        });
    }

    /// What this session heard of a backend's lists, nobody hears here any more.
    pub(crate) fn falls_silent(&self, backend: usize) {
        let Some(work) = self.present_work() else { return };
        for kind in work.announced_by(backend) {
            self.spread((backend, kind), |news, topic| {
                news.unheard.insert(topic);
            });
        }
    }

    fn spread(&self, topic: Topic, add: impl Fn(&mut News, Topic)) {
        let Some(sessions) = self.sessions() else { return };
        let endpoint = self.endpoint();
        let owner = self.local_owner();
        let own = if self.is_counted() { Among::Owner(owner) } else { Among::Anonymous(owner) };
        let everyone = endpoint.lists().is_for_everyone(endpoint.id(), topic).then_some(Among::Everyone);
        for among in [Some(own), everyone].into_iter().flatten() {
            sessions.spread(endpoint, among, |news| add(news, topic));
        }
    }

    /// Tells its client that lists changed of which it cannot know.
    async fn tell_hearsay(&self, topics: &BTreeSet<Topic>) {
        let work = self.present_work();
        let listens = work.as_ref().is_some_and(|work| work.outbox.has_stream()) || self.listener_elsewhere().is_some();
        if !listens || self.is_pooled() || self.is_ended() {
            return;
        }
        let hears = |backend: usize| work.as_ref().is_some_and(|work| work.hears(backend));
        let unheard = topics.iter().filter(|(backend, _)| !hears(*backend));
        let methods: BTreeSet<_> = unheard.map(|(_, kind)| method_of(*kind)).collect();
        for method in methods {
            let message = Notification::new(method, None).to_bytes();
            for _ in 0..ATTEMPTS {
                if self.pass_on(&message) {
                    break;
                }
                if self.listener_elsewhere().is_none() {
                    self.work().outbox.send_or_keep(method, &message);
                    break;
                }
                sleep(TOGETHER).await;
            }
        }
    }
}

impl Sessions {
    /// Other nodes say that lists changed which are not one owner's.
    pub(crate) fn hear_list_news(self: &Arc<Self>, endpoint: &Arc<Endpoint>, news: &ListNews) {
        let among = if news.everyone { Among::Everyone } else { Among::Anonymous(self.anonymous()) };
        let known = |name: &str| endpoint.backends().position(|backend| backend.name().as_str() == name);
        for (backend, kind) in &news.changed {
            let Some(backend) = known(backend) else { continue };
            endpoint.lists().made_stale(endpoint.id(), among, (backend, *kind));
            self.spread(endpoint, among, |news| {
                news.changed.entry((backend, *kind)).or_insert(false);
            });
        }
    }

    fn spread(self: &Arc<Self>, endpoint: &Arc<Endpoint>, among: Among, add: impl FnOnce(&mut News)) {
        if self.is_draining() || !self.hearsay().note(endpoint, among, add) {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(pass(Arc::downgrade(self)));
        }
    }

    async fn pass(&self, among: Among, news: News) {
        let endpoint = news.endpoint;
        let mut sessions = match among {
            Among::Owner(owner) => self.sessions_of(owner),
            Among::Anonymous(_) | Among::Everyone => self.sessions_at_work(),
        };
        sessions.retain(|session| {
            session.endpoint().id() == endpoint.id() && (!matches!(among, Among::Anonymous(_)) || !session.is_counted())
        });
        if !matches!(among, Among::Owner(_)) {
            let heard_here = news.changed.iter().filter(|(_, here)| **here).map(|(topic, _)| *topic);
            self.nodes().tell_lists(&endpoint, among == Among::Everyone, heard_here);
        }
        let mut topics: BTreeSet<_> = news.changed.into_keys().collect();
        for topic in news.unheard {
            let heard = |session: &Arc<Session>| session.present_work().is_some_and(|work| work.has_open(topic.0));
            if !topics.contains(&topic) && !sessions.iter().any(heard) {
                // Who lists anew must not be given the same again on nobody's word.
                endpoint.lists().made_stale(endpoint.id(), among, topic);
                topics.insert(topic);
            }
        }
        for some in sessions.chunks(AT_A_STEP) {
            for session in some {
                session.tell_hearsay(&topics).await;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn pass(sessions: Weak<Sessions>) {
    let mut pause = TOGETHER;
    loop {
        sleep(pause).await;
        let Some(sessions) = sessions.upgrade() else { return };
        let Some(waiting) = sessions.hearsay().take() else { return };
        for ((_, among), news) in waiting {
            sessions.pass(among, news).await;
        }
        pause = PAUSE;
    }
}

const fn method_of(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => notification::TOOLS_LIST_CHANGED,
        ListKind::Prompts => notification::PROMPTS_LIST_CHANGED,
        ListKind::Resources | ListKind::ResourceTemplates => notification::RESOURCES_LIST_CHANGED,
    }
}
