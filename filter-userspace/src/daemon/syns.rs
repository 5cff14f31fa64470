//! Dropped SYNs on their way to the record.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use filter_common::{Disposition, Family, Reason};
use ipnet::IpNet;

use crate::lists::Answer;
use crate::record::{Record, Stage, Status, everybody};
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

/// The sources that have an entry of their own within a minute. Anybody can forge sources, and
/// an entry each would fill the mail log within hours.
const TOLD: usize = 1_000;

/// The entries of lists that have one for all others of their sources.
const ENTRIES: usize = 100;

/// The sources that had an entry of their own in the minute.
#[derive(Default)]
pub(super) struct Told {
    minute: u64,
    sources: HashSet<IpAddr>,
    entries: HashSet<IpAddr>,
}

impl Told {
    /// Under which address a source's SYNs are recorded: its own, or where there were too many
    /// sources, that of the entry which decides, or else `::` or `0.0.0.0`.
    fn of(&mut self, now: u64, source: IpAddr, prefix: Option<IpNet>) -> IpAddr {
        let minute = now / 60_000;
        if self.minute != minute {
            *self = Self { minute, ..Self::default() };
        }
        if self.sources.contains(&source) {
            return source;
        }
        if self.sources.len() < TOLD {
            self.sources.insert(source);
            return source;
        }
        let entry = prefix.map(|prefix| prefix.network());
        let is_told = |entry: &IpAddr| {
            self.entries.contains(entry)
                || (self.entries.len() < ENTRIES && self.entries.insert(*entry))
        };
        entry.filter(is_told).unwrap_or_else(|| everybody(source))
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
pub(super) fn record(
    now: u64,
    answer: &Answer,
    (reason, count): (Reason, u64),
    told: &mut Told,
) -> Record {
    let ip = told.of(now, answer.ip, answer.prefix);
    let is_own = ip == answer.ip;
    // Where no list decides, none is the rule.
    let rule = (answer.class == reason.name()).then(|| {
        let source = answer.source.as_deref()?;
        let prefix = answer.prefix.map(|prefix| format!(" ({prefix})")).unwrap_or_default();
        Some(format!("{source}{prefix}"))
    });
    Record {
        country: answer.country.clone().filter(|_| is_own),
        rule: rule.flatten().filter(|_| is_own || !ip.is_unspecified()),
        count,
        ..Record::new(now, ip, Status::Dropped, Stage::PacketFilter, reason)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn forged_sources_share_an_entry_beyond_some() {
        let (mut told, now) = (Told::default(), 1_795_000_000_000);
        let block: IpNet = "45.0.0.0/9".parse().unwrap();
        let source = |n: u32| IpAddr::V4(Ipv4Addr::from(0x2d00_0000 + n));
        let mut under: HashSet<_> =
            (1..=10_000).map(|n| told.of(now, source(n), Some(block))).collect();
        assert_eq!(under.len(), TOLD + 1);
        assert!(under.contains(&block.network()));
        // A source that has an entry keeps it.
        assert_eq!(told.of(now, source(7), Some(block)), source(7));
        assert_eq!(told.of(now, source(70_000), None), IpAddr::from([0, 0, 0, 0]));
        // Entries of one address are as many as sources.
        let alone = (20_000..30_000).map(|n| told.of(now, source(n), Some(source(n).into())));
        assert_eq!(alone.collect::<HashSet<_>>().len(), ENTRIES);
        // The next minute has its own.
        under.insert(told.of(now + 60_000, source(70_000), None));
        assert!(under.contains(&source(70_000)));
    }

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
