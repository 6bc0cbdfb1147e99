//! Wrong configurations and the exact text that is shown for each.

use super::*;

#[track_caller]
fn refused(text: &str, shown: &str) {
    let report = load_text(text, &Overrides::default()).unwrap_err();
    assert_eq!(format!("{report}\n"), shown);
}

#[test]
fn an_unknown_key() {
    refused(
        r#"listen: 127.0.0.1:1
backens:
  a: { url: http://h/ }
"#,
        r#"error: unknown key `backens`
 --> hawser.yaml:2:1
  |
2 | backens:
  | ^^^^^^^
  = help: did you mean `backends`?
"#,
    );
}

#[test]
fn an_unknown_key_inside() {
    refused(
        r#"backends:
  a:
    url: http://h/
    time_out: 5s
"#,
        r#"error: unknown key `time_out`
 --> hawser.yaml:4:5
  |
4 |     time_out: 5s
  |     ^^^^^^^^
  = help: did you mean `timeout`?
"#,
    );
}

#[test]
fn arguments_like_in_other_programs() {
    refused(
        r#"backends:
  a:
    command: npx
    args: [-y, server]
"#,
        r#"error: unknown key `args`
 --> hawser.yaml:4:5
  |
4 |     args: [-y, server]
  |     ^^^^
  = help: put the arguments into `command: [program, argument]`
"#,
    );
}

#[test]
fn a_key_like_in_other_programs() {
    refused(
        r#"mcpServers: {}
"#,
        r#"error: unknown key `mcpServers`
 --> hawser.yaml:1:1
  |
1 | mcpServers: {}
  | ^^^^^^^^^^
  = help: did you mean `backends`?
"#,
    );
}

#[test]
fn nothing_like_any_key() {
    refused(
        r#"zzzzzzzz: 1
"#,
        r#"error: unknown key `zzzzzzzz`
 --> hawser.yaml:1:1
  |
1 | zzzzzzzz: 1
  | ^^^^^^^^
  = help: the keys here are `listen`, `public_url`, `data_dir`, `store`, `key_ring`, `allowed_origins`, `allowed_hosts`, `backends`, `endpoints`, `auth`, `sessions`, `limits`
"#,
    );
}

#[test]
fn a_key_twice() {
    refused(
        r#"listen: 127.0.0.1:1
listen: 127.0.0.1:2
"#,
        r#"error: the key `listen` is given twice
 --> hawser.yaml:2:1
  |
2 | listen: 127.0.0.1:2
  | ^^^^^^
  = help: keep one of them
"#,
    );
}

#[test]
fn a_list_instead_of_a_mapping() {
    refused(
        r#"backends: [http://h/]
"#,
        r#"error: expected a mapping here
 --> hawser.yaml:1:11
  |
1 | backends: [http://h/]
  |           ^
  = help: keys and values: `key: value`, or `{}` for none
"#,
    );
}

#[test]
fn a_word_instead_of_a_list() {
    refused(
        r#"allowed_hosts: a
"#,
        r#"error: expected a list here
 --> hawser.yaml:1:16
  |
1 | allowed_hosts: a
  |                ^
  = help: for example `[one, two]`
"#,
    );
}

#[test]
fn a_list_instead_of_a_word() {
    refused(
        r#"listen: [127.0.0.1:1]
"#,
        r#"error: expected a single value here, found a list or a mapping
 --> hawser.yaml:1:9
  |
1 | listen: [127.0.0.1:1]
  |         ^
  = help: write `key: value`
"#,
    );
}

#[test]
fn a_backend_without_a_value() {
    refused(
        r#"backends:
  a:
"#,
        r#"error: expected a mapping here
 --> hawser.yaml:2:4
  |
2 |   a:
  |    ^
  = help: keys and values: `key: value`, or `{}` for none
"#,
    );
}

#[test]
fn a_number_instead_of_a_command() {
    refused(
        r#"backends:
  a: { command: 12 }
"#,
        r#"error: expected a command as text or as a list of words
 --> hawser.yaml:2:8
  |
2 |   a: { command: 12 }
  |        ^^^^^^^
  = help: for example `[mcp-server-time, --local-timezone=UTC]`
"#,
    );
}

#[test]
fn a_null_in_a_list() {
    refused(
        r#"allowed_hosts: [a, ~]
"#,
        r#"error: there is no value here
 --> hawser.yaml:1:20
  |
1 | allowed_hosts: [a, ~]
  |                    ^
  = help: write a value, or leave the key out to get its default
"#,
    );
}

#[test]
fn broken_indentation() {
    refused(
        r#"backends:
  a: {}
   b: {}
"#,
        r#"error: not valid YAML: while parsing a block mapping, did not find expected key
 --> hawser.yaml:3:4
  |
3 |    b: {}
  |    ^
  = help: check indentation (spaces, no tabs), quotes and brackets around here
"#,
    );
}

#[test]
fn an_open_quote() {
    refused(
        r#"listen: "127.0.0.1:1
"#,
        r#"error: not valid YAML: unclosed quote
 --> hawser.yaml:1:9
  |
1 | listen: "127.0.0.1:1
  |         ^
  = help: check indentation (spaces, no tabs), quotes and brackets around here
"#,
    );
}

#[test]
fn two_documents() {
    refused(
        r#"listen: 127.0.0.1:1
---
listen: 127.0.0.1:2
"#,
        r#"error: the file holds more than one YAML document
 --> hawser.yaml:3:1
  |
3 | listen: 127.0.0.1:2
  | ^
  = help: remove the `---` in the middle
"#,
    );
}

#[test]
fn a_merge_key() {
    refused(
        r#"backends:
  <<: {}
"#,
        r#"error: merge keys (`<<`) are not supported
 --> hawser.yaml:2:3
  |
2 |   <<: {}
  |   ^^
  = help: write the keys out
"#,
    );
}

#[test]
fn a_tag() {
    refused(
        r#"listen: !!int 1
"#,
        r#"error: YAML tags have no meaning here
 --> hawser.yaml:1:15
  |
1 | listen: !!int 1
  |               ^
  = help: remove the `!…` tag
"#,
    );
}

#[test]
fn a_tag_of_its_own() {
    refused(
        r#"listen: !vault x
"#,
        r#"error: YAML tags have no meaning here
 --> hawser.yaml:1:16
  |
1 | listen: !vault x
  |                ^
  = help: remove the `!…` tag
"#,
    );
}

#[test]
fn a_glob_taken_for_an_alias() {
    refused(
        r#"allowed_hosts: [*internal]
"#,
        r#"error: this alias (`*name`) refers to no anchor (`&name`)
 --> hawser.yaml:1:17
  |
1 | allowed_hosts: [*internal]
  |                 ^
  = help: put text that starts with `*` in quotes
"#,
    );
}

#[test]
fn several_problems_at_once() {
    refused(
        r#"listen: localhost:8420
store: redis
backends:
  Time_Server: { command: [] }
  web: { url: ftp://h/, timeout: 60 }
sessions: { idle: 30d, lifetime: 7d }
limits: { depth: 1000, request_body: 4MB }
"#,
        r#"error: `listen` cannot be `localhost:8420`
 --> hawser.yaml:1:9
  |
1 | listen: localhost:8420
  |         ^^^^^^^^^^^^^^
  = help: write the address: `127.0.0.1:8420`

error: `store` cannot be `redis`
 --> hawser.yaml:2:8
  |
2 | store: redis
  |        ^^^^^
  = help: expected `file` or `memory`

error: a backend cannot be called `Time_Server`
 --> hawser.yaml:4:3
  |
4 |   Time_Server: { command: [] }
  |   ^^^^^^^^^^^
  = help: a name has 1 to 32 of a-z, 0-9 and `-`, and starts and ends with a letter or digit; how about `time-server`?

error: `backends.web.url` cannot be `ftp://h/`
 --> hawser.yaml:5:15
  |
5 |   web: { url: ftp://h/, timeout: 60 }
  |               ^^^^^^^^
  = help: only http and https URLs can be reached

error: `backends.web.timeout` cannot be `60`
 --> hawser.yaml:5:34
  |
5 |   web: { url: ftp://h/, timeout: 60 }
  |                                  ^^
  = help: write a number and a unit, for example `30s`, `10m`, `24h` or `7d`

error: `sessions.idle` (30d) is longer than `sessions.lifetime` (7d)
 --> hawser.yaml:6:19
  |
6 | sessions: { idle: 30d, lifetime: 7d }
  |                   ^^^
  = help: make `sessions.idle` shorter or `sessions.lifetime` longer

error: `limits.depth` cannot be `1000`
 --> hawser.yaml:7:18
  |
7 | limits: { depth: 1000, request_body: 4MB }
  |                  ^^^^
  = help: it must be from 8 to 128

error: `limits.request_body` cannot be `4MB`
 --> hawser.yaml:7:38
  |
7 | limits: { depth: 1000, request_body: 4MB }
  |                                      ^^^
  = help: write a number of bytes, or a number and a unit: `64KiB`, `4MiB` or `1GiB`
"#,
    );
}

#[test]
fn public_url_without_tls() {
    refused(
        r#"public_url: http://mcp.example.com
"#,
        r#"error: `public_url` cannot be `http://mcp.example.com`
 --> hawser.yaml:1:13
  |
1 | public_url: http://mcp.example.com
  |             ^^^^^^^^^^^^^^^^^^^^^^
  = help: access tokens travel to this URL: it must be https, unless it is on loopback
"#,
    );
}

#[test]
fn public_url_with_a_path() {
    refused(
        r#"public_url: https://mcp.example.com/hawser/
"#,
        r#"error: `public_url` cannot be `https://mcp.example.com/hawser/`
 --> hawser.yaml:1:13
  |
1 | public_url: https://mcp.example.com/hawser/
  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: leave path, query and fragment out; endpoints have their own `path`
"#,
    );
}

#[test]
fn public_url_missing() {
    refused(
        r#"listen: 0.0.0.0:8420
auth: { issuers: [{ issuer: https://idp.example.com }] }
"#,
        r#"error: `public_url` is missing: the gateway listens on 0.0.0.0:8420, which is not loopback
 --> hawser.yaml:1:9
  |
1 | listen: 0.0.0.0:8420
  |         ^^^^^^^^^^^^
  = help: say how clients reach it: `public_url: https://mcp.example.com`
"#,
    );
}

#[test]
fn origins_and_hosts() {
    refused(
        r#"allowed_origins: ['*', https://a.example/x, https://b.example]
allowed_hosts: ['*.internal', http://h]
"#,
        r#"error: `allowed_origins` cannot be `*`
 --> hawser.yaml:1:19
  |
1 | allowed_origins: ['*', https://a.example/x, https://b.example]
  |                   ^^^
  = help: every web page could then use a visitor's gateway; name the origins

error: `allowed_origins` cannot be `https://a.example/x`
 --> hawser.yaml:1:24
  |
1 | allowed_origins: ['*', https://a.example/x, https://b.example]
  |                        ^^^^^^^^^^^^^^^^^^^
  = help: an origin is scheme, host and port only: `https://app.example.com`

error: `allowed_hosts` cannot be `*.internal`
 --> hawser.yaml:2:17
  |
2 | allowed_hosts: ['*.internal', http://h]
  |                 ^^^^^^^^^^^^
  = help: name the hosts: a pattern would let DNS rebinding through

error: `allowed_hosts` cannot be `http://h`
 --> hawser.yaml:2:31
  |
2 | allowed_hosts: ['*.internal', http://h]
  |                               ^^^^^^^^
  = help: write a host name, with a port if it is not the default: `mcp.internal` or `mcp.internal:8443`
"#,
    );
}

#[test]
fn a_backend_with_both() {
    refused(
        r#"backends:
  a:
    url: http://h/
    command: x
"#,
        r#"error: backend `a` has both `url` and `command`
 --> hawser.yaml:4:14
  |
4 |     command: x
  |              ^
  = help: keep the one that is meant
"#,
    );
}

#[test]
fn a_backend_with_neither() {
    refused(
        r#"backends:
  a: { timeout: 5s }
"#,
        r#"error: backend `a` has neither `url` nor `command`
 --> hawser.yaml:2:3
  |
2 |   a: { timeout: 5s }
  |   ^
  = help: add `url: http://127.0.0.1:3001/mcp` or `command: [program, argument]`
"#,
    );
}

#[test]
fn a_command_with_an_open_quote() {
    refused(
        r#"backends:
  a: { command: "npx 'x" }
"#,
        r#"error: `backends.a.command` cannot be started
 --> hawser.yaml:2:17
  |
2 |   a: { command: "npx 'x" }
  |                 ^^^^^^^^
  = help: a quote or backslash in the command is not closed
"#,
    );
}

#[test]
fn keys_of_the_other_transport() {
    refused(
        r#"backends:
  a: { url: http://h/, env: { A: b }, cwd: / }
  b: { command: x, headers: { A: b } }
"#,
        r#"error: `backends.a.env` only has a meaning with `command`
 --> hawser.yaml:2:31
  |
2 |   a: { url: http://h/, env: { A: * }, cwd: * }
  |                               ^
  = help: remove `env`

error: `backends.a.cwd` only has a meaning with `command`
 --> hawser.yaml:2:44
  |
2 |   a: { url: http://h/, env: { A: * }, cwd: * }
  |                                            ^
  = help: remove `cwd`

error: `backends.b.headers` only has a meaning with `url`
 --> hawser.yaml:3:31
  |
3 |   b: { command: x, headers: { A: * } }
  |                               ^
  = help: remove `headers`
"#,
    );
}

#[test]
fn headers() {
    refused(
        r#"backends:
  a:
    url: http://h/
    headers:
      Mcp-Session-Id: abc
      'X Y': abc
      X-A: abc
      x-a: abc
      X-B: env:TWO_LINES
      X-C: env:NOPE
      X-D: env:EMPTY
      X-E: file:nope
      X-F: 'env:'
"#,
        r#"error: header `mcp-session-id` is written by the gateway itself
 --> hawser.yaml:5:7
  |
5 |       Mcp-Session-Id: ***
  |       ^^^^^^^^^^^^^^
  = help: remove it

error: `X Y` is not a header name
 --> hawser.yaml:6:7
  |
6 |       '* *'* ***
  |       ^^^^^
  = help: letters, digits and `-`, for example `X-Api-Key`

error: header `x-a` is given twice
 --> hawser.yaml:8:7
  |
8 |       x-a: ***
  |       ^^^
  = help: header names are the same in upper and lower case; keep one of them

error: the value of `backends.a.headers.X-B` cannot be sent in a header
 --> hawser.yaml:9:12
  |
9 |       X-B: env:TWO_LINES
  |            ^^^^^^^^^^^^^
  = help: it holds a line break or another control character

error: `backends.a.headers.X-C`: environment variable `NOPE` is not set
  --> hawser.yaml:10:12
   |
10 |       X-C: env:NOPE
   |            ^^^^^^^^
   = help: set it before starting hawser: `export NOPE=…`

error: `backends.a.headers.X-D`: environment variable `EMPTY` is empty
  --> hawser.yaml:11:12
   |
11 |       X-D: env:EMPTY
   |            ^^^^^^^^^
   = help: set it before starting hawser: `export EMPTY=…`

error: `backends.a.headers.X-E`: file `/etc/hawser/nope` cannot be read: No such file or directory (os error 2)
  --> hawser.yaml:12:12
   |
12 |       X-E: file:nope
   |            ^^^^^^^^^
   = help: the path is taken from the folder of the configuration file unless it starts with `/`

error: `backends.a.headers.X-F`: `env:` is not followed by the name of an environment variable
  --> hawser.yaml:13:12
   |
13 |       X-F: '****'
   |            ^^^^^^
   = help: for example `env:API_KEY`
"#,
    );
}

#[test]
fn a_user_in_a_url() {
    refused(
        r#"backends:
  a: { url: http://alice:hunter2@h/mcp }
"#,
        r#"error: `backends.a.url` cannot be `http://*************@h/mcp`
 --> hawser.yaml:2:13
  |
2 |   a: { url: http://*************@h/mcp }
  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: leave user and password out of the URL; send a header instead (`headers:`)
"#,
    );
}

#[test]
fn endpoints() {
    refused(
        r#"backends: { a: { url: http://h/ }, b: { url: http://h/ } }
endpoints:
  one: { path: mcp, backends: [aa] }
  two: { path: /mcp, backends: [a, a] }
  three: { path: /mcp, backends: [zebra] }
  four: { path: /oauth/mcp, anonymous: yes }
  five: { path: /.well-known }
  six: { path: /a/../b }
"#,
        r#"error: `endpoints.one.path` cannot be `mcp`
 --> hawser.yaml:3:16
  |
3 |   one: { path: mcp, backends: [aa] }
  |                ^^^
  = help: write a path, for example `/mcp` or `/team/mcp`

error: endpoint `one` names a backend `aa` that does not exist
 --> hawser.yaml:3:32
  |
3 |   one: { path: mcp, backends: [aa] }
  |                                ^^
  = help: did you mean `a`?

error: endpoint `two` names backend `a` twice
 --> hawser.yaml:4:36
  |
4 |   two: { path: /mcp, backends: [a, a] }
  |                                    ^
  = help: keep one of them

error: endpoints `two` and `three` have the same path `/mcp`
 --> hawser.yaml:5:18
  |
5 |   three: { path: /mcp, backends: [zebra] }
  |                  ^^^^
  = help: give each endpoint a path of its own

error: endpoint `three` names a backend `zebra` that does not exist
 --> hawser.yaml:5:35
  |
5 |   three: { path: /mcp, backends: [zebra] }
  |                                   ^^^^^
  = help: add it under `backends:`, or remove it here

error: `endpoints.four.path` cannot be `/oauth/mcp`
 --> hawser.yaml:6:17
  |
6 |   four: { path: /oauth/mcp, anonymous: yes }
  |                 ^^^^^^^^^^
  = help: paths below `/oauth` belong to the gateway itself; write a path, for example `/mcp` or `/team/mcp`

error: `endpoints.four.anonymous` cannot be `yes`
 --> hawser.yaml:6:40
  |
6 |   four: { path: /oauth/mcp, anonymous: yes }
  |                                        ^^^
  = help: write `true` or `false`

error: `endpoints.five.path` cannot be `/.well-known`
 --> hawser.yaml:7:17
  |
7 |   five: { path: /.well-known }
  |                 ^^^^^^^^^^^^
  = help: paths below `/.well-known` belong to the gateway itself; write a path, for example `/mcp` or `/team/mcp`

error: `endpoints.six.path` cannot be `/a/../b`
 --> hawser.yaml:8:16
  |
8 |   six: { path: /a/../b }
  |                ^^^^^^^
  = help: a path has letters, digits, `-`, `.`, `_` and `~` between single slashes, and none at its end
"#,
    );
}

#[test]
fn two_backends_without_prefix() {
    refused(
        r#"backends:
  a: { url: http://h/, naming: none }
  b: { url: http://h/, naming: none }
"#,
        r#"error: endpoint `default` has several backends with `naming: none`: `a`, `b`
  --> hawser.yaml
   = help: at most one backend of an endpoint may keep its own names; use `naming: prefix` for the others
"#,
    );
}

#[test]
fn naming_misspelt() {
    refused(
        r#"backends:
  a: { url: http://h/, naming: prefixed }
"#,
        r#"error: `backends.a.naming` cannot be `prefixed`
 --> hawser.yaml:2:32
  |
2 |   a: { url: http://h/, naming: prefixed }
  |                                ^^^^^^^^
  = help: did you mean `prefix`?
"#,
    );
}

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
        r#"key_ring: env:NO_RING
"#,
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
        r#"key_ring: env:BROKEN_RING
"#,
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
        r#"auth:
  authorization_server:
    users:
      - { name: alice, password: hunter2 }
      - { name: bob, password: env:TIME_TOKEN }
      - { name: alice, password: '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAPs8wTrdJzzMVgE' }
      - { name: carol }
      - { name: ' dave', password: '$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAPs8wTrdJzzMVgE' }
"#,
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
  = help: a user name has 1 to 255 bytes, no control characters and no space around it
"#,
    );
}

#[test]
fn development_login_in_public() {
    refused(
        r#"listen: 0.0.0.0:1
public_url: https://h.example
auth: { authorization_server: { development_login: true } }
"#,
        r#"error: development login is refused: the gateway listens on 0.0.0.0:1, which is not loopback
 --> hawser.yaml:3:52
  |
3 | auth: { authorization_server: { development_login: true } }
  |                                                    ^^^^
  = help: anyone who reaches it could log in as anyone; add `users`, or listen on `127.0.0.1`
"#,
    );
}

#[test]
fn nobody_can_log_in() {
    refused(
        r#"auth: { authorization_server: { enabled: false } }
"#,
        r#"error: nobody could log in
  --> hawser.yaml
   = help: add `auth.issuers`, or turn `auth.authorization_server.enabled` on
"#,
    );
}

#[test]
fn grace_and_lifetimes() {
    refused(
        r#"auth:
  authorization_server:
    refresh_grace: 301s
    refresh_idle: 30d
    refresh_lifetime: 7d
    access_token_lifetime: 10
    enabled: on
"#,
        r#"error: `auth.authorization_server.refresh_grace` cannot be `301s`
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
"#,
    );
}

#[test]
fn issuers() {
    refused(
        r#"public_url: https://mcp.example.com
auth:
  issuers:
    - issuer: http://idp.example.com
    - issuer: https://mcp.example.com/
    - { issuer: https://a.example, algorithms: [HS256, RS257], token_types: [''], tenant: x }
    - { issuer: https://a.example }
    - { jwks_uri: https://a.example }
    - { issuer: https://b.example, algorithms: [], jwks_uri: http://b.example }
"#,
        r#"error: `auth.issuers[0].issuer` cannot be `http://idp.example.com`
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
"#,
    );
}

#[test]
fn more_sessions_for_one_than_for_all() {
    refused(
        r#"sessions: { per_owner: 20, total: 10 }
"#,
        r#"error: `sessions.per_owner` cannot be `20`
 --> hawser.yaml:1:24
  |
1 | sessions: { per_owner: 20, total: 10 }
  |                        ^^
  = help: it is more than `sessions.total` (10) allows for all together
"#,
    );
}
