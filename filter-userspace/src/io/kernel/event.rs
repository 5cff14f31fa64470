//! Events, as the ring has them. Fuzzed under AddressSanitizer.
#![expect(unsafe_code, reason = "the bytes of the ring become an event")]

use filter_common::abi::Event;

/// An event as it stands in the ring; `None` for what is none of this version's.
#[must_use]
pub fn read_event(bytes: &[u8]) -> Option<Event> {
    if bytes.len() != size_of::<Event>() {
        return None;
    }
    // SAFETY: the length is checked; an event is integers and byte arrays without
    // padding, so that every bit pattern is one; the read needs no alignment.
    Some(unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() })
}
