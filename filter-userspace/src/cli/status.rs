//! `status`: the state of the daemon, as text.

use std::collections::BTreeMap;
use std::path::Path;

use filter_common::{Disposition, Reason};

use super::error::{CliError, Exit};
use super::offline::lists;
use super::output::{Colour, Output, Style, clean};
use super::table::{Align, Table, number};
use super::time::{human, now, utc};
use crate::control::client::call;
use crate::control::protocol::{
    Counter, GenerationStatus, InterfaceStatus, RecordState, Request, SmtpState, Status,
};

/// Shows the status once.
pub(super) fn once(socket: &Path, exit_code: bool, output: &mut Output) -> Result<Exit, CliError> {
    let status: Status = call(socket, &Request::Status)?;
    if output.json {
        output.object(&status)?;
    } else {
        let text = render(&status, View::Page, now(), output.style);
        output.text(&text)?;
    }
    Ok(if exit_code && !status.alarms.is_empty() { Exit::Alarm } else { Exit::Done })
}

/// An earlier status, from which rates are calculated.
#[derive(Clone, Copy)]
pub(super) struct Earlier<'a> {
    pub(super) status: &'a Status,
    /// How long ago, in seconds.
    pub(super) seconds: f64,
}

/// How the status is shown.
#[derive(Clone, Copy)]
pub(super) enum View<'a> {
    /// As a page that is read from the top.
    Page,
    /// On a screen that may be too short for all of it, so counters come first; with rates
    /// since the earlier status.
    Screen(Option<Earlier<'a>>),
}

/// The status as text; `now` in seconds of the Unix epoch.
pub(super) fn render(status: &Status, view: View<'_>, now: u64, style: Style) -> String {
    let mut text = alarms(status, style) + &head(status, style);
    let lists = standing(status, now, style);
    match view {
        View::Page => text.push_str(&(lists + &moving(status, None, style))),
        View::Screen(earlier) => text.push_str(&(moving(status, earlier, style) + &lists)),
    }
    text
}

/// The daemon itself, in two lines.
fn head(status: &Status, style: Style) -> String {
    let ports: Vec<String> = status.ports.iter().map(u16::to_string).collect();
    format!(
        "{} {}, pid {}, up {}, {}\nprotected ports: {}\n",
        style.paint("mxdp", Colour::Bold),
        clean(&status.version),
        status.pid,
        human(status.uptime_s),
        clean(&status.config),
        ports.join(", ")
    )
}

/// The parts that change only with the configuration: interfaces and lists.
fn standing(status: &Status, now: u64, style: Style) -> String {
    format!(
        "\n{}\n{}\n{}{}",
        style.paint("Interfaces", Colour::Bold),
        interfaces(&status.interfaces),
        style.paint("Lists", Colour::Bold),
        generation(&status.generation, now, style)
    )
}

/// The parts that change with every packet.
fn moving(status: &Status, earlier: Option<Earlier<'_>>, style: Style) -> String {
    let mut text = String::new();
    let heading = |text: &str| style.paint(text, Colour::Bold);
    for group in Group::ALL {
        match counters(group, status, earlier) {
            Some(table) => {
                let heading = heading(group.heading());
                text.push_str(&format!("\n{heading}\n{}", table.render("  ")));
            }
            // Few hosts monitor anything.
            None if group == Group::Monitored => {}
            None => text.push_str(&format!("\n{}  none\n", heading(group.heading()))),
        }
    }

    if let Some(smtp) = &status.smtp {
        text.push_str(&format!("\n{}\n{}", heading("SMTP"), mail(smtp)));
    }
    let temporary = &status.temporary;
    let (held, capacity) = (number(temporary.held), number(temporary.capacity));
    text.push_str(&format!("\n{}  {held} of {capacity}\n", heading("Temporary blocks")));
    let (read, lost) = (number(status.events.read), number(status.events.lost));
    text.push_str(&format!("{}  {read} read, {lost} lost\n", heading("SYN samples")));
    text.push_str(&record(&status.record, style));
    text.push_str(&top_sources(status, style));
    text
}

fn record(record: &RecordState, style: Style) -> String {
    let (kept, size) = (number(record.records), number(record.bytes / 1_000_000));
    let lost = match record.lost {
        0 => String::new(),
        lost => format!(", {} lost", number(lost)),
    };
    format!("{}  {kept} entries, {size} MB{lost}\n", style.paint("Mail log", Colour::Bold))
}

/// The alarms, which come first.
fn alarms(status: &Status, style: Style) -> String {
    let mut text = String::new();
    let mut alarm = |message: &str| {
        let label = style.paint("ALARM", Colour::Red);
        let message = clean(message).replace('\n', "\n       ");
        text.push_str(&format!("{label}  {message}\n"));
    };
    // The alarm of a failed reload has only the first error; all of them are shown here.
    let failed = status.failed_reload.as_ref();
    let reload = failed.map(|failed| failed.alarm());
    for message in status.alarms.iter().filter(|message| reload.as_ref() != Some(message)) {
        alarm(message);
    }
    if let Some(failed) = failed {
        let at = utc(failed.at);
        alarm(&format!(
            "Reload failed at {at}; the previous configuration stays active\n{}",
            failed.message
        ));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text
}

/// The SMTP proxy.
fn mail(smtp: &SmtpState) -> String {
    let mut text = format!(
        "  connections  {} open, {} since start\n  recipients   {} accepted\n",
        number(smtp.open),
        number(smtp.connections),
        number(smtp.accepted)
    );
    for refused in &smtp.refused {
        let reason = clean(&refused.reason);
        text.push_str(&format!("               {} {reason}\n", number(refused.recipients)));
    }
    if smtp.unlogged > 0 {
        text.push_str(&format!("  log lines    {} dropped\n", number(smtp.unlogged)));
    }
    if smtp.bad_proxy_headers > 0 {
        let (bad, checks) = (number(smtp.bad_proxy_headers), number(smtp.balancer_checks));
        text.push_str(&format!(
            "  balancers    {bad} connections without a valid PROXY header, {checks} empty health checks\n"
        ));
    }
    for server in &smtp.servers {
        let state = server.error.as_deref().map_or("up".into(), clean);
        let (backend, server) = (clean(&server.backend), clean(&server.server));
        text.push_str(&format!("  backend      {backend} at {server}: {state}\n"));
    }
    for zone in &smtp.zones {
        let state = match (&zone.disabled, &zone.error) {
            (Some(why), _) => format!("out of use: {}", clean(why)),
            (None, Some(error)) => clean(error).into_owned(),
            (None, None) => "up".to_owned(),
        };
        let (asked, listed) = (number(zone.asked), number(zone.listed));
        let name = clean(&zone.zone);
        text.push_str(&format!(
            "  DNS list     {name}: {state}; {listed} listed of {asked} queried\n"
        ));
    }
    text
}

fn interfaces(interfaces: &[InterfaceStatus]) -> String {
    if interfaces.is_empty() {
        return "  none\n".to_owned();
    }
    let columns = ["NAME", "MODE", "PINNED", "ADOPTED"];
    let mut table = Table::new(columns.map(|name| (name, Align::Left)));
    let yes = |yes| if yes { "yes" } else { "no" }.to_owned();
    for interface in interfaces {
        let InterfaceStatus { name, mode, pinned, adopted, attached } = interface;
        let mode = if *attached { mode.clone() } else { "NOT ATTACHED".to_owned() };
        table.row([name.clone(), mode, yes(*pinned), yes(*adopted)]);
    }
    table.render("  ")
}

fn generation(generation: &GenerationStatus, now: u64, style: Style) -> String {
    let age = human(now.saturating_sub(generation.since));
    let mut text = format!(
        "  rule set {}, active for {age}, built in {} ms\n",
        number(generation.number),
        number(generation.build_ms)
    );
    let engine = |engine: &Option<String>| {
        engine.as_ref().map_or_else(String::new, |engine| format!(" ({})", clean(engine)))
    };
    text.push_str(&format!(
        "  {} IPv4 prefixes{}, {} IPv6 prefixes{}, {} managed entries\n",
        number(generation.ipv4_prefixes),
        engine(&generation.ipv4_engine),
        number(generation.ipv6_prefixes),
        engine(&generation.ipv6_engine),
        number(generation.runtime_entries)
    ));
    let actions = generation.enforcement.iter();
    let actions: Vec<String> =
        actions.map(|of| format!("{} {}", clean(&of.class), clean(&of.action))).collect();
    if !actions.is_empty() {
        text.push_str(&format!("  {}\n", actions.join(", ")));
    }
    if !generation.lists.is_empty() {
        text.push_str(&lists(&generation.lists).render("  "));
    }
    for warning in &generation.warnings {
        let label = style.paint("warning:", Colour::Yellow);
        text.push_str(&format!("  {label} {}\n", clean(warning).replace('\n', " ")));
    }
    text
}

/// The groups of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Group {
    Dropped,
    Passed,
    NotJudged,
    Monitored,
}

impl Group {
    const ALL: [Self; 4] = [Self::Dropped, Self::Passed, Self::NotJudged, Self::Monitored];

    const fn heading(self) -> &'static str {
        match self {
            Self::Dropped => "Dropped",
            Self::Passed => "Passed SYNs",
            Self::NotJudged => "Passed without a check",
            Self::Monitored => "Monitored (counted in addition to the verdict)",
        }
    }

    /// The group of a counter. An unknown reason, of a newer daemon, is grouped by its action.
    fn of(counter: &Counter) -> Self {
        match Reason::ALL.into_iter().find(|reason| reason.name() == counter.reason) {
            None if counter.action == "drop" => Self::Dropped,
            None => Self::NotJudged,
            Some(reason) if reason.is_observation() => Self::Monitored,
            Some(reason) if reason.disposition() == Disposition::Drop => Self::Dropped,
            Some(
                Reason::ApprovedIp
                | Reason::ApprovedCountry
                | Reason::Unlisted
                | Reason::BlockedIpReject
                | Reason::BlockedCountryReject
                | Reason::KnownSpamSourceReject,
            ) => Self::Passed,
            Some(_) => Self::NotJudged,
        }
    }
}

/// Frames of a reason: by family, in total, and in total at the earlier status.
#[derive(Default)]
struct Row {
    families: BTreeMap<String, u64>,
    total: u64,
    before: u64,
}

fn counters(group: Group, status: &Status, earlier: Option<Earlier<'_>>) -> Option<Table> {
    let of_group = |status: &Status| -> Vec<Counter> {
        status.counters.iter().filter(|counter| Group::of(counter) == group).cloned().collect()
    };
    // Reasons in the daemon's order, then the total.
    let mut rows: Vec<(String, Row)> = Vec::new();
    let mut sum = Row::default();
    for counter in of_group(status) {
        let at = rows.iter().position(|(reason, _)| *reason == counter.reason);
        let at = at.unwrap_or_else(|| {
            rows.push((counter.reason.clone(), Row::default()));
            rows.len() - 1
        });
        for row in [&mut rows[at].1, &mut sum] {
            *row.families.entry(counter.family.clone()).or_default() += counter.frames;
            row.total += counter.frames;
        }
    }
    for counter in earlier.map(|earlier| of_group(earlier.status)).into_iter().flatten() {
        for (reason, row) in &mut rows {
            if *reason == counter.reason {
                row.before += counter.frames;
            }
        }
        sum.before += counter.frames;
    }
    rows.retain(|(_, row)| row.total > 0);
    if rows.is_empty() {
        return None;
    }
    if rows.len() > 1 {
        rows.push(("total".to_owned(), sum));
    }
    Some(table_of(rows, earlier.map(|earlier| earlier.seconds)))
}

fn table_of(rows: Vec<(String, Row)>, seconds: Option<f64>) -> Table {
    const FAMILIES: [(&str, &str); 3] = [("ipv4", "IPV4"), ("ipv6", "IPV6"), ("other", "OTHER")];
    let frames = |row: &Row, family: &str| row.families.get(family).copied().unwrap_or(0);
    // Most groups have only IPv4 and IPv6 frames.
    let shown = FAMILIES.map(|(family, _)| {
        family != "other" || rows.iter().any(|(_, row)| frames(row, family) > 0)
    });
    let shown = || FAMILIES.into_iter().zip(shown).filter(|(_, shown)| *shown);
    let mut columns = vec![("REASON", Align::Left)];
    columns.extend(shown().map(|((_, heading), _)| (heading, Align::Right)));
    columns.push(("TOTAL", Align::Right));
    if seconds.is_some() {
        columns.push(("PER SECOND", Align::Right));
    }
    let mut table = Table::new(columns);
    for (reason, row) in rows {
        let families: Vec<u64> = shown().map(|((family, _), _)| frames(&row, family)).collect();
        let mut cells = vec![reason];
        cells.extend(families.into_iter().chain([row.total]).map(number));
        cells.extend(seconds.map(|seconds| rate(row.total, row.before, seconds)));
        table.row(cells);
    }
    table
}

/// Frames per second. A counter that went back belongs to new maps, and has no rate yet.
fn rate(now: u64, before: u64, seconds: f64) -> String {
    match now.checked_sub(before) {
        Some(frames) if seconds > 0.0 => {
            // The precision of a float is enough for a rate on a screen.
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "both are far from the ends of their types, and not negative"
            )]
            let rate = (frames as f64 / seconds).round() as u64;
            number(rate)
        }
        _ => "-".to_owned(),
    }
}

fn top_sources(status: &Status, style: Style) -> String {
    if status.top_sources.is_empty() {
        return String::new();
    }
    let mut table =
        Table::new([("SOURCE", Align::Left), ("REASON", Align::Left), ("SYNS", Align::Right)]);
    for source in &status.top_sources {
        let estimated = format!("~{}", number(source.estimated));
        table.row([source.ip.to_string(), source.reason.clone(), estimated]);
    }
    let heading = style.paint("Top dropped sources of the last minutes (estimated)", Colour::Bold);
    format!("\n{heading}\n{}", table.render("  "))
}

#[cfg(test)]
pub(super) mod tests;
