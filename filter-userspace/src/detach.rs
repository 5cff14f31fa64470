//! SEAM, to be filled: taking the filter off while no daemon runs. The
//! signature is what the command line calls.

use std::path::Path;

use crate::control::protocol::{Detached, Failure, FailureKind};

/// Removes every pin, link and map that a daemon left, `config`'s if one was
/// named and else those of the default configuration. Finding nothing is no
/// error.
///
/// # Errors
///
/// If something of it could not be removed, or `config` cannot be read.
pub fn run(config: Option<&Path>) -> Result<Detached, Failure> {
    let message = format!("this build cannot detach ({config:?})");
    Err(Failure { kind: FailureKind::System, message })
}
