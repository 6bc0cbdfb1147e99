//! What the commands print: the keys as they are now, and what to do next. Never a secret.

use std::fmt::Write as _;
use std::time::Duration;

use hawser_owner::{KeyRingDocument, KeyState, RingKeyDocument, Timestamp};
use serde::Serialize;

use super::{Done, Place};
use crate::failure::Failure;

/// What is printed.
pub(super) struct Told {
    file: String,
    keys: Vec<Line>,
    done: Option<Done>,
}

/// A key, as it is shown.
#[derive(Serialize)]
struct Line {
    id: u32,
    state: &'static str,
    /// Seconds since 1970.
    created: Option<u64>,
    /// Since when it is in this state, in seconds since 1970.
    since: Option<u64>,
    /// How long it is still needed, in seconds: zero if it can be removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<u64>,
    #[serde(skip)]
    made: String,
    #[serde(skip)]
    text: String,
}

#[derive(Serialize)]
struct Json<'a> {
    file: &'a str,
    keys: &'a [Line],
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<u32>,
    warnings: &'a [String],
    next: &'a [String],
}

impl Told {
    pub(super) fn of(ring: &Place, document: &KeyRingDocument, done: Option<Done>, now: Timestamp) -> Self {
        let keys = document.keys.iter().map(|key| Line::of(key, ring.needed(), now)).collect();
        Self { file: ring.path().display().to_string(), keys, done }
    }
}

impl Line {
    fn of(key: &RingKeyDocument, needed: Option<Duration>, now: Timestamp) -> Self {
        let age = key.since.map(|since| now.since(since));
        let needed = match key.state {
            KeyState::Retired => needed.zip(age).map(|(needed, age)| needed.saturating_sub(age)),
            KeyState::Published | KeyState::Active => None,
        };
        let since = age.map(|age| format!(", for {}", in_words(age))).unwrap_or_default();
        let does = match (key.state, needed) {
            (KeyState::Published, _) => "opens, does not seal yet".to_owned(),
            (KeyState::Active, _) => "seals and opens".to_owned(),
            (KeyState::Retired, Some(Duration::ZERO)) => "not needed any more, can be removed".to_owned(),
            (KeyState::Retired, Some(needed)) => format!("opens, needed for {} more", in_words(needed)),
            (KeyState::Retired, None) => "opens; with --config it can be said for how long it is needed".to_owned(),
        };
        Self {
            id: key.id.0,
            state: key.state.as_str(),
            created: key.created.map(Timestamp::seconds),
            since: key.since.map(Timestamp::seconds),
            needed: needed.map(|needed| needed.as_secs()),
            made: key.created.map(|created| format!("{} old", in_words(now.since(created)))).unwrap_or_default(),
            text: format!("{does}{}", if key.state == KeyState::Active { since } else { String::new() }),
        }
    }
}

/// A length of time, as precisely as anybody wants to know it.
pub(super) fn in_words(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The text, or one line of JSON.
pub(super) fn show(told: &Told, json: bool) -> Result<String, Failure> {
    let done = told.done.as_ref();
    if json {
        let json = Json {
            file: &told.file,
            keys: &told.keys,
            key: done.map(|done| done.key.0),
            warnings: done.map_or(&[], |done| &done.warnings),
            next: done.map_or(&[], |done| &done.next),
        };
        let text = serde_json::to_string(&json).map_err(|error| Failure::run(format!("cannot write JSON: {error}")))?;
        return Ok(format!("{text}\n"));
    }
    // Writing to a String cannot fail.
    let mut out = String::new();
    if let Some(done) = done {
        let _ = writeln!(out, "{}", done.text);
        for warning in &done.warnings {
            let _ = writeln!(out, "warning: {warning}");
        }
        out.push('\n');
    }
    let _ = writeln!(out, "{}", told.file);
    for key in &told.keys {
        let _ = writeln!(out, "  {:>10}  {:9}  {:12}  {}", key.id, key.state, key.made, key.text);
    }
    if let Some(done) = done.filter(|done| !done.next.is_empty()) {
        out.push_str("\nnext:\n");
        for (number, next) in done.next.iter().enumerate() {
            let _ = writeln!(out, "  {}. {next}", number + 1);
        }
    }
    Ok(out)
}
