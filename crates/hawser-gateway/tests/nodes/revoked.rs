//! Ending many sessions at once, and what an administrator sees.

use std::task::Poll;
use std::time::Duration;

use hawser_gateway::Selection;
use hawser_store::Store as _;
use http::StatusCode;

use crate::world::{PATH, STALE_MAX, World};

#[tokio::test(start_paused = true)]
async fn all_sessions_of_an_owner_end_everywhere_and_nobody_elses_do() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let (first, second) = (world.open(&here, "alice").await, world.open(&there, "alice").await);
    let bobs = world.open(&here, "bob").await;
    for session in [&first, &second] {
        assert_eq!(world.ping(&there, "alice", session).await, StatusCode::OK);
    }
    // A session whose row is lost, and that only a third node could be asked for.
    let lost = world.open(&here, "alice").await;
    world.advance(Duration::from_secs(2));
    let owner = Selection::Owner(World::principal("alice"));
    let listed = here.gateway.list_sessions(Some(&owner), None, 10).await.unwrap();
    assert_eq!(listed.sessions.len(), 3);
    let names: Vec<_> = listed.sessions.iter().map(|info| info.name.clone()).collect();
    let lost_name = names.iter().find(|name| name.as_str() != "").unwrap().clone();
    world.store.delete(&hawser_store::Key::new("session", &lost_name).unwrap()).await.unwrap();

    let revoked = there.gateway.revoke_sessions(&owner, "test").await.unwrap();
    assert_eq!(revoked.sessions, 2, "those with a row");
    for session in [&first, &second, &lost] {
        assert!(world.until_refused(&here, "alice", session).await <= STALE_MAX);
        assert_eq!(world.ping(&there, "alice", session).await, StatusCode::NOT_FOUND);
    }
    let new = world.node().await;
    for session in [&first, &second, &lost] {
        assert_eq!(world.ping(&new, "alice", session).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.ping(&new, "bob", &bobs).await, StatusCode::OK);
    // What is opened afterwards is not hit, on any node.
    world.advance(Duration::from_secs(2));
    let later = world.open(&here, "alice").await;
    for node in [&here, &there, &new] {
        assert_eq!(world.ping(node, "alice", &later).await, StatusCode::OK);
    }
    assert_eq!(new.gateway.list_sessions(Some(&owner), None, 10).await.unwrap().sessions.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_revocation_outlives_a_store_that_lost_it() {
    let world = World::new();
    let here = world.node().await;
    let session = world.open(&here, "alice").await;
    here.gateway.revoke_sessions(&Selection::Endpoint(PATH.to_owned()), "test").await.unwrap();
    world.store.flush();
    world.settle().await;
    drop(here);
    assert_eq!(world.ping(&world.node().await, "alice", &session).await, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn one_session_is_shown_and_ended_by_its_name_alone() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    let page = there.gateway.list_sessions(None, None, 10).await.unwrap();
    let info = page.sessions.first().unwrap();
    assert!(page.next.is_none() && !info.live && !info.terminated);
    assert!(info.client_info.as_ref().unwrap().contains("test") && info.endpoint == PATH);
    assert_eq!(info.expires.unwrap().since(info.opened.unwrap()), Duration::from_hours(7 * 24));
    assert!(!format!("{info:?}").contains("alice") && !format!("{info:?}").contains(&session));
    assert!(here.gateway.show_session(&info.name).await.unwrap().unwrap().live);

    let selection = Selection::Session(info.name.clone());
    assert_eq!(there.gateway.revoke_sessions(&selection, "test").await.unwrap().sessions, 1);
    assert_eq!(there.gateway.revoke_sessions(&selection, "test").await.unwrap().sessions, 0);
    assert!(world.until_refused(&here, "alice", &session).await <= STALE_MAX);
    assert!(there.gateway.show_session(&info.name).await.unwrap().unwrap().terminated);
    assert!(there.gateway.list_sessions(None, None, 10).await.unwrap().sessions.is_empty());
    for wrong in ["", "x", "00", &"G".repeat(32)] {
        assert!(there.gateway.show_session(wrong).await.unwrap().is_none());
        assert_eq!(
            there.gateway.revoke_sessions(&Selection::Session(wrong.to_owned()), "test").await.unwrap().sessions,
            0
        );
    }
}

/// A row that is lost can still be revoked by the name that an audit log has.
#[tokio::test(start_paused = true)]
async fn a_session_without_a_row_is_ended_by_its_name() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    let session = world.open(&here, "alice").await;
    let (key, _) = world.row().await;
    world.store.delete(&key).await.unwrap();
    let name = key.as_str().trim_start_matches("session/").to_owned();
    there.gateway.revoke_sessions(&Selection::Session(name), "test").await.unwrap();
    assert!(world.until_refused(&here, "alice", &session).await <= STALE_MAX);
    assert_eq!(world.ping(&world.node().await, "alice", &session).await, StatusCode::NOT_FOUND);
}

#[tokio::test(start_paused = true)]
async fn many_sessions_are_listed_page_by_page() {
    let world = World::new();
    let node = world.node().await;
    for _ in 0..25 {
        world.open(&node, "alice").await;
    }
    let (mut seen, mut after) = (std::collections::BTreeSet::new(), None);
    for _ in 0..100 {
        let page = node.gateway.list_sessions(None, after.as_deref(), 4).await.unwrap();
        assert!(page.sessions.len() <= 4);
        seen.extend(page.sessions.into_iter().map(|info| info.name));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((seen.len(), after), (25, None));
    assert!(node.gateway.list_sessions(None, Some("no cursor"), 4).await.is_err());
}

/// Before or after is a matter of what the node knows, not of the second: by whatever clock, what was open is over and stays over,
/// and what is opened by who has heard of it stands, everywhere.
#[tokio::test(start_paused = true)]
async fn what_was_open_is_over_and_what_is_opened_afterwards_stands_by_whatever_clock() {
    for ahead in [-4, 0, 4] {
        for selection in [Selection::Owner(World::principal("alice")), Selection::Endpoint(PATH.to_owned())] {
            let world = World::new();
            let (revoking, other) = (world.node().await, world.node_ahead(ahead).await);
            let open = [world.open(&revoking, "alice").await, world.open(&other, "alice").await];
            revoking.gateway.revoke_sessions(&selection, "test").await.unwrap();
            let late = world.node().await;
            for session in &open {
                for node in [&revoking, &other, &late] {
                    assert!(world.until_refused(node, "alice", session).await <= STALE_MAX, "{ahead}");
                }
            }
            // In the same second still.
            let anew = [world.open(&revoking, "alice").await, world.open(&other, "alice").await];
            let latest = world.node_ahead(-ahead).await;
            world.settle().await;
            for session in &anew {
                for node in [&revoking, &other, &late, &latest] {
                    assert_eq!(world.ping(node, "alice", session).await, StatusCode::OK, "{ahead}");
                }
            }
            world.store.flush();
            world.settle().await;
            for session in &open {
                assert_eq!(world.ping(&world.node().await, "alice", session).await, StatusCode::NOT_FOUND, "{ahead}");
            }
        }
    }
}

/// How often others got their turn while this was done.
async fn turns(work: impl Future) -> usize {
    let (mut work, mut turns) = (std::pin::pin!(work), 0);
    std::future::poll_fn(|context| {
        let done = work.as_mut().poll(context).is_ready();
        turns += usize::from(!done);
        if done { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    turns
}

/// However many sessions a node or the store holds, looking through them keeps nobody waiting.
#[tokio::test(start_paused = true)]
async fn others_get_their_turn_while_many_sessions_are_looked_through() {
    let world = World::new();
    let (here, there) = (world.node().await, world.node().await);
    for number in 0..3000 {
        world.open(&here, &format!("bob-{}", number / 100)).await;
    }
    let alice = Selection::Owner(World::principal("alice"));
    // What is held here, in steps of 512, and the rows, in pages of 1000.
    assert!(turns(here.gateway.revoke_sessions(&alice, "test")).await >= 8);
    assert!(turns(there.gateway.revoke_sessions(&alice, "test")).await >= 3);
    assert!(turns(there.gateway.list_sessions(Some(&alice), None, 100)).await >= 15);
    let all = Selection::Endpoint(PATH.to_owned());
    assert!(turns(there.gateway.revoke_sessions(&all, "test")).await >= 3);
    world.settle().await;
    assert!(here.gateway.list_sessions(None, None, 1000).await.unwrap().sessions.is_empty());
}
