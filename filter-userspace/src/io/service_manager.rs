//! Notifications to the service manager (`sd_notify(3)`); none if there is no service manager.
//!
//! The protocol's variables stay in the environment: mxdp starts no other program that could
//! inherit them.

use sd_notify::NotifyState;

/// Reports that the first generation is active and the listeners serve, or that a reload has ended.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Reports that a reload begins; [`ready`] ends it, whatever its result.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("cannot read the clock for the service manager: {error}"),
    }
}

/// Reports that the daemon ends.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Reports that the daemon's thread is alive. Only that thread may call this, so that the service
/// manager restarts a daemon whose thread hangs (`WatchdogSec=`).
pub fn alive() {
    if sd_notify::watchdog_enabled().is_some() {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("cannot notify the service manager: {error}");
    }
}
