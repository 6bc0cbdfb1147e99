//! Wrong configurations and the exact text that is shown for each: keys, users, issuers and sessions.

use super::refused;

#[test]
fn a_key_ring_in_the_file() {
    refused(
        r#"key_ring: '{"keys":[]}'
"#,
        r#"error: `key_ring` is not a reference
 --> hawser.yaml:1:11
  |
1 | key_ring: '{"keys"*[]}'
  |           ^^^^^^^^^^^^^
  = help: write `env:NAME` or `file:PATH`; the keys do not belong into the configuration itself
"#,
    );
}

#[test]
fn key_rings_that_are_none() {
    refused(
        "key_ring: env:NO_RING
",
        r#"error: `key_ring` leads to no key ring: wrong at line 1, column 8
 --> hawser.yaml:1:11
  |
1 | key_ring: env:NO_RING
  |           ^^^^^^^^^^^
  = help: expected {"keys": [{"id": 1, "state": "active", "secret": "32 bytes in base64url"}]}
"#,
    );
}

#[test]
fn a_key_ring_that_cannot_be_used() {
    refused(
        "key_ring: env:BROKEN_RING
",
        r#"error: `key_ring` leads to a key ring that cannot be used: the secret of key 1 is not 32 bytes in base64url
 --> hawser.yaml:1:11
  |
1 | key_ring: env:BROKEN_RING
  |           ^^^^^^^^^^^^^^^
  = help: expected {"keys": [{"id": 1, "state": "active", "secret": "32 bytes in base64url"}]}
"#,
    );
}

#[test]
fn a_password_instead_of_a_hash() {
    refused(
        "auth:
  authorization_server:
    users:
      - { name: alice, password: hunter2 }
      - { name: bob, password: env:TIME_TOKEN }
      - { name: alice, password: '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAPs8wTrdJzzMVgE' }
      - { name: carol }
      - { name: ' dave', password: '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAPs8wTrdJzzMVgE' }
",
        r#"error: the password of user `alice` is not an argon2id hash
 --> hawser.yaml:4:34
  |
4 |       - { name: alice, password: ******* }
  |                                  ^^^^^^^
  = help: make one with `hawser user hash-password`, and put it in quotes

error: the password of user `bob` does not lead to an argon2id hash
 --> hawser.yaml:5:32
  |
5 |       - { name: bob, password: env:TIME_TOKEN }
  |                                ^^^^^^^^^^^^^^
  = help: make one with `hawser user hash-password`, and put it in quotes

error: `auth.authorization_server.users[3]` has no `password`
 --> hawser.yaml:7:9
  |
7 |       - { name: carol }
  |         ^
  = help: for example `{ name: alice, password: "$argon2id$…" }`; `hawser user hash-password` makes the hash

error: `name` cannot be ` dave`
 --> hawser.yaml:8:17
  |
8 |       - { name: ' dave', password: '******************,***,***********************************************************' }
  |                 ^^^^^^^
  = help: a user name has 1 to 200 bytes, no control characters and no space around it
"#,
    );
}

#[test]
fn development_login_in_public() {
    refused(
        "listen: 0.0.0.0:1
public_url: https://h.example
auth: { authorization_server: { development_login: true } }
",
        "error: development login is refused: the gateway listens on 0.0.0.0:1, which is not loopback
 --> hawser.yaml:3:52
  |
3 | auth: { authorization_server: { development_login: true } }
  |                                                    ^^^^
  = help: anyone who reaches it could log in as anyone; add `users`, or listen on `127.0.0.1`
",
    );
}

#[test]
fn development_login_behind_a_public_url() {
    refused(
        "listen: 127.0.0.1:1
public_url: https://h.example
auth: { authorization_server: { development_login: true } }
",
        "error: development login is refused: `public_url` is https://h.example, which is not on loopback
 --> hawser.yaml:3:52
  |
3 | auth: { authorization_server: { development_login: true } }
  |                                                    ^^^^
  = help: anyone who reaches it could log in as anyone; add `users`, or leave `public_url` out
",
    );
}

#[test]
fn an_authorization_server_that_was_asked_for_and_that_nobody_can_log_in_at() {
    refused(
        "public_url: https://h.example
auth:
  authorization_server: { enabled: true }
  issuers: [{ issuer: https://idp.example.com }]
",
        "error: nobody could log in at the embedded authorization server
 --> hawser.yaml:3:36
  |
3 |   authorization_server: { enabled: true }
  |                                    ^^^^
  = help: add `auth.authorization_server.users`, or turn `enabled` off
",
    );
}

#[test]
fn a_name_and_a_grant_that_are_too_long() {
    let name = "a".repeat(201);
    let hash = super::HASH;
    let text = format!(
        "auth: {{ authorization_server: {{ refresh_lifetime: 121d, users: [{{ name: {name}, password: '{hash}' }}] }} }}"
    );
    let report = super::load_text(&text, &super::Overrides::default()).unwrap_err().to_string();
    assert!(report.contains("it must be from 1s to 120d"), "{report}");
    assert!(report.contains("a user name has 1 to 200 bytes"), "{report}");
}

#[test]
fn nobody_can_log_in() {
    refused(
        "auth: { authorization_server: { enabled: false } }
",
        "error: nobody could log in
  --> hawser.yaml
   = help: add `auth.issuers`, or turn `auth.authorization_server.enabled` on
",
    );
}

#[test]
fn grace_and_lifetimes() {
    refused(
        "auth:
  authorization_server:
    refresh_grace: 301s
    refresh_idle: 30d
    refresh_lifetime: 7d
    access_token_lifetime: 10
    enabled: on
",
        "error: `auth.authorization_server.refresh_grace` cannot be `301s`
 --> hawser.yaml:3:20
  |
3 |     refresh_grace: 301s
  |                    ^^^^
  = help: it must be from 0s to 5m

error: `refresh_idle` (30d) is longer than `refresh_lifetime` (7d)
 --> hawser.yaml:4:19
  |
4 |     refresh_idle: 30d
  |                   ^^^
  = help: make `refresh_idle` shorter or `refresh_lifetime` longer

error: `auth.authorization_server.access_token_lifetime` cannot be `10`
 --> hawser.yaml:6:28
  |
6 |     access_token_lifetime: 10
  |                            ^^
  = help: write a number and a unit, for example `30s`, `10m`, `24h` or `7d`

error: `auth.authorization_server.enabled` cannot be `on`
 --> hawser.yaml:7:14
  |
7 |     enabled: on
  |              ^^
  = help: write `true` or `false`
",
    );
}

#[test]
fn issuers() {
    refused(
        "public_url: https://mcp.example.com
auth:
  issuers:
    - issuer: http://idp.example.com
    - issuer: https://mcp.example.com/
    - { issuer: https://a.example, algorithms: [HS256, RS257], token_types: [''], tenant: x }
    - { issuer: https://a.example }
    - { jwks_uri: https://a.example }
    - { issuer: https://b.example, algorithms: [], jwks_uri: http://b.example }
",
        "error: `auth.issuers[0].issuer` cannot be `http://idp.example.com`
 --> hawser.yaml:4:15
  |
4 |     - issuer: http://idp.example.com
  |               ^^^^^^^^^^^^^^^^^^^^^^
  = help: it must be https, unless it is on loopback

error: `auth.issuers[1].issuer` cannot be `https://mcp.example.com/`
 --> hawser.yaml:5:15
  |
5 |     - issuer: https://mcp.example.com/
  |               ^^^^^^^^^^^^^^^^^^^^^^^^
  = help: it is this gateway's own `public_url`; the embedded authorization server needs no entry here

error: `auth.issuers[2].algorithms` cannot be `HS256`
 --> hawser.yaml:6:49
  |
6 |     - { issuer: https://a.example, algorithms: [HS256, RS257], token_types: [''], tenant: x }
  |                                                 ^^^^^
  = help: a shared secret proves nothing here; did you mean `RS256`?

error: `auth.issuers[2].algorithms` cannot be `RS257`
 --> hawser.yaml:6:56
  |
6 |     - { issuer: https://a.example, algorithms: [HS256, RS257], token_types: [''], tenant: x }
  |                                                        ^^^^^
  = help: did you mean `RS256`?

error: `auth.issuers[2].token_types` cannot be ``
 --> hawser.yaml:6:78
  |
6 |     - { issuer: https://a.example, algorithms: [HS256, RS257], token_types: [''], tenant: x }
  |                                                                              ^^
  = help: write a value of the JWT header `typ`, for example `at+jwt`

error: `auth.issuers[2].tenant` is given without `tenant_claim`
 --> hawser.yaml:6:91
  |
6 |     - { issuer: https://a.example, algorithms: [HS256, RS257], token_types: [''], tenant: x }
  |                                                                                           ^
  = help: say which claim holds the tenant, for example `tenant_claim: tid`

error: `auth.issuers[3].issuer` cannot be `https://a.example`
 --> hawser.yaml:7:17
  |
7 |     - { issuer: https://a.example }
  |                 ^^^^^^^^^^^^^^^^^
  = help: it is given twice; keep one of them

error: `auth.issuers[4]` has no `issuer`
 --> hawser.yaml:8:7
  |
8 |     - { jwks_uri: https://a.example }
  |       ^
  = help: for example `issuer: https://idp.example.com`

error: `auth.issuers[5].algorithms` must have 1 to 16 entries
 --> hawser.yaml:9:48
  |
9 |     - { issuer: https://b.example, algorithms: [], jwks_uri: http://b.example }
  |                                                ^
  = help: leave it out to get [RS256, ES256]

error: `auth.issuers[5].jwks_uri` cannot be `http://b.example`
 --> hawser.yaml:9:62
  |
9 |     - { issuer: https://b.example, algorithms: [], jwks_uri: http://b.example }
  |                                                              ^^^^^^^^^^^^^^^^
  = help: it must be https, unless it is on loopback
",
    );
}

#[test]
fn more_sessions_for_one_than_for_all() {
    refused(
        "sessions: { per_owner: 20, total: 10 }
",
        "error: `sessions.per_owner` cannot be `20`
 --> hawser.yaml:1:24
  |
1 | sessions: { per_owner: 20, total: 10 }
  |                        ^^
  = help: it is more than `sessions.total` (10) allows for all together
",
    );
}
