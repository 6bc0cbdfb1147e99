//! What a gateway costs: a load for any MCP server, a backend to put behind it, and runs that put gateways side by side.
//!
//! `cargo xtask bench` builds and runs it. It reads `/proc`, so it measures on Linux alone.

#[cfg(target_os = "linux")]
mod backend;
#[cfg(target_os = "linux")]
mod compare;
#[cfg(target_os = "linux")]
mod cpu;
#[cfg(target_os = "linux")]
mod load;
#[cfg(target_os = "linux")]
mod stage;
#[cfg(target_os = "linux")]
mod stand;
#[cfg(target_os = "linux")]
mod wire;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<std::process::ExitCode> {
    program::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("error: this measures on Linux alone, since it reads /proc");
    std::process::ExitCode::FAILURE
}

#[cfg(target_os = "linux")]
mod program {
    use std::process::ExitCode;

    use anyhow::Result;
    use clap::{Parser, Subcommand};

    use crate::{backend, compare, load, stand};

    /// Measures MCP servers and gateways.
    #[derive(Parser)]
    #[command(name = "hawser-bench")]
    struct Cli {
        #[command(subcommand)]
        task: Task,
    }

    #[derive(Subcommand)]
    enum Task {
        /// Call a tool of any MCP server, and tell what that took.
        Load(load::options::Options),
        /// Be the cheapest MCP server there is, of both eras, on loopback.
        Backend(backend::Options),
        /// Measure the gateway, nginx and no gateway in turns.
        Compare(compare::Options),
        /// Start the gateway with a backend and an issuer, and leave it there to be called.
        Stand(stand::Options),
    }

    pub(crate) fn main() -> Result<ExitCode> {
        match Cli::parse().task {
            Task::Load(options) => {
                let outcome = load::run(&options.plan()?)?;
                if options.json {
                    println!("{}", serde_json::to_string(&outcome)?);
                } else {
                    println!("{outcome}");
                }
                Ok(if outcome.failed() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
            Task::Backend(options) => backend::run(&options).map(|()| ExitCode::SUCCESS),
            Task::Stand(options) => stand::run(&options).map(|()| ExitCode::SUCCESS),
            Task::Compare(options) => {
                compare::run(&options).map(|all| if all { ExitCode::SUCCESS } else { ExitCode::FAILURE })
            }
        }
    }
}
