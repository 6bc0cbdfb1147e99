//! The command line.

mod operate;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::{BackendFlag, Overrides};
use crate::telemetry::LogFormat;

pub use operate::{
    AdminArgs, KindArg, ListSessionsArgs, RemoveSigningKeyArgs, RevokeSessionsArgs, SelectionArgs, SessionsCommand,
    ShowSessionArgs, SigningKeysCommand,
};

/// One MCP endpoint in front of many MCP servers; sessions belong to people, not to tokens.
#[derive(Debug, Parser)]
#[command(name = "hawser", version, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway.
    Serve(ServeArgs),
    /// Be the gateway for one program that launches this command: MCP on stdin and stdout.
    Stdio(StdioArgs),
    /// Watch one session outlive its token, refuse a stranger and survive a crash.
    Demo(DemoArgs),
    /// Examine an MCP server or gateway, ours or not: what survives a token refresh, and who gets into whose session.
    Probe(ProbeArgs),
    /// Work with the users of the embedded authorization server.
    #[command(subcommand)]
    User(UserCommand),
    /// Work with the key ring: replace keys while gateways run.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// See and end the sessions of a running gateway.
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Work with configuration files.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// An MCP server on stdin and stdout, for demonstrations.
    #[command(hide = true, after_help = "Examples:\n  hawser serve --backend clock='hawser example-server clock'")]
    ExampleServer {
        /// Which one.
        #[arg(value_enum)]
        server: ExampleServer,
    },
}

/// `hawser user …`
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Print the argon2id hash of a password, to put into the configuration.
    ///
    /// Asks for the password on a terminal; reads it from standard input otherwise.
    #[command(after_help = "Examples:
  hawser user hash-password
  printf %s \"$PASSWORD\" | hawser user hash-password")]
    HashPassword,
}

/// `hawser keys …`
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a new key ring: print it, or write it to a new file.
    Generate(KeyArgs),
    /// Show the keys, their states, and how long each is needed. Never shows a secret.
    #[command(after_help = "Examples:
  hawser keys list
  hawser keys list --config /etc/hawser/hawser.yaml
  hawser keys list /etc/hawser/key-ring.json --json")]
    List(RingArgs),
    /// Publish a new key: it opens, and does not seal yet.
    #[command(after_help = "Examples:
  hawser keys add
  hawser keys add /etc/hawser/key-ring.json")]
    Add(RingArgs),
    /// Let a key seal from now on. The one that did is retired.
    Activate(KeyStepArgs),
    /// Retire a published key that is not to be activated after all.
    Retire(KeyStepArgs),
    /// Remove a key that does not seal: what was sealed with it is refused.
    Remove(RemoveKeyArgs),
    /// Work with the keys that sign access tokens, at a running gateway.
    #[command(subcommand)]
    Signing(SigningKeysCommand),
}

/// Where the key ring is.
#[derive(Debug, Args)]
pub struct RingArgs {
    /// The key ring; by default the one of the configuration, which is key-ring.json in the data folder if it names none.
    pub file: Option<PathBuf>,
    /// The configuration file, which also says how long keys are needed; hawser.yaml in the current folder by default.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for the key ring and the store.
    #[arg(long, value_name = "DIR", env = "HAWSER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// A step that one key takes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hawser keys activate 2918471023
  hawser keys retire 2918471023 /etc/hawser/key-ring.json")]
pub struct KeyStepArgs {
    /// The key's id, as `hawser keys list` shows it.
    pub id: u32,
    /// Where the ring is.
    #[command(flatten)]
    pub ring: RingArgs,
}

/// `hawser keys remove`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hawser keys remove 2918471023
  hawser keys remove 2918471023 --force --config /etc/hawser/hawser.yaml")]
pub struct RemoveKeyArgs {
    /// Which key, and where the ring is.
    #[command(flatten)]
    pub step: KeyStepArgs,
    /// Remove a key that is still needed: what was sealed with it is lost at once.
    #[arg(long)]
    pub force: bool,
}

/// `hawser keys generate`
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hawser keys generate
  hawser keys generate /etc/hawser/key-ring.json")]
pub struct KeyArgs {
    /// The file to write; it must not be there yet. Without it the key ring is printed.
    pub file: Option<PathBuf>,
    /// Print JSON about the file.
    #[arg(long, requires = "file")]
    pub json: bool,
}

/// `hawser config …`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check a configuration and show what it would do.
    Check(CheckArgs),
}

/// `hawser config check`
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 if the configuration is right, 78 if it is not.

Examples:
  hawser config check
  hawser config check /etc/hawser/hawser.yaml
  hawser config check --backend time='uvx mcp-server-time' --json")]
pub struct CheckArgs {
    /// The file; hawser.yaml in the current folder by default, if there is one.
    pub file: Option<PathBuf>,
    /// What the command line says over the file.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hawser serve`
#[derive(Debug, Args)]
#[command(
    after_help = "Without a configuration file the gateway listens on 127.0.0.1:8420 with its own authorization server,
a one-click development login and a store in the data folder. HAWSER_LOG sets what is logged (default: info).

Examples:
  hawser serve --backend time='uvx mcp-server-time'
  hawser serve --backend everything=http://127.0.0.1:3001/mcp --listen 127.0.0.1:0
  hawser serve --config /etc/hawser/hawser.yaml --log-format json"
)]
pub struct ServeArgs {
    /// The configuration file; hawser.yaml in the current folder by default, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What the command line says over the file.
    #[command(flatten)]
    pub overrides: OverrideArgs,
    /// How log lines on stderr look.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
    /// Print one line of JSON to stdout once the gateway listens, and nothing else.
    #[arg(long)]
    pub json: bool,
}

/// `hawser stdio`
#[derive(Debug, Args)]
#[command(
    after_help = "For desktop clients that only launch commands. Nothing listens on any port: whoever starts the process is its one
user, so nobody logs in, and what `auth`, `listen`, `store` and `sessions` say does not matter here. Logs go to stderr.

In the client's configuration, with full paths, since clients start commands in folders of their own:
  {\"mcpServers\": {\"hawser\": {\"command\": \"/usr/local/bin/hawser\", \"args\": [\"stdio\", \"--config\", \"/home/me/hawser.yaml\"]}}}

Examples:
  hawser stdio --config /home/me/hawser.yaml
  hawser stdio --config /home/me/hawser.yaml --endpoint clock
  hawser stdio --backend time='uvx mcp-server-time' --backend docs=https://docs.internal/mcp"
)]
pub struct StdioArgs {
    /// The configuration file; hawser.yaml in the current folder by default, if there is one.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The endpoint to be; by default the one called `default`, or the only one.
    #[arg(long, value_name = "NAME")]
    pub endpoint: Option<String>,
    /// An MCP server to front, by URL or by the command that starts it; can be repeated.
    #[arg(long = "backend", value_name = "NAME=URL|NAME='command args'")]
    pub backends: Vec<BackendFlag>,
    /// How log lines on stderr look.
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    pub log_format: LogFormat,
}

/// `hawser demo`
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 only if every step held.

Examples:
  hawser demo
  hawser demo --keep")]
pub struct DemoArgs {
    /// Leave the gateway running at the end, with the lines to connect a client.
    #[arg(long)]
    pub keep: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// `hawser probe`
#[derive(Debug, Args)]
#[command(
    after_help = "The two users log in at the server's own authorization server, as a client that registers itself. Without a
password they press the button of a development login. Tokens and passwords are given as env:NAME or file:PATH.

Exit code 0 without a finding, 2 with one, 1 if nothing could be examined.

Examples:
  hawser probe http://127.0.0.1:8420/mcp
  hawser probe https://mcp.example.com/mcp --owner alice --owner-password env:ALICE --stranger bob --stranger-password env:BOB
  hawser probe http://127.0.0.1:3001/mcp --slow-tool wait --slow-arguments '{\"seconds\": 3}'
  hawser probe https://mcp.example.com/mcp --owner-token env:T1 --owner-refreshed-token env:T2 --stranger-token env:T3 --json"
)]
pub struct ProbeArgs {
    /// The MCP endpoint.
    pub url: String,
    /// Who opens the session.
    #[arg(long, value_name = "NAME", default_value = "alice")]
    pub owner: String,
    /// The owner's password.
    #[arg(long, value_name = "env:NAME|file:PATH")]
    pub owner_password: Option<String>,
    /// The owner's access token, instead of a login.
    #[arg(long, value_name = "env:NAME|file:PATH", conflicts_with = "owner_password")]
    pub owner_token: Option<String>,
    /// Another access token of the owner, as a refresh would give it.
    #[arg(long, value_name = "env:NAME|file:PATH", requires = "owner_token")]
    pub owner_refreshed_token: Option<String>,
    /// Who must not get into that session.
    #[arg(long, value_name = "NAME", default_value = "bob")]
    pub stranger: String,
    /// The stranger's password.
    #[arg(long, value_name = "env:NAME|file:PATH")]
    pub stranger_password: Option<String>,
    /// The stranger's access token, instead of a login.
    #[arg(long, value_name = "env:NAME|file:PATH", conflicts_with = "stranger_password")]
    pub stranger_token: Option<String>,
    /// A harmless tool to call; without it, one is chosen that says of itself that it only reads.
    #[arg(long, value_name = "NAME")]
    pub tool: Option<String>,
    /// Its arguments, a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    pub arguments: String,
    /// A harmless tool that takes a second or more, to see whether the stranger can cancel a call of the owner's.
    #[arg(long, value_name = "NAME")]
    pub slow_tool: Option<String>,
    /// The slow tool's arguments, a JSON object.
    #[arg(long, value_name = "JSON", default_value = "{}", requires = "slow_tool")]
    pub slow_arguments: String,
    /// Print the report as JSON.
    #[arg(long)]
    pub json: bool,
}

/// The servers for demonstrations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ExampleServer {
    /// Tells the time.
    Clock,
    /// Keeps notes for as long as it runs.
    Notes,
}

/// Flags that beat the configuration file.
#[derive(Debug, Default, Args)]
pub struct OverrideArgs {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDR:PORT")]
    pub listen: Option<SocketAddr>,
    /// How clients reach the gateway: an https origin, or http on loopback.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// Folder for the key ring and the store.
    #[arg(long, value_name = "DIR", env = "HAWSER_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// An MCP server to front, by URL or by the command that starts it; can be repeated.
    #[arg(long = "backend", value_name = "NAME=URL|NAME='command args'")]
    pub backends: Vec<BackendFlag>,
}

impl From<OverrideArgs> for Overrides {
    fn from(args: OverrideArgs) -> Self {
        // An empty variable is as good as none.
        let data_dir = args.data_dir.filter(|dir| !dir.as_os_str().is_empty());
        Self { listen: args.listen, public_url: args.public_url, data_dir, backends: args.backends }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a failed test may panic")]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// The commands of this binary, and those whose arguments are defined here and that are not part of it yet.
    fn whole() -> clap::Command {
        let parts =
            [ServeArgs::augment_args(clap::Command::new("serve")), DemoArgs::augment_args(clap::Command::new("demo"))];
        parts.into_iter().fold(Cli::command(), |whole, part| {
            if whole.find_subcommand(part.get_name()).is_some() { whole } else { whole.subcommand(part) }
        })
    }

    fn examples(command: &clap::Command, into: &mut Vec<String>) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        let lines = help.lines().filter_map(|line| line.find("hawser ").map(|at| line[at..].to_owned()));
        into.extend(lines.filter(|line| !line.contains("HAWSER")));
        command.get_subcommands().for_each(|child| examples(child, into));
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_example_of_the_help_is_understood() {
        let mut lines = Vec::new();
        examples(&whole(), &mut lines);
        assert!(lines.len() >= 10, "{lines:?}");
        for line in lines {
            let words = shlex::split(&line).unwrap();
            whole().try_get_matches_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        }
    }

    #[test]
    fn every_command_has_examples() {
        fn leaves(command: &clap::Command) {
            if command.get_subcommands().next().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("Examples:"), "{}", command.get_name());
            }
            command.get_subcommands().for_each(leaves);
        }
        leaves(&whole());
    }

    #[test]
    fn a_wrong_backend_flag_says_what_to_write() {
        let error = Cli::try_parse_from(["hawser", "config", "check", "--backend", "time"]).unwrap_err();
        assert!(error.to_string().contains("write NAME=URL or NAME='command args'"), "{error}");
    }
}
