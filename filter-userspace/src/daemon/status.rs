//! The state of everything, for `mxdp status`.

use std::collections::BTreeMap;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use filter_common::Class;

use super::active::Active;
use super::lookups::name;
use crate::control::protocol::{
    ClassEnforcement, Counter, FailedHandshakes, GenerationStatus, InterfaceStatus, ListStatus,
    RecordState, Refused, ServedCertificate, ServerState, SmtpState, TemporaryStatus,
};
use crate::io::certificates::Facts;
use crate::io::kernel::Filter;
use crate::io::smtp::SmtpStatus;
use crate::store::Health;

/// The interfaces that are filtered.
pub(super) fn interfaces(filter: &mut Filter) -> Vec<InterfaceStatus> {
    let attached = filter.attached_now();
    let attachments = filter.attachments().iter();
    let status = attachments.map(|attachment| InterfaceStatus {
        attached: attached.contains(&attachment.interface),
        name: attachment.interface.clone(),
        mode: attachment.mode.name().to_owned(),
        pinned: attachment.is_pinned(),
        adopted: attachment.adopted,
    });
    status.collect()
}

/// The active rule set, beside which there are so many managed entries.
pub(super) fn generation(active: &Active, managed: usize) -> GenerationStatus {
    GenerationStatus {
        number: active.number,
        since: active.since,
        build_ms: active.build_ms,
        lists: lists(active),
        warnings: active.warnings.clone(),
        ipv4_prefixes: active.lists.table.v4.len() as u64,
        ipv6_prefixes: active.lists.table.v6.len() as u64,
        ipv4_engine: active.layouts.v4.map(|layout| layout.name().to_owned()),
        ipv6_engine: active.layouts.v6.map(|layout| layout.name().to_owned()),
        runtime_entries: managed as u64,
        enforcement: Class::ALL.into_iter().map(|class| enforcement(active, class)).collect(),
    }
}

/// The lists, with the ages of their files.
fn lists(active: &Active) -> Vec<ListStatus> {
    let mut statuses = ListStatus::of(&active.lists.set);
    for status in &mut statuses {
        let modified = std::fs::metadata(&status.source).and_then(|file| file.modified());
        let since = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        status.modified = since.map(|since| since.as_secs());
    }
    statuses
}

fn enforcement(active: &Active, class: Class) -> ClassEnforcement {
    let action = if class.approves() { "pass" } else { active.config.enforcement.of(class).name() };
    ClassEnforcement { class: class.name().to_owned(), action: action.to_owned() }
}

/// The counters of the packet filter that are not zero.
pub(super) fn counters(filter: &Filter) -> Result<Vec<Counter>> {
    let counters = filter.counters()?.into_iter().filter(|(.., frames)| *frames > 0);
    let status = counters.map(|(reason, family, frames)| Counter {
        reason: reason.name().to_owned(),
        action: name(reason.disposition()).to_owned(),
        family: family.name().to_owned(),
        frames,
    });
    Ok(status.collect())
}

/// The temporary blocks that the kernel holds.
pub(super) fn temporary(filter: &mut Filter) -> TemporaryStatus {
    let blocks = filter.temporary();
    TemporaryStatus { held: blocks.held(), capacity: blocks.capacity() }
}

/// The mail log.
pub(super) fn record(health: Health) -> RecordState {
    let Health { error, lost, records, bytes, .. } = health;
    RecordState { error, lost, records, bytes }
}

/// Certificates, each file of them once: it is a label of a metric.
pub(super) fn certificates(served: Vec<Facts>) -> Vec<ServedCertificate> {
    let ends = served.into_iter().map(|one| (one.file, one.until));
    let ends = ends.collect::<BTreeMap<_, _>>().into_iter();
    let ends = ends.map(|(file, until)| (file, until.try_into().unwrap_or_default()));
    ends.map(|(file, expires)| ServedCertificate { file, expires }).collect()
}

/// The SMTP side.
pub(super) fn smtp(status: SmtpStatus) -> SmtpState {
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
