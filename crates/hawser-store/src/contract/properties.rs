//! Properties that must hold for whatever is generated, and how one is tried on an asynchronous store.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::{Subject, fresh};
use crate::Key;

/// Tries `holds` on generated cases and panics with the smallest case that it can find against it. (The test runner that
/// comes with the generators takes synchronous tests only.)
pub(super) async fn for_all<S: Strategy>(
    cases: u32,
    strategy: S,
    mut holds: impl AsyncFnMut(&S::Value) -> Result<(), String>,
) {
    const SHRINKS_MAX: u32 = 500;
    let mut runner = TestRunner::default();
    for _ in 0..cases {
        let mut tree = strategy.new_tree(&mut runner).expect("the strategy generates without rejecting");
        let case = tree.current();
        let Err(mut objection) = holds(&case).await else { continue };
        let mut smallest = case;
        let mut smaller = tree.simplify();
        for _ in 0..SHRINKS_MAX {
            if !smaller {
                break;
            }
            let case = tree.current();
            smaller = match holds(&case).await {
                Ok(()) => tree.complicate(),
                Err(error) => {
                    (smallest, objection) = (case, error);
                    tree.simplify()
                }
            };
        }
        panic!("{objection}\nin the case of {smallest:#?}");
    }
}

pub(super) async fn any_bytes_come_back_as_they_went_in(subject: &dyn Subject) {
    let store = subject.store();
    let names = vec(0x21_u8..=0x7e, 0..200).prop_map(|id| String::from_utf8(id).expect("visible ASCII"));
    for_all(64, (names, vec(any::<u8>(), 0..4096)), async |(name, value)| {
        let key = Key::new(&fresh("any"), name).map_err(|error| error.to_string())?;
        let value = Bytes::copy_from_slice(value);
        store.put(&key, value.clone(), None).await.map_err(|error| error.to_string())?;
        let got = store.get(&key).await.map_err(|error| error.to_string())?;
        let compared = store.compare_and_set(&key, Some(&value), Some(value.clone()), None).await;
        let taken = store.take(&key).await.map_err(|error| error.to_string())?;
        if got.as_ref() == Some(&value) && taken.as_ref() == Some(&value) && matches!(compared, Ok(true)) {
            return Ok(());
        }
        Err(format!("{key}: got {got:?}, compared {compared:?}, took {taken:?}"))
    })
    .await;
}
