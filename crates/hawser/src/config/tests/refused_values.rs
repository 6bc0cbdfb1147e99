//! Wrong configurations and the exact text that is shown for each: addresses and backends.

use super::refused;

#[test]
fn several_problems_at_once() {
    refused(
        "listen: localhost:8420
store: redis
backends:
  Time_Server: { command: [] }
  web: { url: ftp://h/, timeout: 60 }
sessions: { idle: 30d, lifetime: 7d }
limits: { depth: 1000, request_body: 4MB }
",
        "error: `listen` cannot be `localhost:8420`
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
  = help: expected `file`, `memory`, or a server: `redis://user:password@host:6379/0`, `redis+sentinel://host:26379,host:26379/NAME` or `redis+cluster://host:6379,host:6379` (`rediss` for TLS), or a reference to that: `env:NAME`, `file:PATH`

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
",
    );
}

#[test]
fn public_url_without_tls() {
    refused(
        "public_url: http://mcp.example.com
",
        "error: `public_url` cannot be `http://mcp.example.com`
 --> hawser.yaml:1:13
  |
1 | public_url: http://mcp.example.com
  |             ^^^^^^^^^^^^^^^^^^^^^^
  = help: access tokens travel to this URL: it must be https, unless it is on loopback
",
    );
}

#[test]
fn public_url_with_a_path() {
    refused(
        "public_url: https://mcp.example.com/hawser/
",
        "error: `public_url` cannot be `https://mcp.example.com/hawser/`
 --> hawser.yaml:1:13
  |
1 | public_url: https://mcp.example.com/hawser/
  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: leave path, query and fragment out; endpoints have their own `path`
",
    );
}

#[test]
fn public_url_missing() {
    refused(
        "listen: 0.0.0.0:8420
auth: { issuers: [{ issuer: https://idp.example.com }] }
",
        "error: `public_url` is missing: the gateway listens on 0.0.0.0:8420, which is not loopback
 --> hawser.yaml:1:9
  |
1 | listen: 0.0.0.0:8420
  |         ^^^^^^^^^^^^
  = help: say how clients reach it: `public_url: https://mcp.example.com`
",
    );
}

#[test]
fn origins_and_hosts() {
    refused(
        "allowed_origins: ['*', https://a.example/x, https://b.example]
allowed_hosts: ['*.internal', http://h]
",
        "error: `allowed_origins` cannot be `*`
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
",
    );
}

#[test]
fn a_backend_with_both() {
    refused(
        "backends:
  a:
    url: http://h/
    command: x
",
        "error: backend `a` has both `url` and `command`
 --> hawser.yaml:4:14
  |
4 |     command: x
  |              ^
  = help: keep the one that is meant
",
    );
}

#[test]
fn a_backend_with_neither() {
    refused(
        "backends:
  a: { timeout: 5s }
",
        "error: backend `a` has neither `url` nor `command`
 --> hawser.yaml:2:3
  |
2 |   a: { timeout: 5s }
  |   ^
  = help: add `url: http://127.0.0.1:3001/mcp` or `command: [program, argument]`
",
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
        "backends:
  a: { url: http://h/, env: { A: b }, cwd: / }
  b: { command: x, headers: { A: b } }
  c: { command: x, transport: sse }
  d: { url: http://h/, transport: ssh }
",
        "error: `backends.a.env` only has a meaning with `command`
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

error: `backends.c.transport` only has a meaning with `url`
 --> hawser.yaml:4:31
  |
4 |   c: { command: x, transport: sse }
  |                               ^^^
  = help: remove `transport`

error: `backends.d.transport` cannot be `ssh`
 --> hawser.yaml:5:35
  |
5 |   d: { url: http://h/, transport: ssh }
  |                                   ^^^
  = help: did you mean `sse`?
",
    );
}

#[test]
fn headers() {
    refused(
        "backends:
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
",
        "error: header `mcp-session-id` is written by the gateway itself
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
",
    );
}

#[test]
fn a_user_in_a_url() {
    refused(
        "backends:
  a: { url: http://alice:hunter2@h/mcp }
",
        "error: `backends.a.url` cannot be `http://*************@h/mcp`
 --> hawser.yaml:2:13
  |
2 |   a: { url: http://*************@h/mcp }
  |             ^^^^^^^^^^^^^^^^^^^^^^^^^^
  = help: leave user and password out of the URL; send a header instead (`headers:`)
",
    );
}

#[test]
fn proxies() {
    refused(
        "trusted_proxies: [0.0.0.0/0, proxy.internal]
",
        "error: `trusted_proxies` cannot be `0.0.0.0/0`
 --> hawser.yaml:1:19
  |
1 | trusted_proxies: [0.0.0.0/0, proxy.internal]
  |                   ^^^^^^^^^
  = help: name the proxies: whoever is trusted chooses the address that limits are counted by

error: `trusted_proxies` cannot be `proxy.internal`
 --> hawser.yaml:1:30
  |
1 | trusted_proxies: [0.0.0.0/0, proxy.internal]
  |                              ^^^^^^^^^^^^^^
  = help: write an address or a network: `10.0.0.5` or `10.0.0.0/8`
",
    );
}
