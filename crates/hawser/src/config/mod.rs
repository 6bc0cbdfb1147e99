//! The configuration: `hawser.yaml`, the command line over it, and the [`Settings`] they make.
//!
//! Reading has three steps, each refusing what the next could not handle: the file's text is bounded ([`load`]), its shape
//! is read strictly (`wire`, `parse`), and every value is checked with all problems collected (`validate`). What comes out
//! has no optional meaning left in it, and every secret is fetched.

mod outline;
mod overrides;
mod parse;
mod problem;
mod redact;
mod scalar;
mod secret;
mod settings;
mod suggest;
#[cfg(test)]
mod tests;
mod validate;
mod wire;

use std::path::{Path, PathBuf};

use redact::Structure;

pub use outline::Outline;
pub(crate) use outline::target as shown_target;
pub use overrides::{BackendFlag, Overrides};
pub use problem::{Place, Problem, Report, Source};
pub use scalar::Name;
pub use secret::{Surroundings, referenced};
pub use settings::{
    AdminSettings, AuthorizationServerSettings, BackendSettings, DrainSettings, EndpointSettings, IssuerSettings,
    KeyRingSettings, LimitSettings, Naming, SessionSettings, Settings, StoreKind, Transport, UserSettings,
};

/// The file that is read from the current folder if no other is named.
pub const DEFAULT_FILE: &str = "hawser.yaml";
/// Largest configuration file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A configuration that was read, and from where.
#[derive(Debug)]
pub struct Loaded {
    /// The file, unless there was none and defaults apply.
    pub file: Option<PathBuf>,
    /// What it says.
    pub settings: Settings,
}

/// Reads the named file, else `hawser.yaml` in the current folder if there is one, else nothing; puts the overrides over it
/// and checks everything.
pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Loaded, Report> {
    let default = Path::new(DEFAULT_FILE);
    // A default file that exists and cannot be looked at (a folder's permissions, a loop of links) must not be skipped.
    let present = || !matches!(default.symlink_metadata(), Err(error) if error.kind() == std::io::ErrorKind::NotFound);
    let path = file.or_else(|| present().then_some(default));
    let (name, text) = match path {
        Some(path) => (path.display().to_string(), read(path)?),
        None => ("the defaults".to_owned(), String::new()),
    };
    let folder = path.and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
    let variable = |name: &str| std::env::var_os(name);
    let settings = settings(&name, &text, overrides, &Surroundings { variable: &variable, folder })?;
    Ok(Loaded { file: path.map(Path::to_path_buf), settings })
}

/// The settings that a configuration text and overrides make. `name` is how reports call the text.
pub fn settings(name: &str, text: &str, overrides: &Overrides, around: &Surroundings<'_>) -> Result<Settings, Report> {
    let report = |structure, problems| Report::new(name.to_owned(), text.to_owned(), structure, problems);
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
        return Err(too_large(name));
    }
    let file = parse::parse(text).map_err(|problem| report(Structure::Broken, vec![problem]))?;
    validate::validate(&file, overrides, around).map_err(|problems| report(Structure::Known, problems))
}

fn read(path: &Path) -> Result<String, Report> {
    let name = path.display().to_string();
    let report = |message: String, help: &str| {
        Report::new(
            name.clone(),
            String::new(),
            Structure::Broken,
            vec![Problem::new(Source::File, message).help(help)],
        )
    };
    secret::read_bounded(path, FILE_BYTES_MAX).map_err(|error| match error {
        secret::Unreadable::Io(error) => {
            report(format!("the configuration file cannot be read: {error}"), "name another one with `--config FILE`")
        }
        secret::Unreadable::TooLarge => too_large(&name),
        secret::Unreadable::NotText => {
            report("the configuration file is not UTF-8 text".to_owned(), "save it as UTF-8")
        }
    })
}

fn too_large(name: &str) -> Report {
    let problem = Problem::new(Source::File, format!("the configuration file is larger than {FILE_BYTES_MAX} bytes"));
    let problem = problem.help("is it the right file?");
    Report::new(name.to_owned(), String::new(), Structure::Broken, vec![problem])
}
