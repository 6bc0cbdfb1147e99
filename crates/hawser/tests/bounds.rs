//! The fixed bounds that docs/configuration.md tells are those in the code: each row is held against the lines that set it.
#![expect(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::Path;

const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

/// A row of the document, and what the sources say: a file below `crates/`, and a part of it.
type Row = (&'static str, &'static [(&'static str, &'static str)]);

const CONNECTIONS: &[Row] = &[
    (
        "more wait in the listener's queue | 16384 |",
        &[("hawser/src/serve/http.rs", "CONNECTIONS_MAX: usize = 16 * 1024;")],
    ),
    (
        "head of a request | 64 KiB, within 10 s |",
        &[
            ("hawser/src/serve/http.rs", "HEAD_BYTES_MAX: usize = 64 * 1024;"),
            ("hawser/src/serve/http.rs", "HEAD_TIMEOUT: Duration = Duration::from_secs(10);"),
        ],
    ),
    (
        "`limits.request_body`, within 30 s |",
        &[("hawser-gateway/src/config.rs", "body_timeout: Duration::from_secs(30),")],
    ),
    (
        "before the connection is closed instead | 64 KiB, within 1 s |",
        &[
            ("hawser-gateway/src/gateway/remainder.rs", "BYTES_MAX: u64 = 64 << 10;"),
            ("hawser-gateway/src/gateway/remainder.rs", "WAIT: Duration = Duration::from_secs(1);"),
        ],
    ),
    (
        "body of a request to the authorization server | 64 KiB, within 15 s |",
        &[
            ("hawser-authserver/src/server.rs", "BODY_MAX: usize = 64 * 1024;"),
            ("hawser-authserver/src/server.rs", "BODY_TIMEOUT: Duration = Duration::from_secs(15);"),
        ],
    ),
    ("messages of a batch (MCP 2025-03-26) | 64 |", &[("hawser-mcp/src/frame.rs", "batch: 64 }")]),
    (
        "method name; request id | 128 bytes; 1 KiB |",
        &[
            ("hawser-mcp/src/frame.rs", "METHOD_BYTES_MAX: usize = 128;"),
            ("hawser-mcp/src/frame.rs", "ID_BYTES_MAX: usize = 1024;"),
        ],
    ),
    ("looks into | 1024 |", &[("hawser-mcp/src/members.rs", "MEMBERS_MAX: usize = 1024;")]),
    ("that is looked at | 4096 characters |", &[("hawser-owner/src/handle.rs", "HANDLE_CHARS_MAX: usize = 4096;")]),
    (
        "is believed for; longest wait for it | 1 s; 1 s |",
        &[
            ("hawser/src/serve/health.rs", "BELIEVED: Duration = Duration::from_secs(1);"),
            ("hawser/src/serve/health.rs", "PATIENCE: Duration = Duration::from_secs(1);"),
        ],
    ),
    ("made already, at a stop | 3 s |", &[("hawser/src/serve/drain.rs", "FLUSH: Duration = Duration::from_secs(3);")]),
];

const SESSIONS: &[Row] = &[
    ("run at the same time | 64 |", &[("hawser-gateway/src/config.rs", "in_flight: 64,")]),
    (
        "wait for one session's client | 32, each `limits.client_answer` |",
        &[
            ("hawser-gateway/src/config.rs", "pending: 32,"),
            ("hawser-gateway/src/config.rs", "client_answer: Duration::from_mins(30),"),
        ],
    ),
    (
        "of one owner; of all | 32; 128; 8192 |",
        &[("hawser-gateway/src/config.rs", "listeners: SharedLimits { session: 32, owner: 128, total: 8192 }")],
    ),
    (
        "a URI or task id | 1024 each; 8 KiB |",
        &[
            ("hawser-mcp/src/listen.rs", "FILTER_ENTRIES_MAX: usize = 1024;"),
            ("hawser-mcp/src/listen.rs", "ENTRY_BYTES_MAX: usize = 8 * 1024;"),
        ],
    ),
    (
        "their bytes | 4096; 8 MiB, then the stream ends |",
        &[
            ("hawser-gateway/src/listeners/mailbox.rs", "WAITING_MAX: usize = 4 * 1024;"),
            ("hawser-gateway/src/listeners/mailbox.rs", "WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;"),
        ],
    ),
    (
        "to be told once | 50 ms |",
        &[("hawser-gateway/src/listeners/mailbox.rs", "TOGETHER: Duration = Duration::from_millis(50);")],
    ),
    (
        "to be heard outside of calls | 10 s; 3 s |",
        &[
            ("hawser-gateway/src/modern/listen/stream.rs", "ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(10);"),
            ("hawser-gateway/src/listeners/held.rs", "SUBSCRIBED_WITHIN: Duration = Duration::from_secs(10);"),
            ("hawser-gateway/src/modern/listen.rs", "REACHED_WITHIN: Duration = Duration::from_secs(10);"),
            ("hawser-gateway/src/modern/listen.rs", "HEARD_WITHIN: Duration = Duration::from_secs(3);"),
        ],
    ),
    (
        "how long each waits | 32; 128; 4096; `limits.client_answer` |",
        &[
            ("hawser-gateway/src/config.rs", "parked: SharedLimits { session: 32, owner: 128, total: 4096 },"),
            ("hawser-gateway/src/config.rs", "client_answer: Duration::from_mins(30),"),
        ],
    ),
    ("questions of one such call | 32 |", &[("hawser-gateway/src/modern/parked.rs", "QUESTIONS_MAX: usize = 32;")]),
    (
        "on its behalf; its task id | 32 KiB; 1 KiB |",
        &[
            ("hawser-gateway/src/modern/request_state.rs", "STATE_BYTES_MAX: usize = 32 * 1024;"),
            ("hawser-gateway/src/modern/tasks.rs", "OWN_ID_BYTES_MAX: usize = 1024;"),
        ],
    ),
    (
        "a task id is good for | 7 days |",
        &[("hawser-gateway/src/modern/tasks.rs", "LIFETIME: Duration = Duration::from_hours(7 * 24);")],
    ),
    (
        "that sends nothing | 10 minutes |",
        &[("hawser-gateway/src/sessions/pool.rs", "IDLE: Duration = Duration::from_mins(10);")],
    ),
    (
        "what it says unasked is heard | 500 ms |",
        &[("hawser-gateway/src/upstream.rs", "HEARD_WITHIN: Duration = Duration::from_millis(500);")],
    ),
    ("ends the oldest | 4 |", &[("hawser-gateway/src/config.rs", "streams: 4,")]),
    (
        "has to take it up again | 256; 16 MiB, or 1 MiB where the owner or the node has no room left |",
        &[
            ("hawser-gateway/src/config.rs", "stream_queue: 256,"),
            ("hawser-gateway/src/outbox.rs", "QUEUED_BYTES_MAX: usize = 16 * 1024 * 1024;"),
        ],
    ),
    ("more of them is dropped | a quarter |", &[("hawser-gateway/src/outbox.rs", "TALK_PART: usize = 4;")]),
    (
        "for `Last-Event-ID` | 1024; 16 MiB, a single larger event alone |",
        &[
            ("hawser-gateway/src/config.rs", "stream_events: 1024,"),
            ("hawser-gateway/src/config.rs", "stream_bytes: 16 * 1024 * 1024,"),
        ],
    ),
    (
        "bytes remembered of one session | 256; 4096; 32 MiB |",
        &[
            ("hawser-gateway/src/config.rs", "streams: 256,"),
            ("hawser-gateway/src/config.rs", "session_events: 4096,"),
            ("hawser-gateway/src/config.rs", "session_bytes: 32 * 1024 * 1024,"),
        ],
    ),
    (
        "owner's streams; of all anonymous callers; of all | 64 MiB; 128 MiB; 256 MiB |",
        &[
            ("hawser-gateway/src/config.rs", "owner_bytes: 64 * 1024 * 1024,"),
            ("hawser-gateway/src/config.rs", " bytes: 256 * 1024 * 1024,"),
        ],
    ),
    ("after its GET was left | 5 minutes |", &[("hawser-gateway/src/config.rs", "kept: Duration::from_mins(5),")]),
    ("to take up a stream again | 1 s |", &[("hawser-gateway/src/config.rs", "retry: Duration::from_secs(1),")]),
    (
        "one more is given up | 32; 128; 1024; 2048 |",
        &[
            ("hawser-gateway/src/config.rs", "session_unread: 32,"),
            ("hawser-gateway/src/config.rs", "owner_unread: 128,"),
            ("hawser-gateway/src/config.rs", " unread: 2048,"),
        ],
    ),
    (
        "after which no more do | 32; 4 MiB |",
        &[
            ("hawser-gateway/src/in_flight.rs", "ATTACHED_MAX: usize = 32;"),
            ("hawser-gateway/src/in_flight.rs", "ATTACHED_BYTES_MAX: usize = 4 * 1024 * 1024;"),
        ],
    ),
    ("ahead of its reader | 8 |", &[("hawser-gateway/src/reply/out.rs", "AHEAD: usize = 8;")]),
    (
        "the size of one | 64; 64 KiB |",
        &[
            ("hawser-gateway/src/outbox.rs", "KEPT_MAX: usize = 64;"),
            ("hawser-gateway/src/outbox.rs", "KEPT_BYTES_MAX: usize = 64 * 1024;"),
        ],
    ),
    (
        "within one request | 10000 a minute |",
        &[
            ("hawser-gateway/src/ask.rs", "MESSAGES_MAX: usize = 10_000;"),
            ("hawser-gateway/src/ask.rs", "COUNTED_FOR: Duration = Duration::from_mins(1);"),
        ],
    ),
    (
        "of all clients that differ | 4 KiB each; 64 MiB |",
        &[
            ("hawser-gateway/src/initialize.rs", "DECLARED_BYTES_MAX: usize = 4 * 1024;"),
            ("hawser-gateway/src/client_kind.rs", "DECLARED_BYTES_MAX: usize = 64 * 1024 * 1024;"),
        ],
    ),
    (
        "has expired | 30 s |",
        &[("hawser-gateway/src/sessions/ending.rs", "TOKEN_GRACE: Duration = Duration::from_secs(30);")],
    ),
    ("between comments | 15 s |", &[("hawser-gateway/src/config.rs", "keep_alive: Duration::from_secs(15),")]),
    ("one page of a list | 1000 |", &[("hawser-gateway/src/config.rs", "list_page: 1000,")]),
    (
        "one backend's list | 256; 50000; 32 MiB |",
        &[
            ("hawser-gateway/src/lists/fetch.rs", "BYTES_MAX: usize = 32 * 1024 * 1024;"),
            ("hawser-gateway/src/lists/fetch.rs", "PAGES_MAX: usize = 256;"),
            ("hawser-gateway/src/lists/fetch.rs", "ENTRIES_MAX: usize = 50_000;"),
        ],
    ),
    (
        "its last one counts | 10 s, and 1 s for a minute after that |",
        &[
            ("hawser-gateway/src/lists.rs", "PATIENCE: Duration = Duration::from_secs(10);"),
            ("hawser-gateway/src/lists.rs", "PATIENCE_LOST: Duration = Duration::from_secs(1);"),
        ],
    ),
    (
        "of any other | as it states, at most 1 hour; 5 minutes; 30 s |",
        &[
            ("hawser-gateway/src/lists/part.rs", "STATED_MAX: Duration = Duration::from_hours(1);"),
            ("hawser-gateway/src/lists/part.rs", "HEARD_MAX: Duration = Duration::from_mins(5);"),
            ("hawser-gateway/src/lists/part.rs", "UNHEARD_MAX: Duration = Duration::from_secs(30);"),
        ],
    ),
    (
        "kept of one owner; altogether | 4096 and 64 MiB; 65536 and 256 MiB |",
        &[
            ("hawser-gateway/src/lists/cache.rs", "OWNER_LISTS_MAX: usize = 4096;"),
            ("hawser-gateway/src/lists/cache.rs", "OWNER_BYTES_MAX: usize = 64 * 1024 * 1024;"),
            ("hawser-gateway/src/lists/cache.rs", " LISTS_MAX: usize = 65_536;"),
            ("hawser-gateway/src/lists/cache.rs", " BYTES_MAX: usize = 256 * 1024 * 1024;"),
        ],
    ),
    (
        "turns the page of a list | 24 hours |",
        &[("hawser-gateway/src/lists/cursor.rs", "LIFETIME: Duration = Duration::from_hours(24);")],
    ),
    (
        "looked for again | 5 s |",
        &[("hawser-gateway/src/lists/resources.rs", "INDEX_AGAIN: Duration = Duration::from_secs(5);")],
    ),
    (
        "the URI of one | 256; 8 KiB |",
        &[
            ("hawser-gateway/src/upstream.rs", "SUBSCRIPTIONS_MAX: usize = 256;"),
            ("hawser-gateway/src/dispatch.rs", "SUBSCRIBED_URI_MAX: usize = 8 * 1024;"),
        ],
    ),
    ("contributes | 16 KiB |", &[("hawser-gateway/src/profile.rs", "INSTRUCTIONS_BYTES_MAX: usize = 16 * 1024;")]),
    (
        "what they can do | 10 s |",
        &[("hawser-gateway/src/initialize.rs", "PATIENCE: Duration = Duration::from_secs(10);")],
    ),
];

const BACKENDS: &[Row] = &[
    ("TLS included | 10 s |", &[("hawser-backend/src/config.rs", "connect_timeout: Duration::from_secs(10),")]),
    (
        "said meanwhile | 30 minutes |",
        &[("hawser-backend/src/config.rs", "request_timeout_max: Duration::from_mins(30),")],
    ),
    ("answer to `initialize` | 1000 |", &[("hawser-backend/src/hello.rs", "MESSAGES_MAX: usize = 1000;")]),
    ("spoken to as of old | 5 s |", &[("hawser-backend/src/config.rs", "probe_timeout: Duration::from_secs(5),")]),
    (
        "as it states, at most 24 hours |",
        &[("hawser-backend/src/known.rs", "FRESH_MAX: Duration = Duration::from_hours(24);")],
    ),
    (
        "one such header | 4096; 8 KiB |",
        &[
            ("hawser-backend/src/modern/tools.rs", "TOOLS_MAX: usize = 4096;"),
            ("hawser-backend/src/modern/metadata.rs", "VALUE_BYTES_MAX: usize = 8 * 1024;"),
        ],
    ),
    (
        "passed on; their bytes | 64; 8 KiB |",
        &[
            ("hawser-backend/src/modern/metadata.rs", "PASSED_MAX: usize = 64;"),
            ("hawser-backend/src/modern/metadata.rs", "PASSED_BYTES_MAX: usize = 8 * 1024;"),
        ],
    ),
    (
        "of one round; of one task | 16; 32; 256 |",
        &[
            ("hawser-backend/src/modern/adapter.rs", "ROUNDS_MAX: u32 = 16;"),
            ("hawser-mcp/src/input_required.rs", "INPUT_REQUESTS_MAX: usize = 32;"),
            ("hawser-backend/src/modern/task.rs", "KEYS_MAX: usize = 256;"),
        ],
    ),
    (
        "50 ms to 5 minutes, as the backend says; 1 s if it says nothing |",
        &[
            ("hawser-backend/src/modern/task.rs", "POLL_MIN: Duration = Duration::from_millis(50);"),
            ("hawser-backend/src/modern/task.rs", "POLL_MAX: Duration = Duration::from_mins(5);"),
            ("hawser-backend/src/modern/task.rs", "POLL_DEFAULT: Duration = Duration::from_secs(1);"),
        ],
    ),
    ("looks at a task in a row | 5 |", &[("hawser-backend/src/modern/task.rs", "FAILURES_MAX: u32 = 5;")]),
    (
        "is opened again | 1 s to 1 minute |",
        &[
            ("hawser-backend/src/modern/subscriptions/keeper.rs", "PAUSE_MIN: Duration = Duration::from_secs(1);"),
            ("hawser-backend/src/modern/subscriptions/keeper.rs", "PAUSE_MAX: Duration = Duration::from_mins(1);"),
        ],
    ),
    (
        "an event id | 1024 bytes each |",
        &[
            ("hawser-backend/src/streamable/verdict.rs", "SESSION_ID_BYTES_MAX: usize = 1024;"),
            ("hawser-backend/src/streamable/flow.rs", "EVENT_ID_BYTES_MAX: usize = 1024;"),
        ],
    ),
    (
        "that is read | 64 KiB |",
        &[("hawser-backend/src/streamable/client.rs", "REFUSAL_BYTES_MAX: usize = 64 * 1024;")],
    ),
    (
        "the message around it | 256 KiB; 64 KiB |",
        &[
            ("hawser-backend/src/streamable/large.rs", "LARGE: usize = 256 * 1024;"),
            ("hawser-mcp/src/response_reader.rs", "ENVELOPE_BYTES_MAX: usize = 64 * 1024;"),
        ],
    ),
    (
        "before it is given up | 1 minute |",
        &[("hawser-gateway/src/reply/large.rs", "STALLED: Duration = Duration::from_mins(1);")],
    ),
    ("bring nothing | 5 |", &[("hawser-backend/src/streamable/flow.rs", "FRUITLESS_MAX: u32 = 5;")]),
    (
        "50 ms to 24 h, as the server says; 1 s if it says nothing |",
        &[
            ("hawser-backend/src/streamable/flow.rs", "RETRY_MIN: Duration = Duration::from_millis(50);"),
            ("hawser-backend/src/streamable/flow.rs", "RETRY_MAX: Duration = Duration::from_hours(24);"),
            ("hawser-backend/src/streamable/flow.rs", "RETRY_DEFAULT: Duration = Duration::from_secs(1);"),
        ],
    ),
    (
        "how long they are kept | 32; 4 s |",
        &[
            ("hawser-backend/src/streamable/connections.rs", "IDLE_MAX: usize = 32;"),
            ("hawser-backend/src/streamable/connections.rs", "IDLE_TIME_MAX: Duration = Duration::from_secs(4);"),
        ],
    ),
    (
        "left alone; for how long | 3; 1 s to 1 minute |",
        &[
            ("hawser-backend/src/circuit.rs", "FAILURES_MAX: u32 = 3;"),
            ("hawser-backend/src/circuit.rs", "REST_MIN: Duration = Duration::from_secs(1);"),
            ("hawser-backend/src/circuit.rs", "REST_MAX: Duration = Duration::from_mins(1);"),
        ],
    ),
    ("wait for a reader | 256,", &[("hawser-backend/src/backend.rs", "UNSOLICITED_MAX: usize = 256;")]),
    (
        "how long a caller waits | 64; 10 s |",
        &[
            ("hawser-backend/src/stdio/link.rs", "LINES_MAX: usize = 64;"),
            ("hawser-backend/src/stdio/link.rs", "WRITE_WAIT_MAX: Duration = Duration::from_secs(10);"),
        ],
    ),
    ("it is given up | 100 |", &[("hawser-backend/src/multiplex/sorter.rs", "GARBAGE_MAX: u32 = 100;")]),
    (
        "address for messages that a server over HTTP+SSE names | 8 KiB |",
        &[("hawser-backend/src/sse/address.rs", "ADDRESS_BYTES_MAX: usize = 8 * 1024;")],
    ),
    (
        "4 KiB a line, 20 lines a second",
        &[
            ("hawser-backend/src/stdio/stderr.rs", "LINE_BYTES_MAX: usize = 4096;"),
            ("hawser-backend/src/stdio/stderr.rs", "LINES_PER_SECOND_MAX: u32 = 20;"),
        ],
    ),
    (
        "2 s after SIGTERM",
        &[("hawser-backend/src/stdio/supervisor.rs", "PATIENCE: Duration = Duration::from_secs(2);")],
    ),
    ("Tool names over 64 characters", &[("hawser-catalog/src/naming.rs", "EXPOSED_NAME_CHARS_MAX: usize = 64;")]),
];

const AUTHORIZATION: &[Row] = &[
    ("code | 1 minute, one use |", &[("hawser-authserver/src/config.rs", "code_lifetime: Duration::from_mins(1),")]),
    (
        "waits for the user | 10 minutes |",
        &[("hawser-authserver/src/pending.rs", "LIFETIME: Duration = Duration::from_mins(10);")],
    ),
    (
        "a remembered consent | 8 hours; 90 days |",
        &[
            ("hawser-authserver/src/config.rs", "login_lifetime: Duration::from_hours(8),"),
            ("hawser-authserver/src/config.rs", "consent_lifetime: DAY * 90,"),
        ],
    ),
    (
        "`state` and `nonce` | 12 KiB; 4 KiB each |",
        &[
            ("hawser-authserver/src/authorize.rs", "REQUEST_BYTES_MAX: usize = 12 * 1024;"),
            ("hawser-authserver/src/authorize_request.rs", "CARRIED_BYTES_MAX: usize = 4096;"),
        ],
    ),
    ("parameters of one request | 64 |", &[("hawser-authserver/src/form.rs", "PAIRS_MAX: usize = 64;")]),
    ("one /64) | 120 at once", &[("hawser-authserver/src/config.rs", "per_address: 120,")]),
    ("of all addresses | 1200 at once", &[("hawser-authserver/src/config.rs", "global: 1200,")]),
    (
        "unused clients | 5000, forgotten after 1 day |",
        &[
            ("hawser-authserver/src/config.rs", "unused_max: 5000,"),
            ("hawser-authserver/src/config.rs", "unused_lifetime: DAY,"),
        ],
    ),
    ("forgotten 120 days after", &[("hawser-authserver/src/config.rs", "used_lifetime: DAY * 120,")]),
    (
        "length of one | 16; 2048 bytes |",
        &[
            ("hawser-authserver/src/registration.rs", "REDIRECT_URIS_MAX: usize = 16;"),
            ("hawser-authserver/src/redirect_uri.rs", "BYTES_MAX: usize = 2048;"),
        ],
    ),
    (
        "name of a client | 100 characters |",
        &[("hawser-authserver/src/registration.rs", "NAME_CHARS_MAX: usize = 100;")],
    ),
    ("| password | 1024 bytes |", &[("hawser-authserver/src/password.rs", "PASSWORD_BYTES_MAX: usize = 1024;")]),
    (
        "failed logins in 5 minutes: of a name from an address; of an address; of a name | 5; 30; 50 |",
        &[
            ("hawser-authserver/src/password.rs", "WINDOW: Duration = Duration::from_mins(5);"),
            ("hawser-authserver/src/password.rs", "FAILURES_PAIR: u32 = 5;"),
            ("hawser-authserver/src/password.rs", "FAILURES_ADDRESS: u32 = 30;"),
            ("hawser-authserver/src/password.rs", "FAILURES_NAME: u32 = 50;"),
        ],
    ),
    (
        "wait for that | 2; 32 |",
        &[
            ("hawser-authserver/src/password.rs", "CHECKS_AT_ONCE: usize = 2;"),
            ("hawser-authserver/src/password.rs", "WAITING_MAX: usize = 32;"),
        ],
    ),
    ("in 1 minute | 20 |", &[("hawser-authserver/src/server.rs", "Throttle::new(20, Duration::from_mins(1))")]),
    ("grace period | 64 |", &[("hawser-authserver/src/family.rs", "ROTATIONS_MAX: usize = 64;")]),
    (
        "of a browser ends; one more ends the oldest | 256 |",
        &[("hawser-authserver/src/browser_session.rs", "GRANTS_MAX: usize = 256;")],
    ),
    (
        "hint of who logs out | 16; 8 KiB |",
        &[
            ("hawser-authserver/src/registration.rs", "uris.len() > REDIRECT_URIS_MAX"),
            ("hawser-authserver/src/id_token_hint.rs", "BYTES_MAX: usize = 8 * 1024;"),
        ],
    ),
];

const ISSUERS_AND_STORE: &[Row] = &[
    ("an access token | 16 KiB |", &[("hawser-identity/src/token.rs", "TOKEN_BYTES_MAX: usize = 16 * 1024;")]),
    (
        "audiences; scopes | 256; 64; 256 |",
        &[
            ("hawser-identity/src/members.rs", "MEMBERS_MAX: usize = 256;"),
            ("hawser-identity/src/claims.rs", "AUDIENCES_MAX: usize = 64;"),
            ("hawser-identity/src/scopes.rs", "SCOPES_MAX: usize = 256;"),
        ],
    ),
    ("| subject | 255 bytes |", &[("hawser-owner/src/principal.rs", "SUBJECT_BYTES_MAX: usize = 255;")]),
    (
        "key set | 256 KiB; 512 KiB and 128 keys |",
        &[
            ("hawser-identity/src/discovery.rs", "METADATA_BYTES_MAX: usize = 256 * 1024;"),
            ("hawser-identity/src/key_set.rs", "KEY_SET_BYTES_MAX: usize = 512 * 1024;"),
            ("hawser-identity/src/key_set.rs", "KEYS_MAX: usize = 128;"),
        ],
    ),
    ("tried for one token | 4 |", &[("hawser-identity/src/key_set.rs", "CANDIDATES_MAX: usize = 4;")]),
    (
        "RSA keys | 2048 to 8192 bits |",
        &[
            ("hawser-identity/src/key_set.rs", "RSA_BITS_MIN: usize = 2048;"),
            ("hawser-identity/src/key_set.rs", "RSA_BITS_MAX: usize = 8192;"),
        ],
    ),
    (
        "discovery included | 3 s; 8 s; 20 s |",
        &[
            ("hawser-identity/src/fetch.rs", "CONNECT_TIMEOUT: Duration = Duration::from_secs(3);"),
            ("hawser-identity/src/fetch.rs", "TOTAL_TIMEOUT: Duration = Duration::from_secs(8);"),
            ("hawser-identity/src/key_source.rs", "LOAD_TIMEOUT: Duration = Duration::from_secs(20);"),
        ],
    ),
    (
        "10 minutes; 1 hour more |",
        &[(
            "hawser-identity/src/config.rs",
            "ttl: Duration::from_mins(10), cooldown: Duration::from_secs(30), stale: Duration::from_hours(1)",
        )],
    ),
    ("unknown keys | 30 s |", &[("hawser-identity/src/config.rs", "cooldown: Duration::from_secs(30)")]),
    ("Clocks may differ by 30 seconds.", &[("hawser-identity/src/config.rs", "skew: Duration::from_secs(30),")]),
    (
        "how many | 1 minute; 10000 |",
        &[
            ("hawser-identity/src/config.rs", "VERDICT_LIFETIME_MAX: Duration = Duration::from_mins(1);"),
            ("hawser-identity/src/config.rs", "capacity: 10_000 }"),
        ],
    ),
    ("`store: memory` | 256 MiB |", &[("hawser-store/src/memory.rs", "BYTES_MAX: usize = 256 * 1024 * 1024;")]),
    (
        "name of a row | 1 MiB; 512 bytes |",
        &[
            ("hawser-store/src/port.rs", "VALUE_BYTES_MAX: usize = 1024 * 1024;"),
            ("hawser-store/src/key.rs", "KEY_BYTES_MAX: usize = 512;"),
        ],
    ),
    ("wait for the disk | 64 MiB |", &[("hawser-store/src/redb_file/limits.rs", "queue_bytes: 64 * 1024 * 1024,")]),
    ("reads at a time | 32 |", &[("hawser-store/src/redb_file/limits.rs", "reads: 32,")]),
    ("status 503 | 30 s |", &[("hawser-store/src/redb_file/limits.rs", "wait: Duration::from_secs(30) }")]),
    (
        "hosts in it; `prefix` | 4 KiB; 64; 64 bytes |",
        &[
            ("hawser-store/src/redis_server/url.rs", "BYTES_MAX: usize = 4096;"),
            ("hawser-store/src/redis_server/url.rs", "ADDRESSES_MAX: usize = 64;"),
            ("hawser-store/src/redis_server/options.rs", "PREFIX_BYTES_MAX: usize = 64;"),
        ],
    ),
    (
        "known to be down | 2 s |",
        &[("hawser-store/src/redis_server.rs", "OPERATION_MAX: Duration = Duration::from_secs(2);")],
    ),
    (
        "authorization server is off | 30 s; 5 s |",
        &[
            ("hawser/src/serve/storage.rs", "SERVER_WAIT: Duration = Duration::from_secs(30);"),
            ("hawser/src/serve/storage.rs", "SERVER_WAIT_SHORT: Duration = Duration::from_secs(5);"),
        ],
    ),
    ("written to one connection | 1024 |", &[("hawser-store/src/redis_server/server.rs", "QUEUE_MAX: usize = 1024;")]),
    ("and is told | 256 |", &[("hawser-store/src/channels.rs", "LAG_MAX: usize = 256;")]),
    (
        "requests in flight; batches of 2025-03-26 | 256; 16 |",
        &[
            ("hawser/src/stdio/flights.rs", "REQUESTS_MAX: usize = 256;"),
            ("hawser/src/stdio/pump.rs", "BATCHES_MAX: usize = 16;"),
        ],
    ),
    (
        "a logout token: age; body it comes in | 5 minutes; 64 KiB, within 15 s |",
        &[
            ("hawser-identity/src/logout.rs", "AGE_MAX: Duration = Duration::from_mins(5);"),
            ("hawser/src/serve/backchannel.rs", "BODY_BYTES_MAX: usize = 64 * 1024;"),
            ("hawser/src/serve/backchannel.rs", "BODY_TIMEOUT: Duration = Duration::from_secs(15);"),
        ],
    ),
    (
        "a used logout token is remembered for | 10 minutes |",
        &[("hawser-identity/src/logout.rs", "REMEMBERED: Duration = Duration::from_mins(10);")],
    ),
    (
        "connections at a time; life of one | 32; 2 minutes |",
        &[
            ("hawser/src/admin/connections.rs", "CONNECTIONS_MAX: usize = 32;"),
            ("hawser/src/admin/connections.rs", "CONNECTION_LIFE: Duration = Duration::from_mins(2);"),
        ],
    ),
    (
        "head; query; body of a request | 16 KiB; 8 KiB; 16 KiB |",
        &[
            ("hawser/src/admin/connections.rs", "HEAD_BYTES_MAX: usize = 16 * 1024;"),
            ("hawser/src/admin/query.rs", "QUERY_BYTES_MAX: usize = 8 * 1024;"),
            ("hawser/src/admin/routes.rs", "BODY_BYTES_MAX: usize = 16 * 1024;"),
        ],
    ),
    ("sessions on one page | 1000 |", &[("hawser/src/admin/sessions.rs", "PAGE_MAX: usize = 1000;")]),
    (
        "reason for the audit log | 200 characters |",
        &[("hawser/src/admin/sessions.rs", "REASON_CHARS_MAX: usize = 200;")],
    ),
    ("who has more to say waits | 16 |", &[("hawser/src/stdio/lines.rs", "LINES_MAX: usize = 16;")]),
    ("when the input ends | 1 s |", &[("hawser/src/stdio/mod.rs", "GRACE: Duration = Duration::from_secs(1);")]),
    ("headers (2026-07-28) | 10000 |", &[("hawser/src/stdio/tools.rs", "TOOLS_MAX: usize = 10_000;")]),
    ("one request | 15 s |", &[("hawser-probe/src/wire.rs", "request: Duration::from_secs(15),")]),
    ("one body | 2 MiB |", &[("hawser-probe/src/wire.rs", "body: 2 * 1024 * 1024,")]),
    ("everything together | 10 minutes |", &[("hawser-probe/src/wire.rs", "total: Duration::from_mins(10),")]),
];

#[test]
fn every_fixed_bound_in_the_document_is_the_one_in_the_code() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let rows = [CONNECTIONS, SESSIONS, BACKENDS, AUTHORIZATION, ISSUERS_AND_STORE].concat();
    let section = DOCUMENT.split_once("\n## Bounds\n").unwrap().1;
    for (row, sources) in &rows {
        assert!(DOCUMENT.contains(row), "docs/configuration.md does not say `{row}`");
        for (file, line) in *sources {
            let text = std::fs::read_to_string(crates.join(file)).unwrap();
            assert!(text.contains(line), "docs/configuration.md says `{row}`; {file} does not say `{line}` any more");
        }
    }
    // A row that nothing here is held against would be a row that may lie.
    let configured = ["limits.request_body`, within", "| `timeout` |", "| what | bound |", "|---"];
    for line in section.lines().filter(|line| line.starts_with('|')) {
        let held = rows.iter().any(|(row, _)| line.contains(row)) || configured.iter().any(|text| line.contains(text));
        assert!(held, "nothing is held against `{line}`");
    }
}
