//! A dry run: a frame that carries this as XDP metadata is judged, but neither counted nor reported
//! nor held against a rate, and the program writes its answer over the metadata. Only a test run of
//! the program (`BPF_PROG_TEST_RUN`) or another XDP program on the host can set metadata; nothing
//! on the wire can.

use crate::class::ClassSet;
use crate::reason::Reason;

/// The size of the metadata in bytes: a multiple of 4, at most 32 (kernel 4.15).
pub const LENGTH: usize = 8;

/// The question, which no driver writes: "mxdp" and the ABI version.
pub const QUESTION: [u8; LENGTH] = [b'm', b'x', b'd', b'p', b'?', 0, 0, super::VERSION];

/// The answer's metadata.
#[must_use]
#[inline(always)]
pub const fn answer(reason: Reason, classes: ClassSet) -> [u8; LENGTH] {
    [b'm', b'x', b'd', b'p', b'!', reason as u8, classes.bits(), super::VERSION]
}

/// The reason and the classes of an answer, or `None` if the program left the question unchanged.
#[must_use]
pub const fn read(metadata: &[u8; LENGTH]) -> Option<(Reason, ClassSet)> {
    let [b'm', b'x', b'd', b'p', b'!', reason, classes, version] = *metadata else {
        return None;
    };
    if version != super::VERSION {
        return None;
    }
    match Reason::from_code(reason) {
        Some(reason) => Some((reason, ClassSet::from_bits(classes))),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::Class;

    #[test]
    fn an_answer_comes_back() {
        let classes = ClassSet::of(Class::BlockedIp).with(Class::KnownSpamSource);
        let answer = answer(Reason::BlockedIp, classes);
        assert_eq!(read(&answer), Some((Reason::BlockedIp, classes)));
        assert_eq!(read(&QUESTION), None);
    }
}
