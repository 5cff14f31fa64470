//! How a command ends: exit codes, and errors with their kind.

use std::io;
use std::process::ExitCode;

use crate::control::client::CallError;
use crate::control::protocol::{Failure, FailureKind};

/// The exit codes. Scripts rely on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Configuration = 3,
    Unreachable = 4,
    Disagreement = 5,
    Alarm = 6,
}

impl Exit {
    pub(super) const ALL: [Self; 7] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::Configuration,
        Self::Unreachable,
        Self::Disagreement,
        Self::Alarm,
    ];

    /// Its meaning, for the help and the manual.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "success",
            Self::Failed => "the operation failed",
            Self::Usage => "invalid command line",
            Self::Configuration => "errors in the configuration or in a list",
            Self::Unreachable => "the daemon is not running or cannot be reached",
            Self::Disagreement => "lookup --live: the kernel's verdict differs from the lists",
            Self::Alarm => "status --exit-code: an alarm is active",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not finish.
#[derive(Debug)]
pub(super) enum CliError {
    /// The reader of the output has gone away (`| head`); nothing is reported.
    Hung,
    /// The command failed.
    Failed(Failed),
}

/// The report of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failed {
    pub(super) exit: Exit,
    /// A code for scripts; it does not change between versions.
    pub(super) kind: &'static str,
    /// The text for people; it may have several lines.
    pub(super) message: String,
}

impl CliError {
    pub(super) fn new(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Self::Failed(Failed { exit, kind, message: message.into() })
    }

    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(super) fn configuration(message: impl Into<String>) -> Self {
        Self::new(Exit::Configuration, "configuration", message)
    }

    pub(super) fn system(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, "system", message)
    }
}

impl From<io::Error> for CliError {
    /// An error of writing to standard output.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Hung,
            _ => Self::system(format!("standard output: {error}")),
        }
    }
}

impl From<Failure> for CliError {
    fn from(failure: Failure) -> Self {
        let (exit, kind) = match failure.kind {
            FailureKind::BadRequest => (Exit::Failed, "bad_request"),
            FailureKind::NotFound => (Exit::Failed, "not_found"),
            FailureKind::Configuration => (Exit::Configuration, "configuration"),
            FailureKind::System => (Exit::Failed, "system"),
        };
        Self::new(exit, kind, failure.message)
    }
}

impl From<CallError> for CliError {
    fn from(error: CallError) -> Self {
        let kind = match error {
            CallError::Refused(failure) => return failure.into(),
            CallError::NoSocket(_) | CallError::NobodyListens(_) => "not_running",
            CallError::NoPermission(_) => "no_permission",
            CallError::TimedOut(_) => "timed_out",
            CallError::Broken { .. } | CallError::Garbled { .. } => "broken",
        };
        Self::new(Exit::Unreachable, kind, error.to_string())
    }
}
