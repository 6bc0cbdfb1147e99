//! The child processes of these tests: the test binary itself, started again with a role.

use std::io::{BufRead as _, Write as _};
use std::time::Duration;

use hawser_backend::{Backend, BackendConfig, BackendName, ChildLimit, Transport};
use serde_json::{Value, json};

const ROLE: &str = "HAWSER_TEST_ROLE";
/// A secret that children are given and complain about.
pub(crate) const SECRET: &str = "env-secret-0123456789";

/// A backend whose child plays this role.
pub(crate) fn config(role: &str) -> BackendConfig {
    let program = std::env::current_exe().unwrap().to_str().unwrap().to_owned();
    let arguments = ["child::plays_its_role", "--exact", "--nocapture", "-q", "--test-threads=1"];
    let command = std::iter::once(program).chain(arguments.map(str::to_owned)).collect();
    let env = vec![(ROLE.to_owned(), role.to_owned()), ("CHILD_TOKEN".to_owned(), SECRET.to_owned())];
    BackendConfig::new(BackendName::new("child").unwrap(), Transport::Stdio { command, env, cwd: None })
}

pub(crate) fn backend(role: &str) -> Backend {
    Backend::new(config(role), ChildLimit::new(8)).unwrap()
}

/// Not a test of its own: what a child runs. Without a role it does nothing.
#[test]
fn plays_its_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    // The test harness has written a line of its own.
    println!();
    match role.as_str() {
        "dies-at-start" => {
            eprintln!("cannot log in with {SECRET}: \u{1b}[31mbad token");
            std::process::exit(3);
        }
        "babbles" => loop {
            println!("INFO still starting");
        },
        "deaf" => std::thread::sleep(Duration::from_mins(1)),
        _ => serve(&role),
    }
    // No word of the harness after the end.
    std::process::exit(0);
}

pub(crate) fn say(message: &Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{message}").unwrap();
    out.flush().unwrap();
}

fn serve(role: &str) {
    if role == "ignores-sigterm" {
        start_again_ignoring_sigterm();
    }
    let mut eras = crate::child_eras::Eras::of(role);
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line.unwrap()).unwrap();
        if eras.answer(&message) {
            continue;
        }
        match message["method"].as_str() {
            Some("initialize") => {
                let asked = message["params"]["protocolVersion"].clone();
                let revision = if role == "first-revision" { json!("2024-11-05") } else { asked };
                let server = json!({"name": role});
                let result = json!({"protocolVersion": revision, "capabilities": {}, "serverInfo": server});
                say(&json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
            }
            Some(method) if message.get("id").is_some() => act(method, &message),
            Some("notifications/cancelled") => {
                say(&json!({"jsonrpc": "2.0", "method": "notifications/message", "params": message["params"]}));
            }
            // Notifications and responses: told to whoever listens.
            _ => say(
                &json!({"jsonrpc": "2.0", "method": "notifications/elicitation/complete", "params": {"got": message}}),
            ),
        }
    }
    // The input was closed.
    match role {
        "stays" | "ignores-sigterm" => std::thread::sleep(Duration::from_mins(1)),
        "leaves-a-note" => std::fs::write(std::env::var("NOTE").unwrap(), "input closed").unwrap(),
        _ => {}
    }
}

/// Only a shell can ignore a signal without unsafe code; the ignored signal is inherited.
fn start_again_ignoring_sigterm() {
    use std::os::unix::process::CommandExt as _;
    if std::env::var_os("SIGTERM_IGNORED").is_none() {
        let error = std::process::Command::new("/bin/sh")
            .args(["-c", r#"trap "" TERM; exec "$0" "$@""#])
            .args(std::env::args_os())
            .env("SIGTERM_IGNORED", "1")
            .exec();
        panic!("{error}");
    }
}

#[expect(clippy::zombie_processes, reason = "the grandchild is what the test is about")]
fn act(method: &str, message: &Value) {
    let id = &message["id"];
    let answer = |result: Value| say(&json!({"jsonrpc": "2.0", "id": id, "result": result}));
    let note = |n: usize| json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": n}});
    match method {
        "echo" => answer(message["params"].clone()),
        "environment" => answer(std::env::vars().collect()),
        "pid" => answer(json!(std::process::id())),
        "never" => {}
        "crash" => {
            eprintln!("panic: {SECRET} is wrong");
            std::process::exit(101);
        }
        "answer-and-exit" => {
            answer(json!("last"));
            std::process::exit(0);
        }
        "close-stdout" => {
            // Closing a descriptor needs unsafe code; a shell in its place does it.
            use std::os::unix::process::CommandExt as _;
            panic!("{}", std::process::Command::new("/bin/sh").args(["-c", "exec >&-; sleep 60"]).exec());
        }
        "banner" => {
            println!("Welcome!\n{{\"some\": \"json\"}}\n\u{1b}[2J\n[]");
            answer(json!("after the banner"));
        }
        "huge-id-first" => println!(r#"{{"jsonrpc":"2.0","id":{id},"result":"{}"}}"#, "x".repeat(100_000)),
        "huge-id-last" => println!(r#"{{"jsonrpc":"2.0","result":"{}","id":{id}}}"#, "x".repeat(100_000)),
        "deep" => println!(r#"{{"jsonrpc":"2.0","id":{id},"result":{}1{}}}"#, "[".repeat(100), "]".repeat(100)),
        "ambiguous" => println!(r#"{{"result":1,"result":2,"jsonrpc":"2.0","id":{id}}}"#),
        "huge-no-id" => println!(r#"{{"result":"{}"}}"#, "x".repeat(100_000)),
        "huge-note-first" => {
            println!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":"{}"}}"#, "x".repeat(100_000));
            answer(json!("after the note"));
        }
        "endless-line" => {
            let chunk = vec![b'x'; 10_000];
            while std::io::stdout().write_all(&chunk).is_ok() {}
        }
        "flood" => {
            let token = &message["params"]["_meta"]["progressToken"];
            let params = json!({"progressToken": token, "progress": 1});
            for _ in 0..20_000 {
                say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params}));
            }
            answer(json!("flooded"));
        }
        "flood-of-notes" => {
            (0..5_000).for_each(|n| say(&note(n)));
            answer(json!("flooded"));
        }
        "notes" => {
            (0..100).for_each(|n| say(&note(n)));
            answer(json!("noted"));
        }
        "progress" => {
            let token = &message["params"]["_meta"]["progressToken"];
            say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}}));
            answer(json!("done"));
        }
        "progress-and-wait" => {
            let token = &message["params"]["_meta"]["progressToken"];
            say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token}}));
        }
        "ask" => {
            say(&json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}));
            say(&json!({"jsonrpc": "2.0", "id": "q", "method": "roots/list"}));
        }
        "spawn-grandchild" => {
            let grandchild = std::process::Command::new("/bin/sh").args(["-c", "exec sleep 60"]).spawn().unwrap();
            answer(json!(grandchild.id()));
        }
        "news" => {
            say(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}));
            answer(json!("told"));
        }
        "twice" => {
            answer(json!("first"));
            answer(json!("second"));
            say(&json!({"jsonrpc": "2.0", "id": id.to_string(), "result": "third"}));
        }
        other => say(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": other}})),
    }
}
