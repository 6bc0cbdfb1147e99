//! `hawser sessions …` and `hawser keys signing …`: an operator's commands, spoken to a running gateway over its administration.

mod client;
mod sessions;
mod show;
mod signing_keys;
mod target;

use std::io::{IsTerminal as _, Write as _};

use serde::Serialize;

use self::client::Client;
use crate::cli::{AdminArgs, SessionsCommand, SigningKeysCommand};
use crate::failure::Failure;

/// Does what a `hawser sessions` command says; gives what it prints.
pub fn sessions(command: &SessionsCommand) -> Result<String, Failure> {
    match command {
        SessionsCommand::List(args) => speaking(&args.admin, async |client| sessions::list(client, args).await),
        SessionsCommand::Show(args) => speaking(&args.admin, async |client| sessions::show(client, args).await),
        SessionsCommand::Revoke(args) => {
            confirm(&sessions::question(&args.selection), args.yes)?;
            speaking(&args.admin, async |client| sessions::revoke(client, args).await)
        }
    }
}

/// Does what a `hawser keys signing` command says; gives what it prints.
pub fn signing_keys(command: &SigningKeysCommand) -> Result<String, Failure> {
    if let SigningKeysCommand::Remove(args) = command {
        confirm(&signing_keys::question(&args.kid), args.yes)?;
    }
    speaking(command.admin(), async |client| signing_keys::run(client, command).await)
}

fn speaking(
    args: &AdminArgs,
    speak: impl AsyncFnOnce(&mut Client) -> Result<String, Failure>,
) -> Result<String, Failure> {
    let target = target::find(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::run(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async { speak(&mut Client::connect(&target).await?).await })
}

/// Asks the person at the terminal. Where nobody can be asked, it must have been said before.
fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::run_with_hint("nothing was done: there is nobody to ask", "say --yes"));
    }
    let mut errors = std::io::stderr().lock();
    let _ = write!(errors, "{question} [y/N] ").and_then(|()| errors.flush());
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer);
    match answer.trim() {
        "y" | "Y" | "yes" if read.is_ok() => Ok(()),
        _ => Err(Failure::run("nothing was done")),
    }
}

fn json_line(value: &impl Serialize) -> Result<String, Failure> {
    let json = serde_json::to_string(value).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?;
    Ok(format!("{json}\n"))
}
