//! A server with a client and a browser in front of it.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, Version};
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hawser_authserver::{
    AuthServer, AuthServerConfig, ClientAddress, DevelopmentLogin, LocalUser, LoginMethods, OpenError, Resource,
};
use hawser_owner::{Clock, KeyRing, KeyRingDocument, SystemEntropy, Timestamp};
use hawser_store::{MemoryStore, Store};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::answer::Answer;
use crate::browser::Browser;
use crate::test_store::TestStore;

pub(crate) const ISSUER: &str = "http://127.0.0.1:8420";
pub(crate) const RESOURCE: &str = "http://127.0.0.1:8420/mcp";
pub(crate) const VERIFIER: &str = "a-verifier-of-enough-length-0123456789-abcdefg";
pub(crate) const CALLBACK: &str = "http://localhost:49152/callback";
pub(crate) const START: u64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) server: Arc<AuthServer>,
    pub(crate) router: Router,
    pub(crate) store: Arc<TestStore>,
    ring: Arc<KeyRing>,
    seconds: Arc<AtomicU64>,
    pub(crate) clock: Clock,
}

pub(crate) fn config() -> AuthServerConfig {
    AuthServerConfig {
        issuer: ISSUER.to_owned(),
        resources: vec![Resource { identifier: RESOURCE.to_owned(), name: "Everything".to_owned() }],
        login: LoginMethods {
            users: vec![LocalUser { name: "alice".to_owned(), password_hash: hash("correct horse") }],
            development: Some(DevelopmentLogin { users: vec!["alice".to_owned(), "bob".to_owned()] }),
        },
        ..AuthServerConfig::default()
    }
}

/// A cheap hash: the tests are about logins, not about argon2.
pub(crate) fn hash(password: &str) -> String {
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2.hash_password_with_salt(password.as_bytes(), b"a salt for tests").unwrap().to_string()
}

pub(crate) fn challenge_of(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: AuthServerConfig) -> Self {
        let seconds = Arc::new(AtomicU64::new(START));
        let read = Arc::clone(&seconds);
        let wall = Arc::new(move || UNIX_EPOCH + Duration::from_secs(read.load(Ordering::SeqCst)));
        let pieces = Pieces { seconds, ring: new_ring() };
        pieces.reopen(config, Arc::new(MemoryStore::with_clock(wall))).await
    }

    /// On a store of the caller's, which keeps its own time.
    pub(crate) async fn on(config: AuthServerConfig, store: Arc<dyn Store>) -> Self {
        let pieces = Pieces { seconds: Arc::new(AtomicU64::new(START)), ring: new_ring() };
        pieces.reopen(config, store).await
    }

    /// Ends the server and lets go of its store.
    pub(crate) fn close(self) -> Pieces {
        Pieces { seconds: self.seconds, ring: self.ring }
    }

    /// Opens a server on this store with another key ring.
    pub(crate) async fn open_with(&self, ring: &KeyRingDocument) -> Result<Arc<AuthServer>, OpenError> {
        self.open_on(self.store.clone(), ring).await
    }

    /// Opens a server on another store with another key ring.
    pub(crate) async fn open_on(
        &self,
        store: Arc<dyn Store>,
        ring: &KeyRingDocument,
    ) -> Result<Arc<AuthServer>, OpenError> {
        let ring = Arc::new(KeyRing::try_from(ring).unwrap());
        AuthServer::open(config(), store, ring, self.clock.clone(), Arc::new(SystemEntropy::new())).await
    }

    async fn open(
        config: AuthServerConfig,
        store: Arc<TestStore>,
        ring: Arc<KeyRing>,
        seconds: Arc<AtomicU64>,
    ) -> Self {
        let read = Arc::clone(&seconds);
        let clock: Clock = Arc::new(move || Timestamp::from_seconds(read.load(Ordering::SeqCst)));
        let entropy = Arc::new(SystemEntropy::new());
        let server = AuthServer::open(config, store.clone(), ring.clone(), clock.clone(), entropy).await.unwrap();
        Self { router: server.router(), server, store, ring, seconds, clock }
    }

    /// A second node, or the same one restarted with another configuration, on the same store and clock.
    pub(crate) async fn node(&self, config: AuthServerConfig) -> Self {
        Self::open(config, self.store.clone(), self.ring.clone(), self.seconds.clone()).await
    }

    pub(crate) fn wait(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst)
    }

    /// As from a browser on this computer, where the request does not say otherwise.
    pub(crate) async fn send(&self, mut request: Request<Body>) -> Answer {
        request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("127.0.0.1:8420"));
        if request.extensions().get::<ClientAddress>().is_none() {
            request.extensions_mut().insert(ClientAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        }
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        Answer { status: parts.status, headers: parts.headers, body: body.collect().await.unwrap().to_bytes() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(path, form, &[]).await
    }

    pub(crate) async fn post_with(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = Request::post(path).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    pub(crate) async fn register(&self, metadata: &Value) -> Answer {
        self.register_from(metadata, IpAddr::V4(Ipv4Addr::LOCALHOST)).await
    }

    pub(crate) async fn register_from(&self, metadata: &Value, address: IpAddr) -> Answer {
        let request = Request::post("/oauth/register")
            .header(header::CONTENT_TYPE, "application/json")
            .extension(ClientAddress(address))
            .body(Body::from(metadata.to_string()))
            .unwrap();
        self.send(request).await
    }

    /// A native public client, as most MCP clients are.
    pub(crate) async fn public_client(&self) -> Client {
        self.client(&json!({
            "client_name": "Test Client",
            "redirect_uris": ["http://localhost/callback"],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
        }))
        .await
    }

    pub(crate) async fn confidential_client(&self, method: &str) -> Client {
        self.client(&json!({
            "client_name": "Web Client",
            "redirect_uris": ["https://app.example/callback"],
            "token_endpoint_auth_method": method,
            "grant_types": ["authorization_code", "refresh_token"],
        }))
        .await
    }

    pub(crate) async fn client(&self, metadata: &Value) -> Client {
        let answer = self.register(metadata).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.text());
        let registered = answer.json();
        let redirect_uri = registered["redirect_uris"][0].as_str().unwrap();
        Client {
            id: registered["client_id"].as_str().unwrap().to_owned(),
            secret: registered["client_secret"].as_str().map(str::to_owned),
            method: registered["token_endpoint_auth_method"].as_str().unwrap().to_owned(),
            redirect_uri: redirect_uri.replace("http://localhost/", "http://localhost:49152/"),
        }
    }

    /// Everything from the authorization request to the code, as the development user of the name.
    pub(crate) async fn code(&self, client: &Client, user: &str, extra: &[(&str, &str)]) -> String {
        let mut browser = Browser::new(self);
        let answer = browser.grant(client, user, extra).await;
        answer.location_parameters()["code"].clone()
    }

    pub(crate) async fn redeem(&self, client: &Client, code: &str) -> Answer {
        self.redeem_with(client, code, &[("code_verifier", VERIFIER)]).await
    }

    pub(crate) async fn redeem_with(&self, client: &Client, code: &str, extra: &[(&str, &str)]) -> Answer {
        self.token(client, &[&[("grant_type", "authorization_code"), ("code", code)], extra].concat()).await
    }

    pub(crate) async fn refresh(&self, client: &Client, refresh_token: &str) -> Answer {
        self.token(client, &[("grant_type", "refresh_token"), ("refresh_token", refresh_token)]).await
    }

    pub(crate) async fn token(&self, client: &Client, form: &[(&str, &str)]) -> Answer {
        self.as_client("/oauth/token", client, form).await
    }

    /// Posts as the client, authenticated in the way that it registered.
    pub(crate) async fn as_client(&self, path: &str, client: &Client, form: &[(&str, &str)]) -> Answer {
        let mut form = form.to_vec();
        match (client.method.as_str(), &client.secret) {
            ("client_secret_basic", Some(secret)) => {
                let basic = basic(&client.id, secret);
                self.post_with(path, &form, &[("authorization", &basic)]).await
            }
            ("client_secret_post", Some(secret)) => {
                form.extend([("client_id", client.id.as_str()), ("client_secret", secret)]);
                self.post(path, &form).await
            }
            _ => {
                form.push(("client_id", &client.id));
                self.post(path, &form).await
            }
        }
    }

    /// Tokens for the client and development user.
    pub(crate) async fn tokens(&self, client: &Client, user: &str) -> Value {
        let code = self.code(client, user, &[]).await;
        let answer = self.redeem(client, &code).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        answer.json()
    }
}

/// What outlives a server.
pub(crate) struct Pieces {
    seconds: Arc<AtomicU64>,
    ring: Arc<KeyRing>,
}

impl Pieces {
    pub(crate) async fn reopen(self, config: AuthServerConfig, store: Arc<dyn Store>) -> World {
        World::open(config, Arc::new(TestStore::new(store)), self.ring, self.seconds).await
    }
}

fn new_ring() -> Arc<KeyRing> {
    let document = KeyRingDocument::generate(&SystemEntropy::new()).unwrap();
    Arc::new(KeyRing::try_from(&document).unwrap())
}

pub(crate) fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: Option<String>,
    pub(crate) method: String,
    pub(crate) redirect_uri: String,
}

impl Client {
    /// The query of a plain authorization request; `extra` replaces what has the same name.
    pub(crate) fn request(&self, extra: &[(&str, &str)]) -> String {
        let challenge = challenge_of(VERIFIER);
        let plain = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", "a state / with = characters"),
            ("resource", RESOURCE),
        ];
        let kept = plain.iter().filter(|(name, _)| !extra.iter().any(|(other, _)| other == name));
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).extend_pairs(extra).finish();
        format!("/oauth/authorize?{query}")
    }
}
