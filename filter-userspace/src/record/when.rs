//! Points in time as people write and read them; UTC throughout.

use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use time::{Date, OffsetDateTime, PrimitiveDateTime, UtcOffset};

const SHOWN: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");
const MINUTE: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]");
const SECOND: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second][optional [.[subsecond]]]");

/// The units of a time ago, in milliseconds.
const UNITS: [(char, u64); 5] =
    [('s', 1_000), ('m', 60_000), ('h', 3_600_000), ('d', 86_400_000), ('w', 604_800_000)];

/// `2026-11-23T04:14:07.123Z`, from milliseconds of the Unix epoch.
#[must_use]
pub fn show(milliseconds: u64) -> String {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanoseconds);
    let text = time.ok().and_then(|time| time.format(SHOWN).ok());
    text.unwrap_or_else(|| format!("{milliseconds} ms"))
}

/// Milliseconds of the Unix epoch of a point in time: absolute, such as
/// `2026-11-23`, `2026-11-23 04:14`, `2026-11-23T04:14:07.5Z` or with an offset; or so
/// long ago, such as `90m`, `24h` or `7d`; or `now`.
///
/// # Errors
///
/// What to write instead.
pub fn read(text: &str, now: u64) -> Result<u64, String> {
    let text = text.trim();
    if text == "now" {
        return Ok(now);
    }
    if let Some(ago) = ago(text) {
        return Ok(now.saturating_sub(ago));
    }
    absolute(text).ok_or_else(|| {
        if absolute(&text.replace(' ', "+")).is_some() {
            return format!("`{text}` is not a time: in a URL, write + as %2B");
        }
        format!(
            "`{text}` is not a time; write for example 24h or 7d (so long ago), 2026-11-23, \
             2026-11-23 04:14 or 2026-11-23T04:14:07Z (UTC)"
        )
    })
}

fn ago(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit = unit.chars().next()?;
    let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
    if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn absolute(text: &str) -> Option<u64> {
    use time::format_description::well_known::Rfc3339;
    let spaced = text.replacen(['T', 't'], " ", 1);
    let spaced = spaced.strip_suffix(['Z', 'z']).unwrap_or(&spaced);
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| PrimitiveDateTime::parse(spaced, SECOND).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| PrimitiveDateTime::parse(spaced, MINUTE).map(PrimitiveDateTime::assume_utc))
        .or_else(|_| {
            Date::parse(spaced, DATE).map(|date| date.midnight().assume_offset(UtcOffset::UTC))
        })
        .ok()?;
    u64::try_from(time.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Times in JSON.
pub(super) mod rfc3339 {
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(in super::super) fn serialize<S: Serializer>(time: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&super::show(*time))
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<u64, D::Error> {
        let text = String::deserialize(from)?;
        // As `show` writes a time after the year 9999.
        let late = text.strip_suffix(" ms").and_then(|number| number.parse().ok());
        super::absolute(&text)
            .or(late)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is not a time")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_407_247_123;

    #[test]
    fn times_are_read_as_they_are_shown() {
        assert_eq!(show(NOW), "2026-11-23T04:14:07.123Z");
        assert_eq!(read(&show(NOW), 0), Ok(NOW));
        assert_eq!(show(u64::MAX), "18446744073709551615 ms");
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Time(#[serde(with = "rfc3339")] u64);
        for time in [0, NOW, 253_402_300_799_999, 253_402_300_800_000, u64::MAX] {
            let text = serde_json::to_string(&Time(time)).unwrap();
            assert_eq!(serde_json::from_str::<Time>(&text).unwrap(), Time(time), "{text}");
        }
    }

    #[test]
    fn times_are_absolute_or_so_long_ago() {
        for (text, time) in [
            ("now", NOW),
            ("90s", NOW - 90_000),
            ("24h", NOW - 86_400_000),
            ("7d", NOW - 604_800_000),
            ("1w", NOW - 604_800_000),
            ("99999d", 0),
            ("2026-11-23", 1_795_392_000_000),
            ("2026-11-23 04:14", 1_795_407_240_000),
            ("2026-11-23T04:14", 1_795_407_240_000),
            ("2026-11-23 04:14:07", 1_795_407_247_000),
            ("2026-11-23T04:14:07.5Z", 1_795_407_247_500),
            ("2026-11-23T05:14:07+01:00", 1_795_407_247_000),
        ] {
            assert_eq!(read(text, NOW), Ok(time), "{text}");
        }
        for text in ["", "h", "-1h", "5y", "2026-13-01", "yesterday", "1969-12-31", "١h", "24"] {
            assert!(read(text, NOW).is_err(), "{text}");
        }
    }
}
