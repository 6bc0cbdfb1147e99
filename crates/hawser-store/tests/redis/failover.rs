//! Primaries that are killed while operations go on, and the servers that take their place.
//!
//! Replication is asynchronous: what a primary acknowledged in the moment before its end may be lost with it. What the tests
//! demand is that nothing is lost that was acknowledged a second before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hawser_fixture_valkey::{Cluster, Watched, ask};
use hawser_store::{RedisStore, Store as _};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::{OPERATION_MAX, hears, key, missed, open, recovers};

/// Sentinels take a second to be sure and some to agree; the cluster's servers likewise.
const FAILOVER_MAX: Duration = Duration::from_secs(30);
/// What was acknowledged this long before the end is at the replica.
const REPLICATED: Duration = Duration::from_secs(1);

/// Writes row after row, each once, and notes what was acknowledged and when.
struct Writer {
    go_on: Arc<AtomicBool>,
    task: JoinHandle<Vec<(u32, Instant)>>,
}

impl Writer {
    fn start(store: &Arc<RedisStore>) -> Self {
        let (store, go_on) = (Arc::clone(store), Arc::new(AtomicBool::new(true)));
        let going = Arc::clone(&go_on);
        let task = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..200_000 {
                if !going.load(Ordering::Relaxed) {
                    break;
                }
                let started = Instant::now();
                if store.put(&key(number), number.to_string().into(), None).await.is_ok() {
                    acknowledged.push((number, Instant::now()));
                }
                assert!(started.elapsed() < OPERATION_MAX, "an operation took {:?}", started.elapsed());
                sleep(Duration::from_millis(1)).await;
            }
            acknowledged
        });
        Self { go_on, task }
    }

    async fn stop(self) -> Vec<(u32, Instant)> {
        self.go_on.store(false, Ordering::Relaxed);
        self.task.await.unwrap()
    }
}

/// Everything that was acknowledged is there, but what was in the moment before the end.
async fn nothing_is_lost(store: &RedisStore, acknowledged: &[(u32, Instant)], end: Instant, back: Instant) {
    let (mut checked, mut lost) = (0, 0);
    for (number, when) in acknowledged {
        let row = store.get(&key(number)).await.unwrap();
        if *when + REPLICATED < end || *when > back {
            assert_eq!(row.unwrap(), number.to_string());
            checked += 1;
        } else if row.is_none() {
            lost += 1;
        }
    }
    println!("{checked} rows are there; {lost} of the last moment went with the primary");
    assert!(checked > 100, "too few to tell: {checked}");
}

#[tokio::test]
async fn when_the_primary_that_sentinels_watch_is_killed_its_replica_serves() {
    let mut watched = Watched::start().await.unwrap();
    let store = open(&format!("redis+sentinel://{}/hawser", watched.sentinels())).await;
    let mut heard = store.subscribe("channel").await.unwrap();
    let writer = Writer::start(&store);
    sleep(REPLICATED * 2).await;
    let end = Instant::now();
    watched.servers[0].kill().await.unwrap();
    crate::fails(store.put(&key("meanwhile"), "x".into(), None)).await;
    let took = recovers(&*store, FAILOVER_MAX).await;
    println!("writes after {took:?}");
    let back = Instant::now();
    missed(&mut heard).await;
    hears(&*store, "channel", &mut heard).await;
    sleep(Duration::from_millis(500)).await;
    nothing_is_lost(&store, &writer.stop().await, end, back).await;
    assert_eq!(watched.primary().await.unwrap(), 1);
    // The old primary comes back as a replica, and is not mistaken for the primary again.
    watched.servers[0].start_again().await.unwrap();
    sleep(Duration::from_secs(2)).await;
    recovers(&*store, FAILOVER_MAX).await;
    assert_eq!(store.get(&key(1)).await.unwrap().unwrap(), "1");
}

#[tokio::test]
async fn a_primary_that_was_demoted_and_still_answers_is_left() {
    let watched = Watched::start().await.unwrap();
    let store = open(&format!("redis+sentinel://{}/hawser", watched.sentinels())).await;
    let mut heard = store.subscribe("channel").await.unwrap();
    let sentinel: u16 = watched.sentinels().split([':', ',']).nth(1).unwrap().parse().unwrap();
    ask(sentinel, &["SENTINEL", "FAILOVER", "hawser"]).await.unwrap();
    crate::until("the primary is demoted", FAILOVER_MAX, async || {
        let info = watched.servers[0].ask(&["INFO", "replication"]).await.unwrap();
        info.text().contains("role:slave")
    })
    .await;
    // Nothing is written here, so that nothing but the answer of the server itself can tell.
    crate::until("its connections are left", FAILOVER_MAX, async || {
        let clients = watched.servers[0].ask(&["CLIENT", "LIST", "TYPE", "normal"]).await.unwrap();
        let of_others = |line: &&str| line.contains("cmd=client") || line.contains("name=sentinel");
        clients.text().lines().all(|line| of_others(&line))
    })
    .await;
    recovers(&*store, FAILOVER_MAX).await;
    store.put(&key("after"), "x".into(), None).await.unwrap();
    assert_eq!(watched.servers[1].ask(&["GET", "hawser:row/after"]).await.unwrap().text(), "x");
    missed(&mut heard).await;
    hears(&*store, "channel", &mut heard).await;
}

#[tokio::test]
async fn when_a_primary_of_a_cluster_is_killed_its_replica_serves() {
    let mut cluster = Cluster::start().await.unwrap();
    let store = open(&format!("redis+cluster://{}", cluster.addresses())).await;
    let mut heard = store.subscribe("channel").await.unwrap();
    let writer = Writer::start(&store);
    sleep(REPLICATED * 2).await;
    let end = Instant::now();
    cluster.servers[0].kill().await.unwrap();
    // Rows of all three are written again, those of the one that was killed included.
    let serves_all = async || {
        for number in 0..64 {
            if store.put(&key(format!("after-{number}")), "x".into(), None).await.is_err() {
                return false;
            }
        }
        true
    };
    // At least one of them was at the killed server.
    assert!(!serves_all().await);
    let took = crate::until("all rows can be written", FAILOVER_MAX, serves_all).await;
    println!("writes after {took:?}");
    let back = Instant::now();
    hears(&*store, "channel", &mut heard).await;
    sleep(Duration::from_millis(500)).await;
    nothing_is_lost(&store, &writer.stop().await, end, back).await;
    // A walk sees the rows of all servers.
    let (mut rows, mut after) = (0, None);
    for _ in 0..10_000 {
        let page = store.scan("row", after.as_ref(), 500).await.unwrap();
        rows += page.rows.iter().filter(|(key, _)| key.as_str().starts_with("row/after-")).count();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert!(rows >= 64, "{rows} of 64");
}

#[tokio::test]
async fn rows_that_move_within_a_cluster_are_found() {
    let cluster = Cluster::start().await.unwrap();
    let store = open(&format!("redis+cluster://{}", cluster.addresses())).await;
    // `{bar}` is in slot 5061, which the first server has.
    let row = |id: &str| hawser_store::Key::new("{bar}", id).unwrap();
    store.put(&row("stays"), "x".into(), None).await.unwrap();
    let id = async |place: usize| cluster.servers[place].ask(&["CLUSTER", "MYID"]).await.unwrap().text().to_owned();
    let (from, to) = (id(0).await, id(1).await);
    cluster.servers[1].ask(&["CLUSTER", "SETSLOT", "5061", "IMPORTING", &from]).await.unwrap();
    cluster.servers[0].ask(&["CLUSTER", "SETSLOT", "5061", "MIGRATING", &to]).await.unwrap();
    // On the way: what is not at the old server any more is asked for at the new one.
    let port = cluster.servers[1].port().to_string();
    cluster.servers[0].ask(&["MIGRATE", "127.0.0.1", &port, "hawser:{bar}/stays", "0", "5000"]).await.unwrap();
    assert_eq!(store.get(&row("stays")).await.unwrap().unwrap(), "x");
    assert_eq!(store.increment(&row("new"), Duration::from_mins(1)).await.unwrap(), 1);
    for place in [1, 0, 2] {
        cluster.servers[place].ask(&["CLUSTER", "SETSLOT", "5061", "NODE", &to]).await.unwrap();
    }
    assert_eq!(store.increment(&row("new"), Duration::from_mins(1)).await.unwrap(), 2);
    assert_eq!(store.take(&row("stays")).await.unwrap().unwrap(), "x");
}
