//! What needs an operator: said once when it begins, and once when it ends.

use crate::generation::fault::without_age;
use crate::io::smtp::{Edge, SmtpStatus};
use crate::store::Health;

/// The alarms that are active.
#[derive(Default)]
pub(super) struct Alarms {
    active: Vec<String>,
}

impl Alarms {
    /// The alarms that are active.
    pub(super) fn active(&self) -> &[String] {
        &self.active
    }

    /// Takes the alarms of now, and logs those that are new or have ended.
    pub(super) fn report(&mut self, alarms: Vec<String>) {
        // One that has only grown older is not another.
        let is_in = |alarms: &[String], alarm: &String| {
            let same = |known: &String| without_age(known) == without_age(alarm);
            alarms.iter().any(same)
        };
        for alarm in alarms.iter().filter(|alarm| !is_in(&self.active, alarm)) {
            tracing::error!("ALARM: {alarm}");
        }
        for alarm in self.active.iter().filter(|alarm| !is_in(&alarms, alarm)) {
            tracing::info!("RESOLVED: {alarm}");
        }
        self.active = alarms;
    }
}

/// The alarms of the SMTP side: resources that run out, backends and DNS lists.
pub(super) fn of_edge(edge: &Edge) -> Vec<String> {
    let mut alarms = edge.shortages();
    let SmtpStatus { servers, zones, .. } = edge.status();
    alarms.extend(servers.iter().filter_map(|server| {
        let (backend, name, why) = (&server.backend, &server.server, &server.plain);
        let why = why.as_ref()?;
        Some(format!("backend {backend} at {name}: messages go without TLS: {why}"))
    }));
    alarms.extend(servers.into_iter().filter_map(|server| {
        let error = server.error?;
        Some(format!("backend {} at {}: {error}", server.backend, server.server))
    }));
    alarms.extend(zones.into_iter().filter_map(|zone| {
        let disabled = zone.disabled.map(|why| format!("is not used: it {why}"));
        Some(format!("DNS list {}: {}", zone.zone, disabled.or(zone.error)?))
    }));
    alarms
}

/// The alarms of the mail log and the audit trail.
pub(super) fn of_record(record: Health) -> Vec<String> {
    let mut alarms = Vec::new();
    if let Some(error) = record.error {
        alarms.push(format!("records cannot be written: {error}"));
    }
    if record.is_losing {
        // Without their number, by which it would be another alarm every second.
        alarms.push(
            "the queue of the mail log is full and log entries are being dropped; see `mxdp \
             status`"
                .to_owned(),
        );
    }
    alarms.extend(record.others.into_iter().filter_map(|sink| {
        let losing = sink.is_losing.then(|| "it loses entries".to_owned());
        Some(format!("mail log, sink {}: {}", sink.name, sink.error.or(losing)?))
    }));
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
    alarms
}
