//! What is sent for each operation of the port: one command, or one script where no command does it in one step.
//!
//! Scripts are named by their digest, and sent whole only to a server that does not know them yet.

use std::sync::LazyLock;
use std::time::Duration;

use redis::{Cmd, Script, cmd};

/// A lifetime beyond this (about 30,000 years) is none: servers count milliseconds in 63 bits.
const MILLIS_MAX: u128 = 1_000_000_000_000_000;

/// A script and its digest.
pub(super) struct Known {
    text: &'static str,
    digest: LazyLock<Script>,
}

/// Compares the row with the second argument, and writes the third; the first says whether there is one, and for how long.
static REPLACE: Known = Known { text: REPLACE_TEXT, digest: LazyLock::new(|| Script::new(REPLACE_TEXT)) };
const REPLACE_TEXT: &str = "if redis.call('GET', KEYS[1]) ~= ARGV[2] then return 0 end \
    if ARGV[1] == 'delete' then redis.call('DEL', KEYS[1]) \
    elseif ARGV[1] == 'keep' then redis.call('SET', KEYS[1], ARGV[3]) \
    else redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[1]) end \
    return 1";

/// Adds one to digits, and to nothing else: `INCR` alone would take a number below zero. The sum is read as text, since
/// numbers of scripts are exact up to 53 bits only.
static INCREMENT: Known = Known { text: INCREMENT_TEXT, digest: LazyLock::new(|| Script::new(INCREMENT_TEXT)) };
const INCREMENT_TEXT: &str = "local value = redis.call('GET', KEYS[1]) \
    if not value then \
      if ARGV[1] == 'keep' then redis.call('SET', KEYS[1], '1') \
      elseif ARGV[1] ~= 'delete' then redis.call('SET', KEYS[1], '1', 'PX', ARGV[1]) end \
      return '1' \
    end \
    if string.find(value, '^%d+$') == nil then return false end \
    local sum = redis.pcall('INCR', KEYS[1]) \
    if type(sum) == 'table' then return false end \
    return redis.call('GET', KEYS[1])";

/// How long a row lives, as servers count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lifetime {
    /// It is over already.
    Over,
    /// Milliseconds, at least one.
    Millis(u64),
    /// Until it is deleted.
    Endless,
}

impl Lifetime {
    /// Rounded up, so that a row never lives for less than was asked.
    pub(super) fn of(ttl: Option<Duration>) -> Self {
        let Some(ttl) = ttl else { return Self::Endless };
        match ttl.as_nanos().div_ceil(1_000_000) {
            0 => Self::Over,
            millis if millis > MILLIS_MAX => Self::Endless,
            millis => u64::try_from(millis).map_or(Self::Endless, Self::Millis),
        }
    }

    /// As the scripts take it.
    fn word(self) -> String {
        match self {
            Self::Over => "delete".to_owned(),
            Self::Millis(millis) => millis.to_string(),
            Self::Endless => "keep".to_owned(),
        }
    }
}

/// Something to be done to one row.
pub(super) struct Order {
    name: Vec<u8>,
    what: What,
}

enum What {
    Command(Cmd),
    Script(&'static Known, Vec<Vec<u8>>),
}

impl Order {
    /// A command that begins with its verb and the name, and goes on with these.
    fn of(verb: &str, name: Vec<u8>, rest: &[&[u8]]) -> Self {
        let mut command = cmd(verb);
        command.arg(&name);
        for argument in rest {
            command.arg(argument);
        }
        Self { name, what: What::Command(command) }
    }

    pub(super) fn get(name: Vec<u8>) -> Self {
        Self::of("GET", name, &[])
    }

    pub(super) fn delete(name: Vec<u8>) -> Self {
        Self::of("DEL", name, &[])
    }

    pub(super) fn take(name: Vec<u8>) -> Self {
        Self::of("GETDEL", name, &[])
    }

    pub(super) fn exists(name: Vec<u8>) -> Self {
        Self::of("EXISTS", name, &[])
    }

    pub(super) fn put(name: Vec<u8>, value: &[u8], lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Over => Self::delete(name),
            Lifetime::Endless => Self::of("SET", name, &[value]),
            Lifetime::Millis(millis) => Self::of("SET", name, &[value, b"PX", millis.to_string().as_bytes()]),
        }
    }

    /// Writes where there is nothing. A row that is over at once is not written, only looked for.
    pub(super) fn put_if_absent(name: Vec<u8>, value: &[u8], lifetime: Lifetime) -> Self {
        match lifetime {
            Lifetime::Over => Self::exists(name),
            Lifetime::Endless => Self::of("SET", name, &[value, b"NX"]),
            Lifetime::Millis(millis) => Self::of("SET", name, &[value, b"NX", b"PX", millis.to_string().as_bytes()]),
        }
    }

    /// Writes `new`, or deletes, where there is `expected`.
    pub(super) fn replace(name: Vec<u8>, expected: &[u8], new: Option<&[u8]>, lifetime: Lifetime) -> Self {
        let lifetime = if new.is_none() { Lifetime::Over } else { lifetime };
        let arguments = vec![lifetime.word().into_bytes(), expected.to_vec(), new.unwrap_or_default().to_vec()];
        Self { name, what: What::Script(&REPLACE, arguments) }
    }

    pub(super) fn increment(name: Vec<u8>, lifetime: Lifetime) -> Self {
        Self { name, what: What::Script(&INCREMENT, vec![lifetime.word().into_bytes()]) }
    }

    /// The row that it is about.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// What is sent; `whole` with the text of a script instead of its digest.
    pub(super) fn command(&self, whole: bool) -> Cmd {
        match &self.what {
            What::Command(command) => command.clone(),
            What::Script(script, arguments) => {
                let mut command = if whole { cmd("EVAL") } else { cmd("EVALSHA") };
                command.arg(if whole { script.text } else { script.digest.get_hash() }).arg(1).arg(&self.name);
                for argument in arguments {
                    command.arg(argument);
                }
                command
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_rounded_up_and_end_where_servers_stop_counting() {
        let of = |ttl| Lifetime::of(Some(ttl));
        assert_eq!(of(Duration::ZERO), Lifetime::Over);
        assert_eq!(of(Duration::from_nanos(1)), Lifetime::Millis(1));
        assert_eq!(of(Duration::from_micros(1001)), Lifetime::Millis(2));
        assert_eq!(of(Duration::MAX), Lifetime::Endless);
        assert_eq!(Lifetime::of(None), Lifetime::Endless);
    }
}
