//! Both ends of a message's path, each with a script of its faults.

pub mod backend;
pub mod client;
mod ends;
pub mod puppet;
mod random;
pub mod script;

pub use random::Random;

/// What a message is at the backend: without the one line that mxdp adds, which
/// must be there; and none when it is not, or is there twice.
#[must_use]
pub fn without_received(message: &[u8]) -> Option<&[u8]> {
    let by_mxdp = |bytes: &[u8]| bytes.starts_with(b"Received: from ");
    if !by_mxdp(message) {
        return None;
    }
    let mut rest = message;
    loop {
        let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
        rest = &rest[end + 2..];
        // A folded line goes on.
        if !rest.starts_with(b"\t") && !rest.starts_with(b" ") {
            return (!by_mxdp(rest)).then_some(rest);
        }
    }
}
