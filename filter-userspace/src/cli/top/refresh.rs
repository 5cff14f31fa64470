//! Queries the daemon for the live view.

use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::control::client::{CallError, call};
use crate::control::protocol::{Request, Status};
use crate::record::Summary;

/// The state of the daemon at one refresh.
#[derive(Serialize)]
pub(super) struct Refresh {
    pub(super) status: Status,
    pub(super) summary: Summary,
    /// The time of the answer.
    #[serde(skip)]
    pub(super) at: Instant,
}

/// The state of the daemon, or why it did not answer.
pub(super) type Answer = Result<Refresh, CallError>;

/// Queries the daemon once.
pub(super) fn refresh(socket: &Path, window: &str) -> Answer {
    let status = call(socket, &Request::Status)?;
    let request = Request::Summary { since: Some(window.to_owned()), until: None };
    Ok(Refresh { status, summary: call(socket, &request)?, at: Instant::now() })
}

/// Queries the daemon at an interval, until the receiver has gone away.
pub(super) fn refresh_always(
    socket: &Path,
    window: &str,
    every: Duration,
    to: &SyncSender<Answer>,
) {
    loop {
        thread::sleep(every);
        if to.send(refresh(socket, window)).is_err() {
            return;
        }
    }
}
