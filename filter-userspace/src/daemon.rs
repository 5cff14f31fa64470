//! SEAM, to be filled: the daemon. The signatures are what the command line
//! calls.

use std::path::Path;

use crate::control::protocol::{Failure, FailureKind};

/// What the daemon is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To filter, until it is told to end.
    Run,
    /// To be tried out: as [`Mode::Run`], with a small listener on the protected
    /// ports, and nothing is left behind.
    Trial,
}

/// Runs the daemon until a signal or `mxdp detach` ends it.
///
/// # Errors
///
/// Why it did not start, or what ended it. [`FailureKind::Configuration`] is
/// for configuration and lists.
pub fn run(config: &Path, mode: Mode) -> Result<(), Failure> {
    let message = format!("{}: this build has no daemon ({mode:?})", config.display());
    Err(Failure { kind: FailureKind::System, message })
}
