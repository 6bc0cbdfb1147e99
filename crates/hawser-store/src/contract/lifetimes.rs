//! When rows end.

use std::time::Duration;

use super::{Subject, fresh_key, ttl};

pub(super) async fn put_without_ttl_stays(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, "x".into(), None).await.unwrap();
    subject.advance(subject.tick() * 3).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "x");
}

pub(super) async fn put_with_ttl_ends(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, "x".into(), ttl(subject, 1)).await.unwrap();
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "x");
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
}

pub(super) async fn every_method_takes_an_ended_row_for_absent(subject: &dyn Subject) {
    let store = subject.store();
    let [got, taken, compared, absent, unless, deleted, counted] = std::array::from_fn(|_| fresh_key());
    for key in [&got, &taken, &compared, &absent, &unless, &deleted, &counted] {
        store.put(key, "7".into(), ttl(subject, 0)).await.unwrap();
    }
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&got).await.unwrap(), None);
    assert_eq!(store.take(&taken).await.unwrap(), None);
    assert!(!store.compare_and_set(&compared, Some(b"7"), Some("new".into()), None).await.unwrap());
    assert_eq!(store.get(&compared).await.unwrap(), None);
    assert!(store.compare_and_set(&absent, None, Some("new".into()), None).await.unwrap());
    assert_eq!(store.get(&absent).await.unwrap().unwrap(), "new");
    assert!(store.compare_and_set(&unless, None, None, None).await.unwrap());
    assert_eq!(store.get(&unless).await.unwrap(), None);
    store.delete(&deleted).await.unwrap();
    assert_eq!(store.get(&deleted).await.unwrap(), None);
    assert_eq!(store.increment(&counted, subject.tick() * 2).await.unwrap(), 1);
}

pub(super) async fn put_sets_the_lifetime_anew(subject: &dyn Subject) {
    let store = subject.store();
    let [longer, forever, shorter] = std::array::from_fn(|_| fresh_key());
    store.put(&longer, "x".into(), ttl(subject, 0)).await.unwrap();
    store.put(&longer, "x".into(), ttl(subject, 2)).await.unwrap();
    store.put(&forever, "x".into(), ttl(subject, 0)).await.unwrap();
    store.put(&forever, "x".into(), None).await.unwrap();
    store.put(&shorter, "x".into(), None).await.unwrap();
    store.put(&shorter, "x".into(), ttl(subject, 0)).await.unwrap();
    subject.advance(subject.tick()).await;
    assert!(store.get(&longer).await.unwrap().is_some());
    assert!(store.get(&forever).await.unwrap().is_some());
    assert!(store.get(&shorter).await.unwrap().is_none());
    subject.advance(subject.tick() * 2).await;
    assert!(store.get(&longer).await.unwrap().is_none());
    assert!(store.get(&forever).await.unwrap().is_some());
}

pub(super) async fn a_ttl_of_zero_ends_at_once(subject: &dyn Subject) {
    let store = subject.store();
    let [put, compared, counted] = std::array::from_fn(|_| fresh_key());
    store.put(&put, "x".into(), None).await.unwrap();
    store.put(&put, "y".into(), Some(Duration::ZERO)).await.unwrap();
    assert_eq!(store.get(&put).await.unwrap(), None);
    assert!(store.compare_and_set(&compared, None, Some("x".into()), Some(Duration::ZERO)).await.unwrap());
    assert_eq!(store.get(&compared).await.unwrap(), None);
    assert_eq!(store.increment(&counted, Duration::ZERO).await.unwrap(), 1);
    assert_eq!(store.increment(&counted, Duration::ZERO).await.unwrap(), 1);
}

pub(super) async fn compare_and_set_sets_the_lifetime_of_the_new_value(subject: &dyn Subject) {
    let store = subject.store();
    let [longer, forever, shorter] = std::array::from_fn(|_| fresh_key());
    store.put(&longer, "a".into(), ttl(subject, 0)).await.unwrap();
    assert!(store.compare_and_set(&longer, Some(b"a"), Some("b".into()), ttl(subject, 1)).await.unwrap());
    store.put(&forever, "a".into(), ttl(subject, 0)).await.unwrap();
    assert!(store.compare_and_set(&forever, Some(b"a"), Some("b".into()), None).await.unwrap());
    assert!(store.compare_and_set(&shorter, None, Some("b".into()), ttl(subject, 0)).await.unwrap());
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&longer).await.unwrap().unwrap(), "b");
    assert_eq!(store.get(&forever).await.unwrap().unwrap(), "b");
    assert_eq!(store.get(&shorter).await.unwrap(), None);
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&longer).await.unwrap(), None);
    assert_eq!(store.get(&forever).await.unwrap().unwrap(), "b");
}

pub(super) async fn compare_and_set_that_fails_leaves_the_lifetime(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, "a".into(), ttl(subject, 1)).await.unwrap();
    assert!(!store.compare_and_set(&key, Some(b"b"), Some("c".into()), None).await.unwrap());
    assert!(!store.compare_and_set(&key, None, Some("c".into()), ttl(subject, 0)).await.unwrap());
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "a");
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
}

pub(super) async fn increments_do_not_extend_the_lifetime(subject: &dyn Subject) {
    let store = subject.store();
    let [counter, forever] = std::array::from_fn(|_| fresh_key());
    let span = subject.tick() * 2 + subject.tick() / 2;
    assert_eq!(store.increment(&counter, span).await.unwrap(), 1);
    store.put(&forever, "41".into(), None).await.unwrap();
    assert_eq!(store.increment(&forever, subject.tick() / 2).await.unwrap(), 42);
    subject.advance(subject.tick()).await;
    assert_eq!(store.increment(&counter, span).await.unwrap(), 2);
    subject.advance(subject.tick()).await;
    assert_eq!(store.increment(&counter, span).await.unwrap(), 3);
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&counter).await.unwrap(), None);
    assert_eq!(store.get(&forever).await.unwrap().unwrap(), "42");
}

pub(super) async fn an_ended_counter_starts_anew(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    let span = subject.tick() + subject.tick() / 2;
    assert_eq!(store.increment(&key, span).await.unwrap(), 1);
    assert_eq!(store.increment(&key, span).await.unwrap(), 2);
    subject.advance(subject.tick() * 2).await;
    assert_eq!(store.increment(&key, span).await.unwrap(), 1);
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "1", "it lives its own time, not the rest of the old one");
    subject.advance(subject.tick()).await;
    assert_eq!(store.get(&key).await.unwrap(), None);
}

pub(super) async fn a_ttl_beyond_all_time_works(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, "x".into(), Some(Duration::MAX)).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "x");
    store.delete(&key).await.unwrap();
}
