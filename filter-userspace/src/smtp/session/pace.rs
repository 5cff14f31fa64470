//! How fast a client must send what it has announced.
//!
//! A client must meet two conditions: it must never be silent for longer than the timeout for data
//! (RFC 5321 section 4.5.3.2.5), and it must send at a minimum rate. The rate is measured over a
//! minute in which it sends. Silences do not count towards that minute, but together they may not
//! be longer than the timeout for data either. So a client may pause once for long, but may not
//! send a single byte now and then. Between two chunks (BDAT) a client may be silent for the
//! timeout of a command.

use std::time::{Duration, Instant};

use super::facts::Times;

/// The window over which the rate is measured.
const WINDOW: Duration = Duration::from_secs(60);

/// A pause of at least this length is silence, not slowness.
const SILENCE: Duration = Duration::from_secs(5);

/// The progress of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// The bytes that arrived since [`Self::start`].
    window: u64,
    start: Instant,
    last: Instant,
    /// How long it has been silent since then.
    silent: Duration,
    /// How long it may be silent.
    quiet: Duration,
}

impl Pace {
    pub(super) const fn new(times: &Times, now: Instant) -> Self {
        Self { window: 0, start: now, last: now, silent: Duration::ZERO, quiet: times.data }
    }

    /// Another chunk begins.
    pub(super) fn next_chunk(&mut self, times: &Times, now: Instant) {
        self.quiet = times.data.max(times.command);
        self.took(0, times, now);
    }

    /// Notes bytes that arrived; false if they arrived too slowly.
    pub(super) fn took(&mut self, count: u64, times: &Times, now: Instant) -> bool {
        let pause = now.saturating_duration_since(self.last);
        if pause >= SILENCE {
            self.silent = (self.silent + pause).min(self.quiet);
        }
        self.last = now;
        self.window = self.window.saturating_add(count);
        // A fast start does not excuse a slow end.
        if self.window >= times.data_rate * WINDOW.as_secs() {
            *self = Self { quiet: self.quiet, ..Self::new(times, now) };
        }
        now.saturating_duration_since(self.start) < WINDOW + self.silent
    }

    /// The time from `since` to `now` does not count against the client.
    pub(super) fn forgive(&mut self, since: Instant, now: Instant) {
        self.start += now.saturating_duration_since(since);
        self.last = now;
    }

    /// When the next bytes must have arrived.
    pub(super) fn deadline(&self, times: &Times) -> Instant {
        (self.last + times.data).min(self.start + WINDOW + self.quiet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn times(data: u32) -> Times {
        Times { command: 300 * SECOND, data: data * SECOND, data_rate: 64 }
    }

    /// How long a client lasts that sends `count` bytes every `pause`.
    fn lasts(count: u64, pause: Duration, times: &Times) -> Duration {
        let start = Instant::now();
        let (mut pace, mut now) = (Pace::new(times, start), start);
        for _ in 0..100_000 {
            let deadline = pace.deadline(times);
            now += pause;
            if deadline <= now {
                return deadline - start;
            }
            if !pace.took(count, times, now) {
                return now - start;
            }
        }
        now - start
    }

    /// RFC 5321 section 4.5.3.2.5 has three minutes between two pieces of data; more may
    /// be configured.
    #[test]
    fn the_time_for_data_is_the_time_that_is_waited() {
        for data in [1, 30, 60, 61, 180, 300, 3600] {
            assert_eq!(lasts(0, 10_000 * SECOND, &times(data)), data * SECOND);
        }
        // Just below it, at the required rate, nothing ends it.
        assert!(lasts(64 * 60, 299 * SECOND, &times(300)) > 100_000 * SECOND);
    }

    #[test]
    fn a_trickle_does_not_last() {
        let times = times(180);
        assert!(lasts(1, SECOND, &times) <= 61 * SECOND);
        for pause in 1..180 {
            let lasted = lasts(1, pause * SECOND, &times);
            assert!(lasted <= 240 * SECOND, "{pause}: {lasted:?}");
            let lasted = lasts(63 * u64::from(pause), pause * SECOND, &times);
            assert!(pause >= 5 || lasted <= 60 * SECOND + pause * SECOND, "{pause}: {lasted:?}");
        }
        assert!(lasts(64, SECOND, &times) > 90_000 * SECOND);
        assert!(lasts(0, 179 * SECOND, &Times { data_rate: 0, ..times }) > 100_000 * SECOND);
    }

    /// Small chunks far apart are a trickle, and one long pause between chunks is not.
    #[test]
    fn chunks_do_not_begin_the_time_anew() {
        let (times, start) = (times(180), Instant::now());
        let lasts = |count: u64, pause: u32| {
            let (mut pace, mut now) = (Pace::new(&times, start), start);
            for _ in 0..1000 {
                now += pause * SECOND;
                pace.next_chunk(&times, now);
                if pace.deadline(&times) <= now || !pace.took(count, &times, now) {
                    break;
                }
            }
            now - start
        };
        for pause in 1..300 {
            let lasted = lasts(1, pause);
            assert!(lasted <= (360 + pause) * SECOND, "{pause}: {lasted:?}");
            assert!(lasts(64 * 60, pause) == 1000 * pause * SECOND, "{pause}");
        }
    }

    #[test]
    fn the_backends_time_is_not_the_clients() {
        let start = Instant::now();
        let mut pace = Pace::new(&times(180), start);
        pace.forgive(start, start + 1000 * SECOND);
        assert_eq!(pace.deadline(&times(180)), start + 1180 * SECOND);
        assert!(pace.took(1, &times(180), start + 1001 * SECOND));
    }
}
