//! Faults of sources: what an operator is told while something else is used for one.

use crate::record::when;

/// A fault of a source, which is an alarm while it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, where, and what is used instead.
    text: String,
    /// When the content that is used instead was read: seconds of the Unix epoch.
    used: Option<u64>,
}

impl Fault {
    /// A fault with nothing to say about time.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), used: None }
    }

    /// A fault for which something is used that was read at `used`, in seconds of the Unix
    /// epoch.
    pub fn since(text: impl Into<String>, used: u64) -> Self {
        Self { text: text.into(), used: Some(used) }
    }

    /// The alarm, with the age of what is used at `now`, in seconds of the Unix epoch.
    #[must_use]
    pub fn alarm(&self, now: u64) -> String {
        match self.used {
            None => self.text.clone(),
            Some(at) => format!("{}{AGE}{} old", self.text, age(now.saturating_sub(at))),
        }
    }
}

/// What stands before the age in an alarm.
const AGE: &str = ", now ";

/// An alarm without the age in it: the same as long as the fault is.
#[must_use]
pub fn without_age(alarm: &str) -> &str {
    match alarm.rsplit_once(AGE) {
        Some((text, age)) if age.ends_with(" old") => text,
        _ => alarm,
    }
}

/// In whole hours and days, so that it changes seldom.
fn age(seconds: u64) -> String {
    match (seconds / 3600, seconds / 86_400) {
        (0, _) => "less than an hour".to_owned(),
        (1, _) => "1 hour".to_owned(),
        (hours @ 2..48, _) => format!("{hours} hours"),
        (_, days) => format!("{days} days"),
    }
}

/// The first line of a text, and how many there are more.
pub fn first_lines(text: &str) -> String {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    match lines.count() {
        0 => first.to_owned(),
        more => format!("{first} (and {more} more)"),
    }
}

/// `2026-11-28 17:40 UTC`.
pub fn time(at: u64) -> String {
    let text = when::show(at.saturating_mul(1000));
    let short = text.get(..16).unwrap_or(&text).replace('T', " ");
    format!("{short} UTC")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_is_the_same_while_it_ages() {
        let fault = Fault { text: "f:1: bad; used".to_owned(), used: Some(1000) };
        let ages = [(1000, "less than an hour"), (8200, "2 hours"), (1_000_000, "11 days")];
        for (now, age) in ages {
            let alarm = fault.alarm(now);
            assert_eq!(alarm, format!("f:1: bad; used, now {age} old"));
            assert_eq!(without_age(&alarm), "f:1: bad; used");
        }
        assert_eq!(without_age("something, now and then"), "something, now and then");
    }
}
