//! Wrong configurations and the exact text that is shown for each: the shape of the file.

use super::refused;

#[test]
fn an_unknown_key() {
    refused(
        "listen: 127.0.0.1:1
backens:
  a: { url: http://h/ }
",
        "error: unknown key `backens`
 --> hawser.yaml:2:1
  |
2 | backens:
  | ^^^^^^^
  = help: did you mean `backends`?
",
    );
}

#[test]
fn an_unknown_key_inside() {
    refused(
        "backends:
  a:
    url: http://h/
    time_out: 5s
",
        "error: unknown key `time_out`
 --> hawser.yaml:4:5
  |
4 |     time_out: 5s
  |     ^^^^^^^^
  = help: did you mean `timeout`?
",
    );
}

#[test]
fn arguments_like_in_other_programs() {
    refused(
        "backends:
  a:
    command: npx
    args: [-y, server]
",
        "error: unknown key `args`
 --> hawser.yaml:4:5
  |
4 |     args: [-y, server]
  |     ^^^^
  = help: put the arguments into `command: [program, argument]`
",
    );
}

#[test]
fn a_key_like_in_other_programs() {
    refused(
        "mcpServers: {}
",
        "error: unknown key `mcpServers`
 --> hawser.yaml:1:1
  |
1 | mcpServers: {}
  | ^^^^^^^^^^
  = help: did you mean `backends`?
",
    );
}

#[test]
fn nothing_like_any_key() {
    refused(
        "zzzzzzzz: 1
",
        "error: unknown key `zzzzzzzz`
 --> hawser.yaml:1:1
  |
1 | zzzzzzzz: 1
  | ^^^^^^^^
  = help: the keys here are `listen`, `public_url`, `data_dir`, `store`, `key_ring`, `allowed_origins`, `allowed_hosts`, `trusted_proxies`, `backends`, `endpoints`, `auth`, `sessions`, `limits`, `drain`, `admin`
",
    );
}

#[test]
fn a_key_twice() {
    refused(
        "listen: 127.0.0.1:1
listen: 127.0.0.1:2
",
        "error: the key `listen` is given twice
 --> hawser.yaml:2:1
  |
2 | listen: 127.0.0.1:2
  | ^^^^^^
  = help: keep one of them
",
    );
}

#[test]
fn a_list_instead_of_a_mapping() {
    refused(
        "backends: [http://h/]
",
        "error: expected a mapping here
 --> hawser.yaml:1:11
  |
1 | backends: [http://h/]
  |           ^
  = help: keys and values: `key: value`, or `{}` for none
",
    );
}

#[test]
fn a_word_instead_of_a_list() {
    refused(
        "allowed_hosts: a
",
        "error: expected a list here
 --> hawser.yaml:1:16
  |
1 | allowed_hosts: a
  |                ^
  = help: for example `[one, two]`
",
    );
}

#[test]
fn a_list_instead_of_a_word() {
    refused(
        "listen: [127.0.0.1:1]
",
        "error: expected a single value here, found a list or a mapping
 --> hawser.yaml:1:9
  |
1 | listen: [127.0.0.1:1]
  |         ^
  = help: write `key: value`
",
    );
}

#[test]
fn a_backend_without_a_value() {
    refused(
        "backends:
  a:
",
        "error: expected a mapping here
 --> hawser.yaml:2:4
  |
2 |   a:
  |    ^
  = help: keys and values: `key: value`, or `{}` for none
",
    );
}

#[test]
fn a_number_instead_of_a_command() {
    refused(
        "backends:
  a: { command: 12 }
",
        "error: expected a command as text or as a list of words
 --> hawser.yaml:2:8
  |
2 |   a: { command: 12 }
  |        ^^^^^^^
  = help: for example `[mcp-server-time, --local-timezone=UTC]`
",
    );
}

#[test]
fn a_null_in_a_list() {
    refused(
        "allowed_hosts: [a, ~]
",
        "error: there is no value here
 --> hawser.yaml:1:20
  |
1 | allowed_hosts: [a, ~]
  |                    ^
  = help: write a value, or leave the key out to get its default
",
    );
}

#[test]
fn broken_indentation() {
    refused(
        "backends:
  a: {}
   b: {}
",
        "error: not valid YAML: while parsing a block mapping, did not find expected key
 --> hawser.yaml:3:4
  |
3 |    b: {}
  |    ^
  = help: check indentation (spaces, no tabs), quotes and brackets around here
",
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
        "listen: 127.0.0.1:1
---
listen: 127.0.0.1:2
",
        "error: the file holds more than one YAML document
 --> hawser.yaml:3:1
  |
3 | listen: 127.0.0.1:2
  | ^
  = help: remove the `---` in the middle
",
    );
}

#[test]
fn a_merge_key() {
    refused(
        "backends:
  <<: {}
",
        "error: merge keys (`<<`) are not supported
 --> hawser.yaml:2:3
  |
2 |   <<: {}
  |   ^^
  = help: write the keys out
",
    );
}

#[test]
fn a_tag() {
    refused(
        "listen: !!int 1
",
        "error: YAML tags have no meaning here
 --> hawser.yaml:1:15
  |
1 | listen: !!int 1
  |               ^
  = help: remove the `!…` tag
",
    );
}

#[test]
fn a_tag_of_its_own() {
    refused(
        "listen: !vault x
",
        "error: YAML tags have no meaning here
 --> hawser.yaml:1:16
  |
1 | listen: !vault x
  |                ^
  = help: remove the `!…` tag
",
    );
}

#[test]
fn a_glob_taken_for_an_alias() {
    refused(
        "allowed_hosts: [*internal]
",
        "error: this alias (`*name`) refers to no anchor (`&name`)
 --> hawser.yaml:1:17
  |
1 | allowed_hosts: [*internal]
  |                 ^
  = help: put text that starts with `*` in quotes
",
    );
}
