//! Many callers at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::{Subject, fresh_key};
use crate::{Key, Store};

const CALLERS: usize = 50;
/// Races are matters of chance: each is run some times.
const ROUNDS: usize = 5;
/// Longer than any race.
const TTL: Duration = Duration::from_hours(1);

/// Lets all callers go at the same moment, each with its number, and gives their answers.
async fn race<T, F>(store: &Arc<dyn Store>, key: &Key, call: fn(Arc<dyn Store>, Key, usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(CALLERS));
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let (store, key, start) = (Arc::clone(store), key.clone(), Arc::clone(&start));
        callers.spawn(async move {
            start.wait().await;
            call(store, key, number).await
        });
    }
    callers.join_all().await
}

fn numbered(number: usize) -> Bytes {
    number.to_string().into()
}

pub(super) async fn one_of_many_takes_wins(subject: &dyn Subject) {
    let store = subject.store();
    for _ in 0..ROUNDS {
        let key = fresh_key();
        store.put(&key, "once".into(), None).await.unwrap();
        let taken = race(&store, &key, |store, key, _| async move { store.take(&key).await.unwrap() }).await;
        let taken: Vec<_> = taken.into_iter().flatten().collect();
        assert_eq!(taken, ["once"]);
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
}

pub(super) async fn one_of_many_puts_if_absent_wins(subject: &dyn Subject) {
    let store = subject.store();
    for _ in 0..ROUNDS {
        let key = fresh_key();
        let won = race(&store, &key, |store, key, number| async move {
            store.compare_and_set(&key, None, Some(numbered(number)), None).await.unwrap().then_some(number)
        })
        .await;
        let won: Vec<usize> = won.into_iter().flatten().collect();
        let [winner] = won.as_slice() else { panic!("{won:?} won") };
        assert_eq!(store.take(&key).await.unwrap().unwrap(), numbered(*winner));
    }
}

pub(super) async fn one_of_many_compare_and_sets_wins(subject: &dyn Subject) {
    let store = subject.store();
    for _ in 0..ROUNDS {
        let key = fresh_key();
        store.put(&key, "before".into(), None).await.unwrap();
        let won = race(&store, &key, |store, key, number| async move {
            store.compare_and_set(&key, Some(b"before"), Some(numbered(number)), None).await.unwrap().then_some(number)
        })
        .await;
        let won: Vec<usize> = won.into_iter().flatten().collect();
        let [winner] = won.as_slice() else { panic!("{won:?} won") };
        assert_eq!(store.take(&key).await.unwrap().unwrap(), numbered(*winner));
    }
}

pub(super) async fn one_of_many_deletes_by_compare_and_set_wins(subject: &dyn Subject) {
    let store = subject.store();
    for _ in 0..ROUNDS {
        let key = fresh_key();
        store.put(&key, "before".into(), None).await.unwrap();
        let won = race(&store, &key, |store, key, _| async move {
            store.compare_and_set(&key, Some(b"before"), None, None).await.unwrap()
        })
        .await;
        assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
        assert_eq!(store.get(&key).await.unwrap(), None);
    }
}

pub(super) async fn increments_count_every_caller_once(subject: &dyn Subject) {
    let store = subject.store();
    for _ in 0..ROUNDS {
        let key = fresh_key();
        assert_eq!(store.increment(&key, TTL).await.unwrap(), 1);
        let mut sums =
            race(&store, &key, |store, key, _| async move { store.increment(&key, TTL).await.unwrap() }).await;
        sums.sort_unstable();
        let expected: Vec<u64> = (2..).take(CALLERS).collect();
        assert_eq!(sums, expected);
    }
}

pub(super) async fn compare_and_set_loops_lose_no_update(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, "0".into(), None).await.unwrap();
    race(&store, &key, |store, key, _| async move {
        // Of all that read the same value one gets further, so nobody needs more attempts than there are callers.
        for _ in 0..CALLERS {
            let before = store.get(&key).await.unwrap().unwrap();
            let sum: usize = std::str::from_utf8(&before).unwrap().parse().unwrap();
            if store.compare_and_set(&key, Some(&before), Some(numbered(sum + 1)), None).await.unwrap() {
                return;
            }
        }
        panic!("lost more often than there are others to win");
    })
    .await;
    assert_eq!(store.get(&key).await.unwrap().unwrap(), numbered(CALLERS));
}
