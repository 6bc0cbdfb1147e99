//! No byte of a token reaches a log or an error, whatever happens to it.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex};

use hawser_identity::ExternalIssuer;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::issuers::{IssuerServer, KEYS};
use crate::signing::{SigningKey, with, without};
use crate::world::{NOW, World, claims};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Presents good and bad tokens; gives them back with every error text.
async fn a_busy_day() -> (Vec<String>, String) {
    let key = SigningKey::es256("secret-kid");
    let issuer = IssuerServer::start(&[&key]).await;
    let world = World::trusting([ExternalIssuer::new(&issuer.issuer)]);
    let good = with(claims(&issuer.issuer, "alice"), "exp", NOW + 100_000);
    let mut tokens = vec![
        key.sign(&good),
        key.sign(&with(good.clone(), "exp", 1)),
        key.sign(&with(good.clone(), "aud", "https://other.example")),
        key.sign(&without(good.clone(), "sub")),
        key.sign(&with(good.clone(), "cnf", json!({}))),
        key.sign(&with(good.clone(), "iss", "https://evil.example")),
        key.sign_with_header(&with(key.header(), "typ", "other"), &good),
        key.sign_with_header(&with(key.header(), "kid", "unknown-kid"), &good),
        SigningKey::es256("secret-kid").sign(&good),
        "opaque-token-of-a-stranger".to_owned(),
        "a-list-of,credentials".to_owned(),
    ];
    let mut told = String::new();
    for token in &tokens {
        world.clock.advance(60); // hints are logged once a minute
        let outcome = world.present(token).await;
        write!(told, "{outcome:?}").unwrap();
        if let Err(error) = outcome {
            write!(told, "{error} {:?}", world.answer(&error)).unwrap();
        }
    }
    issuer.break_keys();
    world.clock.advance(50_000);
    let late = key.sign(&with(good, "jti", "late"));
    let error = world.present(&late).await.unwrap_err();
    write!(told, "{error} {error:?} {:?}", world.answer(&error)).unwrap();
    tokens.push(late);
    assert!(issuer.asked(KEYS) > 1);
    (tokens, told)
}

#[test]
fn no_token_byte_in_logs_errors_or_debug_output() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tokens, told) = tracing::subscriber::with_default(subscriber, || runtime.block_on(a_busy_day()));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("refused a token of a trusted issuer"), "the log works: {log}");
    assert!(log.contains("omit `sub`"), "the log says what to do about a missing subject");
    assert!(log.contains("cannot be fetched"));
    for token in &tokens {
        for part in token.split('.') {
            for text in [&log, &told] {
                assert!(!text.contains(part), "a token part is in the output: {part}");
            }
        }
    }
}
