//! How a command fails: what is printed, and which exit code says so.

use std::process::ExitCode;

use crate::config::Report;
use crate::console::Paint;

/// The exit code of a wrong command line (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;
/// The exit code of a wrong configuration (`EX_CONFIG` of sysexits.h).
pub const EXIT_CONFIGURATION: u8 = 78;

/// The exit code of an examination that found something.
pub const EXIT_FINDINGS: u8 = 2;

/// Why a command did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The configuration is wrong.
    #[error("{0}")]
    Configuration(Box<Report>),
    /// The configuration is wrong, and that was the command's own answer, printed already.
    #[error("the configuration is wrong")]
    Told,
    /// The examination found something, and the report said it already.
    #[error("there are findings")]
    Findings,
    /// Something went wrong while running, and it was said already.
    #[error("it did not hold")]
    Shown,
    /// Something went wrong while running.
    #[error("{message}")]
    Run {
        /// What.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

impl Failure {
    /// Something went wrong while running.
    pub fn run(message: impl Into<String>) -> Self {
        Self::Run { message: message.into(), hint: None }
    }

    /// Something went wrong while running, and there is something to do about it.
    pub fn run_with_hint(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Run { message: message.into(), hint: Some(hint.into()) }
    }

    /// The process's exit code.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Configuration(_) | Self::Told => ExitCode::from(EXIT_CONFIGURATION),
            Self::Findings => ExitCode::from(EXIT_FINDINGS),
            Self::Shown | Self::Run { .. } => ExitCode::FAILURE,
        }
    }

    /// What is printed to stderr.
    pub fn render(&self, paint: Paint) -> String {
        match self {
            Self::Configuration(report) => report.render(paint),
            Self::Told | Self::Findings | Self::Shown => String::new(),
            Self::Run { message, hint } => {
                let hint = hint.as_ref().map(|hint| format!("{} {hint}\n", paint.strong("hint:"))).unwrap_or_default();
                format!("{} {message}\n{hint}", paint.error("error:"))
            }
        }
    }
}

impl From<Report> for Failure {
    fn from(report: Report) -> Self {
        Self::Configuration(Box::new(report))
    }
}
