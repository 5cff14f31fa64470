//! The clocks: the only place that reads them, and how far the time of day is trusted.

use std::fs;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use crate::smtp::session::Now;

/// Nanoseconds of CLOCK_BOOTTIME, the clock of temporary blocks: it continues while the host
/// sleeps, and has no leaps and cannot be set. It is the clock that the kernel's program reads, in
/// a time namespace (`time_namespaces(7)`) too.
#[must_use]
pub fn boot_ns() -> u64 {
    static NAMESPACE: LazyLock<i64> = LazyLock::new(|| {
        // Without the file there are no time namespaces: the kernel was built without them.
        boot_offset(&fs::read_to_string("/proc/self/timens_offsets").unwrap_or_default())
    });
    // CLOCK_BOOTTIME exists since Linux 2.6.39: the call cannot fail.
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else {
        return 0;
    };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let here = seconds * 1_000_000_000 + u64::try_from(time.tv_nsec()).unwrap_or(0);
    here.saturating_add_signed(-*NAMESPACE)
}

/// An identifier of this boot; `unknown` if the kernel gives none.
#[must_use]
pub fn boot_id() -> String {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    // One word, since it becomes part of a line in a file.
    if id.trim().is_empty() { "unknown".to_owned() } else { id.trim().to_owned() }
}

/// How many nanoseconds a time namespace's CLOCK_BOOTTIME is ahead, from the line `boottime SECONDS
/// NANOSECONDS`.
fn boot_offset(offsets: &str) -> i64 {
    let line = offsets.lines().find_map(|line| line.strip_prefix("boottime"));
    let mut numbers = line.unwrap_or_default().split_whitespace().map(str::parse::<i64>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(seconds)), Some(Ok(ns))) => seconds.saturating_mul(1_000_000_000) + ns,
        _ => 0,
    }
}

/// Seconds of the Unix epoch.
#[must_use]
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Milliseconds of the Unix epoch.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The time for a session.
#[must_use]
pub fn now() -> Now {
    Now { monotonic: Instant::now(), unix_ms: unix_ms() }
}

/// The largest step of the time of day that is accepted at once: more than a clock drifts, and than
/// summer time if somebody sets it by hand.
const STEP_MS: u64 = 2 * 3_600_000;

/// How long a larger step must last before it is accepted.
const PATIENCE: Duration = Duration::from_secs(3600);

/// The time of day for expiry and retention: the host's, except after a large step, which is
/// accepted when it has lasted for an hour. So a clock that is wrong for a while deletes nothing
/// for good.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    unix_ms: u64,
    boot_ns: u64,
    /// How far the host's clock is ahead, and since when (CLOCK_BOOTTIME).
    doubt: Option<(i64, u64)>,
}

impl Settled {
    /// Begins with a time of day (milliseconds of the Unix epoch) that is trusted at a time of
    /// [`boot_ns`].
    #[must_use]
    pub const fn new(unix_ms: u64, boot_ns: u64) -> Self {
        Self { unix_ms, boot_ns, doubt: None }
    }

    /// The trusted time for these readings of the clocks.
    pub fn update(&mut self, unix_ms: u64, boot_ns: u64) -> u64 {
        let expected = self.unix_ms + boot_ns.saturating_sub(self.boot_ns) / 1_000_000;
        let ahead = signed(unix_ms) - signed(expected);
        if ahead.unsigned_abs() <= STEP_MS {
            *self = Self::new(unix_ms, boot_ns);
            return unix_ms;
        }
        match self.doubt {
            Some((before, since)) if before.abs_diff(ahead) <= STEP_MS => {
                if u128::from(boot_ns.saturating_sub(since)) < PATIENCE.as_nanos() {
                    return expected;
                }
                *self = Self::new(unix_ms, boot_ns);
                unix_ms
            }
            _ => {
                self.doubt = Some((ahead, boot_ns));
                expected
            }
        }
    }

    /// How many seconds the host's clock is ahead of the trusted time, if it is not trusted.
    #[must_use]
    pub fn doubted(&self) -> Option<i64> {
        self.doubt.map(|(ahead, _)| ahead / 1000)
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;
    const NOW: u64 = 20_000 * DAY;
    const YEAR: i64 = 365 * 86_400_000;

    /// The trusted time after `minutes` of the steady clock, with the host's clock off by `offset`
    /// milliseconds.
    fn at(settled: &mut Settled, minutes: u64, offset: i64) -> u64 {
        let unix = (NOW + minutes * 60_000).saturating_add_signed(offset);
        settled.update(unix, minutes * 60_000_000_000) - NOW
    }

    #[test]
    fn a_time_namespace_is_seen_through() {
        let offsets = "monotonic           5         0\nboottime        86400       7\n";
        assert_eq!(boot_offset(offsets), 86_400_000_000_007);
        assert_eq!(boot_offset("monotonic 5 0\nboottime -3 999999999\n"), -2_000_000_001);
        assert_eq!(boot_offset(""), 0);
    }

    #[test]
    fn small_steps_are_believed_at_once() {
        let mut settled = Settled::new(NOW, 0);
        assert_eq!(at(&mut settled, 1, 0), 60_000);
        assert_eq!(at(&mut settled, 200, -3_600_000), 200 * 60_000 - 3_600_000);
        assert_eq!(at(&mut settled, 201, 3_600_000), 201 * 60_000 + 3_600_000);
        assert_eq!(settled.doubted(), None);
    }

    #[test]
    fn a_great_step_is_believed_after_an_hour() {
        for offset in [YEAR, -86_400_000, -1_000 * 86_400_000] {
            let mut settled = Settled::new(NOW, 0);
            for minutes in 1..=60 {
                assert_eq!(at(&mut settled, minutes, offset), minutes * 60_000, "{offset}");
                assert!(settled.doubted().is_some());
            }
            let unix = (NOW + 61 * 60_000).saturating_add_signed(offset);
            assert_eq!(settled.update(unix, 61 * 60_000_000_000), unix);
            assert_eq!(settled.doubted(), None);
        }
    }

    #[test]
    fn one_that_is_taken_back_never_is() {
        let mut settled = Settled::new(NOW, 0);
        for hour in 0..20_u64 {
            assert_eq!(at(&mut settled, hour * 60 + 1, YEAR), (hour * 60 + 1) * 60_000);
            assert_eq!(at(&mut settled, hour * 60 + 50, YEAR), (hour * 60 + 50) * 60_000);
            assert_eq!(at(&mut settled, hour * 60 + 55, 0), (hour * 60 + 55) * 60_000);
        }
        // Nor one that is another each time.
        for minutes in 1300..1400_u64 {
            let offset = if minutes.is_multiple_of(2) { YEAR } else { 2 * YEAR };
            assert_eq!(at(&mut settled, minutes, offset), minutes * 60_000);
        }
    }

    #[test]
    fn a_host_that_slept_goes_by_both_clocks() {
        let mut settled = Settled::new(NOW, 0);
        // CLOCK_BOOTTIME goes on while the host sleeps.
        assert_eq!(at(&mut settled, 30 * 24 * 60, 0), 30 * DAY);
        assert_eq!(settled.doubted(), None);
    }
}
