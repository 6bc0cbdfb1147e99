//! The `hawser` program as people and scripts meet it: output and exit codes.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn hawser(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hawser"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", "/home/alice").stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    hawser(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn with_file(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hawser.yaml"), text).unwrap();
    folder
}

#[test]
fn exit_codes_tell_usage_from_configuration() {
    let folder = with_file("listen: 127.0.0.1:1\nbackens: {}\n");
    assert_eq!(run(folder.path(), &["--version"]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &[]).status.code(), Some(64));
    assert_eq!(run(folder.path(), &["fly"]).status.code(), Some(64));
    assert_eq!(run(folder.path(), &["config", "check", "--listen", "here"]).status.code(), Some(64));
    assert_eq!(run(folder.path(), &["config", "check"]).status.code(), Some(78));
    assert_eq!(run(folder.path(), &["config", "check", "absent.yaml"]).status.code(), Some(78));
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(run(empty.path(), &["config", "check"]).status.code(), Some(0));
}

#[test]
fn a_typo_is_shown_in_its_place_without_colour_in_a_pipe() {
    let folder = with_file("listen: 127.0.0.1:1\nbackens: {}\n");
    let output = run(folder.path(), &["config", "check"]);
    assert_eq!(text(&output.stdout), "");
    assert_eq!(
        text(&output.stderr),
        "\
error: unknown key `backens`
 --> hawser.yaml:2:1
  |
2 | backens: {}
  | ^^^^^^^
  = help: did you mean `backends`?

"
    );
}

#[test]
fn programs_get_json_on_stdout() {
    let folder = with_file("store: redis\n");
    let output = run(folder.path(), &["config", "check", "--json"]);
    assert_eq!(output.status.code(), Some(78));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let help = "expected `file`, `memory`, or a server: `redis://user:password@host:6379/0`, \
        `redis+sentinel://host:26379,host:26379/NAME` or `redis+cluster://host:6379,host:6379` (`rediss` for TLS), \
        or a reference to that: `env:NAME`, `file:PATH`";
    let problem = serde_json::json!({
        "line": 1, "column": 8, "flag": null, "message": "`store` cannot be `redis`", "help": help,
    });
    assert_eq!(answer, serde_json::json!({"ok": false, "file": "hawser.yaml", "problems": [problem]}));
    assert_eq!(text(&output.stderr), "");

    let output = run(folder.path(), &["config", "check", "/dev/null", "--json"]);
    assert_eq!(output.status.code(), Some(78), "a device is no file");
    let good = with_file("store: memory\n");
    let output = run(good.path(), &["config", "check", "--json", "--backend", "time=uvx mcp-server-time"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["ok"], true);
    assert_eq!(answer["backends"][0]["target"], "uvx mcp-server-time");
    assert_eq!(answer["data_dir"], "/home/alice/.local/state/hawser");
}

#[test]
fn the_data_folder_comes_from_flag_then_environment_then_file() {
    let folder = with_file("data_dir: /from/file\n");
    let data_dir = |command: &mut Command| {
        let answer: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        answer["data_dir"].as_str().unwrap().to_owned()
    };
    let check = ["config", "check", "--json"];
    assert_eq!(data_dir(&mut hawser(folder.path(), &check)), "/from/file");
    assert_eq!(data_dir(hawser(folder.path(), &check).env("HAWSER_DATA_DIR", "/from/env")), "/from/env");
    let flagged = [&check[..], &["--data-dir", "/from/flag"]].concat();
    assert_eq!(data_dir(hawser(folder.path(), &flagged).env("HAWSER_DATA_DIR", "/from/env")), "/from/flag");
    let empty = tempfile::tempdir().unwrap();
    assert_eq!(data_dir(hawser(empty.path(), &check).env("XDG_STATE_HOME", "/state")), "/state/hawser");
}

#[test]
fn a_hash_made_by_the_command_is_taken_by_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        hawser(folder.path(), &["user", "hash-password"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"wonderland\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let hash = text(&output.stdout).trim_end();
    assert!(!hash.contains("wonderland") && hash.starts_with("$argon2id$"), "{hash}");
    let users = format!("auth: {{ authorization_server: {{ users: [{{ name: alice, password: \"{hash}\" }}] }} }}\n");
    std::fs::write(folder.path().join("hawser.yaml"), users).unwrap();
    let output = run(folder.path(), &["config", "check"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("1 local user"), "{}", text(&output.stdout));
}

#[test]
fn an_empty_password_is_a_run_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &["user", "hash-password"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "error: the password is empty\nhint: type one, or pipe it in\n");
}
