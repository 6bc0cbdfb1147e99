//! `hawser.yaml` as it is written: every key, with its place in the file.
//!
//! Values stay text here, so that one pass over the whole file can say everything that is wrong with them
//! ([`super::validate`]). What this module alone decides is the shape: which keys exist, and which hold a mapping or a list.

use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value and where it stands.
pub(super) type Text = Spanned<String>;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    /// Address and port to listen on, `127.0.0.1:8420` by default. Port 0 takes a free one.
    pub(super) listen: Option<Text>,
    /// How clients reach the gateway: the issuer of the embedded authorization server and the base of every endpoint's
    /// resource identifier. An https origin without a path. Default: `http://` and the bound address, on loopback only.
    pub(super) public_url: Option<Text>,
    /// Folder for the key ring and the store. Default: `$XDG_STATE_HOME/hawser` or `~/.local/state/hawser`.
    pub(super) data_dir: Option<Text>,
    /// Where sessions, grants and tombstones are kept: `file` (default, survives a restart), `memory`, or the address of a Valkey or
    /// Redis server that several gateways share, which may be a reference (`env:NAME` or `file:PATH`).
    pub(super) store: Option<Store>,
    /// The keys that seal handles and secrets at rest, as a reference to a JSON document (`env:NAME` or `file:PATH`).
    /// Default: made in the data folder at the first start.
    pub(super) key_ring: Option<Text>,
    /// Browser origins that may call the gateway, besides the public URL's own (and loopback ones on a loopback listener).
    pub(super) allowed_origins: Option<Vec<Text>>,
    /// `Host` names that the gateway answers to, besides the public URL's (and loopback ones on a loopback listener).
    pub(super) allowed_hosts: Option<Vec<Text>>,
    /// Reverse proxies whose `X-Forwarded-For` is believed, as addresses or networks. Limits per address count the caller that
    /// they name. Default: none, the connection's peer counts.
    pub(super) trusted_proxies: Option<Vec<Text>>,
    /// The MCP servers behind the gateway, by name.
    pub(super) backends: Option<Entries<Backend>>,
    /// The virtual MCP servers that the gateway offers, by name. Default: `default` at `/mcp` with every backend.
    pub(super) endpoints: Option<Entries<Endpoint>>,
    /// Who may come in, and who says so.
    pub(super) auth: Option<Auth>,
    /// How long sessions live and how many are held.
    pub(super) sessions: Option<Sessions>,
    /// Sizes and times that requests are held to.
    pub(super) limits: Option<Limits>,
    /// How the gateway stops.
    pub(super) drain: Option<Drain>,
    /// Administration over TCP, besides the socket in the data folder.
    pub(super) admin: Option<Spanned<Admin>>,
}

/// The store: a text, or a server with options.
#[derive(Debug)]
pub(super) enum Store {
    /// `file`, `memory`, or where the server is.
    Text(Text),
    /// A server with options.
    Server(Box<StoreServer>),
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// What it is, before its place is known: a mapping's values have places of their own.
        enum Shape {
            Text(String),
            Server(Box<StoreServer>),
        }

        struct ShapeVisitor;

        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, or a mapping with `url`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Shape, E> {
                Ok(Shape::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Shape, A::Error> {
                StoreServer::deserialize(MapAccessDeserializer::new(map)).map(|server| Shape::Server(Box::new(server)))
            }
        }

        impl<'de> Deserialize<'de> for Shape {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(ShapeVisitor)
            }
        }

        let shape: Spanned<Shape> = Spanned::deserialize(deserializer)?;
        Ok(match shape.value {
            Shape::Text(value) => Self::Text(Spanned { value, referenced: shape.referenced, defined: shape.defined }),
            Shape::Server(server) => Self::Server(server),
        })
    }
}

/// A Valkey or Redis server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct StoreServer {
    /// Where it is, or a reference to that (`env:NAME` or `file:PATH`).
    pub(super) url: Option<Text>,
    /// What stands before the name of every row and channel, `hawser:` by default.
    pub(super) prefix: Option<Text>,
    /// The authorities that its certificate is checked against, as a PEM file. Default: those that the machine trusts.
    pub(super) ca: Option<Text>,
}

/// One MCP server: `url` for HTTP, or `command` for a child process on stdio.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Backend {
    /// The server's MCP endpoint.
    pub(super) url: Option<Text>,
    /// How `url` is spoken to. `auto` (default): streamable HTTP, or HTTP+SSE where the server knows only that. `sse`: HTTP+SSE,
    /// the transport of revision 2024-11-05.
    pub(super) transport: Option<Text>,
    /// Headers sent with every request to `url`. Secrets as `env:NAME` or `file:PATH`.
    pub(super) headers: Option<Entries<String>>,
    /// The program to start and its arguments. A list is taken as it is, a string is split like a shell would; no shell runs.
    pub(super) command: Option<Spanned<Command>>,
    /// Environment variables for `command`. Secrets as `env:NAME` or `file:PATH`.
    pub(super) env: Option<Entries<String>>,
    /// The folder `command` runs in. Default: where the gateway runs.
    pub(super) cwd: Option<Text>,
    /// `prefix` (default): tools and prompts are called `<backend>_<name>`. `none`: they keep their own names; at most one
    /// backend of an endpoint may do so.
    pub(super) naming: Option<Text>,
    /// How long this backend may be silent while a request waits. Default: `limits.request_timeout`.
    pub(super) timeout: Option<Text>,
}

/// One virtual MCP server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Endpoint {
    /// Its path, `/mcp` by default for an endpoint called `default`, `/mcp/<name>` for others.
    pub(super) path: Option<Text>,
    /// The names of its backends. Default: all of them.
    pub(super) backends: Option<Vec<Text>>,
    /// `true` lets everybody in without a credential. Default: `false`.
    pub(super) anonymous: Option<Text>,
}

/// Who may come in.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Auth {
    /// The authorization server inside the gateway.
    pub(super) authorization_server: Option<AuthorizationServer>,
    /// External authorization servers whose access tokens are accepted.
    pub(super) issuers: Option<Vec<Spanned<ExternalServer>>>,
}

/// The authorization server inside the gateway.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AuthorizationServer {
    /// Whether it runs. Default: `true` if somebody can log in there, that is with `users` or the development login.
    pub(super) enabled: Option<Text>,
    /// One click logs in, without a password; for development. Default: `true` if there are no `users` and both the
    /// listener and the public URL are on loopback. Refused anywhere else.
    pub(super) development_login: Option<Text>,
    /// Local users.
    pub(super) users: Option<Vec<Spanned<User>>>,
    /// How long an access token is good. Default: `10m`.
    pub(super) access_token_lifetime: Option<Text>,
    /// How long a refresh token that was just replaced still gives the same answer, for clients that refresh twice at once.
    /// 0 to 300 seconds. Default: `30s`.
    pub(super) refresh_grace: Option<Text>,
    /// How long a grant lives without being refreshed. Default: `14d`.
    pub(super) refresh_idle: Option<Text>,
    /// How long a grant lives at most. Default: `90d`.
    pub(super) refresh_lifetime: Option<Text>,
    pub(super) signing_key_lifetime: Option<Text>,
}

/// One local user.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct User {
    /// The name to log in with; it is also the subject of the tokens.
    pub(super) name: Option<Text>,
    /// The password's argon2id hash, as `hawser user hash-password` prints it, or `env:NAME`, or `file:PATH`.
    pub(super) password: Option<Text>,
}

/// One external authorization server.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExternalServer {
    /// Its issuer identifier, exactly as its tokens carry it.
    pub(super) issuer: Option<Text>,
    /// Where its keys are. Default: by discovery (RFC 8414 or `OpenID` Connect).
    pub(super) jwks_uri: Option<Text>,
    /// Signature algorithms that are accepted. Default: `[RS256, ES256]`.
    pub(super) algorithms: Option<Spanned<Vec<Text>>>,
    /// Values of the JWT header `typ` that are accepted. Default: `[at+jwt, JWT]`.
    pub(super) token_types: Option<Spanned<Vec<Text>>>,
    /// The claim that names the user. Default: `sub`.
    pub(super) subject_claim: Option<Text>,
    /// The claim that names the tenant, for issuers that serve several. Subjects of different tenants are different people.
    pub(super) tenant_claim: Option<Text>,
    /// The only tenant that is let in. Needs `tenant_claim`.
    pub(super) tenant: Option<Text>,
    /// The client ids that its logout tokens (`OpenID` Connect Back-Channel Logout) are for. Default: none are taken.
    pub(super) backchannel_logout_audience: Option<Spanned<Vec<Text>>>,
}

/// How long sessions live and how many are held.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sessions {
    /// A session that is not used for this long ends. Default: `24h`.
    pub(super) idle: Option<Text>,
    /// A session ends after this long in any case. Default: `7d`.
    pub(super) lifetime: Option<Text>,
    /// Most sessions of one owner that are held in memory. Default: 100.
    pub(super) per_owner: Option<Text>,
    /// Most sessions that are held in memory. Default: 1000000.
    pub(super) total: Option<Text>,
    /// Most sessions that hold more than themselves. Default: 10000.
    pub(super) at_work: Option<Text>,
}

/// Sizes and times that requests are held to.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Limits {
    /// Largest request body. Default: `4MiB`.
    pub(super) request_body: Option<Text>,
    /// Largest message from a backend. Default: `16MiB`.
    pub(super) response_body: Option<Text>,
    /// Largest result that is passed on as it arrives. Default: `1GiB`.
    pub(super) streamed_result: Option<Text>,
    /// Deepest nesting of a JSON message. Default: 64.
    pub(super) depth: Option<Text>,
    /// Most child processes at one time. Default: 64.
    pub(super) children: Option<Text>,
    /// The `timeout` of backends that have none of their own. Default: `60s`.
    pub(super) request_timeout: Option<Text>,
    /// How long a question of a backend waits for its client. Default: `30m`.
    pub(super) client_answer: Option<Text>,
}

/// Administration over TCP.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Admin {
    /// Address and port on loopback.
    pub(super) listen: Option<Text>,
    /// The token that is demanded there.
    pub(super) token: Option<Text>,
}

/// How the gateway stops.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Drain {
    /// How long everything is still served after the signal, so that load balancers notice. Default: `0s`.
    pub(super) delay: Option<Text>,
    /// How long calls under way may take after that. Default: `10s`.
    pub(super) grace: Option<Text>,
}

/// A mapping whose keys are names the user chose, in the order of the file.
#[derive(Debug)]
pub(super) struct Entries<V>(pub(super) Vec<(Text, Spanned<V>)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for EntriesVisitor<V> {
            type Value = Entries<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mapping of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

/// A command as one line or as a list of words.
#[derive(Debug)]
pub(super) enum Command {
    /// Split like a shell would.
    Line(String),
    /// Taken as it is.
    Words(Vec<Text>),
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CommandVisitor;

        impl<'de> Visitor<'de> for CommandVisitor {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a command as text or as a list of words")
            }

            fn visit_str<E: Error>(self, line: &str) -> Result<Command, E> {
                Ok(Command::Line(line.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Command, A::Error> {
                let mut words = Vec::new();
                while let Some(word) = seq.next_element()? {
                    words.push(word);
                }
                Ok(Command::Words(words))
            }
        }

        deserializer.deserialize_any(CommandVisitor)
    }
}
