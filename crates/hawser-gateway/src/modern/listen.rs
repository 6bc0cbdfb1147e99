//! `subscriptions/listen` (MCP 2026-07-28, Subscriptions): one stream of what changes, over backends of either era.
//!
//! What can really be told is found out first and acknowledged then; nothing is said before that, and nothing after it that was
//! not acknowledged. The stream is the client's: when it goes, everything that was subscribed to for it goes with it.

mod stream;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use hawser_backend::BackendSession;
use hawser_mcp::{
    Era, ErrorObject, ListKind, ListenFilter, Members, Notification, RawJson, Request, code, meta_key, notification,
    with_subscription_id,
};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use self::stream::{Stream, Wish};
use super::answer::Answer;
use super::{ModernCaller, tasks};
use crate::listeners::{Hold, Listener, Mailbox, Told, hold};
use crate::lists::{self, announces};
use crate::reply::Out;

/// Longest wait for a backend to be reached.
const REACHED_WITHIN: Duration = Duration::from_secs(10);
/// Longest wait until it is known whether a backend is heard outside of calls.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// Longest search for the backends of the resources that are asked for.
const ROUTED_WITHIN: Duration = Duration::from_secs(10);

/// Serves one stream to its end. `None` ends it without a word.
pub(super) async fn listen(caller: &ModernCaller, request: &Request, out: &Out) -> Option<Answer> {
    let wanted = match ListenFilter::read(request.params.as_ref()) {
        Ok(wanted) => wanted,
        Err(error) => return Some(Answer::refused(&ErrorObject::new(code::INVALID_PARAMS, error.to_string()))),
    };
    if !wanted.task_ids.is_empty() && !tasks::declares_tasks(&caller.head.capabilities) {
        return Some(tasks::undeclared());
    }
    let Some(listener) = enter(caller) else {
        let text = "you have as many streams of notifications as you may; close one first";
        return Some(Answer::refused(&ErrorObject::new(code::INVALID_REQUEST, text)));
    };
    if caller.was_just_revoked() {
        return None;
    }
    let told = async {
        tokio::select! {
            biased;
            () = dismissed(caller, &listener) => Some(Answer::over("no notifications can be sent any more")),
            subscribed = subscribe(caller, &wanted, listener.mailbox()) => {
                tell(caller, request.id.raw(), &listener, &subscribed, out).await
            }
        }
    };
    tokio::select! {
        biased;
        // At once: whoever holds the credential now may not be who it was given to.
        () = listener.revoked().cancelled() => None,
        end = told => end,
    }
}

/// Its place among the listeners of the session and of the owner.
fn enter(caller: &ModernCaller) -> Option<Listener> {
    let place = caller.caller.sessions.listener_place(caller.caller.principal()).ok()?;
    caller.session().work().listeners.enter(&caller.caller.credential, place).ok()
}

/// Waits until the stream has to end in an orderly way: the gateway stops, the session is over, or the access token is.
async fn dismissed(caller: &ModernCaller, listener: &Listener) {
    let expired = async {
        match caller.stream_lives {
            Some(lives) => sleep(lives).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = listener.dismissed().cancelled() => {}
        () = caller.session().ended().cancelled() => {}
        () = expired => {}
    }
}

/// Acknowledges, and tells what there is to tell.
async fn tell(
    caller: &ModernCaller,
    id: &RawJson,
    listener: &Listener,
    subscribed: &Subscribed,
    out: &Out,
) -> Option<Answer> {
    out.message(subscribed.honoured.acknowledged(id).to_bytes()).await;
    let telling = async {
        while let Told::Notification(told) = listener.mailbox().next().await {
            out.message(with_subscription_id(&told, id).to_bytes()).await;
        }
    };
    tokio::select! {
        biased;
        () = dismissed(caller, listener) => Some(ended(caller, id)),
        () = telling => {
            tracing::warn!(endpoint = caller.session().endpoint().name(), "a stream of notifications is read too slowly; it is closed");
            None
        }
    }
}

/// "It SHOULD send a successful `subscriptions/listen` response to signal a graceful end" (Graceful Closure).
fn ended(caller: &ModernCaller, id: &RawJson) -> Answer {
    let server_info = caller.session().endpoint().server_info();
    let meta = RawJson::object(&[(meta_key::SUBSCRIPTION_ID, id), (meta_key::SERVER_INFO, server_info)]);
    Answer::result(RawJson::object(&[("resultType", &RawJson::string("complete")), ("_meta", &meta)]))
}

/// What is subscribed to for one listener; all of it ends when this is dropped.
struct Subscribed {
    honoured: ListenFilter,
    _holds: Vec<Hold>,
    _streams: Vec<Stream>,
}

/// What one backend does for a listener.
#[derive(Default)]
struct Served {
    lists: Vec<ListKind>,
    hold: Option<Hold>,
    stream: Option<Stream>,
}

/// Subscribes to what is wanted, as far as backends take part.
async fn subscribe(caller: &ModernCaller, wanted: &ListenFilter, mailbox: &Arc<Mailbox>) -> Subscribed {
    let session = caller.session();
    let lists: Vec<ListKind> = LISTS.into_iter().filter(|kind| wanted.admits(&changed(*kind))).collect();
    for kind in &lists {
        mailbox.want_list(method_of(*kind));
    }
    let mut wishes = wishes(caller, wanted, mailbox).await;
    let mut asked = Vec::new();
    for backend in 0..session.endpoint().backends().len() {
        let wish = wishes.remove(&backend).unwrap_or_default();
        if !lists.is_empty() || !wish.is_empty() {
            asked.push(serve(caller, backend, &lists, wish, mailbox));
        }
    }
    let served = futures_util::future::join_all(asked).await;
    let honoured = honoured(wanted, &served);
    for kind in lists.into_iter().filter(|kind| !honoured.admits(&changed(*kind))) {
        mailbox.renounce_list(method_of(kind));
    }
    for uri in wanted.resource_subscriptions.iter().filter(|uri| !honoured.resource_subscriptions.contains(uri)) {
        mailbox.renounce_resource(uri);
    }
    let (holds, streams): (Vec<_>, Vec<_>) = served.into_iter().map(|served| (served.hold, served.stream)).unzip();
    Subscribed {
        honoured,
        _holds: holds.into_iter().flatten().collect(),
        _streams: streams.into_iter().flatten().collect(),
    }
}

/// Which resources and tasks are wanted of which backend. A resource that nobody, or more than one, may know is left out, as is
/// a task that is not the caller's.
async fn wishes(caller: &ModernCaller, wanted: &ListenFilter, mailbox: &Mailbox) -> BTreeMap<usize, Wish> {
    let mut wishes: BTreeMap<usize, Wish> = BTreeMap::new();
    let (mut seen, until) = (HashSet::new(), Instant::now() + ROUTED_WITHIN);
    for uri in wanted.resource_subscriptions.iter().filter(|uri| seen.insert(uri.as_str())) {
        let Ok(backends) = timeout_at(until, lists::route_resource(caller.session(), uri)).await else { break };
        if let [backend] = backends.as_slice() {
            mailbox.want_resource(uri, *backend);
            wishes.entry(*backend).or_default().uris.push(uri.clone());
        }
    }
    for presented in &wanted.task_ids {
        if let Some(claims) = tasks::open(caller, presented) {
            let Some(backend) = claims.backend.find(caller.session()) else { continue };
            mailbox.want_tasks_of(backend);
            wishes.entry(backend).or_default().tasks.insert(claims.own_id, presented.clone());
        }
    }
    wishes
}

/// Subscribes at one backend.
async fn serve(
    caller: &ModernCaller,
    backend: usize,
    lists: &[ListKind],
    wish: Wish,
    mailbox: &Arc<Mailbox>,
) -> Served {
    let session = caller.session();
    let Some(upstream) = session.upstream(backend) else { return Served::default() };
    upstream.listen();
    let Ok(Ok(opened)) = timeout(REACHED_WITHIN, upstream.open(session)).await else {
        // It is reached again in the background, and what others are listened to for is then told of it, too.
        upstream.recover(session);
        return Served::default();
    };
    let capabilities = &opened.server().capabilities;
    let mut served = Served::default();
    for kind in lists {
        if announces(capabilities, *kind) && is_heard(&opened, method_of(*kind)).await {
            served.lists.push(*kind);
        }
    }
    if wish.is_empty() {
        return served;
    }
    if opened.era() == Era::Modern {
        served.stream = stream::open(session, &upstream, wish, mailbox).await;
    } else if !wish.uris.is_empty()
        && can_subscribe(capabilities)
        && is_heard(&opened, notification::RESOURCES_UPDATED).await
    {
        served.hold = Some(hold(session, &upstream, wish.uris).await);
    }
    served
}

async fn is_heard(backend: &BackendSession, method: &str) -> bool {
    timeout(HEARD_WITHIN, backend.hears(method)).await == Ok(true)
}

/// Whether a server says that resources can be subscribed to.
fn can_subscribe(capabilities: &RawJson) -> bool {
    let declared = Members::read(capabilities, &[]).ok().and_then(|members| members.get("resources"));
    let flag = declared.and_then(|declared| Members::read(&declared, &[]).ok()?.get("subscribe"));
    flag.is_some_and(|flag| flag.as_str() == "true")
}

/// What of the wish is served by any backend.
fn honoured(wanted: &ListenFilter, served: &[Served]) -> ListenFilter {
    let any = |kind: ListKind| served.iter().any(|served| served.lists.contains(&kind));
    let streams = || served.iter().filter_map(|served| served.stream.as_ref());
    let held = served.iter().filter_map(|served| served.hold.as_ref()).flat_map(Hold::uris);
    let uris: HashSet<&String> = held.chain(streams().flat_map(|stream| &stream.honoured.uris)).collect();
    let tasks: HashSet<&String> = streams().flat_map(|stream| stream.honoured.tasks.values()).collect();
    let mut seen = HashSet::new();
    let uris = wanted.resource_subscriptions.iter().filter(|uri| uris.contains(uri) && seen.insert(uri.as_str()));
    ListenFilter {
        tools_list_changed: any(ListKind::Tools),
        prompts_list_changed: any(ListKind::Prompts),
        resources_list_changed: any(ListKind::Resources),
        resource_subscriptions: uris.cloned().collect(),
        task_ids: wanted.task_ids.iter().filter(|presented| tasks.contains(presented)).cloned().collect(),
    }
}

/// The lists whose changes can be listened for.
const LISTS: [ListKind; 3] = [ListKind::Tools, ListKind::Prompts, ListKind::Resources];

const fn method_of(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => notification::TOOLS_LIST_CHANGED,
        ListKind::Prompts => notification::PROMPTS_LIST_CHANGED,
        ListKind::Resources | ListKind::ResourceTemplates => notification::RESOURCES_LIST_CHANGED,
    }
}

fn changed(kind: ListKind) -> Notification {
    Notification::new(method_of(kind), None)
}
