//! What the audit log says, and what no log may say. Alone in its process: whether an event is enabled is remembered for
//! the whole of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a panic here is a failed test")]

#[path = "../http/answer.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod answer;
#[path = "../http/browser.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod browser;
#[path = "../http/test_store.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod test_store;
#[path = "../http/world.rs"]
#[allow(dead_code, reason = "shared with the other tests")]
mod world;

use std::io::Write;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use crate::world::{VERIFIER, World};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// One thread, so that the thread's own subscriber sees everything.
#[tokio::test]
async fn every_step_is_audited_and_no_credential_is_logged() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(log.clone())
        .with_ansi(false)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let world = World::new().await;
    let client = world.public_client().await;
    let confidential = world.confidential_client("client_secret_basic").await;
    let code = world.code(&client, "alice", &[]).await;
    let tokens = world.redeem(&client, &code).await.json();
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let next = world.refresh(&client, refresh_token).await.json();
    world.refresh(&client, refresh_token).await;
    let access_token = tokens["access_token"].as_str().unwrap();
    world.as_client("/oauth/revoke", &client, &[("token", access_token)]).await;
    world.wait(31);
    world.refresh(&client, next["refresh_token"].as_str().unwrap()).await;
    world.refresh(&client, refresh_token).await.is_error(400, "invalid_grant");

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for event in [
        "client_registered",
        "login",
        "consent",
        "token_issued",
        "refresh_replay",
        "access_token_revoked",
        "grant_revoked",
    ] {
        assert!(text.contains(&format!("event=\"{event}\"")), "{event} is not in {text}");
    }
    let secrets = [
        code.as_str(),
        refresh_token,
        next["refresh_token"].as_str().unwrap(),
        access_token,
        next["access_token"].as_str().unwrap(),
        confidential.secret.as_deref().unwrap(),
        VERIFIER,
        // Users are named by digest.
        "dev:alice",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "a credential is in the log");
    }
}
