//! The state of everything, for `mxdp status`.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use filter_common::{Class, Reason};

use crate::io::smtp::SmtpStatus;

use super::core::Daemon;
use super::requests::disposition;
use crate::control::protocol::{
    ClassEnforcement, Counter, EventStatus, FailedHandshakes, GenerationStatus, InterfaceStatus,
    ListStatus, RecordState, Refused, ServedCertificate, ServerState, SmtpState, Status,
    TemporaryStatus,
};
use crate::io::certificates::Facts;
use crate::store::Health;
use crate::web::Publisher;

/// How many sources of dropped SYNs are shown.
const TOP_SOURCES: usize = 10;

impl Daemon {
    /// Says what is in force, for the log.
    pub(super) fn announce(&self) {
        for attachment in self.filter.attachments() {
            tracing::info!(
                interface = attachment.interface,
                mode = attachment.mode.name(),
                adopted = attachment.adopted,
                pinned = attachment.is_pinned(),
                "filtering"
            );
        }
        tracing::info!(
            generation = self.generation,
            ipv4 = self.lists.table.v4.len(),
            ipv6 = self.lists.table.v6.len(),
            runtime = self.entries().len(),
            milliseconds = self.build_ms,
            "in force"
        );
    }

    /// The same in a line, for the service manager.
    pub(super) fn summary(&self) -> String {
        let interfaces: Vec<_> =
            self.filter.attachments().iter().map(|one| one.interface.as_str()).collect();
        let prefixes = self.lists.table.v4.len() + self.lists.table.v6.len();
        let failed = if self.failed_reload.is_some() { "; the last reload failed" } else { "" };
        format!(
            "Filtering on {}: generation {}, {prefixes} prefixes{failed}",
            interfaces.join(", "),
            self.generation
        )
    }

    /// The state of everything.
    pub(super) fn status(&mut self) -> Result<Status> {
        let now = self.started.elapsed().as_secs();
        Ok(Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now,
            config: self.path.display().to_string(),
            alarms: self.alarms.clone(),
            interfaces: self.interfaces(),
            ports: self.config.filter.ports.clone(),
            generation: self.generation_status(),
            failed_reload: self.failed_reload.clone(),
            counters: self.counters()?,
            events: EventStatus {
                unattributed: self.unattributed,
                read: self.events_read,
                lost: self.filter.lost_events()?,
            },
            temporary: TemporaryStatus {
                held: self.filter.temporary().held(),
                capacity: self.filter.temporary().capacity(),
            },
            top_sources: self.sources.top(now, TOP_SOURCES),
            record: self.record_state(),
            certificates: self.certificates(),
            smtp: self.edge.as_ref().map(|edge| smtp(edge.status())),
        })
    }

    /// The certificates that are served, to SMTP clients and by the console.
    pub(super) fn served(&self) -> Vec<Facts> {
        let edge = self.edge.iter().flat_map(|edge| edge.certificates());
        edge.chain(self.console.iter().filter_map(Publisher::certificate)).collect()
    }

    /// Each file of them once: it is a label of a metric.
    fn certificates(&self) -> Vec<ServedCertificate> {
        let ends = self.served().into_iter().map(|one| (one.file, one.until));
        let ends = ends.collect::<BTreeMap<_, _>>().into_iter();
        let ends = ends.map(|(file, until)| (file, until.try_into().unwrap_or_default()));
        ends.map(|(file, expires)| ServedCertificate { file, expires }).collect()
    }

    fn record_state(&self) -> RecordState {
        let Health { error, lost, records, bytes, .. } = self.sink.health();
        RecordState { error, lost, records, bytes }
    }

    fn interfaces(&mut self) -> Vec<InterfaceStatus> {
        let attached = self.filter.attached_now();
        self.filter
            .attachments()
            .iter()
            .map(|attachment| InterfaceStatus {
                attached: attached.contains(&attachment.interface),
                name: attachment.interface.clone(),
                mode: attachment.mode.name().to_owned(),
                pinned: attachment.is_pinned(),
                adopted: attachment.adopted,
            })
            .collect()
    }

    fn generation_status(&self) -> GenerationStatus {
        GenerationStatus {
            number: self.generation,
            since: self.since,
            build_ms: self.build_ms,
            lists: self.list_statuses(),
            warnings: self.warnings.clone(),
            ipv4_prefixes: self.lists.table.v4.len() as u64,
            ipv6_prefixes: self.lists.table.v6.len() as u64,
            ipv4_engine: self.layouts.v4.map(|layout| layout.name().to_owned()),
            ipv6_engine: self.layouts.v6.map(|layout| layout.name().to_owned()),
            runtime_entries: self.entries().len() as u64,
            enforcement: Class::ALL.into_iter().map(|class| self.enforcement_of(class)).collect(),
        }
    }

    /// The lists, with the ages of their files.
    fn list_statuses(&self) -> Vec<ListStatus> {
        let mut statuses = ListStatus::of(&self.lists.set);
        for status in &mut statuses {
            let modified = std::fs::metadata(&status.source).and_then(|file| file.modified());
            let since = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            status.modified = since.map(|since| since.as_secs());
        }
        statuses
    }

    fn enforcement_of(&self, class: Class) -> ClassEnforcement {
        let action =
            if class.approves() { "pass" } else { self.config.enforcement.of(class).name() };
        ClassEnforcement { class: class.name().to_owned(), action: action.to_owned() }
    }

    fn counters(&self) -> Result<Vec<Counter>> {
        let counters = self.filter.counters()?;
        Ok(counters
            .into_iter()
            .filter(|(.., frames)| *frames > 0)
            .map(|(reason, family, frames)| Counter {
                reason: reason.name().to_owned(),
                action: action(reason).to_owned(),
                family: family.name().to_owned(),
                frames,
            })
            .collect())
    }
}

fn smtp(status: SmtpStatus) -> SmtpState {
    let refused = status.refused.into_iter();
    let servers = status.servers.into_iter();
    SmtpState {
        open: status.open,
        connections: status.connections,
        accepted: status.accepted,
        refused: refused
            .map(|(reason, recipients)| Refused { reason: reason.to_owned(), recipients })
            .collect(),
        unlogged: status.unlogged,
        balancer_checks: status.balancers.0,
        bad_proxy_headers: status.balancers.1,
        servers: servers
            .map(|server| ServerState {
                backend: server.backend,
                server: server.server,
                error: server.error,
            })
            .collect(),
        zones: status.zones,
        handshakes: status
            .handshakes
            .into_iter()
            .map(|(cause, count)| FailedHandshakes { cause: cause.to_owned(), count })
            .collect(),
    }
}

fn action(reason: Reason) -> &'static str {
    disposition(reason.disposition())
}
