//! What each method does to a row.

use bytes::Bytes;

use super::{Subject, fresh, fresh_key};
use crate::{Key, StoreError};

pub(super) async fn an_absent_row_reads_as_none(subject: &dyn Subject) {
    assert_eq!(subject.store().get(&fresh_key()).await.unwrap(), None);
}

pub(super) async fn put_writes_and_replaces(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, "one".into(), None).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "one");
    store.put(&key, "a longer one".into(), None).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "a longer one");
    store.put(&key, "".into(), None).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "");
}

pub(super) async fn names_are_compared_byte_for_byte(subject: &dyn Subject) {
    let (store, id) = (subject.store(), fresh("name"));
    let names = [
        ("contract", id.clone()),
        ("Contract", id.clone()),
        ("contract", id.to_uppercase()),
        ("contract", format!("{id}/")),
        ("contract", format!("{id}*")),
        ("contract", format!("{id}0")),
        ("contract/", id.clone()),
        ("contrac", id.clone()),
    ];
    let keys: Vec<Key> = names.iter().map(|(family, id)| Key::new(family, id).unwrap()).collect();
    for key in &keys {
        store.put(key, Bytes::copy_from_slice(key.as_str().as_bytes()), None).await.unwrap();
    }
    for key in &keys {
        assert_eq!(store.get(key).await.unwrap().unwrap(), key.as_str());
    }
    let (first, others) = keys.split_first().unwrap();
    store.delete(first).await.unwrap();
    for key in others {
        assert_eq!(store.take(key).await.unwrap().unwrap(), key.as_str());
    }
}

pub(super) async fn the_longest_name_works(subject: &dyn Subject) {
    let store = subject.store();
    let stem = fresh("long");
    let padding = 512 - "contract/".len() - stem.len() - 1;
    let long = |last: char| Key::new("contract", &format!("{stem}{}{last}", "x".repeat(padding))).unwrap();
    assert!(Key::new("contract", &format!("{stem}{}", "x".repeat(padding + 2))).is_err());
    store.put(&long('a'), "a".into(), None).await.unwrap();
    assert_eq!(store.get(&long('a')).await.unwrap().unwrap(), "a");
    assert_eq!(store.get(&long('b')).await.unwrap(), None);
}

pub(super) async fn an_empty_value_is_a_value(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.put(&key, Bytes::new(), None).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), Some(Bytes::new()));
    assert!(!store.compare_and_set(&key, None, Some("x".into()), None).await.unwrap());
    assert!(store.compare_and_set(&key, Some(b""), Some(Bytes::new()), None).await.unwrap());
    assert_eq!(store.take(&key).await.unwrap(), Some(Bytes::new()));
    assert_eq!(store.take(&key).await.unwrap(), None);
}

pub(super) async fn delete_deletes_and_does_not_mind_absence(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    store.delete(&key).await.unwrap();
    store.put(&key, "x".into(), None).await.unwrap();
    store.delete(&key).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
    store.delete(&key).await.unwrap();
}

pub(super) async fn take_reads_and_deletes(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    assert_eq!(store.take(&key).await.unwrap(), None);
    store.put(&key, "x".into(), None).await.unwrap();
    assert_eq!(store.take(&key).await.unwrap().unwrap(), "x");
    assert_eq!(store.get(&key).await.unwrap(), None);
    assert_eq!(store.take(&key).await.unwrap(), None);
}

pub(super) async fn compare_and_set_compares_the_whole_value(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    assert!(!store.compare_and_set(&key, Some(b"one"), Some("two".into()), None).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), None);
    store.put(&key, "one".into(), None).await.unwrap();
    for wrong in [&b""[..], b"on", b"one\0", b"One", b"two"] {
        assert!(!store.compare_and_set(&key, Some(wrong), Some("three".into()), None).await.unwrap());
        assert!(!store.compare_and_set(&key, Some(wrong), None, None).await.unwrap());
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "one");
    assert!(store.compare_and_set(&key, Some(b"one"), Some("two".into()), None).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "two");
}

pub(super) async fn compare_and_set_puts_if_absent(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    assert!(store.compare_and_set(&key, None, Some("one".into()), None).await.unwrap());
    assert!(!store.compare_and_set(&key, None, Some("two".into()), None).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "one");
}

pub(super) async fn compare_and_set_deletes(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    assert!(store.compare_and_set(&key, None, None, None).await.unwrap(), "absent, as expected, and it stays so");
    store.put(&key, "one".into(), None).await.unwrap();
    assert!(!store.compare_and_set(&key, None, None, None).await.unwrap());
    assert!(!store.compare_and_set(&key, Some(b"two"), None, None).await.unwrap());
    assert!(store.get(&key).await.unwrap().is_some());
    assert!(store.compare_and_set(&key, Some(b"one"), None, None).await.unwrap());
    assert_eq!(store.get(&key).await.unwrap(), None);
}

pub(super) async fn increment_counts_from_one(subject: &dyn Subject) {
    let (store, key, ttl) = (subject.store(), fresh_key(), subject.tick());
    for expected in 1..=12 {
        assert_eq!(store.increment(&key, ttl).await.unwrap(), expected);
    }
    store.delete(&key).await.unwrap();
    assert_eq!(store.increment(&key, ttl).await.unwrap(), 1);
}

pub(super) async fn a_counter_is_a_row_of_decimal_digits(subject: &dyn Subject) {
    let (store, key, ttl) = (subject.store(), fresh_key(), subject.tick());
    for _ in 0..10 {
        store.increment(&key, ttl).await.unwrap();
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap(), "10");
    assert!(store.compare_and_set(&key, Some(b"10"), Some("98".into()), None).await.unwrap());
    assert_eq!(store.increment(&key, ttl).await.unwrap(), 99);
    assert_eq!(store.increment(&key, ttl).await.unwrap(), 100);
    assert_eq!(store.take(&key).await.unwrap().unwrap(), "100");
}

pub(super) async fn what_is_not_a_counter_is_not_incremented(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    for value in ["", "x", " 1", "1 ", "+1", "0x1", "1.0", "18446744073709551616"] {
        store.put(&key, value.into(), None).await.unwrap();
        let answer = store.increment(&key, subject.tick()).await;
        assert!(
            matches!(answer, Err(StoreError::NotACounter { key: ref named }) if *named == key),
            "{value:?}: {answer:?}"
        );
        assert_eq!(store.get(&key).await.unwrap().unwrap(), value);
    }
}

pub(super) async fn a_value_over_the_limit_is_refused_and_changes_nothing(subject: &dyn Subject) {
    let (store, key) = (subject.store(), fresh_key());
    let max = subject.value_bytes_max();
    let (largest, over) = (Bytes::from(vec![b'x'; max]), Bytes::from(vec![b'x'; max + 1]));
    store.put(&key, largest.clone(), None).await.unwrap();
    let refused = [
        store.put(&key, over.clone(), None).await,
        store.compare_and_set(&key, Some(&largest), Some(over.clone()), None).await.map(drop),
    ];
    for refused in refused {
        let Err(StoreError::TooLarge { key: named, bytes, max: limit }) = refused else { panic!("{refused:?}") };
        assert_eq!((named, bytes, limit), (key.clone(), max + 1, max));
    }
    assert_eq!(store.get(&key).await.unwrap().unwrap(), largest);
    assert!(store.compare_and_set(&key, Some(&largest), Some(largest.clone()), None).await.unwrap());
    assert!(!store.compare_and_set(&key, Some(&over), None, None).await.unwrap(), "it cannot hold that");
    store.delete(&key).await.unwrap();
}
