#![expect(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::AtomicUsize;

use hawser_mcp::CacheScope;
use tokio::sync::oneshot;

use super::super::part::Lifetime;
use super::super::part::tests::{fetched, stated};
use super::super::shelf::tests::owners;
use super::*;

const MINUTE: u64 = 60_000;

fn place(owner: LocalOwner) -> Place {
    let view = View([0; 16]);
    Place { endpoint: EndpointId::of_path("/mcp"), backend: 0, kind: ListKind::Tools, view, owner, session: None }
}

fn session(key: u8) -> SessionKey {
    SessionKey([key; 16])
}

fn private() -> Lifetime {
    stated(MINUTE, CacheScope::Private)
}

fn failure() -> BackendError {
    BackendError::Closed { backend: hawser_backend::BackendName::new("x").unwrap() }
}

async fn obtain(cache: &ListCache, place: &Place, names: &[&str], lifetime: Lifetime) -> Arc<Part> {
    cache.obtain(place, || async { Ok(fetched(names, lifetime)) }).await.unwrap()
}

fn fresh(cache: &ListCache, place: &Place) -> Option<Arc<Part>> {
    cache.fresh(place, Duration::MAX)
}

#[tokio::test]
async fn a_private_list_is_its_owners_and_a_public_one_everyones() {
    let cache = ListCache::default();
    let [alice, bob, _] = owners().try_into().unwrap();
    let (hers, his) = (place(alice), place(bob));
    obtain(&cache, &hers, &["hers"], private()).await;
    assert!(fresh(&cache, &hers).is_some());
    assert!(cache.known(&his).is_none(), "not even as the last good one");
    let public = obtain(&cache, &his, &["all"], stated(MINUTE, CacheScope::Public)).await;
    assert_eq!(fresh(&cache, &hers).unwrap().id(), public.id());
    // What is private again is nobody else's any more.
    obtain(&cache, &his, &["his"], private()).await;
    assert_ne!(cache.known(&hers).map(|part| part.id()), Some(public.id()));
}

#[tokio::test]
async fn owners_who_see_the_same_share_it_and_nothing_is_kept_of_what_nobody_sees() {
    let cache = ListCache::default();
    let [alice, bob, _] = owners().try_into().unwrap();
    let (hers, his) = (place(alice), place(bob));
    let merge = |part: &Part, owner| {
        let made = AtomicUsize::new(0);
        cache.merged((hers.endpoint, owner), ListKind::Tools, Revision::LATEST, vec![(0, part.id())], || {
            made.fetch_add(1, Ordering::Relaxed);
            MergedList { entries: Vec::new(), digest: [0; 16], bytes: 1 }
        });
        made.into_inner()
    };
    let read = obtain(&cache, &hers, &["a", "b"], private()).await;
    assert!(cache.known(&his).is_none(), "he has not read it");
    let same = obtain(&cache, &his, &["b", "a"], private()).await;
    assert!(Arc::ptr_eq(&read.content, &same.content));
    assert_eq!((merge(&read, alice), merge(&same, bob)), (1, 0));
    drop((read, same));
    for number in 0..200 {
        let changed = number.to_string();
        for (place, owner) in [(&hers, alice), (&his, bob)] {
            merge(&*obtain(&cache, place, &[&changed], private()).await, owner);
        }
    }
    // Two lists, and what was made of the last ones.
    assert!(cache.lock().kept.len() < 100, "{}", cache.lock().kept.len());
}

#[tokio::test]
async fn what_the_client_declared_and_the_endpoint_keep_lists_apart() {
    let cache = ListCache::default();
    let alice = place(owners().remove(0));
    obtain(&cache, &alice, &["a"], stated(MINUTE, CacheScope::Public)).await;
    for other in [
        Place { view: View([1; 16]), ..alice },
        Place { endpoint: EndpointId::of_path("/other"), ..alice },
        Place { backend: 1, ..alice },
        Place { kind: ListKind::Prompts, ..alice },
    ] {
        assert!(cache.known(&other).is_none(), "{other:?}");
    }
}

#[tokio::test]
async fn a_list_of_one_session_is_nobody_elses() {
    let cache = ListCache::default();
    let [alice, bob, _] = owners().try_into().unwrap();
    let shared = place(alice);
    let own = Place { session: Some(session(1)), ..shared };
    obtain(&cache, &shared, &["shared"], private()).await;
    assert!(
        fresh(&cache, &own).is_none() && cache.known(&own).is_some(),
        "what it was given so far is its last good one"
    );
    let mine = obtain(&cache, &own, &["mine"], private()).await;
    assert_eq!(fresh(&cache, &own).unwrap().id(), mine.id());
    assert_ne!(fresh(&cache, &shared).unwrap().id(), mine.id());
    let another = Place { session: Some(session(2)), ..shared };
    assert_ne!(cache.known(&another).unwrap().id(), mine.id());
    assert!(cache.known(&Place { session: Some(session(2)), ..place(bob) }).is_none());
    // Whatever is said of it, and whatever is for everyone else.
    let public = || stated(MINUTE, CacheScope::Public);
    let mine = obtain(&cache, &own, &["mine", "too"], public()).await;
    assert!(cache.known(&place(bob)).is_none());
    let everyones = obtain(&cache, &place(bob), &["all"], public()).await;
    assert_eq!(fresh(&cache, &own).unwrap().id(), mine.id());
    assert!(fresh(&cache, &Place { session: Some(session(3)), ..place(bob) }).is_none(), "not read in that session");
    assert_eq!(fresh(&cache, &place(bob)).unwrap().id(), everyones.id());
    cache.forget(&own);
    assert_ne!(cache.known(&own).unwrap().id(), mine.id());
}

#[tokio::test]
async fn a_change_concerns_its_owner_and_everyone_but_no_other_owner() {
    let cache = ListCache::default();
    let [alice, bob, _] = owners().try_into().unwrap();
    let (hers, his) = (place(alice), place(bob));
    obtain(&cache, &hers, &["hers"], private()).await;
    obtain(&cache, &his, &["his"], private()).await;
    cache.changed(&hers, session(1));
    assert!(fresh(&cache, &hers).is_none() && cache.unchanged(&hers).is_none());
    assert!(cache.known(&hers).is_some(), "still the last good one");
    assert!(fresh(&cache, &his).is_some());
    obtain(&cache, &hers, &["new"], stated(MINUTE, CacheScope::Public)).await;
    assert!(fresh(&cache, &hers).is_some());
    cache.changed(&his, session(2));
    assert!(fresh(&cache, &hers).is_none(), "what is for everyone changed for everyone");
}

/// Reads that wait until they are let go, counted.
struct Reads {
    begun: AtomicUsize,
}

impl Reads {
    async fn one(
        &self,
        go: oneshot::Receiver<Result<(), BackendError>>,
        lifetime: Lifetime,
    ) -> Result<Fetched, BackendError> {
        let number = self.begun.fetch_add(1, Ordering::SeqCst);
        let list = fetched(&[&format!("read-{number}")], lifetime);
        go.await.unwrap().map(|()| list)
    }
}

#[tokio::test]
async fn who_comes_while_a_list_is_read_gets_the_same_even_if_it_may_not_be_kept() {
    let (cache, reads) = (ListCache::default(), Reads { begun: AtomicUsize::new(0) });
    let alice = place(owners().remove(0));
    let (go, gone) = oneshot::channel();
    let never = || stated(0, CacheScope::Private);
    let first = cache.obtain(&alice, || reads.one(gone, never()));
    let second = cache.obtain(&alice, || async { unreachable!("it is being read") });
    let (first, second, ()) = tokio::join!(biased; first, second, async { go.send(Ok(())).unwrap() });
    assert_eq!(first.unwrap().id(), second.unwrap().id());
    assert!(fresh(&cache, &alice).is_none(), "it may not be kept");
    obtain(&cache, &alice, &["next"], never()).await;
    assert!(cache.lock().flights.is_empty());
}

#[tokio::test]
async fn who_comes_after_a_change_does_not_get_what_was_asked_for_before_it() {
    let (cache, reads) = (ListCache::default(), Reads { begun: AtomicUsize::new(0) });
    let alice = place(owners().remove(0));
    let (go, gone) = oneshot::channel();
    let (go_again, gone_again) = oneshot::channel();
    let first = cache.obtain(&alice, || reads.one(gone, private()));
    let second = async {
        cache.changed(&alice, session(1));
        cache.obtain(&alice, || reads.one(gone_again, private())).await
    };
    let letting = async {
        go.send(Ok(())).unwrap();
        go_again.send(Ok(())).unwrap();
    };
    let (first, second, ()) = tokio::join!(biased; first, second, letting);
    assert_ne!(first.unwrap().id(), second.as_ref().unwrap().id());
    assert_eq!(fresh(&cache, &alice).unwrap().id(), second.unwrap().id());
}

#[tokio::test]
async fn a_failure_is_told_to_all_who_wait_and_to_nobody_later() {
    let (cache, reads) = (ListCache::default(), Reads { begun: AtomicUsize::new(0) });
    let alice = place(owners().remove(0));
    let (go, gone) = oneshot::channel();
    let first = cache.obtain(&alice, || reads.one(gone, private()));
    let second = cache.obtain(&alice, || async { unreachable!("it is being read") });
    let (first, second, ()) = tokio::join!(biased; first, second, async { go.send(Err(failure())).unwrap() });
    assert!(first.is_err() && second.is_err());
    obtain(&cache, &alice, &["well again"], private()).await;
    cache.obtain(&alice, || async { Err(failure()) }).await.unwrap_err();
    assert!(fresh(&cache, &alice).is_some(), "a failure does not spoil what is good");
}

#[tokio::test]
async fn if_the_reader_gives_up_the_next_one_reads() {
    let (cache, reads) = (ListCache::default(), Reads { begun: AtomicUsize::new(0) });
    let alice = place(owners().remove(0));
    let (_go, gone) = oneshot::channel();
    let (go_again, gone_again) = oneshot::channel();
    let mut first = Box::pin(cache.obtain(&alice, || reads.one(gone, private())));
    let mut second = Box::pin(cache.obtain(&alice, || reads.one(gone_again, private())));
    assert!(futures_util::poll!(&mut first).is_pending() && futures_util::poll!(&mut second).is_pending());
    assert_eq!(reads.begun.load(Ordering::SeqCst), 1);
    drop(first);
    go_again.send(Ok(())).unwrap();
    second.await.unwrap();
    assert!(cache.lock().flights.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_fresh_stays_the_last_good_one() {
    let cache = ListCache::default();
    let alice = place(owners().remove(0));
    obtain(&cache, &alice, &["a"], private()).await;
    assert!(cache.fresh(&alice, Duration::from_secs(5)).is_some());
    tokio::time::advance(Duration::from_secs(6)).await;
    assert!(cache.fresh(&alice, Duration::from_secs(5)).is_none() && fresh(&cache, &alice).is_some());
    tokio::time::advance(Duration::from_mins(1)).await;
    assert!(fresh(&cache, &alice).is_none());
    assert!(cache.unchanged(&alice).is_some() && cache.known(&alice).is_some());
}

#[tokio::test]
async fn one_owner_fills_only_its_own_share() {
    let per_owner = Amount { items: 16, bytes: 1 << 20 };
    let cache = ListCache::with_bounds(Bounds { per_owner, total: Amount { items: 64, bytes: 4 << 20 } });
    let [alice, eve, _] = owners().try_into().unwrap();
    obtain(&cache, &place(alice), &["a"], private()).await;
    for view in 0..=255 {
        let many = Place { view: View([view; 16]), ..place(eve) };
        obtain(&cache, &many, &["e"], stated(MINUTE, CacheScope::Public)).await;
    }
    assert!(fresh(&cache, &place(alice)).is_some());
}

#[tokio::test]
async fn the_same_parts_are_merged_once_for_each_revision() {
    let cache = ListCache::default();
    let alice = owners().remove(0);
    let endpoint = EndpointId::of_path("/mcp");
    let made = AtomicUsize::new(0);
    let merged = |to, parts: PartIds| {
        let router = hawser_catalog::Router::new([]).unwrap();
        cache.merged((endpoint, alice), ListKind::Tools, to, parts, || {
            made.fetch_add(1, Ordering::SeqCst);
            MergedList::of("x", &router, ListKind::Tools, to, &[])
        })
    };
    merged(Revision::LATEST, vec![(0, 1)]);
    merged(Revision::LATEST, vec![(0, 1)]);
    assert_eq!(made.load(Ordering::SeqCst), 1);
    merged(Revision::LATEST, vec![(0, 2)]);
    merged(Revision::V2025_06_18, vec![(0, 1)]);
    assert_eq!(made.load(Ordering::SeqCst), 3);
}
