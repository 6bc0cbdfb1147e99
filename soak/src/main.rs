//! `cargo xtask soak`: gateway nodes behind a balancer without stickiness, one store, hundreds of owners of both eras, and
//! strangers who have all handles of all owners; meanwhile everything goes wrong that can. Every call of every owner is
//! accounted for: succeeded, retried because the gateway said so, lost with a clean word because what it ran on was killed,
//! or lost, which must not be.

mod catalogue;
mod changer;
mod effects;
mod exchange;
mod faults;
mod front;
mod histogram;
mod house;
mod issuer;
mod judge;
mod ledger;
mod legacy;
mod link;
mod listening;
mod lists;
mod loot;
mod measure;
mod modern;
mod owner;
mod people;
mod plan;
mod program;
mod random;
mod report;
mod run;
mod session;
mod settings;
mod store_server;
mod strangers;
mod timeline;
mod world;

use std::process::ExitCode;

use clap::Parser as _;

use crate::settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    match run::run(Settings::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
