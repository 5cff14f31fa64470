//! The daemon: keeps the kernel's tables as the configuration says.
//!
//! One thread ([`core`]) owns the filter and all state and takes messages, one
//! after the other: requests of operators, reloads that were built elsewhere,
//! events and ticks. Reading and compiling lists runs beside it ([`crate::generation`]), so
//! that a large reload keeps nobody waiting. Everything asynchronous (sockets,
//! signals, the event ring) lives in [`edge`] and only sends messages.

mod alarms;
mod approvals;
mod blocks;
mod core;
mod directories;
mod edge;
mod entries;
mod files;
mod origin;
mod protection;
mod relay;
mod reload;
mod requests;
mod rings;
mod sources;
mod status;
mod syns;
mod trial;

use crate::control::protocol::{Failure, FailureKind};
use crate::io::ports::CannotListen;

pub use edge::run;

/// What the daemon is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To filter, until it is told to end.
    Run,
    /// To be tried out: as [`Mode::Run`], with a backend that keeps nothing in
    /// place of each configured one.
    Trial,
}

/// The failure of configuration or lists: all errors, a line each.
pub(crate) fn misconfigured(errors: &[String]) -> Failure {
    Failure { kind: FailureKind::Configuration, message: errors.join("\n") }
}

/// The failure of a system call, with what was tried. A port that another process has is
/// one of the configuration: no second try mends it.
pub(crate) fn refused(error: &anyhow::Error) -> Failure {
    let is_taken = error.downcast_ref::<CannotListen>().is_some_and(CannotListen::is_in_use);
    let kind = if is_taken { FailureKind::Configuration } else { FailureKind::System };
    Failure { kind, message: format!("{error:#}") }
}
