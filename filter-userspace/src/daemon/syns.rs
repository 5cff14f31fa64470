//! Dropped SYNs on their way to the record.

use std::collections::HashMap;
use std::net::IpAddr;

use filter_common::{Disposition, Family, Reason};

use crate::control::protocol::Answer;
use crate::record::{Record, Status};
use crate::store::Frames;

/// The sources that are told apart within a second. Events are sampled, so that a
/// flood brings no more; what does come beyond it is not recorded (it is counted, as
/// every frame is).
const SOURCES: usize = 65_536;

/// SYNs that were dropped since the last time, estimated from sampled events.
#[derive(Default)]
pub(super) struct Dropped {
    counts: HashMap<(IpAddr, Reason), u64>,
}

impl Dropped {
    /// Takes an event of `weight` frames, if it is a drop.
    pub(super) fn add(&mut self, source: IpAddr, reason: Reason, weight: u32) {
        if reason.disposition() != Disposition::Drop {
            return;
        }
        if self.counts.len() < SOURCES || self.counts.contains_key(&(source, reason)) {
            *self.counts.entry((source, reason)).or_default() += u64::from(weight);
        }
    }

    /// Sources, reasons and numbers; the next time begins.
    pub(super) fn take(&mut self) -> Vec<(IpAddr, Reason, u64)> {
        let counts = std::mem::take(&mut self.counts);
        counts.into_iter().map(|((source, reason), count)| (source, reason, count)).collect()
    }
}

/// What the packet filter has counted since the last time, of what it judges.
#[derive(Default)]
pub(super) struct Counted {
    last: Option<HashMap<(Reason, Family), u64>>,
}

impl Counted {
    /// Takes the counters, and gives what was added to them. Counters that begin anew
    /// (the maps were made anew) give nothing that once.
    pub(super) fn take(&mut self, counters: Vec<(Reason, Family, u64)>) -> Vec<Frames> {
        let now: HashMap<_, _> = counters
            .into_iter()
            .filter(|(reason, ..)| is_judged(*reason))
            .map(|(reason, family, frames)| ((reason, family), frames))
            .collect();
        let Some(before) = self.last.replace(now.clone()) else { return Vec::new() };
        let added = now.into_iter().filter_map(|((reason, family), frames)| {
            let before = before.get(&(reason, family)).copied().unwrap_or(0);
            let frames = frames.checked_sub(before).filter(|frames| *frames > 0)?;
            let (reason, family) = (reason.name().to_owned(), family.name().to_owned());
            Some(Frames { reason, family, frames })
        });
        added.collect()
    }
}

/// Whether it is about a SYN to a protected port.
const fn is_judged(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::NotIp
            | Reason::NotTcp
            | Reason::NotSyn
            | Reason::OtherPort
            | Reason::LaterFragment
            | Reason::Malformed
    )
}

/// The record of dropped SYNs; `answer` is what the lists say of their source.
pub(super) fn record(now: u64, answer: &Answer, reason: Reason, count: u64) -> Record {
    // Where no list decides, none is the rule.
    let rule = (answer.class == reason.name()).then(|| {
        let source = answer.source.as_deref()?;
        let prefix = answer.prefix.map(|prefix| format!(" ({prefix})")).unwrap_or_default();
        Some(format!("{source}{prefix}"))
    });
    Record {
        country: answer.country.clone(),
        rule: rule.flatten(),
        count,
        ..Record::new(now, answer.ip, Status::Dropped, "syn", reason.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_summed_and_bounded() {
        let mut dropped = Dropped::default();
        let ip = IpAddr::from([192, 0, 2, 1]);
        for weight in 1..=3 {
            dropped.add(ip, Reason::BlockedIp, weight);
            dropped.add(ip, Reason::Unlisted, weight);
        }
        assert_eq!(dropped.take(), [(ip, Reason::BlockedIp, 6)]);
        assert!(dropped.take().is_empty());
        for n in 0..70_000_u32 {
            dropped.add(IpAddr::V4(n.into()), Reason::BlockedIp, 1);
        }
        assert_eq!(dropped.take().len(), SOURCES);
    }
}
