//! Arguments of the commands that speak to a running gateway.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `hawser sessions …`
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List sessions, all or those of one selection.
    List(ListSessionsArgs),
    /// Show what is known of one session.
    Show(ShowSessionArgs),
    /// End sessions for good, on every node. Their clients have to open new ones.
    Revoke(RevokeSessionsArgs),
}

/// Which gateway is spoken to.
#[derive(Debug, Default, Args)]
pub struct AdminArgs {
    /// The configuration of the gateway; hawser.yaml in the current folder by default, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data folder of the gateway; its socket for administration is in it.
    #[arg(long, value_name = "DIR", env = "HAWSER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Where the gateway is administered: the path of its socket, or the URL of `admin.listen`.
    #[arg(long, value_name = "URL|PATH", env = "HAWSER_ADMIN")]
    pub admin: Option<String>,
    /// The token for a URL; by default `admin.token` of the configuration.
    #[arg(long, value_name = "env:NAME|file:PATH")]
    pub admin_token: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Which sessions are meant: one way to say it.
#[derive(Clone, Debug, Default, Args)]
pub struct SelectionArgs {
    /// One session, by its name.
    #[arg(long, value_name = "NAME", group = "selection")]
    pub session: Option<String>,
    /// All of a principal, by its subject: `user:NAME` or `dev:NAME` at the embedded authorization server.
    #[arg(long, value_name = "SUBJECT", group = "selection")]
    pub principal: Option<String>,
    /// The principal's issuer; by default the embedded authorization server.
    #[arg(long, value_name = "URL", requires = "principal")]
    pub issuer: Option<String>,
    /// The principal's tenant, where the issuer has several.
    #[arg(long, value_name = "TENANT", requires = "principal")]
    pub tenant: Option<String>,
    /// Whether the principal is a person, or a client that acts for itself.
    #[arg(long, value_enum, value_name = "KIND", requires = "principal")]
    pub kind: Option<KindArg>,
    /// All that were opened under a grant of the embedded authorization server, by its id.
    #[arg(long, value_name = "ID", group = "selection")]
    pub grant: Option<String>,
    /// All of an endpoint, by its name or path.
    #[arg(long, value_name = "NAME", group = "selection")]
    pub endpoint: Option<String>,
}

/// Kinds of principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// A person.
    User,
    /// A client that acts for itself.
    Client,
}

/// `hawser sessions list`
#[derive(Debug, Args)]
#[command(
    after_help = "Owners are shown by digest: the store has no names. Session names are no session ids; nobody can use a session by
its name.

Examples:
  hawser sessions list
  hawser sessions list --principal user:alice
  hawser sessions list --endpoint default --limit 1000 --json
  hawser sessions list --admin http://127.0.0.1:8421 --admin-token env:HAWSER_ADMIN_TOKEN"
)]
pub struct ListSessionsArgs {
    /// Which sessions.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Where the last list ended: `next` of its JSON, or what its last line says.
    #[arg(long, value_name = "CURSOR")]
    pub after: Option<String>,
    /// Most sessions to list.
    #[arg(long, value_name = "NUMBER", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub limit: u16,
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `hawser sessions show`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hawser sessions show 00112233445566778899aabbccddeeff
  hawser sessions show 00112233445566778899aabbccddeeff --config /etc/hawser/hawser.yaml --json")]
pub struct ShowSessionArgs {
    /// Its name, as `hawser sessions list` shows it.
    pub session: String,
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `hawser sessions revoke`
#[derive(Debug, Args)]
#[command(
    after_help = "Ended sessions are over within a second on every node; their streams and calls end, too. Whoever still holds a good
access token may open new ones: end the grant (--grant), or remove the user, to keep somebody out.

Examples:
  hawser sessions revoke --session 00112233445566778899aabbccddeeff
  hawser sessions revoke --principal user:alice --reason 'laptop lost'
  hawser sessions revoke --principal 248289761001 --issuer https://login.example.com --yes
  hawser sessions revoke --grant 9J2k1YwQ0m3h8sVbTn5c7A --yes --json
  hawser sessions revoke --endpoint clock --data-dir /var/lib/hawser"
)]
#[command(group = clap::ArgGroup::new("which").args(["session", "principal", "grant", "endpoint"]).required(true))]
pub struct RevokeSessionsArgs {
    /// Which sessions.
    #[command(flatten)]
    pub selection: SelectionArgs,
    /// Why, for the audit log.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArgs,
}

/// `hawser keys signing …`
#[derive(Debug, Subcommand)]
pub enum SigningKeysCommand {
    /// Show the keys and their states.
    #[command(after_help = "Examples:
  hawser keys signing list
  hawser keys signing list --data-dir /var/lib/hawser --json")]
    List(AdminArgs),
    /// Publish the next key now: in an hour, when everybody has it, it signs.
    #[command(after_help = "Examples:
  hawser keys signing rotate")]
    Rotate(AdminArgs),
    /// Remove a key at once, on every node: what it signed is refused, and another one signs.
    Remove(RemoveSigningKeyArgs),
}

/// `hawser keys signing remove`
#[derive(Debug, Args)]
#[command(after_help = "Logins and sessions stand; clients refresh their tokens.

Examples:
  hawser keys signing remove qWx0vO1N7WlO0NnH0hXVd3Ge4nYxkmK8QhK1yZzY3xE
  hawser keys signing remove qWx0vO1N7WlO0NnH0hXVd3Ge4nYxkmK8QhK1yZzY3xE --yes")]
pub struct RemoveSigningKeyArgs {
    /// The key's id, as `hawser keys signing list` shows it.
    #[arg(allow_hyphen_values = true)]
    pub kid: String,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
    /// Which gateway.
    #[command(flatten)]
    pub admin: AdminArgs,
}

impl SigningKeysCommand {
    /// Which gateway is meant.
    pub const fn admin(&self) -> &AdminArgs {
        match self {
            Self::List(admin) | Self::Rotate(admin) => admin,
            Self::Remove(args) => &args.admin,
        }
    }
}
