//! Durations and sizes as people write them: `90s`, `2h30m`, `7 days`, `50MB`.
//!
//! The one reader for the configuration, the command line and the API.

/// The units of durations in milliseconds, the largest first, with all of their names.
const TIMES: [(u64, &[&str]); 6] = [
    (604_800_000, &["w", "week", "weeks"]),
    (86_400_000, &["d", "day", "days"]),
    (3_600_000, &["h", "hr", "hour", "hours"]),
    (60_000, &["m", "min", "mins", "minute", "minutes"]),
    (1_000, &["s", "sec", "secs", "second", "seconds"]),
    (1, &["ms", "millisecond", "milliseconds"]),
];

/// The units of sizes in bytes, in powers of 1024 as mail systems have them.
const SIZES: [(u64, &[&str]); 5] = [
    (1 << 40, &["tb", "t", "tib"]),
    (1 << 30, &["gb", "g", "gib"]),
    (1 << 20, &["mb", "m", "mib"]),
    (1 << 10, &["kb", "k", "kib"]),
    (1, &["b", "byte", "bytes"]),
];

/// Why a text is not a duration or size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadQuantity {
    /// A number alone.
    NoUnit,
    /// Something else than numbers with units.
    Malformed,
    /// More than a u64 holds.
    TooLarge,
}

/// Milliseconds of `500ms`, `90s`, `10m`, `2h30m`, `7d` or `1 week`: whole numbers with
/// units, each unit at most once and the largest first.
///
/// # Errors
///
/// Where the text is something else.
pub fn milliseconds(text: &str) -> Result<u64, BadQuantity> {
    sum(text, &TIMES)
}

/// Bytes of `512B`, `50MB` or `10 GiB`: whole numbers with units of powers of 1024.
///
/// # Errors
///
/// Where the text is something else.
pub fn bytes(text: &str) -> Result<u64, BadQuantity> {
    sum(&text.to_ascii_lowercase(), &SIZES)
}

fn sum(text: &str, units: &[(u64, &[&str])]) -> Result<u64, BadQuantity> {
    let mut rest = text.trim();
    let mut units = units.iter();
    let mut total: u64 = 0;
    if rest.is_empty() {
        return Err(BadQuantity::Malformed);
    }
    if rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BadQuantity::NoUnit);
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(BadQuantity::Malformed)?;
        let (number, behind) = rest.split_at(end);
        let behind = behind.trim_start();
        let end = behind.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let (factor, _) =
            units.find(|(_, names)| names.contains(&unit)).ok_or(BadQuantity::Malformed)?;
        if number.is_empty() {
            return Err(BadQuantity::Malformed);
        }
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(*factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or(BadQuantity::TooLarge)?;
        rest = behind.trim_start();
    }
    Ok(total)
}

/// The shortest text that [`milliseconds`] reads as this: `5m`, `1h30m`, `2s500ms`.
#[must_use]
pub fn show_milliseconds(milliseconds: u64) -> String {
    // Weeks are read and not shown: 90 days are no 12w6d to anybody.
    show(milliseconds, TIMES.iter().skip(1).map(|(factor, names)| (*factor, names[0])), "0s")
}

/// The shortest text that [`bytes`] reads as this, of one unit: `50MB`, `1536KB`.
#[must_use]
pub fn show_bytes(bytes: u64) -> String {
    let unit = SIZES.iter().find(|(factor, _)| bytes >= *factor && bytes.is_multiple_of(*factor));
    let (factor, name) = unit.map_or((1, "b"), |(factor, names)| (*factor, names[0]));
    format!("{}{}", bytes / factor, name.to_ascii_uppercase())
}

fn show<'a>(mut rest: u64, units: impl Iterator<Item = (u64, &'a str)>, nothing: &str) -> String {
    let mut text = String::new();
    for (factor, name) in units {
        if rest >= factor {
            text.push_str(&format!("{}{name}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { nothing.to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units_of_every_spelling() {
        for (text, expected) in [
            ("500ms", 500),
            ("90s", 90_000),
            ("5m", 300_000),
            ("5min", 300_000),
            ("5 minutes", 300_000),
            ("2h30m", 9_000_000),
            ("2h 30m", 9_000_000),
            ("7d", 604_800_000),
            ("1w", 604_800_000),
            ("0s", 0),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in ["", "m", "m5", "5x", "-5m", "5m2h", "5m5m", "1.5h", "5m3", "٥m", "5 m m"] {
            assert_eq!(milliseconds(text), Err(BadQuantity::Malformed), "{text}");
        }
        assert_eq!(milliseconds("300"), Err(BadQuantity::NoUnit));
        assert_eq!(milliseconds("99999999999999999999d"), Err(BadQuantity::TooLarge));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        for (text, expected) in [
            ("512B", 512),
            ("1KB", 1024),
            ("50MB", 52_428_800),
            ("50 MB", 52_428_800),
            ("50MiB", 52_428_800),
            ("50m", 52_428_800),
            ("10G", 10_737_418_240),
            ("1TB", 1_099_511_627_776),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "MB", "50 megs", "1.5GB", "-1MB", "50MBMB"] {
            assert_eq!(bytes(text), Err(BadQuantity::Malformed), "{text}");
        }
        assert_eq!(bytes("52428800"), Err(BadQuantity::NoUnit));
        assert_eq!(bytes("99999999TB"), Err(BadQuantity::TooLarge));
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for (value, shown) in [
            (0, "0s"),
            (300_000, "5m"),
            (5_400_000, "1h30m"),
            (2_500, "2s500ms"),
            (86_400_000, "1d"),
            (7_776_000_000, "90d"),
        ] {
            assert_eq!(show_milliseconds(value), shown);
            assert_eq!(milliseconds(shown), Ok(value));
        }
        for (value, shown) in [
            (0, "0B"),
            (64, "64B"),
            (52_428_800, "50MB"),
            (1_572_864, "1536KB"),
            (1_000_000, "1000000B"),
        ] {
            assert_eq!(show_bytes(value), shown);
            assert_eq!(bytes(shown), Ok(value));
        }
    }
}
