//! Sums of the mail log over a time, for charts.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::codes::{Kind, Reason, Stage, Status};
use super::when;

/// What happened in a time, in steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// The beginning of the first step: milliseconds of the Unix epoch.
    #[serde(with = "when::rfc3339")]
    pub since: u64,
    /// The end of the last step.
    #[serde(with = "when::rfc3339")]
    pub until: u64,
    /// The minutes of a step.
    pub step_minutes: u64,
    /// What was decided, step by step.
    pub decisions: Vec<Decided>,
    /// What the packet filter counted, step by step; never sampled.
    pub frames: Vec<Counted>,
    /// The countries with most blocked attempts, and what came from each; at most [`NAMED`].
    pub countries: Vec<Country>,
    /// The sources with most blocked attempts; at most [`NAMED`].
    pub sources: Vec<Source>,
    /// Whether records are missing, since files could not be read.
    #[serde(default)]
    pub partial: bool,
    /// The parts of the mail log that could not be read, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<String>,
}

/// Records of a step that are alike.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// The number of the step, from 0 on.
    pub step: u64,
    /// Which view they are in.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Their outcome.
    pub status: Status,
    /// The stage that decided.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// How many recipients, or SYNs by estimate.
    pub count: u64,
}

/// Frames of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// The number of the step, from 0 on.
    pub step: u64,
    /// The packet filter's reason.
    pub reason: Reason,
    /// How many.
    pub frames: u64,
}

/// What came from a country.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Country {
    /// Its code; none is that of addresses without one.
    pub country: Option<String>,
    /// What was blocked: recipients, and SYNs by estimate.
    pub blocked: u64,
    /// What was accepted.
    pub accepted: u64,
}

/// What came from an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The address.
    pub ip: IpAddr,
    /// Its country.
    pub country: Option<String>,
    /// What was blocked: recipients, and SYNs by estimate.
    pub blocked: u64,
}

/// Maximum number of countries and of sources.
const NAMED: usize = 20;

/// Maximum number of steps of a summary.
const STEPS: u64 = 400;

impl Summary {
    /// An empty summary of a time, in steps of a usual length of which there are at
    /// most [`STEPS`].
    #[must_use]
    pub fn of(since: u64, until: u64) -> Self {
        const MINUTES: [u64; 10] = [1, 5, 10, 30, 60, 180, 360, 720, 1_440, 10_080];
        const MINUTE: u64 = 60_000;
        let span = until.saturating_sub(since).div_ceil(MINUTE).max(1);
        let usual = MINUTES.into_iter().find(|minutes| span.div_ceil(*minutes) <= STEPS / 2);
        let step_minutes = usual.unwrap_or(span.div_ceil(STEPS / 2));
        let step = step_minutes * MINUTE;
        let (since, until) = (since / step * step, until.div_ceil(step) * step);
        Self { since, until: until.max(since + step), step_minutes, ..Self::default() }
    }

    /// Sorts its sums and leaves those with most: the same sums always come in the same order.
    pub fn sort(&mut self) {
        let names = |one: &Decided| (one.status.name(), one.kind.name());
        self.decisions.sort_by(|a, b| {
            (a.step, &a.reason, &a.stage, names(a)).cmp(&(b.step, &b.reason, &b.stage, names(b)))
        });
        self.frames.sort_by(|a, b| (a.step, &a.reason).cmp(&(b.step, &b.reason)));
        self.countries.sort_by(|a, b| {
            (b.blocked, b.accepted, &a.country).cmp(&(a.blocked, a.accepted, &b.country))
        });
        self.countries.truncate(NAMED);
        self.sources.sort_by_key(|source| (std::cmp::Reverse(source.blocked), source.ip));
        self.sources.truncate(NAMED);
    }

    /// How many steps it has.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        (self.until - self.since) / (self.step_minutes * 60_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_few_and_cover_the_time() {
        for span in [0, 1, 59_999, 60_000, 3_600_000, 86_400_000, 90 * 86_400_000, u64::MAX / 4] {
            for since in [0, 1_795_407_247_123_u64] {
                let summary = Summary::of(since, since + span);
                assert!(summary.since <= since && summary.until >= since + span, "{span}");
                assert!((1..=STEPS).contains(&summary.steps()), "{span}: {}", summary.steps());
            }
        }
        assert_eq!(Summary::of(0, 86_400_000).step_minutes, 10);
    }
}
