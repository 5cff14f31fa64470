//! The overview: traffic, verdicts, and what needs attention.

use std::collections::BTreeMap;

use filter_common::{Disposition, Reason};
use maud::{Markup, html};

use super::failure::Shown;
use super::layout::{self, ago};
use super::visit::Visit;
use crate::control::protocol::{Request, Status};
use crate::io::clock;
use crate::record::{Kind, Status as Fate, Summary};
use crate::text::grouped;
use crate::web::chart::{self, Series, bar};
use crate::web::parts::encoded;

/// The time ranges that one click shows.
const TIMES: [(&str, &str); 5] = [
    ("1h", "1 hour"),
    ("6h", "6 hours"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("30d", "30 days"),
];

/// Reload interval of the page.
const AGAIN_S: u32 = 30;

pub(super) async fn page(visit: Visit) -> Shown {
    visit.only(&["since"])?;
    let since = visit.parts.get("since").unwrap_or("24h").to_owned();
    let status: Status = visit.ask(Request::Status).await?;
    let asked = Request::Summary { since: Some(since.clone()), until: None };
    let summary: Summary = visit.ask(asked).await?;
    let body = html! {
        h1 { "Overview" }
        @for alarm in &status.alarms { p.alarm role="alert" { (alarm) } }
        @if let Some(failed) = &status.failed_reload {
            @if failed.message.lines().count() > 1 { pre.alarm { (failed.message) } }
        }
        (layout::partial(&summary.skipped))
        @for warning in &status.generation.warnings { p.warning { (warning) } }
        p.times {
            "Time range: "
            @for (value, name) in TIMES {
                a href=(format!("/?since={value}")) aria-current=[(value == since).then_some("true")] {
                    (name)
                }
            }
        }
        (funnel(&summary, &since))
        (plots(&summary))
        div.columns {
            (sources(&summary, &since))
            (countries(&summary, &since))
            (standing(&status))
            (mail(&status))
        }
    };
    Ok(visit.frame.reloading("Overview", &body, AGAIN_S))
}

/// Whether the packet filter lets a SYN pass for this reason.
fn passes(reason: &str) -> bool {
    let found = Reason::ALL.into_iter().find(|known| known.name() == reason);
    found.is_some_and(|known| known.disposition() == Disposition::Pass)
}

/// Connections by the packet filter's verdict, and recipients by their outcome in SMTP. They
/// are counted separately: a connection may have many recipients, or none.
fn funnel(summary: &Summary, since: &str) -> Markup {
    // A monitored SYN is counted in addition to its verdict.
    let judged =
        summary.frames.iter().filter(|counted| !counted.reason.code().ends_with("_monitor"));
    let syns: u64 = judged.clone().map(|counted| counted.frames).sum();
    let admitted: u64 =
        judged.filter(|counted| passes(counted.reason.code())).map(|c| c.frames).sum();
    let smtp = summary.decisions.iter().filter(|decided| decided.status != Fate::Dropped);
    let attempts: u64 = smtp.clone().map(|decided| decided.count).sum();
    let refused = smtp.clone().filter(|decided| decided.kind == Kind::Blocked);
    let refused: u64 = refused.map(|decided| decided.count).sum();
    let delivered = smtp.filter(|decided| decided.status == Fate::Delivered);
    let delivered: u64 = delivered.map(|decided| decided.count).sum();
    let forwarded = attempts - refused;
    let since = encoded(since);
    let link = |path: &str, more: &str| Some(format!("{path}?since={since}{more}"));
    let connections = [
        ("Total", syns, None),
        ("Dropped by the packet filter", syns - admitted, link("/blocked", "&status=dropped")),
        ("Admitted", admitted, None),
    ];
    let recipients = [
        ("Attempted", attempts, None),
        ("Refused", refused, link("/blocked", "&status=temporary,permanent")),
        ("Forwarded to the backend", forwarded, link("/accepted", "")),
        ("Delivered", delivered, link("/accepted", "&status=delivered")),
    ];
    html! {
        div.columns {
            (bars("connections", "Connections to protected ports", &connections))
            (bars("recipients", "Recipients", &recipients))
        }
    }
}

/// Counts as bars in proportion to the greatest.
fn bars(id: &str, title: &str, rows: &[(&str, u64, Option<String>)]) -> Markup {
    let most = rows.iter().map(|row| row.1).max().unwrap_or(0);
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            table.bars {
                @for (name, count, link) in rows {
                    tr {
                        th scope="row" {
                            @match link { Some(link) => a href=(link) { (name) }, None => (name) }
                        }
                        td.number { (grouped(*count)) }
                        td { (bar(*count, most, 0)) }
                    }
                }
            }
        }
    }
}

fn plots(summary: &Summary) -> Markup {
    let steps = usize::try_from(summary.steps()).unwrap_or(0);
    let series = |values: &mut dyn Iterator<Item = (u64, &str, bool, u64)>| {
        let mut all: BTreeMap<&str, Series> = BTreeMap::new();
        for (step, name, passes, count) in values {
            let new = || Series { name: name.to_owned(), values: vec![0; steps], passes };
            let values = &mut all.entry(name).or_insert_with(new).values;
            if let Some(value) = usize::try_from(step).ok().and_then(|step| values.get_mut(step)) {
                *value += count;
            }
        }
        all.into_values().collect()
    };
    let syns = series(&mut summary.frames.iter().map(|counted| {
        (counted.step, counted.reason.code(), passes(counted.reason.code()), counted.frames)
    }));
    let decided = summary.decisions.iter().filter(|decided| decided.status != Fate::Dropped);
    let decided = series(&mut decided.map(|decided| {
        (decided.step, decided.reason.code(), decided.status == Fate::Delivered, decided.count)
    }));
    let step = summary.step_minutes * 60_000;
    html! {
        (chart::stacked("SYNs by verdict", summary.since, step, syns))
        (chart::stacked("Recipients by decision", summary.since, step, decided))
    }
}

fn sources(summary: &Summary, since: &str) -> Markup {
    let most = summary.sources.iter().map(|source| source.blocked).max().unwrap_or(0);
    html! {
        section aria-labelledby="sources" {
            h2 #sources { "Top blocked sources" }
            @if summary.sources.is_empty() { p.quiet { "Nothing was blocked." } }
            table.bars {
                @for source in summary.sources.iter().take(10) {
                    tr {
                        th scope="row" {
                            a href=(format!("/blocked?since={}&ip={}", encoded(since), encoded(&source.ip.to_string()))) { (source.ip) }
                            @if let Some(country) = &source.country { " " span.quiet { (country) } }
                        }
                        td.number { (grouped(source.blocked)) }
                        td { (bar(source.blocked, most, 1)) }
                    }
                }
            }
        }
    }
}

fn countries(summary: &Summary, since: &str) -> Markup {
    let total = |country: &crate::record::Country| country.blocked + country.accepted;
    let most = summary.countries.iter().map(total).max().unwrap_or(0);
    html! {
        section aria-labelledby="countries" {
            h2 #countries { "Countries" }
            @if summary.countries.is_empty() { p.quiet { "No traffic." } }
            table.bars {
                thead { tr { th { "" } th.number { "Blocked" } th.number { "Accepted" } th { "" } } }
                @for country in summary.countries.iter().take(12) {
                    @let code = country.country.as_deref().unwrap_or("none");
                    tr {
                        th scope="row" {
                            a href=(format!("/blocked?since={}&country={code}", encoded(since))) { (code) }
                        }
                        td.number { (grouped(country.blocked)) }
                        td.number { (grouped(country.accepted)) }
                        td { (bar(total(country), most, 2)) }
                    }
                }
            }
        }
    }
}

/// The filter, its rule set and the mail log.
fn standing(status: &Status) -> Markup {
    let generation = &status.generation;
    let age = clock::unix_seconds().saturating_sub(generation.since);
    html! {
        section aria-labelledby="filter" {
            h2 #filter { "Packet filter" }
            dl {
                @for interface in &status.interfaces {
                    dt { (interface.name) }
                    dd { (interface.mode) @if interface.pinned { ", persistent" } }
                }
                dt { "Rule set" } dd { (generation.number) ", " (ago(age)) " old" }
                dt { "Prefixes" }
                dd {
                    (grouped(generation.ipv4_prefixes)) " IPv4, "
                    (grouped(generation.ipv6_prefixes)) " IPv6"
                }
                dt { "Temporary blocks" } dd { (grouped(status.temporary.held)) }
                dt { "Mail log" }
                dd {
                    (grouped(status.record.records)) " entries, " (chart::short(status.record.bytes)) "B"
                    @if status.record.lost > 0 { ", " b { (grouped(status.record.lost)) " lost" } }
                }
            }
            p { a href="/lists" { "All lists" } }
        }
    }
}

/// Backends and DNS lists.
fn mail(status: &Status) -> Markup {
    let Some(smtp) = &status.smtp else { return html! {} };
    html! {
        section aria-labelledby="mail" {
            h2 #mail { "Backends and DNS lists" }
            dl {
                dt { "Connections" }
                dd { (grouped(smtp.open)) " open, " (grouped(smtp.connections)) " since start" }
                @for server in &smtp.servers {
                    dt { (server.backend) " " span.quiet { (server.server) } }
                    dd { @match &server.error { None => "up", Some(error) => b.bad { "down: " (error) } } }
                }
                @for zone in &smtp.zones {
                    dt { (zone.zone) }
                    dd {
                        @match (&zone.disabled, &zone.error) {
                            (Some(why), _) => b.bad { "disabled: it " (why) },
                            (None, Some(error)) => b.bad { (error) },
                            (None, None) => "up",
                        }
                        ", " (grouped(zone.listed)) " listed of " (grouped(zone.asked)) " queried"
                    }
                }
            }
        }
    }
}
