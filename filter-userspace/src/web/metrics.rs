//! Metrics for Prometheus (text format 0.0.4), and the answer about readiness.
//!
//! Labels are reasons, families, backends and DNS lists: their number follows from the
//! configuration, and clients cannot add any.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::access::Caller;
use super::error::ApiError;
use super::site::Site;
use crate::config::web::Rights;
use crate::control::protocol::{Request, SmtpState, Status, ZoneState};

/// How long an answer about readiness is reused: strangers get it without a token, and the
/// daemon's thread is asked once a second, however many there are.
const REUSED: Duration = Duration::from_secs(1);

/// Whether the filter is on every interface, and backends answer: 200, or 503.
pub(super) async fn ready(
    State(site): State<Arc<Site>>,
    Extension(caller): Extension<Caller>,
) -> Response {
    // One request asks the daemon, and the others wait for its answer.
    let mut known = site.ready.lock().await;
    let (is_ready, alarms) = match *known {
        Some((at, is_ready, alarms)) if at.elapsed() < REUSED => (is_ready, alarms),
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
        // An alarm does not take a host out of service while it filters and mail flows. The
        // number of alarms is shown to clients with the right to read.
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
    let text = text(status).map_err(|_| ApiError::bad_request("the metrics cannot be written"))?;
    Ok(([(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response())
}

/// Encodes the metrics of a state in text format 0.0.4.
fn text(status: Status) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(status)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

/// What one scrape reads.
#[derive(Debug)]
struct Scrape(Status);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut metrics = Metrics(encoder);
        daemon(&mut metrics, &self.0)?;
        packets(&mut metrics, &self.0)?;
        rule_set(&mut metrics, &self.0)?;
        records(&mut metrics, &self.0)?;
        if let Some(smtp) = &self.0.smtp {
            mail(&mut metrics, smtp)?;
            servers(&mut metrics, smtp)?;
        }
        Ok(())
    }
}

/// Labels with their values.
type Labels<'a> = Vec<(&'static str, &'a str)>;

/// Writes metrics, each with its help, its type and its samples in the given order.
struct Metrics<'a>(DescriptorEncoder<'a>);

impl Metrics<'_> {
    /// A counter; the encoder appends `_total` to its name.
    fn counter<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            ConstCounter::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn gauge<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (Labels<'l>, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

/// A single sample without labels.
fn one(value: u64) -> [(Labels<'static>, u64); 1] {
    [(Vec::new(), value)]
}

fn daemon(all: &mut Metrics<'_>, status: &Status) -> fmt::Result {
    let version = [(vec![("version", status.version.as_str())], 1)];
    all.gauge("mxdp_build_info", "Version of mxdp.", version)?;
    let help = "Time since the daemon started, in seconds.";
    all.gauge("mxdp_uptime_seconds", help, one(status.uptime_s))?;
    all.gauge("mxdp_alarms", "Active alarms.", one(status.alarms.len() as u64))
}

fn packets(all: &mut Metrics<'_>, status: &Status) -> fmt::Result {
    let frames = status.counters.iter().map(|counter| {
        let (reason, family) = (counter.reason.as_str(), counter.family.as_str());
        let labels = vec![("action", &*counter.action), ("reason", reason), ("family", family)];
        (labels, counter.frames)
    });
    let help = "Frames by action and reason, since the kernel maps were created.";
    all.counter("mxdp_frames", help, frames)?;
    let attached = status.interfaces.iter().map(|interface| {
        let labels = vec![("interface", interface.name.as_str()), ("mode", &*interface.mode)];
        (labels, u64::from(interface.attached))
    });
    let help = "Whether the filter is attached to an interface.";
    all.gauge("mxdp_interface_attached", help, attached)?;
    let events = &status.events;
    let help = "Sampled SYNs that could not be attributed to a source.";
    all.counter("mxdp_events_unattributed", help, one(events.unattributed))?;
    all.counter("mxdp_events_read", "Sampled SYNs read.", one(events.read))?;
    let help = "Sampled SYNs lost in a full buffer.";
    all.counter("mxdp_events_lost", help, one(events.lost))?;
    let temporary = &status.temporary;
    all.gauge("mxdp_temporary_blocks", "Active temporary blocks.", one(temporary.held))?;
    let help = "Maximum number of temporary blocks.";
    all.gauge("mxdp_temporary_blocks_capacity", help, one(temporary.capacity))
}

fn rule_set(all: &mut Metrics<'_>, status: &Status) -> fmt::Result {
    let generation = &status.generation;
    all.gauge("mxdp_generation", "Number of the active rule set.", one(generation.number))?;
    let help = "Time when the rule set became active, in seconds since the Unix epoch.";
    all.gauge("mxdp_generation_timestamp_seconds", help, one(generation.since))?;
    let prefixes = [("ipv4", generation.ipv4_prefixes), ("ipv6", generation.ipv6_prefixes)];
    let prefixes = prefixes.map(|(family, count)| (vec![("family", family)], count));
    all.gauge("mxdp_prefixes", "Prefixes in the compiled tables.", prefixes)?;
    let managed = one(generation.runtime_entries);
    all.gauge("mxdp_runtime_entries", "Managed entries.", managed)?;
    let warnings = one(generation.warnings.len() as u64);
    all.gauge("mxdp_warnings", "Warnings about the active configuration.", warnings)?;
    let failed = one(u64::from(status.failed_reload.is_some()));
    all.gauge("mxdp_reload_failed", "Whether the last reload failed.", failed)
}

fn records(all: &mut Metrics<'_>, status: &Status) -> fmt::Result {
    let record = &status.record;
    all.gauge("mxdp_records", "Stored log entries.", one(record.records))?;
    all.gauge("mxdp_records_bytes", "Bytes used by stored log entries.", one(record.bytes))?;
    let help = "Log entries dropped because the queue was full.";
    all.counter("mxdp_records_lost", help, one(record.lost))?;
    let is_writable = one(u64::from(record.error.is_none()));
    all.gauge("mxdp_records_writable", "Whether the mail log can be written.", is_writable)?;
    all.gauge(
        "mxdp_certificate_expiry_timestamp_seconds",
        "When a served certificate expires, in seconds since the Unix epoch.",
        status.certificates.iter().map(|one| (vec![("file", &*one.file)], one.expires)),
    )
}

fn mail(all: &mut Metrics<'_>, smtp: &SmtpState) -> fmt::Result {
    all.gauge("mxdp_smtp_connections", "Open SMTP connections.", one(smtp.open))?;
    let help = "SMTP connections since the start.";
    all.counter("mxdp_smtp_connections", help, one(smtp.connections))?;
    let labels = |outcome, reason| vec![("outcome", outcome), ("reason", reason)];
    let refused = smtp.refused.iter();
    let refused = refused.map(|refused| (labels("refused", &*refused.reason), refused.recipients));
    let recipients = std::iter::once((labels("accepted", "accepted"), smtp.accepted));
    let recipients = recipients.chain(refused);
    all.counter("mxdp_smtp_recipients", "Recipients by outcome and reason.", recipients)?;
    let failed = [("none", smtp.balancer_checks), ("malformed", smtp.bad_proxy_headers)];
    all.counter(
        "mxdp_smtp_proxy_headers_failed",
        "Connections from proxy_networks without a PROXY header: none if nothing was sent.",
        failed.map(|(header, count)| (vec![("header", header)], count)),
    )
}

fn servers(all: &mut Metrics<'_>, smtp: &SmtpState) -> fmt::Result {
    let servers = smtp.servers.iter().map(|server| {
        let labels = vec![("backend", server.backend.as_str()), ("server", &*server.server)];
        (labels, u64::from(server.error.is_none()))
    });
    all.gauge("mxdp_backend_up", "Whether a backend server answers.", servers)?;
    all.counter(
        "mxdp_tls_handshake_failures",
        "Failed TLS handshakes with clients, by cause.",
        smtp.handshakes.iter().map(|one| (vec![("cause", &*one.cause)], one.count)),
    )?;
    let zones = |value: fn(&ZoneState) -> u64| {
        smtp.zones.iter().map(move |zone| (vec![("zone", &*zone.zone)], value(zone)))
    };
    let up = zones(|zone| u64::from(zone.disabled.is_none()));
    all.gauge("mxdp_zone_up", "Whether a DNS list is used.", up)?;
    all.counter("mxdp_zone_queries", "Addresses queried.", zones(|zone| zone.asked))?;
    all.counter("mxdp_zone_listed", "Addresses found listed.", zones(|zone| zone.listed))?;
    all.counter("mxdp_zone_errors", "DNS queries without an answer.", zones(|zone| zone.errors))
}

/// Every metric with one sample, for the reference.
///
/// # Errors
///
/// If the sample is not a status, or cannot be encoded; the tests would see it.
pub(crate) fn sample() -> Result<String, String> {
    let status = serde_json::from_str(include_str!("metrics_sample.json"));
    let status = status.map_err(|error| error.to_string())?;
    text(status).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut status = crate::cli::busy_status();
        "x\"\\\ny".clone_into(&mut status.version);
        let text = text(status).unwrap();
        assert!(text.contains("mxdp_build_info{version=\"x\\\"\\\\\\ny\"} 1\n"), "{text}");
    }

    #[test]
    fn each_metric_has_its_help_and_type_once() {
        let text = text(crate::cli::busy_status()).unwrap();
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
