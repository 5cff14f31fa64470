//! The data of the live view: the last refresh, and the changes since the ones before.

use std::collections::{BTreeMap, VecDeque};

use super::refresh::Refresh;
use crate::cli::error::{CliError, Failed};
use crate::control::protocol::Status;
use crate::record::{Kind, Summary};

/// The number of refreshes in the history.
const HISTORY: usize = 512;

pub(super) struct Model {
    pub(super) status: Status,
    pub(super) summary: Summary,
    /// The packet filter's reasons with frames, the busiest first.
    pub(super) verdicts: Vec<Verdict>,
    /// Passed and dropped frames per second, the newest last.
    pub(super) history: [VecDeque<u64>; 2],
    /// SMTP connections per second.
    pub(super) connections: Option<f64>,
    /// Accepted recipients per second.
    pub(super) accepted: Option<f64>,
    /// Refused recipients per second.
    pub(super) refused: Option<f64>,
    /// Why the daemon does not answer.
    pub(super) lost: Option<String>,
    /// The window of the sums: `1h` is the last hour.
    pub(super) window: String,
    /// Whether the view is paused.
    pub(super) paused: bool,
    /// Whether to use colours.
    pub(super) colour: bool,
    /// Refreshes since the view was last drawn.
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

/// The decisions of the window with the same stage and reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Decision<'a> {
    pub(super) stage: &'a str,
    pub(super) reason: &'a str,
    pub(super) accepted: bool,
    pub(super) count: u64,
}

impl Model {
    pub(super) fn new(first: Refresh, window: &str, colour: bool) -> Self {
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
            paused: false,
            colour,
            news: 1,
            at: first.at,
        }
    }

    /// Takes a refresh. While the view is paused, it is counted but not shown.
    pub(super) fn take(&mut self, refresh: Refresh) {
        self.news += 1;
        self.lost = None;
        if self.paused {
            return;
        }
        let seconds = refresh.at.duration_since(self.at).as_secs_f64();
        // A restarted daemon counts from zero.
        let earlier = Some(&self.status).filter(|earlier| earlier.pid == refresh.status.pid);
        self.verdicts = verdicts(&refresh.status, earlier, seconds);
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
        let rates = smtp(&refresh.status).zip(earlier.and_then(smtp)).map(|(now, then)| {
            [0, 1, 2].map(|index: usize| per_second(now[index], then[index], seconds))
        });
        [self.connections, self.accepted, self.refused] =
            rates.map_or([None; 3], |rates| rates.map(Some));
        self.status = refresh.status;
        self.summary = refresh.summary;
        self.at = refresh.at;
    }

    /// Notes that the daemon does not answer.
    pub(super) fn lose(&mut self, error: &CliError) {
        if let CliError::Failed(Failed { message, .. }) = error {
            self.lost = Some(message.clone());
        }
    }

    /// The decisions of the window, the most frequent first.
    pub(super) fn decisions(&self) -> Vec<Decision<'_>> {
        let mut sums: BTreeMap<(&str, &str, bool), u64> = BTreeMap::new();
        for decided in &self.summary.decisions {
            let key = (decided.stage.code(), decided.reason.code(), decided.kind == Kind::Accepted);
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
    reason = "a rate is positive, and rounded for display"
)]
pub(super) fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;

    pub(in super::super) fn refresh(at: std::time::Instant, frames: u64) -> Refresh {
        let mut status = crate::cli::busy_status();
        for counter in &mut status.counters {
            counter.frames += frames;
        }
        Refresh { status, summary: Summary::of(0, 3_600_000), at }
    }

    #[test]
    fn rates_are_calculated_between_refreshes() {
        let start = std::time::Instant::now();
        let mut model = Model::new(refresh(start, 0), "1h", false);
        assert!(model.verdicts.iter().all(|verdict| verdict.per_second.is_none()));
        model.take(refresh(start + Duration::from_secs(2), 100));
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

        // A restarted daemon, and a paused view.
        let mut other = refresh(start + Duration::from_secs(3), 0);
        other.status.pid += 1;
        model.take(other);
        assert!(model.verdicts.iter().all(|verdict| verdict.per_second.is_none()));
        model.paused = true;
        let shown = model.verdicts.clone();
        model.take(refresh(start + Duration::from_secs(4), 1_000));
        assert_eq!((model.verdicts, model.news), (shown, 4));
    }
}
