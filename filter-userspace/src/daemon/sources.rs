//! The sources of dropped SYNs in the last minutes, from sampled events.

use std::collections::HashMap;
use std::net::IpAddr;

use filter_common::Reason;

use crate::control::protocol::TopSource;

/// The sources that are remembered. A flood from random sources fills this and
/// evicts the smallest; the large ones stay.
const SOURCES: usize = 4096;

/// The seconds that one of the two windows covers.
const WINDOW_S: u64 = 60;

/// Estimated SYNs by source, over the last one to two minutes.
#[derive(Default)]
pub(super) struct Sources {
    window_start: u64,
    current: HashMap<IpAddr, Seen>,
    last: HashMap<IpAddr, Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    reason: Reason,
    frames: u64,
}

impl Sources {
    /// Takes an event of `weight` frames at `now` (seconds, any monotonic clock).
    pub(super) fn add(&mut self, now: u64, source: IpAddr, reason: Reason, weight: u32) {
        self.turn(now);
        if self.current.len() >= SOURCES && !self.current.contains_key(&source) {
            self.halve();
        }
        let seen = self.current.entry(source).or_insert(Seen { reason, frames: 0 });
        seen.reason = reason;
        seen.frames += u64::from(weight);
    }

    /// The `count` sources of most frames, the largest first.
    pub(super) fn top(&mut self, now: u64, count: usize) -> Vec<TopSource> {
        self.turn(now);
        let mut all = self.last.clone();
        for (source, seen) in &self.current {
            all.entry(*source)
                .and_modify(|entry| *entry = Seen { frames: entry.frames + seen.frames, ..*seen })
                .or_insert(*seen);
        }
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort_by_key(|(source, seen)| (std::cmp::Reverse(seen.frames), *source));
        all.truncate(count);
        all.into_iter()
            .map(|(ip, seen)| TopSource {
                ip,
                reason: seen.reason.name().to_owned(),
                estimated: seen.frames,
            })
            .collect()
    }

    fn turn(&mut self, now: u64) {
        let age = now.saturating_sub(self.window_start);
        if age >= WINDOW_S {
            let current = std::mem::take(&mut self.current);
            self.last = if age < 2 * WINDOW_S { current } else { HashMap::new() };
            self.window_start = now;
        }
    }

    /// Forgets the smaller half.
    fn halve(&mut self) {
        let mut frames: Vec<_> = self.current.values().map(|seen| seen.frames).collect();
        let middle = frames.len() / 2;
        let (_, median, _) = frames.select_nth_unstable(middle);
        let median = *median;
        let mut left = SOURCES / 2;
        self.current.retain(|_, seen| {
            let keep = seen.frames > median || (seen.frames == median && left > 0);
            left -= usize::from(keep && left > 0);
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_largest_come_first_and_the_old_are_forgotten() {
        let mut sources = Sources::default();
        sources.add(100, address(1), Reason::BlockedIp, 5);
        sources.add(101, address(2), Reason::BlockedCountry, 9);
        sources.add(165, address(1), Reason::BlockedIp, 6);
        let top = sources.top(166, 10);
        assert_eq!(top.iter().map(|top| top.estimated).collect::<Vec<_>>(), [11, 9]);
        assert_eq!(top[1].reason, "blocked_country");
        assert_eq!(sources.top(166, 1).len(), 1);
        assert_eq!(sources.top(226, 10).len(), 1);
        assert!(sources.top(500, 10).is_empty());
    }

    #[test]
    fn a_flood_of_sources_is_bounded_and_hides_no_large_one() {
        let mut sources = Sources::default();
        for n in 0..100_000 {
            sources.add(1, address(n), Reason::BlockedIp, 1);
            sources.add(1, address(u32::MAX), Reason::BlockedIp, 1);
            assert!(sources.current.len() <= SOURCES);
        }
        assert_eq!(sources.top(1, 1)[0].estimated, 100_000);
    }
}
