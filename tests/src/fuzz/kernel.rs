//! Events of the kernel's ring: the one place of the daemon that reads memory by pointer.

use filter_common::{Family, Reason};
use mxdp::io::kernel::read_event;

/// The bytes of an event.
const EVENT: usize = 56;

/// Bytes of any length and alignment, at the end of their allocation, are an event with
/// the fields that stand at their places, or none.
///
/// # Panics
///
/// When a field is another one; AddressSanitizer sees a read beyond the bytes.
pub fn kernel_events(data: &[u8]) {
    // An allocation of its own, that ends where the bytes end.
    let bytes = data.to_vec().into_boxed_slice();
    for start in 0..bytes.len().min(16) {
        assert_eq!(read_event(&bytes[start..]).is_some(), bytes.len() - start == EVENT);
    }
    let Some(start) = bytes.len().checked_sub(EVENT) else { return };
    let bytes = &bytes[start..];
    let event = read_event(bytes).expect("an event's length");
    let word = |at: usize| u32::from_ne_bytes(*bytes[at..].first_chunk().expect("inside"));
    let long = u64::from_ne_bytes(*bytes.first_chunk().expect("inside"));
    assert_eq!((event.time_ns, event.weight, event.ifindex), (long, word(8), word(12)));
    let syn = event.syn();
    assert_eq!(syn.port.to_be_bytes(), bytes[48..50]);
    assert_eq!(event.reason(), Reason::from_code(bytes[50]));
    for (address, bit, at) in [(syn.source, 1, 16), (syn.destination, 2, 32)] {
        let is_mapped = bytes[at..at + 12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        if bytes[51] & bit == 0 {
            assert_eq!(address.first_four(), bytes[at..at + 4]);
        } else if is_mapped {
            assert_eq!(address.first_four(), bytes[at + 12..at + 16]);
        } else {
            assert_eq!((address.family(), &address.bytes()[..]), (Family::V6, &bytes[at..at + 16]));
        }
    }
}
