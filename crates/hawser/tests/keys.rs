//! `hawser keys`: the life of a key, what is refused on the way, and that no secret is ever shown.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn keys(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser"));
    command.arg("keys").args(arguments).current_dir(folder).env_clear();
    command.env("HAWSER_DATA_DIR", folder.join("data")).stdin(Stdio::null()).output().unwrap()
}

fn json(folder: &Path, arguments: &[&str]) -> Value {
    let output = keys(folder, &[arguments, &["--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refused(folder: &Path, arguments: &[&str]) -> String {
    let output = keys(folder, arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn states(told: &Value) -> Vec<(u64, String)> {
    let state = |key: &Value| (key["id"].as_u64().unwrap(), key["state"].as_str().unwrap().to_owned());
    told["keys"].as_array().unwrap().iter().map(state).collect()
}

fn owned(states: &[(u64, &str)]) -> Vec<(u64, String)> {
    states.iter().map(|(id, state)| (*id, (*state).to_owned())).collect()
}

#[test]
fn a_key_is_published_activated_retired_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let ring = folder.join("data/key-ring.json");
    std::fs::create_dir(folder.join("data")).unwrap();
    let first = json(folder, &["generate", "data/key-ring.json"])["key"].as_u64().unwrap();
    assert_eq!(std::fs::metadata(&ring).unwrap().permissions().mode() & 0o777, 0o600);

    let added = json(folder, &["add"]);
    let second = added["key"].as_u64().unwrap();
    assert_eq!(states(&added), owned(&[(first, "active"), (second, "published")]));
    assert!(added["next"][2].as_str().unwrap().contains(&format!("hawser keys activate {second}")));

    let (one, two) = (first.to_string(), second.to_string());
    assert!(refused(folder, &["remove", &one]).contains("is the active one"));
    assert!(refused(folder, &["remove", &one, "--force"]).contains("is the active one"));
    assert!(refused(folder, &["retire", &one]).contains("activate another key first"));
    let activated = json(folder, &["activate", &two]);
    assert_eq!(states(&activated), owned(&[(first, "retired"), (second, "active")]));
    assert!(activated["warnings"][0].as_str().unwrap().contains("less than a minute ago"));

    // As long as a login that was sealed with it may live.
    let listed = json(folder, &["list"]);
    let needed = listed["keys"][0]["needed"].as_u64().unwrap();
    assert!(needed > 89 * 86_400 && needed <= 91 * 86_400, "{needed}");
    assert!(refused(folder, &["remove", &one]).contains("may still be needed for 90 days"));
    let removed = json(folder, &["remove", &one, "--force"]);
    assert_eq!(states(&removed), owned(&[(second, "active")]));
    assert!(refused(folder, &["activate", &one]).contains("has no key"));
    assert_eq!(std::fs::read_dir(folder.join("data")).unwrap().count(), 1, "neither drafts nor backups");
}

#[test]
fn no_command_shows_a_secret_but_generate_without_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let printed = keys(folder, &["generate"]);
    let ring: Value = serde_json::from_slice(&printed.stdout).unwrap();
    std::fs::write(folder.join("ring.json"), &printed.stdout).unwrap();
    let id = ring["keys"][0]["id"].to_string();
    for arguments in [
        &["list", "ring.json"][..],
        &["list", "ring.json", "--json"],
        &["add", "ring.json"],
        &["add", "ring.json", "--json"],
        &["activate", &id, "ring.json"],
        &["remove", &id, "ring.json"],
        &["generate", "new.json"],
    ] {
        let output = keys(folder, arguments);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8(said).unwrap();
        let written = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        for file in [written("ring.json"), written("new.json")] {
            let Ok(file) = serde_json::from_str::<Value>(&file) else { continue };
            for key in file["keys"].as_array().unwrap() {
                assert!(!said.contains(key["secret"].as_str().unwrap()), "{arguments:?}: {said}");
            }
        }
    }
}

#[test]
fn what_is_wrong_is_said_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert!(refused(folder, &["list"]).contains("hawser keys generate FILE"));
    std::fs::write(folder.join("ring.json"), "{").unwrap();
    let broken = refused(folder, &["add", "ring.json"]);
    assert!(broken.contains("wrong at line 1 column 1") && broken.contains("restore the file"), "{broken}");
    assert!(refused(folder, &["generate", "ring.json"]).contains("`hawser keys add`"));
    std::fs::write(folder.join("hawser.yaml"), "key_ring: env:NOT_SET\n").unwrap();
    assert_eq!(keys(folder, &["list"]).status.code(), Some(78));
}
