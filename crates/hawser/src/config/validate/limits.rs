//! Durations, sizes and counts, and the bounds they are held to.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::Check;
use crate::config::scalar;
use crate::config::settings::{DrainSettings, LimitSettings, SessionSettings};
use crate::config::wire::{Drain, Limits, Sessions, Text};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);

impl Check<'_> {
    /// A duration within bounds.
    pub(super) fn duration(
        &mut self,
        key: &str,
        value: Option<&Text>,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let read = |text: &str| {
            let duration = scalar::duration(text)?;
            let (min, max) = (scalar::show_duration(*bounds.start()), scalar::show_duration(*bounds.end()));
            if bounds.contains(&duration) { Ok(duration) } else { Err(format!("it must be from {min} to {max}")) }
        };
        self.optional(key, value, read).unwrap_or(default)
    }

    /// A size in bytes within bounds.
    fn size(&mut self, key: &str, value: Option<&Text>, default: usize, bounds: RangeInclusive<usize>) -> usize {
        let read = |text: &str| {
            let bytes = usize::try_from(scalar::size(text)?).unwrap_or(usize::MAX);
            let show = |bytes: &usize| u64::try_from(*bytes).map_or_else(|_| bytes.to_string(), scalar::show_size);
            let (min, max) = (show(bounds.start()), show(bounds.end()));
            if bounds.contains(&bytes) { Ok(bytes) } else { Err(format!("it must be from {min} to {max}")) }
        };
        self.optional(key, value, read).unwrap_or(default)
    }

    /// A count within bounds.
    fn count(&mut self, key: &str, value: Option<&Text>, default: usize, bounds: RangeInclusive<usize>) -> usize {
        let read = |text: &str| {
            let count = usize::try_from(scalar::number(text)?).unwrap_or(usize::MAX);
            let (min, max) = (bounds.start(), bounds.end());
            if bounds.contains(&count) { Ok(count) } else { Err(format!("it must be from {min} to {max}")) }
        };
        self.optional(key, value, read).unwrap_or(default)
    }

    /// The shorter of two durations may not be longer than the other.
    pub(super) fn not_longer(&mut self, short: (&str, Duration, Option<&Text>), long: (&str, Duration, Option<&Text>)) {
        if short.1 <= long.1 {
            return;
        }
        let message = format!(
            "`{}` ({}) is longer than `{}` ({})",
            short.0,
            scalar::show_duration(short.1),
            long.0,
            scalar::show_duration(long.1)
        );
        let source =
            short.2.or(long.2).map_or(crate::config::problem::Source::File, crate::config::problem::Source::of);
        let problem = crate::config::problem::Problem::new(source, message);
        self.problem(problem.help(format!("make `{}` shorter or `{}` longer", short.0, long.0)));
    }
}

pub(super) fn sessions(check: &mut Check<'_>, wire: Option<&Sessions>) -> SessionSettings {
    let default = Sessions::default();
    let wire = wire.unwrap_or(&default);
    let idle = check.duration("sessions.idle", wire.idle.as_ref(), DAY, SECOND..=30 * DAY);
    let lifetime = check.duration("sessions.lifetime", wire.lifetime.as_ref(), 7 * DAY, SECOND..=365 * DAY);
    check.not_longer(
        ("sessions.idle", idle, wire.idle.as_ref()),
        ("sessions.lifetime", lifetime, wire.lifetime.as_ref()),
    );
    let total = check.count("sessions.total", wire.total.as_ref(), 1_000_000, 1..=10_000_000);
    let at_work = check.count("sessions.at_work", wire.at_work.as_ref(), 10_000.min(total), 1..=1_000_000);
    // A total below the default leaves no room for the default per owner.
    let per_owner = check.count("sessions.per_owner", wire.per_owner.as_ref(), 100.min(total), 1..=1_000_000);
    if let Some(value) = wire.per_owner.as_ref().filter(|_| per_owner > total) {
        check.wrong(
            "sessions.per_owner",
            value,
            format!("it is more than `sessions.total` ({total}) allows for all together"),
        );
    }
    if let Some(value) = wire.at_work.as_ref().filter(|_| at_work > total) {
        check.wrong(
            "sessions.at_work",
            value,
            format!("it is more than `sessions.total` ({total}) allows for all together"),
        );
    }
    SessionSettings { idle, lifetime, per_owner, total, at_work }
}

pub(super) fn limits(check: &mut Check<'_>, wire: Option<&Limits>) -> LimitSettings {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    let default = Limits::default();
    let wire = wire.unwrap_or(&default);
    LimitSettings {
        request_body: check.size("limits.request_body", wire.request_body.as_ref(), 4 * MIB, KIB..=256 * MIB),
        response_body: check.size("limits.response_body", wire.response_body.as_ref(), 16 * MIB, KIB..=1024 * MIB),
        streamed_result: check.size(
            "limits.streamed_result",
            wire.streamed_result.as_ref(),
            1024 * MIB,
            0..=65536 * MIB,
        ),
        // The JSON parser has a limit of 128 levels of its own.
        depth: check.count("limits.depth", wire.depth.as_ref(), 64, 8..=128),
        children: check.count("limits.children", wire.children.as_ref(), 64, 1..=4096),
        request_timeout: check.duration(
            "limits.request_timeout",
            wire.request_timeout.as_ref(),
            Duration::from_mins(1),
            SECOND..=HOUR,
        ),
        client_answer: check.duration(
            "limits.client_answer",
            wire.client_answer.as_ref(),
            Duration::from_mins(30),
            SECOND..=DAY,
        ),
    }
}

pub(super) fn drain(check: &mut Check<'_>, wire: Option<&Drain>) -> DrainSettings {
    let default = Drain::default();
    let wire = wire.unwrap_or(&default);
    DrainSettings {
        delay: check.duration(
            "drain.delay",
            wire.delay.as_ref(),
            Duration::ZERO,
            Duration::ZERO..=Duration::from_mins(10),
        ),
        grace: check.duration("drain.grace", wire.grace.as_ref(), 10 * SECOND, Duration::ZERO..=HOUR),
    }
}
