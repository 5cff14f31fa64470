//! Sampled events.

use crate::frame::{Address, Family, Syn};
use crate::reason::Reason;

/// The state of a CPU's event sampling.
///
/// One event represents `pending` others: the sum of the weights is the number of frames that
/// qualified for an event, however few were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Sampler {
    /// When the current second began: nanoseconds of CLOCK_MONOTONIC, coarse.
    pub window_ns: u64,
    /// The events sent in the current second.
    pub sent: u32,
    /// The frames since the last event that was sent.
    pub pending: u32,
    /// The events that found the ring full, since the map was made.
    pub lost: u64,
}

const _: () = assert!(size_of::<Sampler>() == 24);

impl Sampler {
    /// Begins a new second if one has passed, and returns the frames that were pending then. They
    /// are older: the sender of the next frame did not send them.
    #[inline(always)]
    pub const fn turn(&mut self, now_ns: u64) -> u32 {
        if now_ns.wrapping_sub(self.window_ns) < 1_000_000_000 {
            return 0;
        }
        let unattributed = self.pending;
        self.window_ns = now_ns;
        self.sent = 0;
        self.pending = 0;
        unattributed
    }

    /// Counts one more frame of the current second ([`Self::turn`]) and returns whether it becomes
    /// an event, and its weight. `limit` is the number of events per second.
    ///
    /// Within a second the sampling period doubles after every sixteenth of the limit, so that the
    /// later part of a flood is sampled as well as its first millisecond; when the limit is
    /// reached, frames are left for the end of the second.
    #[inline(always)]
    pub const fn sample(&mut self, limit: u32) -> Option<u32> {
        self.pending = self.pending.saturating_add(1);
        if self.sent >= limit {
            return None;
        }
        let step = if limit < 16 { 1 } else { limit / 16 };
        let doublings = self.sent / step;
        let period = 1_u32 << (if doublings > 16 { 16 } else { doublings });
        if self.pending < period {
            return None;
        }
        let weight = self.pending;
        self.pending = 0;
        self.sent += 1;
        Some(weight)
    }
}

/// A sampled SYN that was dropped, or that a monitored list matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Event {
    /// The time in nanoseconds of CLOCK_BOOTTIME.
    pub time_ns: u64,
    /// The number of frames that the event represents, including its own.
    pub weight: u32,
    /// The index of the interface on which it arrived.
    pub ifindex: u32,
    source: [u8; 16],
    destination: [u8; 16],
    port: [u8; 2],
    reason: u8,
    families: u8,
    unattributed: u8,
    reserved: [u8; 3],
}

const _: () = assert!(size_of::<Event>() == 56);

impl Event {
    /// An event of `weight` frames.
    #[must_use]
    #[inline(always)]
    pub const fn new(time_ns: u64, weight: u32, ifindex: u32, reason: Reason, syn: &Syn) -> Self {
        let source_is_v6 = matches!(syn.source.family(), Family::V6) as u8;
        let destination_is_v6 = matches!(syn.destination.family(), Family::V6) as u8;
        Self {
            time_ns,
            weight,
            ifindex,
            source: *syn.source.bytes(),
            destination: *syn.destination.bytes(),
            port: syn.port.to_be_bytes(),
            reason: reason as u8,
            families: source_is_v6 | destination_is_v6 << 1,
            unattributed: 0,
            reserved: [0; 3],
        }
    }

    /// The same event for `weight` earlier frames, whose sender, interface and reason are not
    /// known.
    #[inline(always)]
    pub const fn unattribute(&mut self, weight: u32) {
        self.unattributed = 1;
        self.weight = weight;
    }

    /// The same event for `weight` frames of its source.
    #[inline(always)]
    pub const fn attribute(&mut self, weight: u32) {
        self.unattributed = 0;
        self.weight = weight;
    }

    /// Whether its frames were sent by the source that it names.
    #[must_use]
    pub const fn is_attributed(&self) -> bool {
        self.unattributed == 0
    }

    /// The reason, or `None` for a code that this version does not know.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        Reason::from_code(self.reason)
    }

    /// The source, destination and port of the SYN.
    #[must_use]
    pub const fn syn(&self) -> Syn {
        Syn {
            source: gather(&self.source, self.families & 1 != 0),
            destination: gather(&self.destination, self.families & 2 != 0),
            port: u16::from_be_bytes(self.port),
        }
    }
}

const fn gather(bytes: &[u8; 16], is_v6: bool) -> Address {
    if is_v6 { Address::v6(*bytes) } else { Address::v4([bytes[0], bytes[1], bytes[2], bytes[3]]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_to_the_frames() {
        for limit in [1, 5, 16, 100, 256] {
            let mut sampler = Sampler::default();
            let (mut weights, mut events, mut frames) = (0_u64, 0_u64, 0_u64);
            let mut unattributed = 0_u64;
            // Ten seconds of a million frames each, then one frame a second.
            for tick in 0..10_000_000_u64 {
                frames += 1;
                unattributed += u64::from(sampler.turn(1_000_000_000 + tick * 1000));
                if let Some(weight) = sampler.sample(limit) {
                    weights += u64::from(weight);
                    events += 1;
                }
            }
            assert!(events <= 10 * u64::from(limit), "{limit} a second: {events}");
            frames += 1;
            unattributed += u64::from(sampler.turn(20_000_000_000));
            assert_eq!(sampler.sample(limit), Some(1), "a new second begins with itself");
            assert_eq!(weights + unattributed + 1, frames);
        }
        assert_eq!(Sampler::default().sample(0), None);
    }

    #[test]
    fn what_is_pending_is_never_the_next_ones() {
        let mut sampler = Sampler::default();
        assert_eq!(sampler.turn(5_000_000_000), 0);
        let attributed: u32 = (0..320_000).filter_map(|_| sampler.sample(256)).sum();
        let silence = 11_000_000_000;
        assert_eq!(sampler.turn(silence), 320_000 - attributed);
        assert_eq!(sampler.sample(256), Some(1));
        // Within the second, no frame is reported twice.
        assert_eq!(sampler.turn(silence + 1), 0);
    }

    #[test]
    fn an_event_comes_back() {
        let syn =
            Syn { source: Address::v6([7; 16]), destination: Address::v4([1, 2, 3, 4]), port: 587 };
        let event = Event::new(1, 2, 3, Reason::BlockedCountry, &syn);
        assert_eq!(event.syn(), syn);
        assert_eq!(event.reason(), Some(Reason::BlockedCountry));
        assert!(event.is_attributed());
        let mut other = event;
        other.unattribute(9);
        assert_eq!((other.is_attributed(), other.weight, other.syn()), (false, 9, syn));
    }
}
