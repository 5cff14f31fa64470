//! What Prometheus reads (text format 0.0.4), and whether mxdp is ready.
//!
//! Labels are reasons, families, backends and DNS lists: as many as the configuration
//! names, and never what clients send.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::access::Caller;
use super::error::ApiError;
use super::site::Site;
use crate::config::web::Rights;
use crate::control::protocol::{Request, Status};

/// For how long an answer about readiness stands: strangers ask for it without a token, and
/// the daemon's thread is to be asked once a second, however many they are.
const STANDS: Duration = Duration::from_secs(1);

/// Whether the filter is on every interface, and backends answer: 200, or 503.
pub(super) async fn ready(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    // One asks, and the others wait for its answer.
    let mut known = site.ready.lock().await;
    let (is_ready, alarms) = match *known {
        Some((at, is_ready, alarms)) if at.elapsed() < STANDS => (is_ready, alarms),
        _ => {
            let status: Result<Status, _> = site.ask(Request::Status, caller.peer()).await;
            let alarms = status.as_ref().map_or(0, |status| status.alarms.len());
            let is_ready = status.is_ok_and(|status| is_ready(&status));
            *known = Some((Instant::now(), is_ready, alarms));
            (is_ready, alarms)
        }
    };
    drop(known);
    if is_ready {
        // What is in force filters, and mail flows: an alarm takes no host out of service.
        // How many there are is for whoever may read them.
        match alarms {
            alarms if alarms > 0 && caller.rights >= Rights::Read => {
                format!("ready, {alarms} alarms: see mxdp status\n").into_response()
            }
            _ => "ready\n".into_response(),
        }
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready\n").into_response()
    }
}

fn is_ready(status: &Status) -> bool {
    let backend = status.smtp.as_ref().is_none_or(|smtp| {
        smtp.servers.is_empty() || smtp.servers.iter().any(|server| server.error.is_none())
    });
    let attached = status.interfaces.iter().all(|interface| interface.attached);
    !status.interfaces.is_empty() && attached && backend
}

pub(super) async fn metrics(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiError> {
    let status: Status = site.ask(Request::Status, caller.peer()).await?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, text(&status)).into_response())
}

/// One metric after the other, each with its help and type.
#[derive(Default)]
struct Metrics(String);

impl Metrics {
    fn add(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn counter(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (String, u64)>,
    ) {
        self.add(name, "counter", help, samples);
    }

    fn gauge(&mut self, name: &str, help: &str, samples: impl IntoIterator<Item = (String, u64)>) {
        self.add(name, "gauge", help, samples);
    }
}

/// Labels, escaped as the format wants it.
fn labels(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = pairs
        .iter()
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    format!("{{{}}}", pairs.join(","))
}

fn one(value: u64) -> [(String, u64); 1] {
    [(String::new(), value)]
}

fn text(status: &Status) -> String {
    let mut all = Metrics::default();
    let version = [(labels(&[("version", &status.version)]), 1)];
    all.gauge("mxdp_build_info", "Version of mxdp.", version);
    all.gauge(
        "mxdp_uptime_seconds",
        "Time since the daemon started, in seconds.",
        one(status.uptime_s),
    );
    all.gauge("mxdp_alarms", "Active alarms.", one(status.alarms.len() as u64));
    all.counter(
        "mxdp_frames_total",
        "Frames by action and reason, since the kernel maps were created.",
        status.counters.iter().map(|counter| {
            let (reason, family) = (counter.reason.as_str(), counter.family.as_str());
            let pairs = [("action", &*counter.action), ("reason", reason), ("family", family)];
            (labels(&pairs), counter.frames)
        }),
    );
    let attached = status.interfaces.iter().map(|interface| {
        let pairs = [("interface", interface.name.as_str()), ("mode", &interface.mode)];
        (labels(&pairs), u64::from(interface.attached))
    });
    all.gauge(
        "mxdp_interface_attached",
        "Whether the filter is attached to an interface.",
        attached,
    );
    let events = &status.events;
    let unattributed = one(events.unattributed);
    let help = "Sampled SYNs that could not be attributed to a source.";
    all.counter("mxdp_events_unattributed_total", help, unattributed);
    all.counter("mxdp_events_read_total", "Sampled SYNs read.", one(events.read));
    all.counter("mxdp_events_lost_total", "Sampled SYNs lost in a full buffer.", one(events.lost));
    let temporary = &status.temporary;
    all.gauge("mxdp_temporary_blocks", "Active temporary blocks.", one(temporary.held));
    all.gauge(
        "mxdp_temporary_blocks_capacity",
        "Maximum number of temporary blocks.",
        one(temporary.capacity),
    );
    let generation = &status.generation;
    all.gauge("mxdp_generation", "Number of the active rule set.", one(generation.number));
    let since = one(generation.since);
    all.gauge(
        "mxdp_generation_timestamp_seconds",
        "Time when the rule set became active, in seconds since the Unix epoch.",
        since,
    );
    let prefixes = [("ipv4", generation.ipv4_prefixes), ("ipv6", generation.ipv6_prefixes)];
    let prefixes = prefixes.map(|(family, count)| (labels(&[("family", family)]), count));
    all.gauge("mxdp_prefixes", "Prefixes in the compiled tables.", prefixes);
    all.gauge("mxdp_runtime_entries", "Managed entries.", one(generation.runtime_entries));
    let warnings = generation.warnings.len() as u64;
    all.gauge("mxdp_warnings", "Warnings about the active configuration.", one(warnings));
    let failed = u64::from(status.failed_reload.is_some());
    all.gauge("mxdp_reload_failed", "Whether the last reload failed.", one(failed));
    let record = &status.record;
    all.gauge("mxdp_records", "Stored log entries.", one(record.records));
    all.gauge("mxdp_records_bytes", "Bytes used by stored log entries.", one(record.bytes));
    all.counter(
        "mxdp_records_lost_total",
        "Log entries dropped because the queue was full.",
        one(record.lost),
    );
    let is_writable = u64::from(record.error.is_none());
    all.gauge("mxdp_records_writable", "Whether the mail log can be written.", one(is_writable));
    let ends = status.certificates.iter();
    all.gauge(
        "mxdp_certificate_expiry_timestamp_seconds",
        "When a served certificate expires, in seconds since the Unix epoch.",
        ends.map(|one| (labels(&[("file", &one.file)]), one.expires)),
    );
    if let Some(smtp) = &status.smtp {
        all.gauge("mxdp_smtp_connections", "Open SMTP connections.", one(smtp.open));
        all.counter(
            "mxdp_smtp_connections_total",
            "SMTP connections since the start.",
            one(smtp.connections),
        );
        let accepted = (labels(&[("outcome", "accepted"), ("reason", "accepted")]), smtp.accepted);
        let refused = smtp.refused.iter().map(|refused| {
            (labels(&[("outcome", "refused"), ("reason", &refused.reason)]), refused.recipients)
        });
        let recipients = std::iter::once(accepted).chain(refused);
        all.counter("mxdp_smtp_recipients_total", "Recipients by outcome and reason.", recipients);
        let failed = [("none", smtp.balancer_checks), ("malformed", smtp.bad_proxy_headers)];
        all.counter(
            "mxdp_smtp_proxy_headers_failed_total",
            "Connections from proxy_networks without a PROXY header: none if nothing was sent.",
            failed.map(|(header, count)| (labels(&[("header", header)]), count)),
        );
        let servers = smtp.servers.iter().map(|server| {
            let pairs = [("backend", server.backend.as_str()), ("server", &server.server)];
            (labels(&pairs), u64::from(server.error.is_none()))
        });
        all.gauge("mxdp_backend_up", "Whether a backend server answers.", servers);
        let handshakes = smtp.handshakes.iter();
        let handshakes = handshakes.map(|one| (labels(&[("cause", &one.cause)]), one.count));
        all.counter(
            "mxdp_tls_handshake_failures_total",
            "Failed TLS handshakes with clients, by cause.",
            handshakes,
        );
        let zone = |name: &str| labels(&[("zone", name)]);
        let up = smtp.zones.iter().map(|one| (zone(&one.zone), u64::from(one.disabled.is_none())));
        all.gauge("mxdp_zone_up", "Whether a DNS list is used.", up);
        let counts = |count: fn(&crate::control::protocol::ZoneState) -> u64| {
            smtp.zones.iter().map(move |one| (zone(&one.zone), count(one)))
        };
        all.counter(
            "mxdp_zone_queries_total",
            "Addresses that were queried.",
            counts(|one| one.asked),
        );
        all.counter(
            "mxdp_zone_listed_total",
            "Addresses that were listed.",
            counts(|one| one.listed),
        );
        all.counter(
            "mxdp_zone_errors_total",
            "DNS queries that got no answer.",
            counts(|one| one.errors),
        );
    }
    all.0
}

/// Every metric with one sample, for the reference.
///
/// # Errors
///
/// If the sample is not a status, which the tests see.
pub(crate) fn sample() -> Result<String, serde_json::Error> {
    serde_json::from_str(include_str!("metrics_sample.json")).map(|status| text(&status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        assert_eq!(labels(&[("a", "x\"\\\ny"), ("b", "z")]), r#"{a="x\"\\\ny",b="z"}"#);
    }

    #[test]
    fn each_metric_has_its_help_and_type_once() {
        let text = text(&crate::cli::busy_status());
        let mut names = std::collections::HashSet::new();
        for line in text.lines() {
            match line.strip_prefix("# TYPE ") {
                Some(rest) => {
                    let (name, kind) = rest.split_once(' ').unwrap();
                    assert!(names.insert(name.to_owned()), "{name} twice");
                    assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
                }
                None if line.starts_with('#') => {}
                None => {
                    let name = line.split(['{', ' ']).next().unwrap();
                    assert!(names.contains(name), "{line}");
                    line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap();
                }
            }
        }
        assert!(text.contains(
            "mxdp_frames_total{action=\"drop\",reason=\"blocked_ip\",family=\"ipv4\"} 1234567\n"
        ));
    }
}
