//! `kill -9` in the midst of writing.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use super::*;

/// Names the file that the child is to write.
const FILE: &str = "HAWSER_STORE_TEST_KILLED_FILE";
const WRITERS: u64 = 16;
const ROUNDS: usize = 4;
/// Writes that are acknowledged before the process is killed.
const ACKNOWLEDGED: usize = 1500;

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    if let Some(path) = std::env::var_os(FILE) {
        return write_until_killed(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut last: HashMap<u64, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let acknowledged = kill_a_writer(&path, round);
        assert!(acknowledged.len() >= ACKNOWLEDGED);
        for (writer, number) in acknowledged {
            let before = last.insert(writer, number);
            assert!(before.is_none_or(|before| before < number), "writer {writer} went on after what it wrote before");
        }
        let store = RedbStore::open(&path).unwrap();
        for (writer, number) in &last {
            let row = store.get(&key(writer)).await.unwrap().unwrap();
            let found: u64 = std::str::from_utf8(&row).unwrap().parse().unwrap();
            // One more may have become durable without its acknowledgement getting out.
            assert!(found == *number || found == number + 1, "writer {writer}: {number} acknowledged, {found} found");
            let twin = store.get(&key(format!("twin-{writer}"))).await.unwrap().unwrap();
            let twin: u64 = std::str::from_utf8(twin.get(..8).unwrap()).unwrap().parse().unwrap();
            assert!(twin >= *number, "writer {writer}: {number} acknowledged, {twin} found in the large row");
        }
    }
}

/// Starts a writer, kills it when enough is acknowledged, and gives (writer, number) of every acknowledged write.
fn kill_a_writer(path: &Path, round: usize) -> Vec<(u64, u64)> {
    let test = "redb_file::tests::kill::what_was_acknowledged_survives_kill_9";
    let mut process = child(test, FILE, path).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    let mut killed = false;
    while output.read_line(&mut line).unwrap() > 0 {
        let words: Vec<&str> = line.trim_end_matches('\n').split(' ').collect();
        // The last line may have been cut off.
        if let (["acknowledged", writer, number], true) = (words.as_slice(), line.ends_with('\n')) {
            acknowledged.push((writer.parse().unwrap(), number.parse().unwrap()));
        }
        line.clear();
        if acknowledged.len() >= ACKNOWLEDGED + round * 7 && !killed {
            let error = RedbStore::open(path).map(|_| "it opened").unwrap_err();
            assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
            process.kill().unwrap();
            killed = true;
        }
    }
    process.wait().unwrap();
    assert!(killed, "the writer ended by itself");
    acknowledged
}

async fn write_until_killed(path: &Path) {
    let store = Arc::new(RedbStore::open(path).unwrap());
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = Arc::clone(&store);
        writers.spawn(async move {
            // So that it ends if nobody kills it.
            for _ in 0..100_000 {
                // A row of some pages first, then the small one that is acknowledged.
                let next = store.get(&key(writer)).await.unwrap();
                let next = next.map_or(1, |row| std::str::from_utf8(&row).unwrap().parse::<u64>().unwrap() + 1);
                let large = format!("{next:08}{}", "x".repeat(usize::try_from(next % 9000).unwrap()));
                store.put(&key(format!("twin-{writer}")), large.into(), None).await.unwrap();
                let number = store.increment(&key(writer), Duration::from_hours(1)).await.unwrap();
                writeln!(std::io::stdout().lock(), "acknowledged {writer} {number}").unwrap();
            }
        });
    }
    writers.join_all().await;
}
