//! Sockets that the service manager opened before this process began
//! (`sd_listen_fds(3)`).

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// The sockets, each with the name that its unit gives it; none at a second call, since the first
/// one owns them.
///
/// # Errors
///
/// When `LISTEN_FDS` is invalid.
#[allow(unsafe_code, reason = "a descriptor is a number until it has an owner")]
pub fn inherited_sockets() -> io::Result<Vec<(OwnedFd, String)>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    // Only if LISTEN_PID is this process; each is open, and now closed at exec.
    let named = sd_notify::listen_fds_with_names()?.map(|(descriptor, name)| {
        // SAFETY: the service manager opened it for this process, and this is the one place that
        // takes it, once: it has no other owner.
        (unsafe { OwnedFd::from_raw_fd(descriptor) }, name)
    });
    Ok(named.collect())
}
