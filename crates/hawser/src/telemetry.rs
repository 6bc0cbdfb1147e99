//! Logs: to stderr, as text or JSON, filtered by `HAWSER_LOG`.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

/// The environment variable that says what is logged, for example `debug` or `info,hawser_backend=trace`.
pub const FILTER_VARIABLE: &str = "HAWSER_LOG";
/// What is logged if nothing is said.
const DEFAULT_FILTER: &str = "info";

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("{FILTER_VARIABLE} cannot be understood: {0}")]
    Filter(#[from] ParseError),
    /// The filter is not text.
    #[error("{FILTER_VARIABLE} is not UTF-8 text")]
    NotText,
    /// Logging was set up before.
    #[error("logging is set up already: {0}")]
    Twice(#[from] TryInitError),
}

/// Sets logging up for the whole process.
pub fn start(format: LogFormat) -> Result<(), TelemetryError> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(text) => filter(&text)?,
        Err(std::env::VarError::NotPresent) => filter(DEFAULT_FILTER)?,
        Err(std::env::VarError::NotUnicode(_)) => return Err(TelemetryError::NotText),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => {
            let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
            builder.with_ansi(io::stderr().is_terminal() && !unwanted).finish().try_init()?;
        }
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    let text = if text.trim().is_empty() { DEFAULT_FILTER } else { text };
    EnvFilter::try_new(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_strictly() {
        assert!(filter("").is_ok());
        assert!(filter("info,hawser_backend=trace").is_ok());
        assert!(filter("hawser=loud").is_err());
    }
}
