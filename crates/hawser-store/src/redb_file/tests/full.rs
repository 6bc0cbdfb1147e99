//! A file that the operating system does not let grow.

use super::*;

/// Names the file that the child is to fill.
const FILE: &str = "HAWSER_STORE_TEST_FULL_FILE";

/// The limit on the size of files needs no privilege, and answers like a full disk: an error from `write` and `ftruncate`.
#[tokio::test]
async fn a_file_that_cannot_grow_refuses_writes_until_there_is_room() {
    if let Some(path) = std::env::var_os(FILE) {
        return fill(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let test = "redb_file::tests::full::a_file_that_cannot_grow_refuses_writes_until_there_is_room";
    let inner = child(test, FILE, &path);
    // An ignored signal stays ignored in the program that the shell turns into.
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' XFSZ; ulimit -f 16384; exec \"$0\" \"$@\""]).arg(inner.get_program());
    let output = shell.args(inner.get_args()).env(FILE, &path).output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.contains("1 passed"), "{output}");
    let store = RedbStore::open(&path).unwrap();
    assert_eq!(store.get(&key("after")).await.unwrap().unwrap(), "works");
    store.put(&key("large"), vec![7; VALUE_BYTES_MAX].into(), None).await.unwrap();
}

async fn fill(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    let value = Bytes::from(vec![7; 500_000]);
    let mut rows = 0;
    let refused = loop {
        match store.put(&key(rows), value.clone(), None).await {
            Ok(()) => rows += 1,
            Err(error) => break error,
        }
        assert!(rows < 100, "the limit of 16 MiB at most does not hold");
    };
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
    assert!(rows > 2, "{rows} rows");
    for number in 0..rows {
        assert_eq!(store.get(&key(number)).await.unwrap().unwrap(), value);
    }
    for number in 0..rows / 2 {
        store.delete(&key(number)).await.unwrap();
    }
    store.put(&key("after"), "works".into(), None).await.unwrap();
    store.put(&key("again"), value.clone(), None).await.unwrap();
    assert_eq!(store.get(&key("again")).await.unwrap().unwrap(), value);
}
