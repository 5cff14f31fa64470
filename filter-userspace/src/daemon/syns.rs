//! Dropped SYNs on their way to the mail log.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use filter_common::abi::Event;
use filter_common::{Disposition, Family, Reason};
use ipnet::IpNet;

use super::sources::Sources;
use crate::control::protocol::TopSource;
use crate::io::clock;
use crate::io::kernel::Filter;
use crate::lists::Answer;
use crate::record::{Record, Stage, Status, everybody};
use crate::store::{Entry, Frames, Sink};

/// How many sources of dropped SYNs are shown.
const TOP_SOURCES: usize = 10;

/// The dropped SYNs of sampled events, and what the packet filter counts.
#[derive(Default)]
pub(super) struct Syns {
    dropped: Dropped,
    told: Told,
    counted: Counted,
    sources: Sources,
    /// Events that were read since the start.
    pub(super) read: u64,
    /// SYNs of sampled events of which it is not known who sent them.
    pub(super) unattributed: u64,
}

impl Syns {
    /// Takes sampled events at `now`, in seconds of any monotonic clock.
    pub(super) fn note(&mut self, events: &[Event], now: u64) {
        for event in events {
            let Some(reason) = event.reason() else { continue };
            self.read += 1;
            if !event.is_attributed() {
                self.unattributed += u64::from(event.weight);
                tracing::debug!(
                    target: "mxdp::syn",
                    weight = event.weight,
                    "SYNs of an earlier second, unattributed"
                );
                continue;
            }
            let syn = event.syn();
            self.sources.add(now, syn.source.to_ip(), reason, event.weight);
            self.dropped.add(syn.source.to_ip(), reason, event.weight);
            tracing::debug!(
                target: "mxdp::syn",
                source = %syn.source.to_ip(),
                destination = %syn.destination.to_ip(),
                port = syn.port,
                reason = reason.name(),
                weight = event.weight,
                ifindex = event.ifindex,
                "sampled SYN"
            );
        }
    }

    /// Hands the SYNs that were dropped since the last time to the mail log; `answer` is what
    /// the lists say of a source.
    pub(super) fn record(
        &mut self,
        answer: impl Fn(IpAddr) -> Answer,
        filter: &Filter,
        sink: &dyn Sink,
    ) {
        let now = clock::unix_ms();
        for (source, reason, count) in self.dropped.take() {
            let record = record(now, &answer(source), (reason, count), &mut self.told);
            _ = sink.add(Entry::Record(Box::new(record)));
        }
        let Ok(counters) = filter.counters() else { return };
        let frames = self.counted.take(counters);
        if !frames.is_empty() {
            _ = sink.add(Entry::Frames(now, frames));
        }
    }

    /// The sources of most dropped SYNs in the last minutes, the largest first.
    pub(super) fn top(&mut self, now: u64) -> Vec<TopSource> {
        self.sources.top(now, TOP_SOURCES)
    }
}

/// The sources that are told apart within a second. Events are sampled, so that a
/// flood brings no more; what does come beyond it is not recorded (it is counted, as
/// every frame is).
const SOURCES: usize = 65_536;

/// SYNs that were dropped since the last time, estimated from sampled events.
#[derive(Default)]
struct Dropped {
    counts: HashMap<(IpAddr, Reason), u64>,
}

impl Dropped {
    /// Takes an event of `weight` frames, if it is a drop.
    fn add(&mut self, source: IpAddr, reason: Reason, weight: u32) {
        if reason.disposition() != Disposition::Drop {
            return;
        }
        if self.counts.len() < SOURCES || self.counts.contains_key(&(source, reason)) {
            *self.counts.entry((source, reason)).or_default() += u64::from(weight);
        }
    }

    /// Sources, reasons and numbers; the next time begins.
    fn take(&mut self) -> Vec<(IpAddr, Reason, u64)> {
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
struct Told {
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
struct Counted {
    last: Option<HashMap<(Reason, Family), u64>>,
}

impl Counted {
    /// Takes the counters, and gives what was added to them. Counters that begin anew
    /// (the maps were made anew) give nothing that once.
    fn take(&mut self, counters: Vec<(Reason, Family, u64)>) -> Vec<Frames> {
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

/// The log entry of dropped SYNs; `answer` is what the lists say of their source.
fn record(now: u64, answer: &Answer, (reason, count): (Reason, u64), told: &mut Told) -> Record {
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
