//! What waits to be told to one listener: of each list, resource and task the last word alone.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hawser_mcp::{Members, Notification, RawJson, notification};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

/// How long the change of a list waits for others, so that many are told once.
const TOGETHER: Duration = Duration::from_millis(50);
/// Most notifications that wait for a slow reader. What a filter names waits once each, so only parts of resources can be more.
const WAITING_MAX: usize = 4 * 1024;
/// Most bytes of them.
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The changes of lists, in the order in which they are told.
const LISTS: [&str; 3] =
    [notification::TOOLS_LIST_CHANGED, notification::PROMPTS_LIST_CHANGED, notification::RESOURCES_LIST_CHANGED];

/// What one listener wants, and what waits for it.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// In the order of [`LISTS`].
    lists: [List; 3],
    /// The resources that are listened for, and the backend that tells of each.
    resources: HashMap<String, usize>,
    /// The backends that tell of tasks.
    task_sources: HashSet<usize>,
    waiting: HashMap<Subject, Notification>,
    order: VecDeque<Subject>,
    bytes: usize,
    overrun: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct List {
    wanted: bool,
    /// When a change of it is to be told.
    due: Option<Instant>,
}

/// What a notification is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Resource(String),
    Task(String),
}

/// What comes out of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The next thing to tell.
    Notification(Notification),
    /// The reader is too slow for what is said.
    Overrun,
}

impl Mailbox {
    /// Changes of this list are wanted.
    pub(crate) fn want_list(&self, method: &str) {
        self.with_list(method, |list| list.wanted = true);
    }

    /// Changes of this list are not told.
    pub(crate) fn renounce_list(&self, method: &str) {
        self.with_list(method, |list| *list = List::default());
    }

    fn with_list(&self, method: &str, act: impl FnOnce(&mut List)) {
        let mut state = self.lock();
        if let Some((_, list)) = LISTS.into_iter().zip(&mut state.lists).find(|(name, _)| *name == method) {
            act(list);
        }
    }

    /// Updates of this resource are wanted, as told by this backend.
    pub(crate) fn want_resource(&self, uri: &str, backend: usize) {
        self.lock().resources.insert(uri.to_owned(), backend);
    }

    /// Updates of this resource are not told.
    pub(crate) fn renounce_resource(&self, uri: &str) {
        let mut state = self.lock();
        state.resources.remove(uri);
        let orphans: Vec<_> = state.waiting.keys().filter(|subject| !state.is_wanted(subject)).cloned().collect();
        for orphan in orphans {
            state.order.retain(|subject| *subject != orphan);
            state.take(&orphan);
        }
    }

    /// Tasks of this backend are listened for.
    pub(crate) fn want_tasks_of(&self, backend: usize) {
        self.lock().task_sources.insert(backend);
    }

    /// Whether something that lives at this backend alone is listened for.
    pub(crate) fn waits_for(&self, backend: usize) -> bool {
        let state = self.lock();
        state.task_sources.contains(&backend) || state.resources.values().any(|of| *of == backend)
    }

    /// Takes in what a backend said, if it is wanted.
    pub(crate) fn tell(&self, backend: usize, told: &Notification) {
        let mut state = self.lock();
        if told.method == notification::RESOURCES_UPDATED {
            let uri = told.params.as_ref().and_then(|params| Members::read(params, &["uri"]).ok()?.string("uri"));
            if let Some(uri) = uri.filter(|uri| state.covers(backend, uri)) {
                state.put(Subject::Resource(uri), told.clone());
            }
        } else if let Some(at) = LISTS.iter().position(|method| *method == told.method) {
            state.note_list(at);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Takes in what is said of a task, by the id that the client knows.
    pub(crate) fn tell_task(&self, task_id: String, told: Notification) {
        self.lock().put(Subject::Task(task_id), told);
        self.changed.notify_one();
    }

    /// All that a backend tells of may have changed.
    pub(crate) fn tell_all_of(&self, backend: usize) {
        for method in LISTS {
            self.tell(backend, &Notification::new(method, None));
        }
        self.tell_resources_of(backend);
    }

    /// All resources that a backend tells of may have changed.
    pub(crate) fn tell_resources_of(&self, backend: usize) {
        let uris = {
            let state = self.lock();
            let of_backend = state.resources.iter().filter(|(_, of)| **of == backend);
            of_backend.map(|(uri, _)| uri.clone()).collect::<Vec<_>>()
        };
        for uri in uris {
            let params = RawJson::object(&[("uri", &RawJson::string(&uri))]);
            self.tell(backend, &Notification::new(notification::RESOURCES_UPDATED, Some(params)));
        }
    }

    /// The next thing to tell. Cancel safe.
    pub(crate) async fn next(&self) -> Told {
        loop {
            let changed = self.changed.notified();
            let (told, due) = self.lock().next(Instant::now());
            match (told, due) {
                (Some(told), _) => return told,
                (None, Some(due)) => tokio::select! {
                    () = changed => {}
                    () = sleep_until(due) => {}
                },
                (None, None) => changed.await,
            }
        }
    }

    #[cfg(test)]
    pub(super) fn has_mail(&self) -> bool {
        let state = self.lock();
        !state.waiting.is_empty() || state.lists.iter().any(|list| list.due.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_list(&mut self, at: usize) {
        if let Some(list) = self.lists.get_mut(at).filter(|list| list.wanted) {
            list.due.get_or_insert_with(|| Instant::now() + TOGETHER);
        }
    }

    /// "This might be a sub-resource of the one that the client actually subscribed to" (schema, `ResourceUpdatedNotification`).
    fn covers(&self, backend: usize, uri: &str) -> bool {
        self.resources.iter().any(|(wanted, of)| *of == backend && is_part_of(uri, wanted))
    }

    fn is_wanted(&self, subject: &Subject) -> bool {
        match subject {
            Subject::Resource(uri) => self.resources.keys().any(|wanted| is_part_of(uri, wanted)),
            Subject::Task(_) => true,
        }
    }

    fn put(&mut self, subject: Subject, told: Notification) {
        self.bytes += size(&told);
        match self.waiting.insert(subject.clone(), told) {
            Some(older) => self.bytes = self.bytes.saturating_sub(size(&older)),
            None => self.order.push_back(subject),
        }
        if self.order.len() > WAITING_MAX || self.bytes > WAITING_BYTES_MAX {
            self.overrun = true;
            self.waiting.clear();
            self.order.clear();
            self.bytes = 0;
        }
    }

    fn take(&mut self, subject: &Subject) -> Option<Notification> {
        let told = self.waiting.remove(subject)?;
        self.bytes = self.bytes.saturating_sub(size(&told));
        Some(told)
    }

    /// The next thing to tell now, or else when there is one by time alone.
    fn next(&mut self, now: Instant) -> (Option<Told>, Option<Instant>) {
        if self.overrun {
            return (Some(Told::Overrun), None);
        }
        for (method, list) in LISTS.into_iter().zip(&mut self.lists) {
            if list.due.is_some_and(|due| due <= now) {
                list.due = None;
                return (Some(Told::Notification(Notification::new(method, None))), None);
            }
        }
        while let Some(subject) = self.order.pop_front() {
            if let Some(told) = self.take(&subject) {
                return (Some(Told::Notification(told)), None);
            }
        }
        (None, self.lists.iter().filter_map(|list| list.due).min())
    }
}

fn size(told: &Notification) -> usize {
    told.method.len() + told.params.as_ref().map_or(0, |params| params.bytes().len())
}

/// Whether a resource is another one or a part of it, as far as its URI tells.
fn is_part_of(uri: &str, whole: &str) -> bool {
    uri.strip_prefix(whole)
        .is_some_and(|rest| rest.is_empty() || whole.ends_with('/') || rest.starts_with(['/', '#', '?']))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn updated(uri: &str) -> Notification {
        let params = RawJson::object(&[("uri", &RawJson::string(uri))]);
        Notification::new(notification::RESOURCES_UPDATED, Some(params))
    }

    fn list(method: &str) -> Notification {
        Notification::new(method, None)
    }

    /// All that is told within a second.
    async fn all(mailbox: &Mailbox) -> Vec<Notification> {
        let mut all = Vec::new();
        while let Ok(told) = tokio::time::timeout(Duration::from_secs(1), mailbox.next()).await {
            match told {
                Told::Notification(told) => all.push(told),
                Told::Overrun => panic!("overrun"),
            }
        }
        all
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_of_a_list_are_told_once_and_later_ones_again() {
        let mailbox = Mailbox::default();
        mailbox.want_list(notification::TOOLS_LIST_CHANGED);
        for backend in 0..10 {
            mailbox.tell(backend, &list(notification::TOOLS_LIST_CHANGED));
            mailbox.tell(backend, &list(notification::PROMPTS_LIST_CHANGED));
        }
        let began = Instant::now();
        assert_eq!(mailbox.next().await, Told::Notification(list(notification::TOOLS_LIST_CHANGED)));
        assert!(began.elapsed() >= TOGETHER && began.elapsed() < TOGETHER * 2);
        assert_eq!(all(&mailbox).await, []);
        mailbox.tell(0, &list(notification::TOOLS_LIST_CHANGED));
        assert_eq!(all(&mailbox).await, [list(notification::TOOLS_LIST_CHANGED)]);
    }

    #[tokio::test(start_paused = true)]
    async fn updates_are_told_of_wanted_resources_by_their_own_backend_and_once_while_they_wait() {
        let mailbox = Mailbox::default();
        mailbox.want_resource("file:///a", 1);
        mailbox.want_resource("file:///b/", 1);
        for _ in 0..10 {
            for uri in ["file:///a", "file:///ab", "file:///b/c", "file:///a?x", "other:a"] {
                mailbox.tell(1, &updated(uri));
            }
            mailbox.tell(2, &updated("file:///a"));
        }
        mailbox.tell(1, &Notification::new(notification::RESOURCES_UPDATED, None));
        mailbox.tell(1, &Notification::new(notification::MESSAGE, None));
        assert_eq!(all(&mailbox).await, ["file:///a", "file:///b/c", "file:///a?x"].map(updated));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_renounced_is_not_told_even_if_it_waited() {
        let mailbox = Mailbox::default();
        mailbox.want_resource("x:a", 0);
        mailbox.want_resource("x:b", 0);
        mailbox.want_list(notification::TOOLS_LIST_CHANGED);
        mailbox.tell_all_of(0);
        mailbox.renounce_resource("x:a");
        mailbox.renounce_list(notification::TOOLS_LIST_CHANGED);
        assert_eq!(all(&mailbox).await, [updated("x:b")]);
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_costs_its_stream_and_no_memory() {
        let mailbox = Mailbox::default();
        let large = RawJson::string(&"x".repeat(1024 * 1024));
        let told = Notification::new(notification::TASKS, Some(RawJson::object(&[("result", &large)])));
        for _ in 0..100 {
            mailbox.tell_task("one".to_owned(), told.clone());
        }
        assert_eq!(mailbox.next().await, Told::Notification(told.clone()), "the last word of one task");
        for task in 0..100 {
            mailbox.tell_task(task.to_string(), told.clone());
        }
        assert_eq!(mailbox.next().await, Told::Overrun);
        assert!(mailbox.lock().bytes <= WAITING_BYTES_MAX);
        mailbox.want_resource("x:/", 0);
        for part in 0..=WAITING_MAX {
            mailbox.tell(0, &updated(&format!("x:/{part}")));
        }
        assert!(mailbox.lock().order.len() <= WAITING_MAX);
    }

    proptest! {
        #[test]
        fn the_books_balance(steps in proptest::collection::vec((0_u8..6, any::<bool>(), 0_usize..100), 0..100)) {
            let mut state = State::default();
            for (task, put, length) in steps {
                if put {
                    let params = RawJson::string(&"x".repeat(length));
                    state.put(Subject::Task(task.to_string()), Notification::new(notification::TASKS, Some(params)));
                } else {
                    let _ = state.next(Instant::now());
                }
                prop_assert_eq!(state.bytes, state.waiting.values().map(size).sum::<usize>());
                prop_assert_eq!(state.order.len(), state.waiting.len());
            }
        }
    }
}
