//! Numbers of several rounds, in one.
#![expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are not so many rounds"
)]

use std::fmt;

use serde::Serialize;

/// The median, with the quartiles around it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) lower: f64,
    pub(super) upper: f64,
}

impl Spread {
    /// Of these numbers; nothing of none.
    pub(super) fn of(numbers: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = numbers.into_iter().filter(|number| number.is_finite()).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * (sorted.len().checked_sub(1)? as f64);
            let (below, above) = (*sorted.get(place.floor() as usize)?, *sorted.get(place.ceil() as usize)?);
            Some(below + (above - below) * place.fract())
        };
        Some(Self { median: at(0.5)?, lower: at(0.25)?, upper: at(0.75)? })
    }

    /// How far the quartiles are apart, as a part of the median.
    pub(super) fn width(self) -> f64 {
        if self.median == 0.0 { 0.0 } else { (self.upper - self.lower) / self.median }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, lower, upper } = *self;
        write!(out, "{} ({}–{})", short(median), short(lower), short(upper))
    }
}

/// A count or a size, to calculate with.
pub(super) const fn float(number: u64) -> f64 {
    number as f64
}

/// A number with as many digits as it deserves.
pub(super) fn short(number: f64) -> String {
    match number.abs() {
        size if size >= 100.0 => format!("{number:.0}"),
        size if size >= 10.0 => format!("{number:.1}"),
        size if size > 0.0 && size < 0.1 => format!("{number:.5}"),
        _ => format!("{number:.2}"),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_numbers() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0, 5.0]).unwrap();
        assert_eq!((spread.lower, spread.median, spread.upper), (2.0, 3.0, 4.0));
        let spread = Spread::of([1.0, 2.0]).unwrap();
        assert_eq!((spread.lower, spread.median, spread.upper), (1.25, 1.5, 1.75));
        assert_eq!(Spread::of([f64::NAN]), None);
    }
}
