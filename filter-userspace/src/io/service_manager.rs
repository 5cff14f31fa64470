//! What the service manager is told (`sd_notify(3)`); nothing where there is none.
//!
//! The protocol's variables stay in the environment: mxdp starts no other program
//! that could inherit them.

use sd_notify::NotifyState;

/// The first generation is in force and the listeners serve, or a reload has ended.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// A reload begins; [`ready`] ends it, however it came out.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("the clock for the service manager: {error}"),
    }
}

/// The daemon ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The daemon's thread lives. To be said by that thread only, so that the service
/// manager restarts a daemon whose thread hangs (`WatchdogSec=`).
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("the service manager cannot be told: {error}");
    }
}
