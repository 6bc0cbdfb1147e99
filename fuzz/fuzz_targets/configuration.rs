//! `hawser.yaml`: any text is read or refused in bounded time, and a refusal can be shown.

#![no_main]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hawser::config::{self, Overrides, Surroundings};
use hawser::console::Paint;
use libfuzzer_sys::fuzz_target;

/// Far more than a text of this size may take, sanitizer included.
const LIMIT: Duration = Duration::from_secs(2);

/// Part of every secret in the environment.
const SECRET: &str = "c2VjcmV0";

fn variable(name: &str) -> Option<OsString> {
    let ring = || format!(r#"{{"keys":[{{"id":1,"state":"active","secret":"{SECRET}{}"}}]}}"#, "A".repeat(35));
    match name {
        "RING" => Some(ring().into()),
        "KEY" => Some(SECRET.into()),
        "LINES" => Some(format!("{SECRET}\n{SECRET}").into()),
        _ => None,
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // References lead into this environment and a folder that does not exist, and nowhere else.
    if text.contains("..") || text.contains("/dev") || text.contains("/proc") {
        return;
    }
    let around = Surroundings { variable: &variable, folder: PathBuf::from("no such folder") };
    let started = Instant::now();
    let settings = config::settings("fuzzed.yaml", text, &Overrides::default(), &around);
    if let Err(report) = &settings {
        assert!(!report.problems().is_empty(), "refused for nothing");
        let shown = report.render(Paint::plain());
        assert!(!shown.is_empty());
        assert!(!shown.contains(SECRET) || text.contains(SECRET), "a secret of the environment in {shown}");
    }
    assert!(started.elapsed() < LIMIT, "{:?}", started.elapsed());
});
