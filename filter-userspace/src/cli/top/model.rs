//! What the live view shows: the last look, and what has changed since those before.

use std::collections::{BTreeMap, VecDeque};

use super::Look;
use crate::cli::error::{CliError, Failed};
use crate::control::protocol::Status;
use crate::record::{Kind, Summary};

/// The looks that are remembered.
const HISTORY: usize = 512;

pub(super) struct Model {
    pub(super) status: Status,
    pub(super) summary: Summary,
    /// The packet filter's reasons with frames, the busiest first.
    pub(super) verdicts: Vec<Verdict>,
    /// Frames a second that passed and that were dropped, the newest last.
    pub(super) history: [VecDeque<u64>; 2],
    /// Of SMTP, a second.
    pub(super) connections: Option<f64>,
    pub(super) accepted: Option<f64>,
    pub(super) refused: Option<f64>,
    /// Why the daemon does not answer.
    pub(super) lost: Option<String>,
    /// What is summed up: `1h` is the last hour.
    pub(super) window: String,
    /// Whether the view stands still.
    pub(super) held: bool,
    /// Whether the terminal is to be coloured.
    pub(super) colour: bool,
    /// Looks since the last drawing.
    pub(super) news: u64,
    at: std::time::Instant,
}

/// Frames of a reason, of all families.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) reason: String,
    pub(super) drops: bool,
    pub(super) total: u64,
    pub(super) per_second: Option<f64>,
}

/// What was decided in the window, by stage and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision<'a> {
    pub(super) stage: &'a str,
    pub(super) reason: &'a str,
    pub(super) accepted: bool,
    pub(super) count: u64,
}

impl Model {
    pub(super) fn new(first: Look, window: &str, colour: bool) -> Self {
        let verdicts = verdicts(&first.status, None, 0.0);
        Self {
            verdicts,
            status: first.status,
            summary: first.summary,
            history: [VecDeque::new(), VecDeque::new()],
            connections: None,
            accepted: None,
            refused: None,
            lost: None,
            window: window.to_owned(),
            held: false,
            colour,
            news: 1,
            at: first.at,
        }
    }

    /// Takes a look; one that is held back is seen, and not shown.
    pub(super) fn take(&mut self, look: Look) {
        self.news += 1;
        self.lost = None;
        if self.held {
            return;
        }
        let seconds = look.at.duration_since(self.at).as_secs_f64();
        // A daemon that began anew counts from nothing.
        let earlier = Some(&self.status).filter(|earlier| earlier.pid == look.status.pid);
        self.verdicts = verdicts(&look.status, earlier, seconds);
        for (drops, history) in [false, true].into_iter().zip(&mut self.history) {
            let kind = self.verdicts.iter().filter(|verdict| verdict.drops == drops);
            history.push_back(whole(kind.filter_map(|verdict| verdict.per_second).sum()));
            if history.len() > HISTORY {
                history.pop_front();
            }
        }
        let smtp = |status: &Status| {
            let smtp = status.smtp.as_ref()?;
            let refused = smtp.refused.iter().map(|refused| refused.recipients).sum::<u64>();
            Some([smtp.connections, smtp.accepted, refused])
        };
        let rates = smtp(&look.status).zip(earlier.and_then(smtp)).map(|(now, then)| {
            [0, 1, 2].map(|index: usize| per_second(now[index], then[index], seconds))
        });
        [self.connections, self.accepted, self.refused] =
            rates.map_or([None; 3], |rates| rates.map(Some));
        self.status = look.status;
        self.summary = look.summary;
        self.at = look.at;
    }

    /// The daemon does not answer.
    pub(super) fn lose(&mut self, error: &CliError) {
        if let CliError::Failed(Failed { message, .. }) = error {
            self.lost = Some(message.clone());
        }
    }

    /// What SMTP decided in the window, the most frequent first.
    pub(super) fn decisions(&self) -> Vec<Decision<'_>> {
        let mut sums: BTreeMap<(&str, &str, bool), u64> = BTreeMap::new();
        for decided in &self.summary.decisions {
            let key = (&*decided.stage, &*decided.reason, decided.kind == Kind::Accepted);
            *sums.entry(key).or_default() += decided.count;
        }
        let decision =
            |((stage, reason, accepted), count)| Decision { stage, reason, accepted, count };
        let mut decisions: Vec<_> = sums.into_iter().map(decision).collect();
        decisions.sort_by_key(|decision| std::cmp::Reverse(decision.count));
        decisions
    }
}

fn verdicts(status: &Status, earlier: Option<&Status>, seconds: f64) -> Vec<Verdict> {
    let sums = |status: &Status| {
        let mut sums: BTreeMap<String, (bool, u64)> = BTreeMap::new();
        for counter in &status.counters {
            let sum = sums.entry(counter.reason.clone()).or_default();
            *sum = (counter.action == "drop", sum.1 + counter.frames);
        }
        sums
    };
    let then = earlier.map(sums);
    let verdict = |(reason, (drops, total)): (String, (bool, u64))| {
        let before = then.as_ref().map(|then| then.get(&reason).map_or(0, |sum| sum.1));
        let per_second = before.map(|before| per_second(total, before, seconds));
        Verdict { reason, drops, total, per_second }
    };
    let mut verdicts: Vec<_> =
        sums(status).into_iter().filter(|(_, (_, total))| *total > 0).map(verdict).collect();
    verdicts.sort_by(|one, other| {
        let rate = |verdict: &Verdict| verdict.per_second.unwrap_or(0.0);
        rate(other).total_cmp(&rate(one)).then(other.total.cmp(&one.total))
    });
    verdicts
}

#[expect(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
fn per_second(now: u64, then: u64, seconds: f64) -> f64 {
    now.saturating_sub(then) as f64 / seconds.max(0.001)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is positive, and rounded for a picture"
)]
pub(super) fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in super::super) fn look(at: std::time::Instant, frames: u64) -> Look {
        let mut status = crate::cli::busy_status();
        for counter in &mut status.counters {
            counter.frames += frames;
        }
        Look { status, summary: Summary::of(0, 3_600_000), at }
    }

    #[test]
    fn rates_are_of_what_came_since() {
        let start = std::time::Instant::now();
        let mut model = Model::new(look(start, 0), "1h", false);
        assert!(model.verdicts.iter().all(|verdict| verdict.per_second.is_none()));
        model.take(look(start + Duration::from_secs(2), 100));
        let families = |reason: &str| {
            let of = |counter: &&crate::control::protocol::Counter| counter.reason == reason;
            model.status.counters.iter().filter(of).count()
        };
        for verdict in &model.verdicts {
            let expected = 50.0 * f64::from(u32::try_from(families(&verdict.reason)).unwrap());
            let rate = verdict.per_second.unwrap();
            assert!((rate - expected).abs() < 0.01, "{verdict:?}: {expected}");
        }
        assert_eq!(model.history.each_ref().map(VecDeque::len), [1, 1]);

        // Another daemon, and one that stands still.
        let mut other = look(start + Duration::from_secs(3), 0);
        other.status.pid += 1;
        model.take(other);
        assert!(model.verdicts.iter().all(|verdict| verdict.per_second.is_none()));
        model.held = true;
        let held = model.verdicts.clone();
        model.take(look(start + Duration::from_secs(4), 1_000));
        assert_eq!((model.verdicts, model.news), (held, 4));
    }
}
