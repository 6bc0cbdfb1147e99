//! The `hawser` command: reads the command line, does what it says, and exits with a code that tells how it went.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use hawser::cli::{CheckArgs, Cli, Command, ConfigCommand, ServeArgs, StdioArgs, UserCommand};
use hawser::config::{self, Outline, Overrides};
use hawser::console::Paint;
use hawser::failure::{EXIT_USAGE, Failure};
use hawser::serve::ServeOptions;
use hawser::{keys, telemetry, user};

/// A server that lives for months with many small allocations: the system's allocator is slower at them, and fragments.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(message) => {
            let code = if message.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
            // With stdout and stderr gone there is nobody left to tell.
            let _ = message.print();
            return code;
        }
    };
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = io::stderr().write_all(failure.render(Paint::for_stream(&io::stderr())).as_bytes());
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve(args),
        Command::Stdio(args) => stdio(args),
        Command::Demo(args) => hawser::demo::run(&args),
        Command::Probe(args) => hawser::probe::run(&args),
        Command::ExampleServer { server } => hawser::example_server::run(server),
        Command::Sessions(command) => print(&hawser::operate::sessions(&command)?),
        Command::Keys(command) => print(&keys::run(&command)?),
        Command::User(UserCommand::HashPassword) => print(&format!("{}\n", user::hash_password()?)),
        Command::Config(ConfigCommand::Check(args)) => check(args),
    }
}

fn serve(args: ServeArgs) -> Result<(), Failure> {
    telemetry::start(args.log_format).map_err(|error| Failure::run(error.to_string()))?;
    let loaded = config::load(args.config.as_deref(), &args.overrides.into())?;
    hawser::serve::run(&loaded.settings, ServeOptions { json: args.json })
}

fn stdio(args: StdioArgs) -> Result<(), Failure> {
    telemetry::start(args.log_format).map_err(|error| Failure::run(error.to_string()))?;
    let overrides = Overrides { backends: args.backends, ..Overrides::default() };
    let loaded = config::load(args.config.as_deref(), &overrides)?;
    hawser::stdio::run(&loaded.settings, args.endpoint.as_deref())
}

fn check(args: CheckArgs) -> Result<(), Failure> {
    match config::load(args.file.as_deref(), &args.overrides.into()) {
        Ok(loaded) if args.json => print_json(&Outline::of(&loaded)),
        Ok(loaded) => print(&Outline::of(&loaded).table(Paint::for_stream(&io::stdout()))),
        Err(report) if args.json => print_json(&report).and(Err(Failure::Told)),
        Err(report) => Err(report.into()),
    }
}

fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string(value).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?;
    print(&format!("{json}\n"))
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    written.map_err(|error| Failure::run(format!("cannot write to standard output: {error}")))
}
