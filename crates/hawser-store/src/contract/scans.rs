//! Walks through a family.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Subject, fresh, ttl};
use crate::{Key, SCAN_ROWS_MAX, ScanCursor, Store, StoreError};

/// A walk ends: after so many pages more than it takes to see every row, it has not.
const PAGES_MAX: usize = 2000;

fn row(family: &str, id: impl std::fmt::Display) -> Key {
    Key::new(family, &format!("{id}")).unwrap()
}

async fn fill(store: &dyn Store, family: &str, ids: std::ops::Range<u32>) {
    for id in ids {
        store.put(&row(family, id), id.to_string().into(), None).await.unwrap();
    }
}

/// All rows of the family, page by page; `between` is done after each page.
async fn walk_with(
    store: &dyn Store,
    family: &str,
    limit: usize,
    mut between: impl AsyncFnMut(usize),
) -> BTreeMap<Key, Bytes> {
    let (mut rows, mut after) = (BTreeMap::new(), None);
    for page in 0..PAGES_MAX {
        let found = store.scan(family, after.as_ref(), limit).await.unwrap();
        rows.extend(found.rows);
        let Some(next) = found.next else { return rows };
        after = Some(ScanCursor::parse(next.as_str()).expect("a cursor outlives its own text"));
        between(page).await;
    }
    panic!("the walk through {family} does not end");
}

async fn walk(store: &dyn Store, family: &str, limit: usize) -> BTreeMap<Key, Bytes> {
    walk_with(store, family, limit, async |_| {}).await
}

pub(super) async fn a_scan_gives_every_row_of_its_family_and_no_other(subject: &dyn Subject) {
    let (store, family) = (subject.store(), fresh("Scan*[a-z]?\\"));
    let near =
        [format!("{family}x"), family.to_lowercase(), family.replace('*', "xx"), family[..family.len() - 1].to_owned()];
    for other in &near {
        fill(&*store, other, 0..3).await;
    }
    assert!(walk(&*store, &family, 10).await.is_empty());
    fill(&*store, &family, 0..40).await;
    store.put(&row(&family, ""), "without an id".into(), None).await.unwrap();
    for limit in [0, 1, 7, 41, SCAN_ROWS_MAX, usize::MAX] {
        let rows = walk(&*store, &family, limit).await;
        assert_eq!(rows.len(), 41, "by {limit}");
        for id in 0..40 {
            assert_eq!(rows[&row(&family, id)], id.to_string());
        }
        assert_eq!(rows[&row(&family, "")], "without an id");
    }
}

pub(super) async fn pages_of_a_scan_are_bounded(subject: &dyn Subject) {
    let (store, family) = (subject.store(), fresh("scan"));
    fill(&*store, &family, 0..100).await;
    let mut after = None;
    for _ in 0..PAGES_MAX {
        let page = store.scan(&family, after.as_ref(), 20).await.unwrap();
        assert!(page.rows.len() <= 60, "{} rows where 20 were asked for", page.rows.len());
        after = page.next;
        if after.is_none() {
            return;
        }
    }
    panic!("the walk does not end");
}

pub(super) async fn a_scan_gives_what_stays_while_rows_come_and_go(subject: &dyn Subject) {
    let (store, family) = (subject.store(), fresh("scan"));
    fill(&*store, &family, 0..60).await;
    let rows = walk_with(&*store, &family, 5, async |page| {
        let page = u32::try_from(page).unwrap();
        // A bounded number, or the walk would go on for as long as rows come.
        if page < 20 {
            fill(&*store, &family, 1000 + page * 10..1010 + page * 10).await;
            store.delete(&row(&family, page * 3 % 60)).await.unwrap();
        }
    })
    .await;
    for id in (0..60).filter(|id| id % 3 != 0) {
        assert!(rows.contains_key(&row(&family, id)), "row {id} was there all the time");
    }
}

pub(super) async fn a_scan_does_not_give_ended_rows(subject: &dyn Subject) {
    let (store, family) = (subject.store(), fresh("scan"));
    for id in 0..30 {
        let lifetime = if id % 2 == 0 { ttl(subject, 0) } else { ttl(subject, 2) };
        store.put(&row(&family, id), "x".into(), lifetime).await.unwrap();
    }
    subject.advance(subject.tick()).await;
    let rows = walk(&*store, &family, 4).await;
    assert_eq!(rows.len(), 15);
    assert!(rows.contains_key(&row(&family, 1)) && !rows.contains_key(&row(&family, 2)));
}

pub(super) async fn a_cursor_of_nobody_is_refused(subject: &dyn Subject) {
    let store = subject.store();
    let foreign = ScanCursor::parse("neither-here/nor-there").unwrap();
    let refused = store.scan(&fresh("scan"), Some(&foreign), 10).await;
    assert!(matches!(refused, Err(StoreError::UnknownCursor(_))), "{refused:?}");
}
