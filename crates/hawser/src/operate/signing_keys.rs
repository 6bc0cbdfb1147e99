//! `hawser keys signing list|rotate|remove`.

use std::time::{SystemTime, UNIX_EPOCH};

use super::client::Client;
use super::json_line;
use super::show::{Table, age, printable};
use crate::admin::wire::{SigningKeyList, SigningKeyRemoval};
use crate::cli::SigningKeysCommand;
use crate::failure::Failure;

pub(super) async fn run(client: &mut Client, command: &SigningKeysCommand) -> Result<String, Failure> {
    let list: SigningKeyList = match command {
        SigningKeysCommand::List(_) => client.get("/v1/signing-keys").await?,
        SigningKeysCommand::Rotate(_) => client.post("/v1/signing-keys/rotate", &serde_json::json!({})).await?,
        SigningKeysCommand::Remove(args) => {
            client.post("/v1/signing-keys/remove", &SigningKeyRemoval { kid: args.kid.clone() }).await?
        }
    };
    if command.admin().json { json_line(&list) } else { Ok(table(&list)) }
}

/// What the person at the terminal is asked before a key is removed.
pub(super) fn question(kid: &str) -> String {
    format!("Refuse all access tokens that {} signed, from now on?", printable(kid))
}

fn table(list: &SigningKeyList) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut table = Table::new(["KEY", "STATE", "SINCE", "MADE"]);
    for key in &list.keys {
        table.row([printable(&key.kid), printable(&key.state), age(key.since, now), age(key.created, now)]);
    }
    table.finish()
}
