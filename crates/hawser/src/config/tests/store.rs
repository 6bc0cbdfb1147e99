//! `store`: what is understood, what is refused, and that no password is ever shown.

use super::*;

const RING: &str = "key_ring: env:HAWSER_KEY_RING\n";

fn shown(text: &str) -> String {
    let settings = good(&format!("{RING}{text}"));
    let outline = Outline::of(&Loaded { file: None, settings });
    format!("{}{}", outline.table(crate::console::Paint::plain()), serde_json::to_string(&outline).unwrap())
}

fn report(text: &str) -> String {
    let report = load_text(&format!("{RING}{text}"), &Overrides::default()).unwrap_err();
    format!("{report}\n{}", serde_json::to_string(&report).unwrap())
}

#[test]
fn a_server_is_named_by_its_address_or_a_reference_to_it() {
    for (text, at) in [
        ("store: redis://gateway:hunter2@127.0.0.1:6380/1", "redis://gateway:***@127.0.0.1:6380/1"),
        ("store: rediss://store.example", "rediss://store.example:6379/0"),
        (
            "store: 'redis+sentinel://:hunter2@[::1],localhost/main?sentinel_password=hunter2'",
            "redis+sentinel://:***@[::1]:26379,localhost:26379/main/0",
        ),
        ("store: { url: 'rediss+cluster://a:1,b:2' }", "rediss+cluster://a:1,b:2"),
        ("store: { url: 'redis://localhost', prefix: 'mcp:' }", "redis://localhost:6379/0"),
        ("store: env:STORE", "redis://gateway:***@127.0.0.1:6379/0"),
    ] {
        let shown = shown(text);
        assert!(shown.contains(at), "{text}: {shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains("can be read"), "{shown}");
        assert!(matches!(good(&format!("{RING}{text}")).store, StoreKind::Redis(_)));
    }
}

#[test]
fn an_address_that_others_can_listen_to_is_warned_of() {
    assert!(shown("store: redis://store.example").contains("can be read and changed on its way"));
}

#[test]
fn a_shared_store_needs_a_configured_key_ring() {
    let report = load_text("store: redis://localhost", &Overrides::default()).unwrap_err().to_string();
    assert!(report.contains("`key_ring` is not configured") && report.contains("hawser keys generate"), "{report}");
}

#[test]
fn what_is_wrong_is_named_without_the_password() {
    for (text, told) in [
        ("store: flie", "did you mean `file`?"),
        ("store: sqlite", "expected `file`, `memory`, or a server: `redis://"),
        ("store: reddis://u:hunter2@h", "did you mean `redis://`?"),
        ("store: redis+sentinal://u:hunter2@h/x", "did you mean `redis+sentinel://`?"),
        ("store: http://u:hunter2@h", "`http://` is unknown"),
        ("store: redis://u:hun/ter2@h", "a host or a port is missing or wrong"),
        ("store: redis://u:hunter2@h:x", "a host or a port is missing or wrong"),
        ("store: redis://u:hunter2@a,b", "several hosts need"),
        (
            "store: { url: 'redis+sentinel://u:hunter2@a?sentinel_password=hunter2' }",
            "the name of the primary is missing",
        ),
        ("store: { url: 'redis://h', prefix: 'a b' }", "`store.prefix` cannot be used"),
        ("store: { url: 'redis://h', ca: ca.pem }", "`store.ca` cannot be"),
        ("store: { url: 'rediss://h', ca: nowhere.pem }", "it cannot be read"),
        ("store: { prefix: 'a' }", "`store` has no `url`"),
        ("store: { uri: 'redis://u:hunter2@h' }", "did you mean `url`?"),
        ("store: [redis://u:hunter2@h]", "a mapping with `url`"),
        ("store: env:NOWHERE", "`NOWHERE` is not set"),
        ("store: env:BROKEN_RING", "is not the address of a server"),
    ] {
        let report = report(text);
        assert!(report.contains(told), "{text}: {report}");
        assert!(!report.contains("hunter2") && !report.contains("ter2"), "{report}");
    }
}
