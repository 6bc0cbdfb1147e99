//! What a session wants to be told of, and what it is told of (MCP 2026-07-28, Subscriptions). The stream that brings it is
//! kept by `subscriptions/keeper.rs`.

mod keeper;

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use hawser_mcp::{FILTER_ENTRIES_MAX, ListenFilter, Members, Notification, RawJson, notification};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::capabilities;
pub(crate) use keeper::start;

/// What one session wants to be told of, and what it is told of.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    /// The changes of lists that the server announces, if it is asked to.
    announces: ListenFilter,
    wanted: watch::Sender<Wanted>,
    held: watch::Sender<Held>,
    started: AtomicBool,
}

#[derive(Clone, Debug, Default)]
struct Wanted {
    /// Counts the changes of the wish.
    change: u64,
    lists: bool,
    uris: BTreeMap<String, Standing>,
}

/// How a resource is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The client was told that it is subscribed.
    Confirmed,
    /// Whoever wished for it last, with this change, waits to be told.
    Awaited(u64),
}

/// A wish for one resource. Dropping it takes it back, unless it was confirmed or wished for again meanwhile.
struct Wish<'a> {
    subscriptions: &'a Subscriptions,
    uri: &'a str,
    change: u64,
}

impl Drop for Wish<'_> {
    fn drop(&mut self) {
        let mine = Some(&Standing::Awaited(self.change));
        if self.subscriptions.wanted.borrow().uris.get(self.uri) == mine {
            self.subscriptions.unsubscribe(self.uri);
        }
    }
}

/// What came of a wish.
#[derive(Clone, Debug, Default)]
struct Held {
    /// The change of the wish that was tried.
    change: u64,
    /// What the server tells of.
    filter: ListenFilter,
    /// Since when, without a break.
    since: Option<Instant>,
}

impl Subscriptions {
    pub(crate) fn new(server_capabilities: &RawJson) -> Self {
        let changes = |list: &str| capabilities::has_flag(server_capabilities, list, "listChanged");
        let announces = ListenFilter {
            tools_list_changed: changes("tools"),
            prompts_list_changed: changes("prompts"),
            resources_list_changed: changes("resources"),
            ..ListenFilter::default()
        };
        Self {
            announces,
            wanted: watch::Sender::default(),
            held: watch::Sender::default(),
            started: AtomicBool::new(false),
        }
    }

    /// From now on the changes of lists are wanted.
    pub(crate) fn listen(&self) {
        self.wish(|wanted| wanted.lists = true);
    }

    /// Whether the server has told of all changes of its lists since then.
    pub(crate) fn has_heard_since(&self, since: Instant) -> bool {
        let held = self.held.borrow();
        let lists =
            (held.filter.tools_list_changed, held.filter.prompts_list_changed, held.filter.resources_list_changed);
        let all = (
            self.announces.tools_list_changed,
            self.announces.prompts_list_changed,
            self.announces.resources_list_changed,
        );
        lists == all && held.since.is_some_and(|began| began <= since)
    }

    /// Whether the server tells of such changes of its lists, once what is wanted has been tried.
    pub(crate) async fn hears(&self, method: &str) -> bool {
        let change = self.wanted.borrow().change;
        let mut held = self.held.subscribe();
        let held = held.wait_for(|held| held.change >= change).await;
        held.is_ok_and(|held| held.filter.admits(&Notification::new(method, None)))
    }

    /// Wants to be told of one resource. Whether it is, once the server has said.
    pub(crate) async fn subscribe(&self, uri: &str) -> bool {
        let Some(wish) = self.wish_uri(uri) else { return false };
        let mut held = self.held.subscribe();
        let told = held.wait_for(|held| held.change >= wish.change).await;
        let told = told.is_ok_and(|held| held.filter.resource_subscriptions.iter().any(|known| known == uri));
        if told {
            self.wanted.send_if_modified(|wanted| {
                // Unsubscribed meanwhile, it stays so.
                wanted.uris.entry(uri.to_owned()).and_modify(|standing| *standing = Standing::Confirmed);
                false
            });
        }
        told
    }

    /// Wants to be told of it no more.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        self.wish(|wanted| {
            wanted.uris.remove(uri);
        });
    }

    /// `None` if there are as many as there may be.
    fn wish_uri<'a>(&'a self, uri: &'a str) -> Option<Wish<'a>> {
        let full = self.wanted.borrow().uris.len() >= FILTER_ENTRIES_MAX;
        (!full).then(|| {
            let change = self.wish(|wanted| {
                let awaited = Standing::Awaited(wanted.change + 1);
                let standing = wanted.uris.entry(uri.to_owned()).or_insert(awaited);
                if *standing != Standing::Confirmed {
                    *standing = awaited;
                }
            });
            Wish { subscriptions: self, uri, change }
        })
    }

    fn wish(&self, act: impl FnOnce(&mut Wanted)) -> u64 {
        let mut change = 0;
        self.wanted.send_modify(|wanted| {
            act(wanted);
            wanted.change += 1;
            change = wanted.change;
        });
        change
    }

    /// Whether it is wanted by now: a stream goes on with what was unsubscribed from until another one takes its place.
    fn still_want(&self, told: &Notification) -> bool {
        let uri = || Members::read(told.params.as_ref()?, &["uri"]).ok()?.string("uri");
        told.method != notification::RESOURCES_UPDATED
            || uri().is_some_and(|uri| self.wanted.borrow().uris.contains_key(&uri))
    }

    fn filter(&self) -> (u64, ListenFilter) {
        let wanted = self.wanted.borrow();
        let lists = if wanted.lists { self.announces.clone() } else { ListenFilter::default() };
        (wanted.change, ListenFilter { resource_subscriptions: wanted.uris.keys().cloned().collect(), ..lists })
    }
}
