//! What the documentation says about configuration and commands is true: its keys are all keys there are, with their real
//! bounds and defaults, its configurations load and its command lines are understood.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

use std::collections::BTreeSet;
use std::ffi::OsString;

use clap::Parser as _;
use clap::error::ErrorKind;
use hawser::cli::Cli;
use hawser::config::{Loaded, Outline, Overrides, Report, Settings, Surroundings, settings};

const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");
const SESSIONS: &str = include_str!("../../../docs/sessions.md");
const STORE: &str = include_str!("../../../docs/store.md");
const README: &str = include_str!("../../../README.md");
const KEYS: &str = include_str!("../../../docs/keys.md");
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAPs8wTrdJzzMVgE";
/// A certificate of an authority that exists nowhere else.
const CA: &str = "\
-----BEGIN CERTIFICATE-----
MIIBRjCB7aADAgECAhQK8lld+V6WSmk75Y/i311Zv5x8+TAKBggqhkjOPQQDAjAZ
MRcwFQYDVQQDDA50ZXN0IGF1dGhvcml0eTAeFw0yNjExMjMyMTQxNTNaFw0yNjEy
MjMyMjQxNTNaMBkxFzAVBgNVBAMMDnRlc3QgYXV0aG9yaXR5MFkwEwYHKoZIzj0C
AQYIKoZIzj0DAQcDQgAEch2D0b9HZU+uEitblmOwHezkJgXUk7Nt5D441l0jvBuw
cau6mb3H3tmcowiM3wsChWwpWD1tLvtK7TnWICDJ5aMTMBEwDwYDVR0TAQH/BAUw
AwEB/zAKBggqhkjOPQQDAgNIADBFAiB5wLSSinDr0LQAwyfTs3dslfzepaBbX2Y/
5V3TJUIxowIhAKtqus480SOniqvuDRrLDQPK8hhxzOXYc8NZstZ0yMRx
-----END CERTIFICATE-----
";
const KEY_RING: &str = r#"{"keys":[{"id":1,"state":"active","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#;

/// The sections that list keys, and a configuration with `KEY` where a key of that section goes.
const SECTIONS: [(&str, &str); 11] = [
    ("### Top level", "KEY"),
    ("### Backends", "backends: { a: { KEY } }"),
    ("### Endpoints", "endpoints: { a: { KEY } }"),
    ("### Auth", "auth: { KEY }"),
    ("#### The embedded authorization server", "auth: { authorization_server: { KEY } }"),
    ("A user:", "auth: { authorization_server: { users: [{ KEY }] } }"),
    ("#### External issuers", "auth: { issuers: [{ KEY }] }"),
    ("### Sessions", "sessions: { KEY }"),
    ("### Limits", "limits: { KEY }"),
    ("### Drain", "drain: { KEY }"),
    ("### Admin", "admin: { KEY }"),
];

/// Loads a text as if every variable and every file it refers to were there.
fn load(text: &str) -> Result<Settings, Report> {
    let folder = tempfile::tempdir().unwrap();
    for (at, _) in text.match_indices("file:") {
        let name: String =
            text[at + 5..].chars().take_while(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        let kept = match name.as_str() {
            name if name.contains("hash") => HASH,
            name if name.contains("key-ring") => KEY_RING,
            name if name.contains("token") => "0123456789abcdef0123456789abcdef",
            _ => "dummy",
        };
        std::fs::write(folder.path().join(&name), kept).unwrap();
    }
    std::fs::write(folder.path().join("store-ca.pem"), CA).unwrap();
    let variable = |name: &str| -> Option<OsString> {
        Some(match name {
            "XDG_STATE_HOME" => return None,
            "HOME" => "/home/alice".into(),
            "HAWSER_KEY_RING" => KEY_RING.into(),
            "HAWSER_STORE" => "redis://gateway:password@127.0.0.1:6379".into(),
            "HAWSER_STORE_TLS" => "rediss://gateway:password@127.0.0.1:6379".into(),
            name if name.ends_with("_HASH") => HASH.into(),
            _ => "dummy".into(),
        })
    };
    let around = Surroundings { variable: &variable, folder: folder.path().to_path_buf() };
    settings("hawser.yaml", &text.replace("$argon2id$…", HASH), &Overrides::default(), &around)
}

fn good(text: &str) -> Settings {
    load(text).unwrap_or_else(|report| panic!("{text}\n{report}"))
}

/// The code blocks of a language.
fn blocks<'a>(document: &'a str, language: &str) -> Vec<&'a str> {
    let opening = format!("```{language}\n");
    document.split(&opening).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The cells of the first table with keys below a line.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, section) = CONFIGURATION.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("{heading}"));
    let (_, table) =
        section.split_once("| key | type | default | bounds | meaning |\n|---|---|---|---|---|\n").unwrap();
    let lines = table.lines().take_while(|line| line.starts_with('|'));
    lines.map(|line| line.split('|').skip(1).map(str::trim).collect()).collect()
}

fn help(text: &str) -> String {
    load(text).unwrap_err().problems().iter().filter_map(|problem| problem.help.clone()).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_document_lists_every_key_and_no_other() {
    for (heading, place) in SECTIONS {
        let listed: BTreeSet<String> = rows(heading).iter().map(|row| row[0].trim_matches('`').to_owned()).collect();
        // A key that is like no other makes the program say which there are.
        let help = help(&place.replace("KEY", "qqqqqqqqqqqqqqqqqqqq: 1"));
        let known = help.strip_prefix("the keys here are ").unwrap_or_else(|| panic!("{heading}: {help}"));
        let known: BTreeSet<String> = known.split(", ").map(|key| key.trim_matches('`').to_owned()).collect();
        assert_eq!(listed, known, "{heading}");
    }
}

#[test]
fn every_range_in_the_document_is_the_one_that_is_enforced() {
    let mut ranges = 0;
    for (heading, place) in SECTIONS {
        for row in rows(heading) {
            let (key, kind, bounds) = (row[0].trim_matches('`'), row[1], row[3]);
            let beyond = match kind {
                "duration" => "99999999d",
                "size" => "9999999GiB",
                "number" => "99999999999",
                _ => continue,
            };
            let (from, to) = bounds.split_once(" to ").unwrap_or_else(|| panic!("{key}: {bounds}"));
            let member = if key == "timeout" { "command: x, timeout" } else { key };
            let help = help(&place.replace("KEY", &format!("{member}: {beyond}")));
            assert!(help.contains(&format!("it must be from {from} to {to}")), "{key}: {bounds}; {help}");
            ranges += 1;
        }
    }
    assert_eq!(ranges, 20);
}

#[test]
fn every_configuration_in_the_documents_loads() {
    for document in [CONFIGURATION, SESSIONS, STORE, README] {
        let blocks = blocks(document, "yaml");
        assert!(!blocks.is_empty());
        for block in blocks {
            good(block);
        }
    }
}

#[test]
fn the_defaults_in_the_document_are_the_defaults() {
    let outline = |settings| serde_json::to_value(Outline::of(&Loaded { file: None, settings })).unwrap();
    let written = *blocks(CONFIGURATION, "yaml").first().unwrap();
    assert_eq!(outline(good(written)), outline(good("")));
    let [written, none] = [written, ""].map(|text| good(text).authorization_server.unwrap());
    assert_eq!(
        (
            written.access_token_lifetime,
            written.refresh_grace,
            written.refresh_idle,
            written.refresh_lifetime,
            written.signing_key_lifetime
        ),
        (
            none.access_token_lifetime,
            none.refresh_grace,
            none.refresh_idle,
            none.refresh_lifetime,
            none.signing_key_lifetime
        )
    );
    // What the tables say is what that file says.
    for (heading, _) in SECTIONS {
        for row in rows(heading).iter().filter(|row| ["duration", "size", "number"].contains(&row[1])) {
            let (key, default) = (row[0].trim_matches('`'), row[2].split('`').nth(1).unwrap());
            let said = blocks(CONFIGURATION, "yaml")[0].contains(&format!("{key}: {default}"));
            assert!(said || key == "timeout", "{key}: {default}");
        }
    }
}

/// The parts of shell lines that call the program.
fn commands(document: &str) -> Vec<String> {
    let shell = blocks(document, "sh").concat().replace("\\\n", " ").replace("cargo run --release -- ", "hawser ");
    let lines = shell.lines().flat_map(|line| line.split(" | ")).map(str::trim);
    lines.filter(|line| line.starts_with("hawser ")).map(str::to_owned).collect()
}

#[test]
fn every_command_line_in_the_documents_is_understood() {
    let parse = |line: &str| Cli::try_parse_from(shlex::split(line).unwrap_or_else(|| panic!("{line}")));
    for (document, at_least) in [(CONFIGURATION, 10), (SESSIONS, 8), (KEYS, 4), (README, 3)] {
        let lines = commands(document);
        assert!(lines.len() >= at_least, "{lines:?}");
        for line in lines {
            parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
        // Names of commands in running text, some without the arguments they need.
        for name in document.split('`').filter(|code| code.starts_with("hawser ") && !code.contains('\n')) {
            if let Err(error) = parse(name) {
                let unfinished =
                    [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
                assert!(unfinished.contains(&error.kind()), "{name}: {error}");
            }
        }
    }
}

#[test]
fn every_flag_of_serve_and_check_is_in_the_document() {
    let section = CONFIGURATION.split_once("\n## The command line\n").unwrap().1.split("\n## ").next().unwrap();
    let command = <Cli as clap::CommandFactory>::command();
    for path in [&["serve"][..], &["config", "check"], &["demo"], &["stdio"]] {
        let found = path.iter().fold(&command, |command, name| command.find_subcommand(name).unwrap());
        for flag in found.get_arguments().filter_map(clap::Arg::get_long).filter(|flag| *flag != "help") {
            assert!(section.contains(&format!("`--{flag}")), "{path:?} --{flag}");
        }
    }
}
