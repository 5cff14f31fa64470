//! The daemon's clocks: the time by which entries end, and the time of day as far as it is
//! believed.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::io::clock::{self, Settled};
use crate::io::timeline::Timeline;

/// How often the time by which entries end is kept for the next start, at least.
const KEEP_TIME: Duration = Duration::from_secs(600);

/// The daemon's clocks.
pub(super) struct Clocks {
    started: Instant,
    /// The time of day, as far as it is believed.
    believed: Settled,
    /// The time by which entries end.
    pub(super) timeline: Timeline,
    /// When it was last kept for the next start.
    saved: Instant,
    /// Where it is kept.
    folder: PathBuf,
}

impl Clocks {
    /// The clocks of this start, and by how many seconds what the last daemon wrote is to be
    /// put forward.
    pub(super) fn start(folder: PathBuf) -> (Self, i64) {
        let (timeline, shift) = Timeline::start(&folder);
        let believed = Settled::new(clock::unix_ms(), clock::boot_ns());
        let now = Instant::now();
        (Self { started: now, believed, timeline, saved: now, folder }, shift)
    }

    /// Seconds since the daemon started.
    pub(super) fn uptime(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Looks at the time of day.
    pub(super) fn look(&mut self) {
        self.believed.update(clock::unix_ms(), clock::boot_ns());
    }

    /// Keeps the time by which entries end for the next start.
    pub(super) fn save(&mut self) {
        self.saved = Instant::now();
        if let Err(error) = self.timeline.save(&self.folder) {
            tracing::error!("the time by which entries end is not saved: {error}");
        }
    }

    /// The same, where it has moved or was last kept long ago.
    pub(super) fn save_if_due(&mut self) {
        if self.timeline.has_moved() || self.saved.elapsed() >= KEEP_TIME {
            self.save();
        }
    }

    /// The alarm, while the time of day is not believed.
    pub(super) fn alarm(&self) -> Option<String> {
        let ahead = self.believed.doubted()?;
        let way = if ahead < 0 { "back" } else { "forward" };
        Some(format!(
            "the system clock jumped {way} by about {} h; mxdp keeps the previous time for the age \
             of log entries and adopts the new one if it lasts an hour",
            ahead.unsigned_abs().div_ceil(3600)
        ))
    }
}
