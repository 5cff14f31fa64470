//! Keys that are durations or sizes: a number in the key's own unit, or a text with units.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::de::DeValue;

use super::key::Key;
use super::{Section, clean, code};
use crate::config::units::{self, BadQuantity};

/// What a plain number of a key counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Unit {
    /// Milliseconds, for keys whose name ends with `_ms`.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Days.
    Days,
}

impl Unit {
    const fn milliseconds(self) -> u64 {
        match self {
            Self::Milliseconds => 1,
            Self::Seconds => 1_000,
            Self::Days => 86_400_000,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Days => "days",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How one kind of quantity is read and shown.
struct Scale {
    /// What a plain number counts.
    unit: &'static str,
    /// How much a plain one is.
    factor: u64,
    read: fn(&str) -> Result<u64, BadQuantity>,
    show: fn(u64) -> String,
    /// What is expected, with an example.
    wanted: &'static str,
    example: &'static str,
}

impl Section<'_> {
    /// A duration in `range`; `default` where it is missing or wrong. Both count in
    /// `unit`, and so does a plain number.
    pub(in crate::config) fn duration(
        &self,
        key: Key,
        unit: Unit,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> Duration {
        let scale = Scale {
            unit: unit.name(),
            factor: unit.milliseconds(),
            read: units::milliseconds,
            show: units::show_milliseconds,
            wanted: "a duration",
            example: match unit {
                Unit::Milliseconds => "\"500ms\" or \"5s\"",
                Unit::Seconds => "\"90s\", \"5m\" or \"2h30m\"",
                Unit::Days => "\"90d\" or \"12w\"",
            },
        };
        Duration::from_millis(self.quantity(key, &scale, range, default))
    }

    /// A size in bytes in `range`; `default` where it is missing or wrong.
    pub(in crate::config) fn size(
        &self,
        key: Key,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let scale = Scale {
            unit: "bytes",
            factor: 1,
            read: units::bytes,
            show: units::show_bytes,
            wanted: "a size",
            example: "\"64KB\", \"50MB\" or \"10GB\"",
        };
        self.quantity(key, &scale, range, default)
    }

    fn quantity(&self, key: Key, scale: &Scale, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Scale { unit, factor, read, show, wanted, example } = scale;
        let (from, to) = range.into_inner();
        let (from, to) = (from * factor, to * factor);
        let default = default * factor;
        let shown = format!("{wanted} from `{}` to `{}`, or {unit}", show(from), show(to));
        self.describe(key, shown.trim_start_matches("a "), &code(show(default)));
        let Some(value) = self.get(key) else { return default };
        let wrong = |message: String| {
            self.error(&value.span(), key, message);
            default
        };
        let (amount, written) = match value.get_ref() {
            DeValue::Integer(number) => {
                let parsed = i64::from_str_radix(number.as_str(), number.radix()).ok();
                let amount = parsed.and_then(|number| u64::try_from(number).ok());
                (amount.and_then(|number| number.checked_mul(*factor)), number.to_string())
            }
            DeValue::String(text) => match read(text) {
                Ok(amount) => (Some(amount), clean(text)),
                Err(BadQuantity::TooLarge) => (None, clean(text)),
                Err(BadQuantity::NoUnit) => {
                    let number = clean(text.trim());
                    return wrong(format!(
                        "`{number}` has no unit: write {wanted} such as {example}, or a plain \
                         number of {unit} without quotes"
                    ));
                }
                Err(BadQuantity::Malformed) => {
                    return wrong(format!(
                        "`{}` is not {wanted}: write {example}, or a plain number of {unit}",
                        clean(text)
                    ));
                }
            },
            other => {
                let found = super::kind_of(other);
                return wrong(format!(
                    "expected {wanted} such as {example}, or a plain number of {unit}; found \
                     {found}"
                ));
            }
        };
        match amount.filter(|amount| (from..=to).contains(amount)) {
            Some(amount) => amount,
            None => wrong(format!(
                "{written} is not from {} to {} (a plain number is in {unit})",
                show(from),
                show(to)
            )),
        }
    }
}
