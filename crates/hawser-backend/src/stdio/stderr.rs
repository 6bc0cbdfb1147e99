//! What a child says on its standard error: to the log, bounded in length and rate; the last lines are kept for the error
//! that tells how it ended. Configured secrets are blotted out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::Instant;

use crate::name::BackendName;

/// Longest line that is read; the rest of it is dropped.
const LINE_BYTES_MAX: usize = 4096;
/// Longest line that is shown.
const SHOWN_CHARS_MAX: usize = 400;
/// Lines kept for the last words.
const LAST_LINES_MAX: usize = 5;
/// Lines logged per second.
const LINES_PER_SECOND_MAX: u32 = 20;
/// Shorter values are words like `true`, not secrets.
const SECRET_BYTES_MIN: usize = 6;

/// The last lines that a child wrote.
#[derive(Clone, Debug, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    fn add(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == LAST_LINES_MAX {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    /// A sentence about how the child ended, with its last words.
    pub(super) fn attach_to(&self, reason: &str) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return reason.to_owned();
        }
        let quoted: Vec<String> = lines.iter().map(|line| format!("{line:?}")).collect();
        format!("{reason}; the last it said: {}", quoted.join(" "))
    }
}

/// Reads a child's standard error to its end.
pub(super) async fn listen(
    backend: BackendName,
    mut pipe: impl AsyncRead + Unpin,
    secrets: Vec<String>,
    last: LastWords,
) {
    let secrets = Secrets::new(&secrets);
    let mut lines = Lines::default();
    let mut rate = Rate::new(Instant::now());
    let mut chunk = vec![0; 4096];
    loop {
        let read = match pipe.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(read) => chunk.get(..read).unwrap_or_default(),
        };
        for line in lines.push(read) {
            tell(&backend, &secrets.blot_out(&line), &mut rate, &last);
        }
    }
    if let Some(line) = lines.rest() {
        tell(&backend, &secrets.blot_out(&line), &mut rate, &last);
    }
}

fn tell(backend: &BackendName, line: &str, rate: &mut Rate, last: &LastWords) {
    let shown: String = line.chars().take(SHOWN_CHARS_MAX).collect();
    match rate.admit(Instant::now()) {
        Some(0) => tracing::debug!(%backend, line = ?shown, "standard error"),
        Some(dropped) => tracing::debug!(%backend, line = ?shown, dropped, "standard error"),
        None => {}
    }
    last.add(shown);
}

/// Cuts bytes into non-empty lines of bounded length.
#[derive(Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for part in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            let room = LINE_BYTES_MAX - self.0.len();
            self.0.extend_from_slice(part.get(..room).unwrap_or(part));
            if part.ends_with(b"\n") || part.ends_with(b"\r") {
                lines.extend(self.rest());
            }
        }
        lines
    }

    fn rest(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.0);
        let line = line.trim_ascii();
        (!line.is_empty()).then(|| String::from_utf8_lossy(line).into_owned())
    }
}

struct Secrets(Vec<String>);

impl Secrets {
    fn new(values: &[String]) -> Self {
        let mut secrets: Vec<String> = values
            .iter()
            // A key in several lines is shown line by line.
            .flat_map(|value| value.lines().map(str::trim))
            .filter(|line| line.len() >= SECRET_BYTES_MIN)
            .map(str::to_owned)
            .collect();
        // A secret may contain another one.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    fn blot_out(&self, line: &str) -> String {
        self.0.iter().fold(line.to_owned(), |line, secret| line.replace(secret.as_str(), "[redacted]"))
    }
}

/// How many lines are logged in the running second.
struct Rate {
    second: Instant,
    logged: u32,
    dropped: u64,
}

impl Rate {
    const fn new(now: Instant) -> Self {
        Self { second: now, logged: 0, dropped: 0 }
    }

    /// Whether a line may be logged, and how many were dropped since the last one.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.second) >= Duration::from_secs(1) {
            self.second = now;
            self.logged = 0;
        }
        if self.logged == LINES_PER_SECOND_MAX {
            self.dropped += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_rest_is_dropped() {
        let mut lines = Lines::default();
        assert!(lines.push(&[b'x'; 10_000]).is_empty());
        assert_eq!(lines.push(b"y\nnext\r\n\n").iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX, 4]);
        assert_eq!(lines.push(b"end"), Vec::<String>::new());
        assert_eq!(lines.rest().as_deref(), Some("end"));
    }

    #[test]
    fn secrets_are_blotted_out_line_by_line_and_short_words_stay() {
        let secrets =
            Secrets::new(&["hunter2hunter2".to_owned(), "true".to_owned(), "BEGIN-KEY\nabcdefgh\n".to_owned()]);
        assert_eq!(secrets.blot_out("true: hunter2hunter2, abcdefgh"), "true: [redacted], [redacted]");
    }

    #[test]
    fn the_rate_is_bounded_and_what_was_dropped_is_counted() {
        let start = Instant::now();
        let mut rate = Rate::new(start);
        for _ in 0..LINES_PER_SECOND_MAX {
            assert_eq!(rate.admit(start), Some(0));
        }
        assert_eq!((rate.admit(start), rate.admit(start)), (None, None));
        assert_eq!(rate.admit(start + Duration::from_secs(1)), Some(2));
    }

    #[test]
    fn only_the_last_lines_are_quoted_with_control_characters_escaped() {
        let last = LastWords::default();
        assert_eq!(last.attach_to("it ended"), "it ended");
        for line in ["1", "2", "3", "4", "5", "\u{1b}[31m6"] {
            last.add(line.to_owned());
        }
        assert_eq!(last.attach_to("it ended"), r#"it ended; the last it said: "2" "3" "4" "5" "\u{1b}[31m6""#);
    }
}
