//! What right and wrong configurations give.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]

use std::ffi::OsString;
use std::time::Duration;

use proptest::prelude::*;
use secrecy::ExposeSecret as _;

use super::*;

mod refused_auth;
mod refused_endpoints;
mod refused_shape;
mod refused_values;
mod store;

/// A real hash, of the word `wonderland`, made with the smallest parameters that are allowed.
const HASH: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAPs8wTrdJzzMVgE";
const KEY_RING: &str = r#"{"keys":[{"id":1,"state":"active","secret":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"}]}"#;

fn variable(name: &str) -> Option<OsString> {
    let value = match name {
        "HOME" => "/home/alice",
        "HAWSER_KEY_RING" => KEY_RING,
        "EVERYTHING_KEY" => "s3cr3t-of-everything",
        "TIME_TOKEN" => "s3cr3t-of-time",
        "ALICE_HASH" => HASH,
        "EMPTY" => "",
        "BROKEN_RING" => r#"{"keys":[{"id":1,"state":"active","secret":"s3cr3t"}]}"#,
        "NO_RING" => "{\"s3cr3t",
        "TWO_LINES" => "a\nb",
        "STORE" => "redis://gateway:hunter2@127.0.0.1",
        _ => return None,
    };
    Some(value.into())
}

fn around() -> Surroundings<'static> {
    Surroundings { variable: &variable, folder: PathBuf::from("/etc/hawser") }
}

fn load_text(text: &str, overrides: &Overrides) -> Result<Settings, Report> {
    settings("hawser.yaml", text, overrides, &around())
}

fn good(text: &str) -> Settings {
    load_text(text, &Overrides::default()).unwrap_or_else(|report| panic!("{report}"))
}

/// The text is refused, and this is what is shown.
#[track_caller]
fn refused(text: &str, shown: &str) {
    let report = load_text(text, &Overrides::default()).unwrap_err();
    assert_eq!(format!("{report}\n"), shown);
}

/// The example of the command line's contract, every key in it.
const EVERY_KEY: &str = r#"
listen: 127.0.0.1:8420
public_url: https://mcp.example.com        # default: http://<listen>
data_dir: /var/lib/hawser
store: file                                # file | memory
key_ring: env:HAWSER_KEY_RING
allowed_origins: [https://app.example.com]
allowed_hosts: [mcp.internal]
trusted_proxies: [10.1.2.3/8, "::1"]
backends:
  everything:
    url: http://127.0.0.1:3001/mcp
    headers: { X-Api-Key: env:EVERYTHING_KEY }
    naming: prefix
    timeout: 60s
  time:
    command: [mcp-server-time, --local-timezone=UTC]
    env: { TOKEN: env:TIME_TOKEN }
    cwd: /srv/time
endpoints:
  default: { path: /mcp, backends: [everything, time], anonymous: false }
auth:
  authorization_server:
    enabled: true
    development_login: false
    users: [{ name: alice, password: "$HASH" }]
    access_token_lifetime: 10m
    refresh_grace: 30s
    refresh_idle: 14d
    refresh_lifetime: 90d
    signing_key_lifetime: 30d
  issuers:
    - issuer: https://idp.example.com
      jwks_uri: https://idp.example.com/jwks
      algorithms: [RS256, ES256]
      token_types: [at+jwt, JWT]
      subject_claim: sub
      tenant_claim: tid
      tenant: 8c6
sessions: { idle: 24h, lifetime: 7d, per_owner: 100, total: 1000000, at_work: 10000 }
limits: { request_body: 4MiB, response_body: 16MiB, streamed_result: 1GiB, depth: 64, children: 64, request_timeout: 60s, client_answer: 30m }
"#;

#[test]
fn a_url_says_how_it_is_spoken_to() {
    let settings = good(
        "backends: { a: { url: http://h/ }, b: { url: http://h/, transport: auto }, c: { url: http://h/sse, transport: sse } }",
    );
    let [a, b, c] = &settings.backends[..] else { panic!("{:?}", settings.backends) };
    assert!(matches!((&a.transport, &b.transport), (Transport::Http { .. }, Transport::Http { .. })));
    assert!(matches!(&c.transport, Transport::Sse { url, .. } if url.path() == "/sse"));
}

#[test]
fn every_key_is_read() {
    let settings = good(&EVERY_KEY.replace("$HASH", HASH));
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(settings.public_url.as_deref(), Some("https://mcp.example.com"));
    assert_eq!(settings.data_dir, Path::new("/var/lib/hawser"));
    assert!(matches!(settings.store, StoreKind::File));
    assert!(settings.key_ring.is_some());
    assert_eq!(settings.allowed_origins, ["https://app.example.com"]);
    assert_eq!(settings.allowed_hosts, ["mcp.internal"]);
    let proxies: Vec<String> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(proxies, ["10.0.0.0/8", "::1/128"]);
    let [everything, time] = &settings.backends[..] else { panic!("{:?}", settings.backends) };
    let Transport::Http { url, headers } = &everything.transport else { panic!("{everything:?}") };
    assert_eq!(url.as_str(), "http://127.0.0.1:3001/mcp");
    assert_eq!(headers[0].0, "x-api-key");
    assert_eq!(headers[0].1.expose_secret(), "s3cr3t-of-everything");
    let Transport::Stdio { program, arguments, env, cwd } = &time.transport else { panic!("{time:?}") };
    assert_eq!((program.as_str(), &arguments[..]), ("mcp-server-time", &["--local-timezone=UTC".to_owned()][..]));
    assert_eq!((env[0].0.as_str(), env[0].1.expose_secret()), ("TOKEN", "s3cr3t-of-time"));
    assert_eq!(cwd.as_deref(), Some(Path::new("/srv/time")));
    let [endpoint] = &settings.endpoints[..] else { panic!("{:?}", settings.endpoints) };
    assert_eq!((endpoint.path.as_str(), endpoint.anonymous, endpoint.backends.len()), ("/mcp", false, 2));
    let server = settings.authorization_server.as_ref().unwrap();
    assert!(!server.development_login);
    assert_eq!(server.users[0].name, "alice");
    assert_eq!(server.refresh_idle, Duration::from_hours(14 * 24));
    assert_eq!(settings.issuers[0].tenant.as_deref(), Some("8c6"));
    assert_eq!(settings.sessions.lifetime, Duration::from_hours(7 * 24));
    assert_eq!(settings.limits.response_body, 16 << 20);
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn every_key_of_the_example_can_be_left_out_and_equals_its_default_or_is_optional() {
    let settings = good("backends: { time: { command: 'mcp-server-time --local-timezone=UTC' } }");
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(settings.public_url_when_bound("127.0.0.1:9".parse().unwrap()), "http://127.0.0.1:9");
    assert_eq!(settings.data_dir, Path::new("/home/alice/.local/state/hawser"));
    let [time] = &settings.backends[..] else { panic!("{:?}", settings.backends) };
    assert_eq!((time.naming, time.timeout), (Naming::Prefix, Duration::from_mins(1)));
    let [endpoint] = &settings.endpoints[..] else { panic!("{:?}", settings.endpoints) };
    assert_eq!((endpoint.name.as_str(), endpoint.path.as_str(), endpoint.anonymous), ("default", "/mcp", false));
    let server = settings.authorization_server.unwrap();
    assert!(server.development_login && server.users.is_empty());
    assert_eq!(server.access_token_lifetime, Duration::from_mins(10));
    assert_eq!(server.refresh_grace, Duration::from_secs(30));
    assert_eq!(settings.sessions.idle, Duration::from_hours(24));
    assert_eq!(
        (settings.sessions.per_owner, settings.sessions.total, settings.sessions.at_work),
        (100, 1_000_000, 10_000)
    );
    assert_eq!((settings.limits.request_body, settings.limits.depth, settings.limits.children), (4 << 20, 64, 64));
    assert!(settings.warnings.is_empty(), "{:?}", settings.warnings);
}

#[test]
fn no_file_at_all_runs() {
    let settings = good("");
    assert!(settings.backends.is_empty());
    assert_eq!(settings.endpoints.len(), 1);
    assert!(settings.authorization_server.unwrap().development_login);
    assert!(settings.warnings[0].contains("no backends"));
}

#[test]
fn flags_beat_the_file() {
    let overrides = Overrides {
        listen: Some("127.0.0.1:0".parse().unwrap()),
        public_url: Some("https://flag.example".to_owned()),
        data_dir: Some("/flag".into()),
        backends: vec!["a=https://flag.example/mcp".parse().unwrap(), "b='x y' z".parse().unwrap()],
    };
    let text = "listen: 127.0.0.1:1\npublic_url: https://file.example\ndata_dir: /file\nbackends:\n  a: { url: http://file.example/ }\n  c: { url: http://c.example/ }\nauth: { issuers: [{ issuer: https://idp.example.com }] }";
    let settings = load_text(text, &overrides).unwrap();
    assert_eq!(settings.listen.port(), 0);
    assert_eq!(settings.public_url.as_deref(), Some("https://flag.example"));
    assert_eq!(settings.data_dir, Path::new("/flag"));
    let names: Vec<&str> = settings.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["c", "a", "b"]);
    assert!(
        matches!(&settings.backends[1].transport, Transport::Http { url, .. } if url.as_str() == "https://flag.example/mcp")
    );
    assert!(matches!(&settings.backends[2].transport, Transport::Stdio { program, .. } if program == "x y"));
    assert_eq!(settings.endpoints[0].backends.len(), 3);
}

#[test]
fn development_login_is_not_switched_on_by_itself_behind_a_public_url() {
    let report = load_text("public_url: https://mcp.example.com", &Overrides::default()).unwrap_err();
    assert_eq!(report.problems()[0].message, "nobody could log in");
    let users = good(&format!("auth: {{ authorization_server: {{ users: [{{ name: a, password: '{HASH}' }}] }} }}"));
    assert!(!users.authorization_server.unwrap().development_login);
}

#[test]
fn an_authorization_server_that_nobody_can_log_in_at_is_off() {
    for others in ["auth: { issuers: [{ issuer: https://i.example }] }", "endpoints: { default: { anonymous: true } }"]
    {
        let settings = good(&format!("public_url: https://mcp.example.com\n{others}"));
        assert!(settings.authorization_server.is_none(), "{others}");
    }
    let local = good("auth: { issuers: [{ issuer: https://i.example }] }");
    assert!(local.authorization_server.unwrap().development_login, "on loopback there is the development login");
}

#[test]
fn development_login_may_have_a_public_url_on_loopback() {
    for url in ["http://127.0.0.1:1", "http://localhost:1", "https://[::1]:1"] {
        let on = format!("public_url: '{url}'\nauth: {{ authorization_server: {{ development_login: true }} }}");
        assert!(good(&on).authorization_server.unwrap().development_login, "{url}");
    }
}

#[test]
fn headers_that_the_transport_writes_are_refused_here_and_not_only_at_the_start() {
    for header in ["Accept", "Accept-Encoding", "Host", "Keep-Alive", "TE", "Trailer", "Mcp-Session-Id"] {
        let text = format!("backends: {{ a: {{ url: 'http://h/', headers: {{ {header}: x }} }} }}");
        let report = load_text(&text, &Overrides::default()).unwrap_err();
        assert!(report.problems()[0].message.ends_with("is written by the gateway itself"), "{report}");
    }
}

#[test]
fn secrets_come_from_files_next_to_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hash"), format!("{HASH}\n")).unwrap();
    std::fs::write(folder.path().join("key"), "a b\r\n").unwrap();
    let path = folder.path().join("hawser.yaml");
    let text = "data_dir: state\nbackends: { a: { url: 'http://h/', headers: { X-K: file:key, X-L: plain text } } }\nauth: { authorization_server: { users: [{ name: a, password: file:hash }] } }";
    std::fs::write(&path, text).unwrap();
    let loaded = load(Some(&path), &Overrides::default()).unwrap();
    assert_eq!(loaded.settings.data_dir, folder.path().join("state"));
    let Transport::Http { headers, .. } = &loaded.settings.backends[0].transport else { panic!() };
    assert_eq!(headers[0].1.expose_secret(), "a b");
    assert_eq!(headers[1].1.expose_secret(), "plain text");
    assert_eq!(loaded.settings.authorization_server.unwrap().users[0].password_hash.expose_secret(), HASH);
}

#[test]
fn a_file_that_cannot_be_read_is_a_configuration_error() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, vec![b'#'; usize::try_from(FILE_BYTES_MAX).unwrap() + 1]).unwrap();
    let binary = folder.path().join("binary.yaml");
    std::fs::write(&binary, [0xff, 0xfe]).unwrap();
    for (path, says) in [
        (folder.path().join("absent.yaml"), "cannot be read: No such file"),
        (folder.path().to_path_buf(), "cannot be read: it is not a regular file"),
        (large, "is larger than 1048576 bytes"),
        (binary, "is not UTF-8 text"),
    ] {
        let report = load(Some(&path), &Overrides::default()).unwrap_err();
        assert!(report.problems()[0].message.contains(says), "{report}");
    }
}

#[test]
fn bombs_are_refused_within_the_budget() {
    let mut aliases = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (name, before) in ('b'..='i').zip('a'..) {
        use std::fmt::Write as _;
        let list = vec![format!("*{before}"); 9].join(", ");
        let _ = writeln!(aliases, "{name}: &{name} [{list}]");
    }
    let deep = format!("backends: {}", "[".repeat(100_000));
    let wide = format!("allowed_hosts: [{}]", "a,".repeat(400_000));
    let block = (0..1_000).map(|depth| " ".repeat(depth) + "a:").collect::<Vec<_>>().join("\n");
    for bomb in [aliases, deep, wide, block] {
        let start = std::time::Instant::now();
        assert!(load_text(&bomb, &Overrides::default()).is_err());
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn no_secret_is_in_what_is_shown() {
    let settings = good(&EVERY_KEY.replace("$HASH", HASH));
    let shown = format!("{settings:?}");
    let loaded = Loaded { file: None, settings };
    let outline = Outline::of(&loaded);
    let shown =
        format!("{shown}{}{}", outline.table(crate::console::Paint::plain()), serde_json::to_string(&outline).unwrap());
    for secret in ["s3cr3t", HASH, "AAECAwQF"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn a_slip_next_to_a_secret_does_not_show_it() {
    for text in [
        "auth: { authorization_server: { users: [{ name: a, password \"hunter2\" }] } }",
        "auth: { authorization_server: { users: [{ name: a,&password: \"hunter2\" }] } }",
        "auth: { authorization_server: { users: [{ name: a, passw/{ord: \"hunter2\" }] } }",
        "auth: { authorization_server: { users: [{ name: a, pasword: hunter2 }] } }",
        "auth:\n  authorization_server:\n    users:\n      - name: a\n        password:\nhunter2\n",
        "auth:\n  authorization_server:\n    users:\n      - name: a\n        password: \"\nhunter2\n",
        "backends:\n  a:\n    headers: { X-Team: [hunter2] }",
        "backends:\n  a:\n    headers: {\nX-Te: am: hunter2 }",
        "backends:\n  a:\n    env:\n      - hunter2",
        "backends:\n  a: { url: http://a:hunter2@h/, b: 1 }",
    ] {
        let report = load_text(text, &Overrides::default()).unwrap_err();
        assert!(!report.to_string().contains("hunter2"), "{report}");
    }
}

#[test]
fn only_argon2id_hashes_are_taken() {
    let users =
        |hash: &str| format!("auth: {{ authorization_server: {{ users: [{{ name: a, password: '{hash}' }}] }} }}");
    good(&users(HASH));
    for wrong in [
        HASH.replace("argon2id", "argon2i"),
        HASH.replace("argon2id", "argon2d"),
        HASH.replace("m=8", "m=0"),
        HASH.rsplit_once('$').unwrap().0.to_owned(),
        "$2b$12$abcdefghijklmnopqrstuv".to_owned(),
    ] {
        assert!(load_text(&users(&wrong), &Overrides::default()).is_err(), "{wrong}");
    }
}

#[test]
fn the_outline_tells_what_would_happen() {
    let text = "backends: { time: { command: 'uvx mcp-server-time --token abc \"a b\"' }, web: { url: 'http://h/mcp?key=abc', naming: none } }";
    let table = Outline::of(&Loaded { file: Some("hawser.yaml".into()), settings: good(text) })
        .table(crate::console::Paint::plain());
    assert_eq!(
        table,
        "\
file              hawser.yaml
listens on        127.0.0.1:8420
public URL        http://127.0.0.1:8420
data folder       /home/alice/.local/state/hawser
store             file
key ring          made in the data folder
endpoint default  /mcp → time, web
backend time      stdio uvx mcp-server-time --token '***' 'a b', names prefix, timeout 1m
backend web       http http://h/mcp?…, names none, timeout 1m
log in            embedded authorization server: one-click development login
sessions          idle 1d, lifetime 7d, per_owner 100, total 1000000, at_work 10000
limits            request_body 4MiB, response_body 16MiB, streamed_result 1GiB, depth 64, children 64, request_timeout 1m, client_answer 30m
drain             delay 0s, grace 10s
admin             at the socket admin.sock in the data folder
"
    );
}

/// Text that looks enough like a configuration to get past the first step.
fn yaml() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "listen",
        "public_url",
        "backends",
        "endpoints",
        "auth",
        "authorization_server",
        "users",
        "issuers",
        "headers",
        "command",
        "url",
        "env",
        "key_ring",
        "sessions",
        "idle",
        "path",
        "name",
        "password",
        "default",
        "a",
        "&x",
        "*x",
        "{",
        "}",
        "[",
        "]",
        "- ",
        ": ",
        ", ",
        "\n",
        "\n  ",
        "\n    ",
        "\"",
        "'",
        "|",
        ">",
        "#",
        "!t",
        "<<",
        "?",
        "~",
        "1s",
        "env:NOPE",
        "file:nope",
        "http://",
        "https://é",
        "127.0.0.1:1",
        "\t",
        "\0",
        "\u{feff}",
        "%",
        "---\n",
        "true",
        "-1",
    ]);
    prop::collection::vec(words, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_yaml_panics(text in prop_oneof![yaml(), ".{0,200}"]) {
        if let Err(report) = load_text(&text, &Overrides::default()) {
            let rendered = report.to_string();
            prop_assert!(rendered.starts_with("error: "), "{}", rendered);
            prop_assert!(!rendered.chars().any(|c| c.is_control() && c != '\n'), "{:?}", rendered);
        }
    }

    #[test]
    fn a_changed_configuration_never_panics_and_never_shows_a_secret(at in 0_usize..2_000, with in "[\\x00-\\x7fé]{0,3}", cut in 0_usize..4) {
        let text = EVERY_KEY.replace("$HASH", "hunter2hunter2").replace("env:EVERYTHING_KEY", "hunter2hunter2");
        let at = text.char_indices().map(|(at, _)| at).take_while(|place| *place <= at).last().unwrap_or(0);
        let rest: String = text[at..].chars().skip(cut).collect();
        let changed = format!("{}{with}{rest}", &text[..at]);
        if let Err(report) = load_text(&changed, &Overrides::default()) {
            prop_assert!(!report.to_string().contains("hunter2hunter2"), "{}", report);
        }
    }
}
