//! Files that open, and files that must not.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;

use proptest::prelude::{any, prop_assert, proptest};
use redb::{Database, TableDefinition};

use super::*;

/// Names the folder that the child is to try.
const FOLDER: &str = "HAWSER_STORE_TEST_FOLDER";

fn open_error(path: &Path) -> OpenError {
    RedbStore::open(path).map(|_| "it opened").unwrap_err()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A closed store file with some rows, of all sizes of pages.
fn written(path: &Path) {
    let store = RedbStore::open(path).unwrap();
    runtime().block_on(async {
        for number in 0..30_usize {
            store.put(&key(number), vec![7; 1 << (number % 15)].into(), None).await.unwrap();
        }
    });
}

/// Whether the file is refused for what it is, or else all its rows are right.
fn refused_or_right(path: &Path) -> bool {
    let store = match RedbStore::open(path) {
        Ok(store) => store,
        Err(error) => return matches!(error, OpenError::Corrupt { .. } | OpenError::NotAStore { .. }),
    };
    runtime().block_on(async {
        for number in 0..30_usize {
            if store.get(&key(number)).await.unwrap().unwrap() != vec![7; 1 << (number % 15)] {
                return false;
            }
        }
        true
    })
}

#[test]
fn a_new_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(RedbStore::open(&path).unwrap());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["store"], "nothing else is left there");
}

#[test]
fn a_file_that_is_open_is_locked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let store = RedbStore::open(&path).unwrap();
    let error = open_error(&path);
    assert!(matches!(&error, OpenError::Locked { path: named } if *named == path), "{error:?}");
    assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    drop(store);
    RedbStore::open(&path).unwrap();
}

#[test]
fn what_is_not_a_store_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let noise: Vec<u8> = (0..2_000_000_u32).map(|number| number.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    for content in [&b""[..], b"x", b"server:\n  listen: 127.0.0.1:8080\n", &[0; 8192], &noise] {
        fs::write(&path, content).unwrap();
        let error = open_error(&path);
        assert!(matches!(&error, OpenError::NotAStore { path: named, .. } if *named == path), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_database_of_something_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, &str>::new("else")).unwrap().insert("a", "b").unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open_error(&path);
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
}

#[test]
fn a_newer_schema_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    drop(RedbStore::open(&path).unwrap());
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<&str, u64>::new("hawser_meta")).unwrap().insert("schema", 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let error = open_error(&path);
    assert!(matches!(error, OpenError::NewerSchema { found: 2, supported: 1, .. }), "{error:?}");
}

#[test]
fn a_truncated_file_is_refused_or_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    written(&path);
    let whole = fs::read(&path).unwrap();
    for length in [1, 100, 4095, 4096, 8192, whole.len() / 4, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        fs::write(&path, whole.get(..length).unwrap()).unwrap();
        assert!(refused_or_right(&path), "cut to {length} of {} bytes", whole.len());
    }
    fs::write(&path, whole).unwrap();
    RedbStore::open(&path).unwrap();
    assert!(refused_or_right(&path));
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn a_damaged_file_is_refused_or_right(at in any::<proptest::sample::Index>(), xor in 1_u8.., near in any::<bool>()) {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("store");
        written(&path);
        let mut content = fs::read(&path)?;
        let end = if near { 16 * 1024 } else { content.len() };
        let at = at.index(end);
        content[at] ^= xor;
        fs::write(&path, content)?;
        prop_assert!(refused_or_right(&path), "byte {at}");
    }
}

#[test]
fn paths_that_cannot_be_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open_error(folder.path());
    assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}");
    let missing = folder.path().join("missing");
    let error = open_error(&missing.join("store"));
    assert!(matches!(&error, OpenError::NoFolder { folder } if *folder == missing), "{error:?}");
    fs::write(&missing, "a file").unwrap();
    let error = open_error(&missing.join("store"));
    assert!(matches!(&error, OpenError::NoFolder { folder } if *folder == missing), "{error:?}");
}

/// Permissions do not stop the superuser, so that the test runs again as nobody if it is run by that one.
#[test]
fn without_permission_it_says_so() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return try_without_permission(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let user = fs::metadata(folder.path()).unwrap().uid();
    let nobody = if user == 0 { 65_534 } else { user };
    let program = folder.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("secret"), "x").unwrap();
    fs::set_permissions(closed.join("secret"), fs::Permissions::from_mode(0o400)).unwrap();
    for folder in [folder.path(), &closed] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let mut command = Command::new(&program);
    command.args(["--exact", "redb_file::tests::opening::without_permission_it_says_so", "--nocapture"]);
    let output = command.env(FOLDER, &closed).uid(nobody).output().unwrap();
    for folder in [folder.path(), &closed] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.contains("1 passed"), "{output}");
}

fn try_without_permission(folder: &Path) {
    for name in ["store", "secret"] {
        let path = folder.join(name);
        let error = open_error(&path);
        assert!(matches!(&error, OpenError::Permission { path: named } if *named == path), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
    }
}
