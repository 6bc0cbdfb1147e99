//! What the command line says over the file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

use super::scalar::Name;

/// Values from flags (and `HAWSER_DATA_DIR`); each beats the file.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--public-url`
    pub public_url: Option<String>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--backend`, in order. One with the name of a backend in the file replaces it.
    pub backends: Vec<BackendFlag>,
}

/// `--backend NAME=URL` or `--backend NAME='command args'`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendFlag {
    pub(super) name: Name,
    pub(super) target: Target,
}

/// Where a backend is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Url(Url),
    Command(Vec<String>),
}

impl FromStr for BackendFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORMS: &str = "write NAME=URL or NAME='command args', for example time='uvx mcp-server-time'";
        let (name, target) = text.split_once('=').ok_or(FORMS)?;
        if name.contains("://") || name.contains(char::is_whitespace) {
            return Err(FORMS.to_owned());
        }
        let name = Name::new(name)?;
        let target = target.trim();
        let target = if is_url(target) { Target::Url(http_url(target)?) } else { Target::Command(words(target)?) };
        Ok(Self { name, target })
    }
}

fn is_url(text: &str) -> bool {
    text.split_once("://")
        .is_some_and(|(scheme, _)| !scheme.is_empty() && scheme.chars().all(|c| c.is_ascii_alphanumeric()))
}

/// An address of a backend or key set: http or https, no user part, no fragment.
pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text)
        .map_err(|error| format!("not a URL ({error}); write for example `http://127.0.0.1:3001/mcp`"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("only http and https URLs can be reached".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("leave user and password out of the URL; send a header instead (`headers:`)".to_owned());
    }
    if url.fragment().is_some() {
        return Err("a URL here has no `#fragment`".to_owned());
    }
    Ok(url)
}

/// Splits a command line like a POSIX shell would, without running one.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    let words = shlex::split(line).ok_or("a quote or backslash in the command is not closed")?;
    check_words(&words)?;
    Ok(words)
}

/// Most words of a command.
const WORDS_MAX: usize = 256;
/// Longest command, all words together, in bytes.
const COMMAND_BYTES_MAX: usize = 32 << 10;

pub(super) fn check_words(words: &[String]) -> Result<(), String> {
    if words.first().is_none_or(String::is_empty) {
        return Err("the command is empty; write for example `[mcp-server-time, --local-timezone=UTC]`".to_owned());
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("a command cannot hold a NUL byte".to_owned());
    }
    if words.len() > WORDS_MAX || words.iter().map(String::len).sum::<usize>() > COMMAND_BYTES_MAX {
        return Err(format!("a command has at most {WORDS_MAX} words and {COMMAND_BYTES_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flag_is_a_url_or_a_command() {
        let flag: BackendFlag = "a=https://h/mcp?x=1".parse().unwrap();
        assert!(matches!(flag.target, Target::Url(url) if url.as_str() == "https://h/mcp?x=1"));
        let flag: BackendFlag = "t=npx -y 'a b' \"c\"".parse().unwrap();
        assert_eq!(flag.target, Target::Command(["npx", "-y", "a b", "c"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_wrong_flag_says_what_to_write() {
        for (flag, says) in [
            ("http://h/mcp?a=b", "write NAME=URL"),
            ("time", "write NAME=URL"),
            ("t=", "the command is empty"),
            ("t='x", "not closed"),
            ("t=ftp://h/", "only http and https"),
            ("t=http://u:p@h/", "leave user and password out"),
            ("Big_Name=x", "how about `big-name`?"),
        ] {
            let error = flag.parse::<BackendFlag>().unwrap_err();
            assert!(error.contains(says), "{flag}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_flag_panics(text in "[a-z]{0,3}=?.{0,40}") {
            let _ = text.parse::<BackendFlag>();
        }
    }
}
