//! Times and durations, as people write and read them.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

use crate::config::units::{self, BadQuantity};
use crate::runtime::LONGEST_S;

const SHOWN: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3_600), ('m', 60), ('s', 1)];

/// Seconds of `90s`, `10m`, `2h30m`, `7d`, as in the configuration.
pub(super) fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a duration; write for example 90s, 10m, 2h30m or 7d");
    let too_long = || format!("`{text}` is too long; at most {}d", LONGEST_S / 86_400);
    match units::milliseconds(text) {
        Ok(milliseconds) if milliseconds / 1_000 > LONGEST_S => Err(too_long()),
        Ok(milliseconds) if milliseconds < 1_000 => {
            Err(format!("`{text}` is too short; at least 1s"))
        }
        Ok(milliseconds) => Ok(milliseconds / 1_000),
        Err(BadQuantity::TooLarge) => Err(too_long()),
        Err(BadQuantity::NoUnit | BadQuantity::Malformed) => Err(wrong()),
    }
}

/// The lifetime of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lasts {
    /// A number of seconds.
    Seconds(u64),
    /// Without an end.
    Forever,
}

/// A duration, or `never` for an entry that does not expire.
pub(super) fn parse_end(text: &str) -> Result<Lasts, String> {
    if text == "never" { Ok(Lasts::Forever) } else { parse_duration(text).map(Lasts::Seconds) }
}

/// Seconds as a plain number, or a duration.
pub(super) fn parse_interval(text: &str) -> Result<u64, String> {
    let seconds = text.parse().or_else(|_| parse_duration(text))?;
    if (1..=3600).contains(&seconds) {
        Ok(seconds)
    } else {
        Err(format!("`{text}` is out of range; write 1s to 1h"))
    }
}

/// Bytes as a plain number, or a size such as `50MB`.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    text.parse().or_else(|_| units::bytes(text)).map_err(|_: BadQuantity| {
        format!("`{text}` is not a size; write bytes, or for example 64KB or 50MB")
    })
}

/// The two largest units: `2h 5m`, `3d`, `45s`.
pub(super) fn human(seconds: u64) -> String {
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (unit, factor) in UNITS {
        let number = rest / factor;
        rest %= factor;
        // Only the largest unit and the next one count.
        if number > 0 {
            parts.push(format!("{number}{unit}"));
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 {
            break;
        }
    }
    if parts.is_empty() { "0s".to_owned() } else { parts.join(" ") }
}

/// `2026-11-23 04:14:07 UTC`, from seconds of the Unix epoch.
pub(super) fn utc(seconds: u64) -> String {
    let time =
        i64::try_from(seconds).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let text = time.and_then(|time| time.format(SHOWN).ok());
    // Beyond the year 9999.
    text.unwrap_or_else(|| format!("{seconds} s after 1970"))
}

/// Now, in seconds of the Unix epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("1s", 1),
            ("90s", 90),
            ("10m", 600),
            ("2h30m", 9_000),
            ("10min", 600),
            ("1w", 604_800),
            ("7d", 604_800),
            ("1d2h3m4s", 93_784),
            ("1d1s", 86_401),
            ("0h5m", 300),
            ("36500d", LONGEST_S),
        ] {
            assert_eq!(parse_duration(text), Ok(seconds), "{text}");
        }
    }

    #[test]
    fn other_texts_are_not_durations() {
        for text in [
            "",
            "10",
            "m",
            "-5m",
            "+5m",
            "1.5h",
            "5m2h",
            "5m5m",
            "10M",
            "٣m",
            "0s",
            "0d0h",
            "36500d1s",
            "36501d",
            "18446744073709551615s",
            "18446744073709551616s",
            "99999999999999999999d",
        ] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.starts_with(&format!("`{text}` is ")), "{error}");
        }
    }

    #[test]
    fn durations_are_shown() {
        for (seconds, text) in [
            (0, "0s"),
            (45, "45s"),
            (60, "1m"),
            (192, "3m 12s"),
            (7_500, "2h 5m"),
            (7_205, "2h"),
            (86_400, "1d"),
            (90_000, "1d 1h"),
            (86_460, "1d"),
            (31_536_000, "365d"),
        ] {
            assert_eq!(human(seconds), text);
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (951_868_800, "2000-03-01 00:00:00 UTC"),
            (1_709_164_800, "2024-02-29 00:00:00 UTC"),
            (4_107_542_399, "2100-02-28 23:59:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
            (1_795_407_247, "2026-11-23 04:14:07 UTC"),
            (u64::MAX, "18446744073709551615 s after 1970"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }
}
