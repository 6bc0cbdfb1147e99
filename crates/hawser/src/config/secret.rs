//! References to secrets, and where they lead: the environment and files.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use zeroize::Zeroizing;

/// Largest secret that is read from a file.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What configuration reads besides its file. Tests bring their own.
pub struct Surroundings<'a> {
    /// Looks up an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The folder that relative paths of the configuration file start from: the file's own.
    pub folder: PathBuf,
}

impl Surroundings<'_> {
    /// An environment variable that is set and not empty.
    pub(super) fn non_empty(&self, name: &str) -> Option<OsString> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// A path of the configuration file.
    pub(super) fn path(&self, text: &str) -> PathBuf {
        self.folder.join(text)
    }
}

/// How a value is given.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reference<'a> {
    /// `env:NAME`
    Variable(&'a str),
    /// `file:PATH`
    File(&'a str),
    /// As it stands.
    Literal(&'a str),
}

impl<'a> Reference<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        if let Some(name) = text.strip_prefix("env:") {
            Self::Variable(name)
        } else if let Some(path) = text.strip_prefix("file:") {
            Self::File(path)
        } else {
            Self::Literal(text)
        }
    }
}

/// Why a secret could not be had: what is wrong (without the secret), and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Missing {
    pub(super) what: String,
    pub(super) help: String,
}

/// Follows the reference.
pub(super) fn resolve(reference: &Reference<'_>, around: &Surroundings<'_>) -> Result<SecretString, Missing> {
    let secret = match reference {
        Reference::Literal(text) => Zeroizing::new((*text).to_owned()),
        Reference::Variable(name) => variable(name, around)?,
        Reference::File(path) => file(&around.path(path))?,
    };
    Ok(SecretString::from(secret.as_str()))
}

/// A secret that the command line refers to: `env:NAME` or `file:PATH`. The secret itself is not taken there, where every
/// process of the machine can read it.
pub fn referenced(text: &str) -> Result<SecretString, String> {
    let reference = Reference::of(text);
    if matches!(reference, Reference::Literal(_)) {
        return Err("secrets are given as env:NAME or file:PATH".to_owned());
    }
    let variable = |name: &str| std::env::var_os(name);
    let around = Surroundings { variable: &variable, folder: PathBuf::new() };
    resolve(&reference, &around).map_err(|missing| format!("{}; {}", missing.what, missing.help))
}

fn variable(name: &str, around: &Surroundings<'_>) -> Result<Zeroizing<String>, Missing> {
    let well_formed = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !well_formed {
        return Err(Missing {
            what: "`env:` is not followed by the name of an environment variable".to_owned(),
            help: "for example `env:API_KEY`".to_owned(),
        });
    }
    let missing = |what: &str| Missing {
        what: format!("environment variable `{name}` {what}"),
        help: format!("set it before starting hawser: `export {name}=…`"),
    };
    let value = (around.variable)(name).ok_or_else(|| missing("is not set"))?;
    let value = Zeroizing::new(value.into_string().map_err(|_| missing("is not UTF-8 text"))?);
    if value.is_empty() {
        return Err(missing("is empty"));
    }
    Ok(value)
}

fn file(path: &Path) -> Result<Zeroizing<String>, Missing> {
    let missing = |what: String| Missing {
        what: format!("file `{}` {what}", path.display()),
        help: "the path is taken from the folder of the configuration file unless it starts with `/`".to_owned(),
    };
    let mut text = read_bounded(path, SECRET_BYTES_MAX).map(Zeroizing::new).map_err(|error| match error {
        Unreadable::Io(error) => missing(format!("cannot be read: {error}")),
        Unreadable::TooLarge => missing(format!("is larger than {SECRET_BYTES_MAX} bytes")),
        Unreadable::NotText => missing("is not UTF-8 text".to_owned()),
    })?;
    // Editors and `echo` end a file with a line break that is not part of the secret.
    let end = text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
    text.truncate(end);
    if text.is_empty() {
        return Err(missing("is empty".to_owned()));
    }
    Ok(text)
}

/// Why a file could not be taken in.
pub(super) enum Unreadable {
    Io(io::Error),
    TooLarge,
    NotText,
}

/// Reads a text file of bounded size.
pub(super) fn read_bounded(path: &Path, bytes_max: u64) -> Result<String, Unreadable> {
    let mut bytes = Zeroizing::new(Vec::new());
    // Opening a FIFO would wait for a writer, and a device may never end.
    if !std::fs::metadata(path).map_err(Unreadable::Io)?.is_file() {
        return Err(Unreadable::Io(io::Error::other("it is not a regular file")));
    }
    File::open(path).and_then(|file| file.take(bytes_max + 1).read_to_end(&mut bytes)).map_err(Unreadable::Io)?;
    if u64::try_from(bytes.len()).is_ok_and(|read| read > bytes_max) {
        return Err(Unreadable::TooLarge);
    }
    std::str::from_utf8(&bytes).map(ToOwned::to_owned).map_err(|_| Unreadable::NotText)
}
