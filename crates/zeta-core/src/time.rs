//! Time as a value: a caller reads it and hands it in, together with the clock's identity.
//!
//! `boot` is CLOCK_BOOTTIME: it cannot be set, runs through suspend, and decides on the same boot.
//! `awake` is CLOCK_MONOTONIC: it shows how long an agent could have beaten and did not. `wall` is
//! CLOCK_REALTIME: it is for people, and for files of unknown origin.

use jiff::{SignedDuration, Timestamp};

/// The clocks, read together (and, inside a guard, after the flock was taken).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// CLOCK_BOOTTIME in nanoseconds.
    pub boot_ns: u64,
    /// CLOCK_MONOTONIC in nanoseconds: as `boot_ns`, but it stands still while the machine sleeps.
    pub awake_ns: u64,
    /// CLOCK_REALTIME in microseconds since the Unix epoch.
    pub wall_us: i64,
}

/// Which kernel, machine and namespaces a clock or a process id belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Host {
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
    /// `/etc/machine-id`; absent in some containers.
    pub machine_id: Option<String>,
    /// Inode number of the pid namespace.
    pub pid_ns: Option<u64>,
    /// Inode number of the time namespace, which shifts CLOCK_BOOTTIME.
    pub time_ns: Option<u64>,
}

/// A reading and whose clocks it was read from: the `now` of every decision.
#[derive(Debug, Clone, Copy)]
pub struct Now<'a> {
    /// The clocks.
    pub reading: Reading,
    /// Their identity.
    pub host: &'a Host,
}

/// A duration or time that cannot be read, with what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: {rule}")]
pub struct TimeError {
    /// What the text was for.
    pub what: &'static str,
    /// The text as given.
    pub text: String,
    /// What would be right.
    pub rule: &'static str,
}

/// Nanoseconds in a millisecond.
pub const NS_PER_MS: u64 = 1_000_000;
/// Shortest TTL: below it, a holder could not renew in time on a busy machine.
pub const TTL_MIN_MS: u64 = 100;
/// Longest TTL: a right that is not renewed should not outlast a month.
pub const TTL_MAX_MS: u64 = 31 * 24 * 3600 * 1000;

const DURATION_RULE: &str = "write a number of seconds, or a number with ms, s, m, h or d, \
                             as in 30s, 10m or 1h30m";
const TTL_RULE: &str = "a TTL lies between 100ms and 31d, as in 30s, 10m or 1h30m";

/// Reads a duration ("30", "1.5", "30s", "10m", "1h30m", "500ms") as milliseconds.
pub fn parse_duration(what: &'static str, text: &str) -> Result<u64, TimeError> {
    let wrong = || TimeError { what, text: text.to_owned(), rule: DURATION_RULE };
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    if plain {
        let seconds: f64 = text.parse().map_err(|_| wrong())?;
        let ms = seconds * 1000.0;
        return if ms.is_finite() && ms < 1e15 { Ok(ms.round() as u64) } else { Err(wrong()) };
    }
    // jiff has no word for days in an absolute duration, and a day here is 24 hours.
    let (days, rest) = match text.split_once('d') {
        Some((days, rest)) if !days.is_empty() && days.bytes().all(|b| b.is_ascii_digit()) => {
            (days.parse::<i64>().map_err(|_| wrong())?, rest)
        }
        _ => (0, text),
    };
    let rest: SignedDuration = match rest {
        "" if days > 0 => SignedDuration::ZERO,
        _ => rest.parse().map_err(|_| wrong())?,
    };
    let total = days
        .checked_mul(86_400_000)
        .and_then(|d| i64::try_from(rest.as_millis()).ok()?.checked_add(d))
        .ok_or_else(wrong)?;
    u64::try_from(total).map_err(|_| wrong())
}

/// Reads a TTL: a duration between [`TTL_MIN_MS`] and [`TTL_MAX_MS`].
pub fn parse_ttl(text: &str) -> Result<u64, TimeError> {
    let ms = parse_duration("TTL", text)?;
    match (TTL_MIN_MS..=TTL_MAX_MS).contains(&ms) {
        true => Ok(ms),
        false => Err(TimeError { what: "TTL", text: text.to_owned(), rule: TTL_RULE }),
    }
}

/// A duration for people: the two largest units that matter ("850ms", "9.4s", "12m 3s", "2d 4h").
pub fn format_duration(ms: u64) -> String {
    let mut text = String::with_capacity(24);
    push_duration(&mut text, ms);
    text
}

/// As [`format_duration`], appended to a text. A table of leases has two for each row, and the
/// formatting machinery costs more than they do.
pub fn push_duration(text: &mut String, ms: u64) {
    let s = ms / 1000;
    let (first, unit, second) = match ms {
        0..1_000 => (ms, "ms", None),
        1_000..10_000 => (s, ".", Some((ms % 1000 / 100, "s"))),
        10_000..60_000 => (s, "s", None),
        60_000..3_600_000 => (s / 60, "m ", Some((s % 60, "s"))),
        3_600_000..86_400_000 => (s / 3600, "h ", Some((s % 3600 / 60, "m"))),
        _ => (s / 86_400, "d ", Some((s % 86_400 / 3600, "h"))),
    };
    push_number(text, first);
    text.push_str(unit);
    if let Some((second, unit)) = second {
        push_number(text, second);
        text.push_str(unit);
    }
}

/// Appends the digits of a number.
pub fn push_number(text: &mut String, number: u64) {
    if number >= 10 {
        push_number(text, number / 10);
    }
    text.push(char::from(b'0' + (number % 10) as u8));
}

/// A wall time as fixed-width ISO 8601 UTC, 27 bytes: `2026-11-22T10:11:12.123456Z`.
///
/// Times outside year 0..=9999 are clamped to its ends: the text must keep its width.
pub fn format_utc(wall_us: i64) -> String {
    const FIRST_US: i64 = -62_167_219_200_000_000;
    const LAST_US: i64 = 253_402_207_200_000_000;
    let clamped = wall_us.clamp(FIRST_US, LAST_US);
    match Timestamp::from_microsecond(clamped) {
        Ok(time) => format!("{time:.6}"),
        Err(_) => "0000-01-01T00:00:00.000000Z".to_owned(),
    }
}

/// Reads an ISO 8601 / RFC 3339 time as microseconds since the Unix epoch.
pub fn parse_utc(text: &str) -> Result<i64, TimeError> {
    if let Some(wall_us) = parse_fixed(text.as_bytes()) {
        return Ok(wall_us);
    }
    text.parse::<Timestamp>().map(Timestamp::as_microsecond).map_err(|_| TimeError {
        what: "time",
        text: text.to_owned(),
        rule: "write ISO 8601 in UTC, as in 2026-11-22T10:11:12Z",
    })
}

/// Reads a time as [`format_utc`] writes it; hundreds of them are read at once. `None` is for all
/// other texts, and for days that not every month has.
fn parse_fixed(text: &[u8]) -> Option<i64> {
    let text: &[u8; 27] = text.try_into().ok()?;
    let signs = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':'), (19, b'.'), (26, b'Z')];
    let number = |from: usize, to: usize| {
        let digits = text.get(from..to)?;
        let add = |sum: i64, digit: &u8| {
            digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0'))
        };
        digits.iter().try_fold(0, add)
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let good = signs.iter().all(|(at, sign)| text.get(*at) == Some(sign))
        && (1..=12).contains(&month)
        && (1..=if month == 2 { 28 } else { 30 }).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    // Years begin in March here, so that a leap day is the last one.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 719_469;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    let us = number(20, 26)?;
    good.then_some(seconds * 1_000_000 + us)
}

/// "2026-11-22T10:11:12Z (3m 2s ago)", or "(in 6m 58s)".
pub fn moment(wall_us: i64, now_us: i64) -> String {
    let text = format_utc(wall_us);
    let short = text.split_once('.').map_or(text.as_str(), |(short, _)| short);
    let apart = format_duration(wall_us.abs_diff(now_us) / 1000);
    match wall_us <= now_us {
        true => format!("{short}Z ({apart} ago)"),
        false => format!("{short}Z (in {apart})"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [
            ("30", 30_000),
            ("1.5", 1_500),
            ("0", 0),
            ("30s", 30_000),
            ("10m", 600_000),
            ("1h30m", 5_400_000),
            ("500ms", 500),
            ("2d", 172_800_000),
            ("1d12h", 129_600_000),
            ("999999999999.9", 999_999_999_999_900),
            ("5 seconds", 5_000),
        ] {
            assert_eq!(parse_duration("wait", text), Ok(ms), "{text}");
        }
        for text in [
            "",
            "10 parsecs",
            "-5s",
            "1.2.3",
            "d",
            "5sd",
            "1xd",
            "+1d",
            "-1d",
            "1000000000000",
            "1e9",
            "999999999999999999999",
            "∞",
        ] {
            assert!(parse_duration("wait", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_ttl_has_bounds() {
        assert_eq!(parse_ttl("100ms"), Ok(100));
        assert_eq!(parse_ttl("31d"), Ok(2_678_400_000));
        for text in ["0", "0s", "99ms", "32d", "10 parsecs"] {
            assert!(parse_ttl(text).is_err(), "{text}");
        }
    }

    #[test]
    fn utc_text_has_fixed_width_and_reads_back() {
        for us in [0, 1, 1_795_342_272_123_456, i64::MAX, i64::MIN] {
            assert_eq!(format_utc(us).len(), 27, "{}", format_utc(us));
        }
        assert_eq!(format_utc(1_795_342_272_123_456), "2026-11-22T10:11:12.123456Z");
        assert_eq!(parse_utc("2026-11-22T10:11:12.123456Z"), Ok(1_795_342_272_123_456));
        assert!(parse_utc("yesterday").is_err());
    }

    #[test]
    fn durations_for_people() {
        for (ms, text) in [
            (850, "850ms"),
            (1_000, "1.0s"),
            (9_400, "9.4s"),
            (10_900, "10s"),
            (59_999, "59s"),
            (723_000, "12m 3s"),
            (3_600_000, "1h 0m"),
            (86_399_999, "23h 59m"),
            (187_200_000, "2d 4h"),
        ] {
            assert_eq!(format_duration(ms), text);
        }
    }

    #[test]
    fn a_moment_says_how_far_it_is_away() {
        let now_us = 1_795_342_272_123_456;
        for (apart_us, text) in [
            (0, "2026-11-22T10:11:12Z (0ms ago)"),
            (-183_000_000, "2026-11-22T10:08:09Z (3m 3s ago)"),
            (418_000_000, "2026-11-22T10:18:10Z (in 6m 58s)"),
        ] {
            assert_eq!(moment(now_us + apart_us, now_us), text);
        }
    }

    /// The library would read them too, ten times slower: here is what must not be left to it.
    #[test]
    fn times_of_a_usual_day_are_read_without_the_library() {
        for (text, us) in [
            ("1970-01-01T00:00:00.000000Z", Some(0)),
            ("2026-11-22T10:11:12.123456Z", Some(1_795_342_272_123_456)),
            ("2024-02-28T23:59:59.000001Z", Some(1_709_164_799_000_001)),
            ("2026-01-30T00:00:00.000000Z", Some(1_769_731_200_000_000)),
            ("2024-02-29T00:00:00.000000Z", None),
            ("2026-01-31T00:00:00.000000Z", None),
            ("2026-11-00T00:00:00.000000Z", None),
            ("2026-00-22T00:00:00.000000Z", None),
            ("2026-13-22T00:00:00.000000Z", None),
            ("2026-11-22T24:00:00.000000Z", None),
            ("2026-11-22T00:60:00.000000Z", None),
            ("2026-11-22T00:00:60.000000Z", None),
            ("2026-11-22T00:00:00.00000xZ", None),
            ("2026-11-22 00:00:00.000000Z", None),
            ("2026-11-22T00:00:00.000000+", None),
            ("2026-11-22T00:00:00Z", None),
        ] {
            assert_eq!(parse_fixed(text.as_bytes()), us, "{text}");
        }
    }

    proptest! {
        #[test]
        fn fixed_times_are_read_as_the_library_reads_them(
            wall_us in -62_167_219_200_000_000i64..253_402_207_200_000_000,
            digits in "[0-9]{4}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-6][0-9]:[0-6][0-9].[0-9]{6}Z",
        ) {
            for text in [format_utc(wall_us), digits] {
                let library = text.parse::<Timestamp>().map(Timestamp::as_microsecond).ok();
                if let Some(fixed) = parse_fixed(text.as_bytes()) {
                    prop_assert_eq!(Some(fixed), library, "{}", text);
                }
            }
            prop_assert_eq!(parse_utc(&format_utc(wall_us)), Ok(wall_us));
        }
    }
}
