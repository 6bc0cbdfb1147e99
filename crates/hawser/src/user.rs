//! `hawser user hash-password`: the hash of a password, to put into the configuration.

use std::io::{self, IsTerminal as _, Read as _};

use argon2::Argon2;
use argon2::password_hash::PasswordHasher as _;
use zeroize::Zeroizing;

use crate::failure::Failure;

/// Longest password that is hashed, in bytes; far beyond what a person types.
const PASSWORD_BYTES_MAX: usize = 1024;

/// Reads a password from a pipe, or asks for it twice on a terminal, and returns its hash.
pub fn hash_password() -> Result<String, Failure> {
    let password = if io::stdin().is_terminal() { ask()? } else { read(io::stdin().lock())? };
    hash(&password)
}

fn ask() -> Result<Zeroizing<String>, Failure> {
    let prompt = |text: &str| {
        rpassword::prompt_password(text).map(Zeroizing::new).map_err(|error| {
            Failure::run_with_hint(
                format!("the password cannot be read: {error}"),
                "without a terminal, pipe it in: `printf %s \"$PASSWORD\" | hawser user hash-password`",
            )
        })
    };
    let password = prompt("Password: ")?;
    let again = prompt("Again: ")?;
    if password != again {
        return Err(Failure::run_with_hint("the two passwords differ", "run the command again"));
    }
    Ok(password)
}

fn read(input: impl io::Read) -> Result<Zeroizing<String>, Failure> {
    let mut text = Zeroizing::new(String::new());
    let limit = u64::try_from(PASSWORD_BYTES_MAX).unwrap_or(u64::MAX) + 3;
    input
        .take(limit)
        .read_to_string(&mut text)
        .map_err(|error| Failure::run(format!("the password cannot be read: {error}")))?;
    // `echo` ends its output with a line break that is not part of the password.
    let end = text.strip_suffix('\n').map_or(text.len(), |rest| rest.strip_suffix('\r').unwrap_or(rest).len());
    text.truncate(end);
    if text.contains(['\n', '\r']) {
        return Err(Failure::run_with_hint("there is more than one line", "give one password and nothing else"));
    }
    Ok(text)
}

/// Argon2id with the parameters of the OWASP password storage cheat sheet: 19 MiB, 2 passes, 1 lane.
fn hash(password: &str) -> Result<String, Failure> {
    if password.is_empty() {
        return Err(Failure::run_with_hint("the password is empty", "type one, or pipe it in"));
    }
    if password.len() > PASSWORD_BYTES_MAX {
        return Err(Failure::run(format!("the password is longer than {PASSWORD_BYTES_MAX} bytes")));
    }
    Argon2::default()
        .hash_password(password.as_bytes())
        .map(|hash| hash.to_string())
        .map_err(|error| Failure::run(format!("the password cannot be hashed: {error}")))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use argon2::password_hash::PasswordVerifier as _;
    use argon2::password_hash::phc::PasswordHash;

    use super::*;

    #[test]
    fn a_piped_password_is_hashed_without_its_line_break() {
        let password = read(&b"correct horse\r\n"[..]).unwrap();
        let hash = hash(&password).unwrap();
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let parsed = PasswordHash::new(&hash).unwrap();
        assert!(Argon2::default().verify_password(b"correct horse", &parsed).is_ok());
        assert!(Argon2::default().verify_password(b"correct horse\r\n", &parsed).is_err());
    }

    #[test]
    fn what_is_no_password_is_refused() {
        assert!(hash("").is_err());
        assert!(hash(&read(&[b'a'; 4096][..]).unwrap()).is_err());
        assert!(read(&b"two\nlines\n"[..]).is_err());
        assert!(read(&[0xff][..]).is_err());
    }
}
