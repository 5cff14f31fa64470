//! Events of the ring. Fuzzed under AddressSanitizer.
#![expect(unsafe_code, reason = "the bytes of the ring become an event")]

use filter_common::abi::Event;

/// Reads an event of the ring; `None` if it is not of this version.
#[must_use]
pub fn read_event(bytes: &[u8]) -> Option<Event> {
    if bytes.len() != size_of::<Event>() {
        return None;
    }
    // SAFETY: the length is checked; an event consists of integers and byte arrays without padding,
    // so that every bit pattern is valid; the read needs no alignment.
    Some(unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() })
}
