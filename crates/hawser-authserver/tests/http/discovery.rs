//! Metadata, keys and cross-origin access.

use axum::body::Body;
use hawser_authserver::{AuthServerConfig, DevelopmentLogin, LoginMethods, Resource};
use http::{Request, StatusCode};
use serde_json::json;

use crate::answer::{claims, jose_header};
use crate::world::{ISSUER, World, config};

const OAUTH: &str = "/.well-known/oauth-authorization-server";
const OPENID: &str = "/.well-known/openid-configuration";

#[tokio::test]
async fn am2_metadata_advertises_what_is_on_and_nothing_else() {
    let world = World::new().await;
    let metadata = world.get(OAUTH).await.json();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(metadata["authorization_response_iss_parameter_supported"], true);
    assert_eq!(metadata["grant_types_supported"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(metadata["response_types_supported"], json!(["code"]));
    assert_eq!(metadata["scopes_supported"], json!(["mcp", "openid"]));
    for (member, path) in [
        ("authorization_endpoint", "/oauth/authorize"),
        ("token_endpoint", "/oauth/token"),
        ("registration_endpoint", "/oauth/register"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("jwks_uri", "/oauth/jwks"),
    ] {
        assert_eq!(metadata[member], format!("{ISSUER}{path}"));
    }
    for absent in ["introspection_endpoint", "dpop_signing_alg_values_supported", "userinfo_endpoint"] {
        assert!(metadata.get(absent).is_none(), "{absent}");
    }

    let mut closed = config();
    closed.registration.enabled = false;
    let world = World::with(closed).await;
    assert!(world.get(OAUTH).await.json().get("registration_endpoint").is_none());
    assert_eq!(world.register(&json!({})).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn am2_openid_discovery_promises_an_id_token_that_is_really_issued() {
    let world = World::new().await;
    let metadata = world.get(OPENID).await.json();
    assert_eq!(metadata["issuer"], ISSUER);
    assert_eq!(metadata["subject_types_supported"], json!(["public"]));
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256"]));

    let client = world.public_client().await;
    let code = world.code(&client, "alice", &[("scope", "openid mcp"), ("nonce", "n-1")]).await;
    let tokens = world.redeem(&client, &code).await.json();
    let id = claims(&tokens["id_token"]);
    assert_eq!(id["iss"], ISSUER);
    assert_eq!(id["aud"], client.id);
    assert_eq!(id["nonce"], "n-1");
    assert_eq!(id["sub"], claims(&tokens["access_token"])["sub"]);
    assert_eq!(id["auth_time"], world.now());
    assert_eq!(jose_header(&tokens["id_token"])["typ"], "JWT");
    // Without the scope there is none.
    let code = world.code(&client, "alice", &[]).await;
    assert!(world.redeem(&client, &code).await.json().get("id_token").is_none());
}

#[tokio::test]
async fn am1_an_issuer_with_a_path_is_served_inserted_and_appended() {
    let with_path = AuthServerConfig {
        issuer: "https://mcp.example.com/team/a".to_owned(),
        resources: vec![Resource { identifier: "https://mcp.example.com/team/a/mcp".to_owned(), name: String::new() }],
        login: LoginMethods { users: config().login.users, development: None },
        ..AuthServerConfig::default()
    };
    let world = World::with(with_path).await;
    for path in [
        "/.well-known/oauth-authorization-server/team/a",
        "/.well-known/openid-configuration/team/a",
        "/team/a/.well-known/openid-configuration",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!(answer.json()["issuer"], "https://mcp.example.com/team/a");
        assert_eq!(answer.json()["token_endpoint"], "https://mcp.example.com/team/a/oauth/token");
    }
    assert_eq!(world.get("/team/a/oauth/jwks").await.status, StatusCode::OK);
    assert_eq!(world.get("/team/a/oauth/token").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn am4_the_host_of_the_request_changes_nothing() {
    let world = World::new().await;
    let plain = world.get(OAUTH).await.body;
    let forged = Request::get(OAUTH)
        .header("host", "evil.example")
        .header("x-forwarded-host", "evil.example")
        .header("x-forwarded-proto", "https")
        .header("forwarded", "host=evil.example");
    assert_eq!(world.send(forged.body(Body::empty()).unwrap()).await.body, plain);
    let client = world.public_client().await;
    let request = Request::get(client.request(&[])).header("host", "evil.example");
    let page = world.send(request.body(Body::empty()).unwrap()).await.text();
    assert!(!page.contains("evil.example") && page.contains(&format!("action=\"{ISSUER}/oauth/login\"")), "{page}");
}

#[tokio::test]
async fn tk17_cross_origin_calls_are_open_where_clients_call_and_closed_where_people_look() {
    let world = World::new().await;
    let preflight = |path: &str| {
        Request::options(path)
            .header("origin", "https://client.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .body(Body::empty())
            .unwrap()
    };
    for path in ["/oauth/token", "/oauth/register", "/oauth/revoke", "/oauth/jwks", OAUTH, OPENID] {
        let answer = world.send(preflight(path)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert!(answer.header("access-control-allow-headers").to_lowercase().contains("authorization"));
    }
    let refused = world.post("/oauth/token", &[]).await;
    assert_eq!(refused.header("access-control-allow-origin"), "*");
    assert!(refused.header("access-control-expose-headers").contains("WWW-Authenticate"));
    for path in ["/oauth/authorize", "/oauth/login", "/oauth/consent"] {
        let answer = world.send(preflight(path)).await;
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
}

#[tokio::test]
async fn jw1_two_nodes_on_one_store_sign_with_one_published_key_named_by_its_thumbprint() {
    let world = World::new().await;
    let second = world.node(config()).await;
    let jwks = world.get("/oauth/jwks").await;
    assert_eq!(jwks.body, second.get("/oauth/jwks").await.body);
    assert_eq!(jwks.body, world.server.jwks().await);
    let keys = jwks.json()["keys"].as_array().unwrap().clone();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].get("d").is_none());
    let thumbprint_input = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, keys[0]["x"], keys[0]["y"]);
    assert_eq!(keys[0]["kid"], crate::world::challenge_of(&thumbprint_input));
}

#[test]
fn a_configuration_that_cannot_be_safe_is_refused() {
    let issuer = |issuer: &str| AuthServerConfig { issuer: issuer.to_owned(), ..config() };
    for wrong in [
        "http://mcp.example.com",
        "https://mcp.example.com/",
        "https://MCP.example.com",
        "https://mcp.example.com:443",
        "https://u@mcp.example.com",
        "https://mcp.example.com?x",
        "ftp://mcp.example.com",
        "mcp.example.com",
        "",
    ] {
        assert!(issuer(wrong).validate().is_err(), "{wrong}");
    }
    assert!(config().validate().is_ok());
    // The development login is for loopback.
    let exposed = AuthServerConfig {
        login: LoginMethods { users: Vec::new(), development: Some(DevelopmentLogin { users: vec!["x".to_owned()] }) },
        ..issuer("https://mcp.example.com")
    };
    assert!(exposed.validate().is_err());
    assert!(AuthServerConfig { login: LoginMethods::default(), ..config() }.validate().is_err());
    assert!(AuthServerConfig { resources: Vec::new(), ..config() }.validate().is_err());
    let mut weak = config();
    weak.login.users[0].password_hash = "secret".to_owned();
    assert!(weak.validate().is_err());
    let grace = AuthServerConfig { refresh_grace: std::time::Duration::from_secs(301), ..config() };
    assert!(grace.validate().is_err());
    // No private redirect scheme is one that a browser or the system acts on by itself.
    for scheme in ["javascript", "data", "http", "ms-msdt", "intent", "Cursor", "cur sor", "cursor:", "1password", ""] {
        let mut unsafe_scheme = config();
        unsafe_scheme.registration.private_schemes = vec![scheme.to_owned()];
        assert!(unsafe_scheme.validate().is_err(), "{scheme}");
    }
}
