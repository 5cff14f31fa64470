//! What needs an operator.

use std::time::Duration;

use super::core::{Daemon, Origin};
use crate::control::protocol::FailedReload;
use crate::generation::fault::without_age;
use crate::io::clock;

/// For how long it is shown that a block could not be had.
const SHOWN: Duration = Duration::from_secs(60);

impl Daemon {
    /// Seconds of the Unix epoch, as far as they are believed.
    pub(super) fn believed_seconds(&mut self) -> u64 {
        self.time.update(clock::unix_ms(), clock::boot_ns()) / 1000
    }

    /// Mends what it can, looks for what needs an operator, and says it once.
    pub(super) fn check(&mut self) {
        let mut alarms = match self.filter.keep(self.config.filter.mode) {
            Ok(alarms) => alarms,
            Err(error) => vec![format!("{error:#}")],
        };
        alarms.extend(self.failed_reload.as_ref().map(FailedReload::alarm));
        if let Some(ahead) = self.time.doubted() {
            let way = if ahead < 0 { "back" } else { "ahead" };
            alarms.push(format!(
                "the host's clock was set {way} by about {} hours: mxdp keeps the previous time for \
                 the age of log entries, and adopts the new one if it lasts an hour",
                ahead.unsigned_abs().div_ceil(3600)
            ));
        }
        if let Some((at, why)) = &self.temporary_refused
            && at.elapsed() < SHOWN
        {
            alarms.push(format!("an address was not blocked: {why}"));
        }
        if let Some(why) = self.unlapsed.as_ref().filter(|why| !why.is_empty()) {
            alarms.push(format!("runtime entries have lapsed and cannot be removed: {why}"));
        }
        let approved = &self.config.approved_spf;
        let smtp = self.config.smtp.as_ref();
        self.failing.retain(|origin, _| match origin {
            Origin::Spf(name) => approved.iter().any(|domain| domain.domain.as_str() == name),
            Origin::Files => true,
            Origin::Directory(name) => {
                smtp.is_some_and(|smtp| smtp.directories.iter().any(|known| known.name == *name))
            }
        });
        alarms.extend(self.failing.values().cloned());
        let now = clock::unix_seconds();
        alarms.extend(self.faults.iter().map(|fault| fault.alarm(now)));
        alarms.extend(self.losses.iter().filter_map(|loss| loss.alarm(now)));
        let today = i64::try_from(now).unwrap_or(i64::MAX);
        alarms.extend(self.served().iter().filter_map(|one| one.concern(today)));
        alarms.extend(self.suspended_alarms());
        alarms.extend(self.edge.iter().flat_map(|edge| edge.shortages()));
        if let Some(status) = self.edge.as_ref().map(|edge| edge.status()) {
            alarms.extend(status.servers.iter().filter_map(|server| {
                let (backend, name, why) = (&server.backend, &server.server, &server.plain);
                let why = why.as_ref()?;
                Some(format!("backend {backend} at {name}: messages go without TLS: {why}"))
            }));
            alarms.extend(status.servers.into_iter().filter_map(|server| {
                let error = server.error?;
                Some(format!("backend {} at {}: {error}", server.backend, server.server))
            }));
            alarms.extend(status.zones.into_iter().filter_map(|zone| {
                let disabled = zone.disabled.map(|why| format!("is not used: it {why}"));
                Some(format!("DNS list {}: {}", zone.zone, disabled.or(zone.error)?))
            }));
        }
        let record = self.sink.health();
        if let Some(error) = record.error {
            alarms.push(format!("records cannot be written: {error}"));
        }
        if record.is_losing {
            // Without their number, by which it would be another alarm every second.
            alarms.push("records find no room and are lost: `mxdp status` counts them".to_owned());
        }
        alarms.extend(
            record
                .unreadable
                .iter()
                .map(|what| format!("mail log: {what}: searches of its time are partial")),
        );
        if let Some(error) = record.audit_error {
            alarms.push(format!("the audit trail cannot be written: {error}"));
        }
        alarms.extend(record.audit_damaged.iter().map(|what| {
            format!(
                "audit trail: {what}, so `mxdp audit` is partial: restore the file, or remove \
                 these lines or the file, which ends this alarm"
            )
        }));
        if record.audit_lost > 0 {
            alarms.push("changes are missing from the audit trail: they found no room".to_owned());
        }
        // One that has only grown older is not another.
        let is_in = |alarms: &[String], alarm: &String| {
            let same = |known: &String| without_age(known) == without_age(alarm);
            alarms.iter().any(same)
        };
        for alarm in alarms.iter().filter(|alarm| !is_in(&self.alarms, alarm)) {
            tracing::error!("ALARM: {alarm}");
        }
        for alarm in self.alarms.iter().filter(|alarm| !is_in(&alarms, alarm)) {
            tracing::info!("no longer: {alarm}");
        }
        self.alarms = alarms;
    }
}
