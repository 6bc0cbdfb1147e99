//! How single values are written: durations, sizes, numbers, switches, names.

use std::fmt;
use std::time::Duration;

/// A duration is one number and one unit.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const EXAMPLE: &str = "write a number and a unit, for example `30s`, `10m`, `24h` or `7d`";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = number_and_unit(text).ok_or(EXAMPLE)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60 * 1_000,
        "h" => 3_600 * 1_000,
        "d" => 86_400 * 1_000,
        _ => return Err(EXAMPLE),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or("this is longer than can be counted")
}

/// A size is a number of bytes, or a number and a binary unit.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    const EXAMPLE: &str = "write a number of bytes, or a number and a unit: `64KiB`, `4MiB` or `1GiB`";
    let (number, unit) = number_and_unit(text).ok_or(EXAMPLE)?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(EXAMPLE),
    };
    number.checked_mul(factor).ok_or("this is larger than can be counted")
}

/// A whole number, digits only.
pub(super) fn number(text: &str) -> Result<u64, &'static str> {
    match number_and_unit(text) {
        Some((number, "")) => Ok(number),
        _ => Err("write a whole number, for example `64`"),
    }
}

/// YAML 1.2 booleans; `yes` and `on` are not guessed at.
pub(super) fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "true" | "True" | "TRUE" => Ok(true),
        "false" | "False" | "FALSE" => Ok(false),
        _ => Err("write `true` or `false`"),
    }
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// The name of a backend or endpoint: `[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?`. It becomes part of tool names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Longest name in characters.
    pub const CHARS_MAX: usize = 32;

    /// Checks the rule.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !text.is_empty()
            && text.len() <= Self::CHARS_MAX
            && text.chars().all(inner)
            && text.trim_matches('-') == text
        {
            return Ok(Self(text.to_owned()));
        }
        let rule = format!(
            "a name has 1 to {} of a-z, 0-9 and `-`, and starts and ends with a letter or digit",
            Self::CHARS_MAX
        );
        Err(match near_name(text) {
            Some(near) => format!("{rule}; how about `{near}`?"),
            None => rule,
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn near_name(text: &str) -> Option<String> {
    let near: String = text
        .chars()
        .map(|c| c.to_ascii_lowercase())
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(Name::CHARS_MAX)
        .collect();
    let near = near.trim_matches('-');
    (!near.is_empty()).then(|| near.to_owned())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A duration the way it is written in the file.
pub(super) fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration.subsec_millis() != 0 {
        return format!("{}ms", duration.as_millis());
    }
    match seconds {
        0 => "0s".to_owned(),
        s if s.is_multiple_of(86_400) => format!("{}d", s / 86_400),
        s if s.is_multiple_of(3_600) => format!("{}h", s / 3_600),
        s if s.is_multiple_of(60) => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

/// A size the way it is written in the file.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1_u64 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_and_sizes_have_units() {
        assert_eq!(duration("30s").unwrap(), Duration::from_secs(30));
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("7d").unwrap(), Duration::from_hours(7 * 24));
        assert_eq!(duration("0").unwrap(), Duration::ZERO);
        for wrong in
            ["", "30", "s", "-1s", "1.5h", "1h30m", "30 s", "99999999999999999999s", "18446744073709551615d", "١s"]
        {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(size("4MiB").unwrap(), 4 << 20);
        assert_eq!(size("512").unwrap(), 512);
        for wrong in ["", "4MB", "4 MiB", "-1", "MiB", "18446744073709551615GiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "0", "a-b", "everything", &"a".repeat(32)] {
            assert!(Name::new(good).is_ok(), "{good}");
        }
        for wrong in ["", "-", "-a", "a-", "A", "a_b", "a b", "é", &"a".repeat(33)] {
            assert!(Name::new(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(seconds in 0_u64..10_000_000, bytes in 0_u64..(1 << 40)) {
            let shown = show_duration(Duration::from_secs(seconds));
            prop_assert_eq!(duration(&shown).unwrap(), Duration::from_secs(seconds));
            prop_assert_eq!(size(&show_size(bytes)).unwrap(), bytes);
        }

        #[test]
        fn no_text_panics(text in ".{0,40}") {
            let _ = (duration(&text), size(&text), number(&text), switch(&text), Name::new(&text));
        }
    }
}
