#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

/// What a text is understood as, and whether it has a password.
fn shown(text: &str) -> (String, Option<String>) {
    let url = RedisUrl::parse(text).unwrap();
    (url.to_string(), url.credentials.password.map(|password| password.to_string()))
}

#[test]
fn every_form_is_understood() {
    let forms = [
        ("redis://host", "redis://host:6379/0", None),
        ("rediss://h.example:7000/3", "rediss://h.example:7000/3", None),
        ("valkeys://:p%40ss@10.0.0.1/", "rediss://:***@10.0.0.1:6379/0", Some("p@ss")),
        ("redis://gateway:a%3Ab%2Fc@[::1]:1/0", "redis://gateway:***@[::1]:1/0", Some("a:b/c")),
        ("redis://@host", "", None),
        ("redis+sentinel://u:p@a,b:1/main", "redis+sentinel://u:***@a:26379,b:1/main/0", Some("p")),
        ("rediss+sentinel://a/main/4?sentinel_password=x", "rediss+sentinel://a:26379/main/4", None),
        ("valkey+cluster://u:p@a:1,b,c/0", "redis+cluster://u:***@a:1,b:6379,c:6379", Some("p")),
    ];
    for (text, meant, password) in forms {
        if meant.is_empty() {
            assert_eq!(RedisUrl::parse(text), Err(RedisUrlError::Credentials));
            continue;
        }
        assert_eq!(shown(text), (meant.to_owned(), password.map(str::to_owned)), "{text}");
    }
}

#[test]
fn what_is_wrong_is_named() {
    use RedisUrlError as E;
    let wrong = [
        ("", E::Scheme),
        ("host:6379", E::Scheme),
        ("redi://host", E::Scheme),
        ("redis+cluste://host", E::Scheme),
        ("redis://", E::Host),
        ("redis://host:", E::Host),
        ("redis://host:0", E::Host),
        ("redis://host:65536", E::Host),
        ("redis://::1", E::Host),
        ("redis://[::1", E::Host),
        ("redis://[::1]6", E::Host),
        ("redis://ho st", E::Host),
        ("redis://user@host", E::Credentials),
        ("redis://user:@host", E::Credentials),
        ("redis://u:%ff@host", E::Credentials),
        ("redis://a,b", E::SeveralHosts),
        ("redis://host/zero", E::Database),
        ("redis://host/-1", E::Database),
        ("redis://host?db=1", E::Parameter),
        ("redis+sentinel://host", E::Name),
        ("redis+sentinel://host/", E::Name),
        ("redis+sentinel://host/main?sentinel_user=a", E::Parameter),
        ("redis+sentinel://host/main?password=a", E::Parameter),
        ("redis+cluster://host/1", E::ClusterDatabase),
    ];
    for (text, error) in wrong {
        assert_eq!(RedisUrl::parse(text), Err(error), "{text:?}");
    }
    assert_eq!(RedisUrl::parse(&format!("redis+cluster://{}", ["h"; 65].join(","))), Err(E::TooManyHosts));
    assert_eq!(RedisUrl::parse(&format!("redis://{}", "h".repeat(4096))), Err(E::TooLong));
}

proptest! {
    #[test]
    fn any_text_is_understood_or_refused(text in "(redis|rediss|valkey)?(\\+(sentinel|cluster))?(://)?[ -~ä]{0,60}") {
        let _ = RedisUrl::parse(&text);
    }

    #[test]
    fn no_password_is_ever_shown(password in "[a-zA-Z0-9]{8,20}", form in 0..3_usize) {
        let text = [
            format!("redis://user:{password}@host/0"),
            format!("rediss+cluster://:{password}@host"),
            format!("redis+sentinel://u:{password}@host/main?sentinel_password={password}"),
        ][form].clone();
        let url = RedisUrl::parse(&text).unwrap();
        prop_assert!(!url.to_string().contains(&password));
        let debug = format!("{url:?}");
        prop_assert!(!debug.contains(&password), "{}", debug);
        let wrong = RedisUrl::parse(&text.replace("host", "ho st")).unwrap_err();
        let told = format!("{wrong} {wrong:?}");
        prop_assert!(!told.contains(&password));
    }
}
