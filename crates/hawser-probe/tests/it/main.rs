//! The probe against servers of its own making, over real HTTP.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(clippy::panic, reason = "a panic is a failed test")]

mod bounds;
mod examination;
mod fake;
mod story;

use std::time::Duration;

use hawser_probe::oauth::Login;
use hawser_probe::{Entry, Limits, Secret, Target};

use crate::fake::Fake;

fn user(name: &str) -> Login {
    Login { user: name.to_owned(), password: Some(Secret::new(name.chars().rev().collect::<String>())) }
}

fn login(name: &str) -> Entry {
    Entry::Login(user(name))
}

fn target(fake: &Fake) -> Target {
    let limits = Limits { request: Duration::from_secs(5), window: Duration::from_millis(100), ..Limits::default() };
    Target { url: fake.url.clone(), limits, tool: None, slow_tool: None }
}
