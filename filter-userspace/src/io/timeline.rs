//! The time by which entries end: the time of day at this boot's first start, and from
//! then on the clock that nobody sets.
//!
//! So an entry lasts as long as it was given, whatever becomes of the time of day. Files
//! have this time; how far the time of day is from it is added where people are shown it.
//! `clock.txt` in the state folder keeps both for the next start: `BOOT-ID SECONDS
//! SECONDS-OF-BOOT AHEAD`.

use std::fs;
use std::io;
use std::path::Path;

use super::clock;
use super::state::{self, StateItem};

const SECOND_NS: u64 = 1_000_000_000;

/// A time that goes on with CLOCK_BOOTTIME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    boot_id: String,
    /// What this time was, in seconds of the Unix epoch, …
    unix_s: u64,
    /// … when CLOCK_BOOTTIME was this.
    boot_s: u64,
    /// By how many seconds the time of day is ahead of it.
    ahead_s: i64,
}

impl Timeline {
    /// The time of this boot, as far as the last daemon has left it; and by how many
    /// seconds what it has written is to be put forward.
    #[must_use]
    pub fn start(folder: &Path) -> (Self, i64) {
        let text = fs::read_to_string(StateItem::Clock.path(folder)).unwrap_or_default();
        let now = Self {
            boot_id: clock::boot_id(),
            unix_s: clock::unix_seconds(),
            boot_s: clock::boot_ns() / SECOND_NS,
            ahead_s: 0,
        };
        now.after(Self::parse(&text))
    }

    /// Goes on from what was kept, where this is the time of day now.
    fn after(self, kept: Option<Self>) -> (Self, i64) {
        match kept {
            Some(kept) if kept.boot_id == self.boot_id && kept.boot_s <= self.boot_s => {
                let elapsed = self.boot_s - kept.boot_s;
                let unix_s = kept.unix_s.saturating_add(elapsed);
                let ahead_s = difference(self.unix_s, unix_s);
                (Self { unix_s, ahead_s, ..self }, 0)
            }
            // A host without a clock of its own may begin in 1970: time does not go back.
            Some(kept) => {
                let last = kept.unix_s.saturating_add_signed(kept.ahead_s);
                (Self { unix_s: self.unix_s.max(last), ..self }, kept.ahead_s)
            }
            None => (self, 0),
        }
    }

    /// The time now, in seconds of the Unix epoch.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.at(clock::boot_ns())
    }

    fn at(&self, boot_ns: u64) -> u64 {
        self.unix_s + (boot_ns / SECOND_NS).saturating_sub(self.boot_s)
    }

    /// CLOCK_BOOTTIME, in nanoseconds, at a time; 0 if that is before this boot.
    #[must_use]
    pub fn boot_ns_at(&self, time: u64) -> u64 {
        let ahead = difference(time, self.unix_s);
        self.boot_s.checked_add_signed(ahead).unwrap_or(0).saturating_mul(SECOND_NS)
    }

    /// A time as the time of day says it.
    #[must_use]
    pub fn shown(&self, time: u64) -> u64 {
        time.saturating_add_signed(difference(clock::unix_seconds(), self.now()))
    }

    /// Keeps it in `folder`, for the next start.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn save(&mut self, folder: &Path) -> io::Result<()> {
        let boot_s = clock::boot_ns() / SECOND_NS;
        self.unix_s = self.at(boot_s * SECOND_NS);
        self.boot_s = boot_s;
        self.ahead_s = difference(clock::unix_seconds(), self.unix_s);
        let Self { boot_id, unix_s, boot_s, ahead_s } = self;
        let text = format!("{boot_id} {unix_s} {boot_s} {ahead_s}\n");
        state::replace(&StateItem::Clock.path(folder), text.as_bytes())
    }

    /// Whether the time of day has been set since it was kept.
    #[must_use]
    pub fn has_moved(&self) -> bool {
        difference(clock::unix_seconds(), self.now()).abs_diff(self.ahead_s) > 2
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let kept = Self {
            boot_id: words.next()?.to_owned(),
            unix_s: words.next()?.parse().ok()?,
            boot_s: words.next()?.parse().ok()?,
            ahead_s: words.next()?.parse().ok()?,
        };
        words.next().is_none().then_some(kept)
    }
}

fn difference(one: u64, other: u64) -> i64 {
    i64::try_from(i128::from(one) - i128::from(other)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(boot_id: &str, unix_s: u64, boot_s: u64, ahead_s: i64) -> Timeline {
        Timeline { boot_id: boot_id.to_owned(), unix_s, boot_s, ahead_s }
    }

    #[test]
    fn within_a_boot_only_its_own_clock_counts() {
        // The time of day was an hour behind, and was put right.
        let (now, shift) = at("a", 13_600, 400, 0).after(Some(at("a", 9_900, 300, 0)));
        assert_eq!((now.clone(), shift), (at("a", 10_000, 400, 3_600), 0));
        assert_eq!(now.at(500 * SECOND_NS), 10_100);
    }

    #[test]
    fn a_boot_begins_with_the_time_of_day_and_never_earlier_than_the_last() {
        let kept = || Some(at("a", 10_000, 400, 3_600));
        assert_eq!(at("b", 20_000, 5, 0).after(kept()), (at("b", 20_000, 5, 0), 3_600));
        assert_eq!(at("b", 7, 5, 0).after(kept()), (at("b", 13_600, 5, 0), 3_600));
        assert_eq!(at("b", 7, 5, 0).after(None), (at("b", 7, 5, 0), 0));
    }

    #[test]
    fn what_is_kept_is_read_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (mut first, _) = Timeline::start(folder.path());
        first.save(folder.path()).unwrap();
        let (second, shift) = Timeline::start(folder.path());
        assert_eq!((second.boot_id, shift), (first.boot_id, 0));
        for damaged in ["", "a 1 2", "a 1 2 3 4", "a b 2 3"] {
            assert_eq!(Timeline::parse(damaged), None);
        }
        assert_eq!(Timeline::parse("a 1 2 -3\n"), Some(at("a", 1, 2, -3)));
        StateItem::Clock.remove(folder.path());
        assert!(!StateItem::Clock.path(folder.path()).exists());
    }
}
