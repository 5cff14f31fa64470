//! Failures, as operators are told of them.

use crate::control::protocol::{Failure, FailureKind};
use crate::io::ports::CannotListen;

/// The failure of configuration or lists: all errors, a line each.
pub(super) fn misconfigured(errors: &[String]) -> Failure {
    Failure { kind: FailureKind::Configuration, message: errors.join("\n") }
}

/// The failure of a system call, with what was tried. A port that another process has is
/// one of the configuration: no second try mends it.
pub(super) fn refused(error: &anyhow::Error) -> Failure {
    let is_taken = error.downcast_ref::<CannotListen>().is_some_and(CannotListen::is_in_use);
    let kind = if is_taken { FailureKind::Configuration } else { FailureKind::System };
    Failure { kind, message: format!("{error:#}") }
}

/// The failure of a request that cannot be carried out.
pub(super) fn bad_request(message: &str) -> Failure {
    Failure { kind: FailureKind::BadRequest, message: message.to_owned() }
}

/// The failure of a request for what is not there.
pub(super) fn not_found(message: &str) -> Failure {
    Failure { kind: FailureKind::NotFound, message: message.to_owned() }
}
