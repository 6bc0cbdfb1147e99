//! Wrong configurations and the exact text that is shown for each: endpoints and names.

use super::refused;

#[test]
fn endpoints() {
    refused(
        "backends: { a: { url: http://h/ }, b: { url: http://h/ } }
endpoints:
  one: { path: mcp, backends: [aa] }
  two: { path: /mcp, backends: [a, a] }
  three: { path: /mcp, backends: [zebra] }
  four: { path: /oauth/mcp, anonymous: yes }
  five: { path: /.well-known }
  six: { path: /a/../b }
",
        "error: `endpoints.one.path` cannot be `mcp`
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
  = help: `/oauth` and paths below it belong to the gateway itself; write a path, for example `/mcp` or `/team/mcp`

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
  = help: `/.well-known` and paths below it belong to the gateway itself; write a path, for example `/mcp` or `/team/mcp`

error: `endpoints.six.path` cannot be `/a/../b`
 --> hawser.yaml:8:16
  |
8 |   six: { path: /a/../b }
  |                ^^^^^^^
  = help: a path has letters, digits, `-`, `.`, `_` and `~` between single slashes, and none at its end
",
    );
}

#[test]
fn two_backends_without_prefix() {
    refused(
        "backends:
  a: { url: http://h/, naming: none }
  b: { url: http://h/, naming: none }
",
        "error: endpoint `default` has several backends with `naming: none`: `a`, `b`
  --> hawser.yaml
   = help: at most one backend of an endpoint may keep its own names; use `naming: prefix` for the others
",
    );
}

#[test]
fn naming_misspelt() {
    refused(
        "backends:
  a: { url: http://h/, naming: prefixed }
",
        "error: `backends.a.naming` cannot be `prefixed`
 --> hawser.yaml:2:32
  |
2 |   a: { url: http://h/, naming: prefixed }
  |                                ^^^^^^^^
  = help: did you mean `prefix`?
",
    );
}
