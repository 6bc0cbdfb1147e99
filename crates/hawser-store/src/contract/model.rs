//! Random operations, against a map that does the same the plainest way.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, any};
use proptest::prop_oneof;
use proptest::strategy::Strategy;

use super::properties::for_all;
use super::{Subject, fresh_key};
use crate::{Key, Store, StoreError};

#[derive(Clone, Debug)]
enum Operation {
    Get(usize),
    Put(usize, Vec<u8>, Option<u32>),
    CompareAndSet(usize, Expected, Option<Vec<u8>>, Option<u32>),
    Delete(usize),
    Take(usize),
    Increment(usize, u32),
    /// Time passes.
    Advance(u32),
}

#[derive(Clone, Debug)]
enum Expected {
    Absent,
    /// What the row holds.
    Right,
    Value(Vec<u8>),
}

/// What an operation answered, whichever it was.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Value(Option<Bytes>),
    Compared(bool),
    Sum(u64),
    NotACounter,
    Failed(String),
}

const ROWS: usize = 3;

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let value = || prop_oneof![vec(any::<u8>(), 0..3), (0_u8..20).prop_map(|count| count.to_string().into_bytes())];
    let ttl = || option::of(0_u32..4);
    let expected = prop_oneof![Just(Expected::Absent), Just(Expected::Right), value().prop_map(Expected::Value)];
    let operation = prop_oneof![
        3 => (0..ROWS).prop_map(Operation::Get),
        3 => (0..ROWS, value(), ttl()).prop_map(|(row, value, ttl)| Operation::Put(row, value, ttl)),
        4 => (0..ROWS, expected, option::of(value()), ttl())
            .prop_map(|(row, expected, new, ttl)| Operation::CompareAndSet(row, expected, new, ttl)),
        1 => (0..ROWS).prop_map(Operation::Delete),
        1 => (0..ROWS).prop_map(Operation::Take),
        3 => (0..ROWS, 0_u32..4).prop_map(|(row, ttl)| Operation::Increment(row, ttl)),
        2 => (1_u32..3).prop_map(Operation::Advance),
    ];
    vec(operation, 1..40)
}

/// The rows as they should be: value, and the tick after which each is gone.
#[derive(Default)]
struct Model {
    rows: HashMap<usize, (Vec<u8>, Option<u32>)>,
    ticks: u32,
}

impl Model {
    fn value(&mut self, row: usize) -> Option<Vec<u8>> {
        let ticks = self.ticks;
        self.rows.retain(|_, (_, last)| last.is_none_or(|last| ticks <= last));
        self.rows.get(&row).map(|(value, _)| value.clone())
    }

    fn put(&mut self, row: usize, value: Vec<u8>, ttl: Option<u32>) {
        self.rows.insert(row, (value, ttl.map(|ttl| self.ticks + ttl)));
    }

    fn apply(&mut self, operation: &Operation) -> Answer {
        match operation {
            Operation::Get(row) => Answer::Value(self.value(*row).map(Bytes::from)),
            Operation::Put(row, value, ttl) => {
                self.put(*row, value.clone(), *ttl);
                Answer::Done
            }
            Operation::CompareAndSet(row, expected, new, ttl) => {
                let current = self.value(*row);
                let agrees = match expected {
                    Expected::Absent => current.is_none(),
                    Expected::Right => true,
                    Expected::Value(value) => current.as_ref() == Some(value),
                };
                match new {
                    Some(new) if agrees => self.put(*row, new.clone(), *ttl),
                    None if agrees => drop(self.rows.remove(row)),
                    _ => {}
                }
                Answer::Compared(agrees)
            }
            Operation::Delete(row) => {
                self.rows.remove(row);
                Answer::Done
            }
            Operation::Take(row) => {
                let value = self.value(*row);
                self.rows.remove(row);
                Answer::Value(value.map(Bytes::from))
            }
            Operation::Increment(row, ttl) => self.increment(*row, *ttl),
            Operation::Advance(ticks) => {
                self.ticks += ticks;
                Answer::Done
            }
        }
    }

    fn increment(&mut self, row: usize, ttl: u32) -> Answer {
        let Some(value) = self.value(row) else {
            self.put(row, b"1".to_vec(), Some(ttl));
            return Answer::Sum(1);
        };
        let digits = String::from_utf8(value).unwrap_or_default();
        // The number whose decimal form this is, if it is one.
        let Some(count) = digits.parse::<u64>().ok().filter(|count| count.to_string() == digits) else {
            return Answer::NotACounter;
        };
        if let Some((value, _)) = self.rows.get_mut(&row) {
            *value = (count + 1).to_string().into_bytes();
        }
        Answer::Sum(count + 1)
    }
}

/// The same operation on the store. `right` is what the row holds.
async fn apply(
    subject: &dyn Subject,
    store: &dyn Store,
    keys: &[Key; ROWS],
    operation: &Operation,
    right: Option<Vec<u8>>,
) -> Answer {
    let span = |ticks: u32| subject.tick() * ticks + subject.tick() / 2;
    let ttl = |ticks: &Option<u32>| -> Option<Duration> { ticks.map(span) };
    let answer = match operation {
        Operation::Get(row) => store.get(&keys[*row]).await.map(Answer::Value),
        Operation::Put(row, value, ticks) => {
            store.put(&keys[*row], value.clone().into(), ttl(ticks)).await.map(|()| Answer::Done)
        }
        Operation::CompareAndSet(row, expected, new, ticks) => {
            let expected = match expected {
                Expected::Absent => None,
                Expected::Right => right,
                Expected::Value(value) => Some(value.clone()),
            };
            let new = new.clone().map(Bytes::from);
            store.compare_and_set(&keys[*row], expected.as_deref(), new, ttl(ticks)).await.map(Answer::Compared)
        }
        Operation::Delete(row) => store.delete(&keys[*row]).await.map(|()| Answer::Done),
        Operation::Take(row) => store.take(&keys[*row]).await.map(Answer::Value),
        Operation::Increment(row, ticks) => store.increment(&keys[*row], span(*ticks)).await.map(Answer::Sum),
        Operation::Advance(ticks) => {
            subject.advance(subject.tick() * *ticks).await;
            Ok(Answer::Done)
        }
    };
    match answer {
        Ok(answer) => answer,
        Err(StoreError::NotACounter { .. }) => Answer::NotACounter,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

pub(super) async fn random_operations_agree_with_a_map(subject: &dyn Subject) {
    let store = subject.store();
    for_all(subject.random_runs(), operations(), async |operations| {
        let keys: [Key; ROWS] = std::array::from_fn(|_| fresh_key());
        let mut model = Model::default();
        for (step, operation) in operations.iter().enumerate() {
            let right = match operation {
                Operation::CompareAndSet(row, ..) => model.value(*row),
                _ => None,
            };
            let expected = model.apply(operation);
            let answer = apply(subject, store.as_ref(), &keys, operation, right).await;
            if answer != expected {
                return Err(format!("step {step}, {operation:?}: the store answers {answer:?}, the map {expected:?}"));
            }
        }
        for (row, key) in keys.iter().enumerate() {
            let (got, expected) = (store.get(key).await, model.value(row).map(Bytes::from));
            if !matches!(&got, Ok(got) if *got == expected) {
                return Err(format!("in the end row {row} holds {got:?}, in the map {expected:?}"));
            }
        }
        Ok(())
    })
    .await;
}
