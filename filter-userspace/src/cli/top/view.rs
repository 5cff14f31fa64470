//! Draws the live view: as many panels as fit, the most important first.

use std::collections::VecDeque;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Paragraph, Row, Sparkline, Table};

use super::model::Model;
use crate::cli::output::clean;
use crate::cli::table::number;

/// Minimum height of a panel, in rows.
const LEAST: u16 = 6;

/// Draws the view.
pub(super) fn draw(frame: &mut Frame<'_>, model: &Model) {
    let alarms = alarms(model);
    let height = u16::try_from(alarms.len()).unwrap_or(u16::MAX);
    let [head, alarm, panels, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(height.min(frame.area().height / 3)),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(model), head);
    let red = if model.colour { Style::new().fg(Color::Red) } else { Style::new() };
    let lines = alarms.iter().map(|alarm| Line::from(format!("ALARM {alarm}")));
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).style(red.bold()), alarm);
    let keys =
        if model.paused { "PAUSED  space: resume  q: quit" } else { "space: pause  q: quit" };
    frame.render_widget(Paragraph::new(keys).style(Style::new().add_modifier(Modifier::DIM)), foot);

    let rows: [[Panel; 2]; 3] = [[verdicts, traffic], [decisions, smtp], [sources, countries]];
    let is_wide = panels.width >= 80;
    let shown = usize::from((panels.height / LEAST).max(1));
    if is_wide {
        let shown = shown.min(rows.len());
        let areas = Layout::vertical(vec![Constraint::Fill(1); shown]).split(panels);
        for (area, row) in areas.iter().zip(&rows) {
            let columns = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]);
            for (area, panel) in columns.split(*area).iter().zip(row) {
                panel(frame, *area, model);
            }
        }
    } else {
        let all = [verdicts, decisions, smtp, sources, traffic, countries] as [Panel; 6];
        let shown = shown.min(all.len());
        let areas = Layout::vertical(vec![Constraint::Fill(1); shown]).split(panels);
        for (area, panel) in areas.iter().zip(&all) {
            panel(frame, *area, model);
        }
    }
}

type Panel = fn(&mut Frame<'_>, Rect, &Model);

fn alarms(model: &Model) -> Vec<String> {
    let lost = model.lost.iter().map(|why| format!("the daemon does not answer: {why}"));
    let all = lost.chain(model.status.alarms.iter().cloned());
    all.map(|alarm| clean(&alarm).replace('\n', "; ")).collect()
}

fn header(model: &Model) -> Paragraph<'static> {
    let status = &model.status;
    let interfaces = status.interfaces.iter().map(|one| format!("{} ({})", one.name, one.mode));
    let interfaces = interfaces.collect::<Vec<_>>().join(", ");
    let text = format!(
        " {}  up {}  rule set {}  {} prefixes",
        clean(&interfaces),
        uptime(status.uptime_s),
        status.generation.number,
        number(status.generation.ipv4_prefixes + status.generation.ipv6_prefixes),
    );
    let name = Span::from(format!("mxdp {}", clean(&status.version))).bold();
    Paragraph::new(Line::from(vec![name, Span::from(text)]))
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A rate, with a decimal if it is small; `…` until there are two refreshes.
fn rate(rate: Option<f64>) -> String {
    match rate {
        None => "…".to_owned(),
        Some(rate) if rate < 9.95 => format!("{rate:.1}"),
        Some(rate) => number(super::model::whole(rate)),
    }
}

fn block(model: &Model, title: &str) -> Block<'static> {
    let block = Block::bordered().title(format!(" {title} "));
    // Stale values are dimmed.
    if model.lost.is_some() { block.dim() } else { block }
}

fn colour(model: &Model, stops: bool) -> Style {
    match (model.colour, stops) {
        (false, _) => Style::new(),
        (true, true) => Style::new().fg(Color::LightRed),
        (true, false) => Style::new().fg(Color::Green),
    }
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).right_aligned())
}

/// A table, or the text `empty` if it has no rows.
fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    block: Block<'static>,
    (rows, widths, head): (Vec<Row<'static>>, &[Constraint], Row<'static>),
    empty: &'static str,
) {
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(empty).block(block), area);
        return;
    }
    let head = head.style(Style::new().add_modifier(Modifier::DIM));
    frame.render_widget(Table::new(rows, widths).header(head).block(block), area);
}

fn verdicts(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.verdicts.iter().map(|verdict| {
        let action = if verdict.drops { "drop" } else { "pass" };
        Row::new([
            Cell::from(clean(&verdict.reason).into_owned()),
            Cell::from(action),
            right(rate(verdict.per_second)),
            right(number(verdict.total)),
        ])
        .style(colour(model, verdict.drops))
    });
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(4),
        Constraint::Length(11),
        Constraint::Length(15),
    ];
    let head = Row::new([
        Cell::from("reason"),
        Cell::from(""),
        right("per second".to_owned()),
        right("total".to_owned()),
    ]);
    let block = block(model, "Frames by verdict");
    table(frame, area, block, (rows.collect(), &widths, head), "no frames yet");
}

fn traffic(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let block = block(model, "Frames per second");
    let inside = block.inner(area);
    frame.render_widget(block, area);
    let [above, below] = Layout::vertical([Constraint::Fill(1); 2]).areas(inside);
    let [passed, dropped] = &model.history;
    for (area, name, history, stops) in
        [(above, "passed", passed, false), (below, "dropped", dropped, true)]
    {
        let [label, picture] =
            Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
        let newest = history.back().map_or("…".to_owned(), |newest| number(*newest));
        let most = number(history.iter().max().copied().unwrap_or(0));
        frame.render_widget(Paragraph::new(format!("{name} {newest}, peak {most}")), label);
        let values = newest_of(history, picture.width);
        let line = Sparkline::default().data(values).style(colour(model, stops));
        frame.render_widget(line, picture);
    }
}

fn newest_of(history: &VecDeque<u64>, width: u16) -> Vec<u64> {
    history.iter().skip(history.len().saturating_sub(width.into())).copied().collect()
}

fn decisions(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let decisions = model.decisions();
    let most = decisions.first().map_or(1, |first| first.count.max(1));
    let rows = decisions.iter().map(|decision| {
        Row::new([
            Cell::from(clean(decision.stage).into_owned()),
            Cell::from(clean(decision.reason).into_owned()),
            right(number(decision.count)),
            Cell::from(bar(decision.count, most)),
        ])
        .style(colour(model, !decision.accepted))
    });
    let widths =
        [Constraint::Length(10), Constraint::Fill(2), Constraint::Length(11), Constraint::Fill(1)];
    let head = Row::new([
        Cell::from("stage"),
        Cell::from("reason"),
        right("count".to_owned()),
        Cell::from(""),
    ]);
    let block = block(model, &format!("Recipients and dropped SYNs, {}", clean(&model.window)));
    table(frame, area, block, (rows.collect(), &widths, head), "no decisions");
}

/// A bar of up to ten characters, in proportion to `most`.
fn bar(count: u64, most: u64) -> String {
    let length = usize::try_from(count.saturating_mul(10).div_ceil(most)).unwrap_or(10);
    "■".repeat(length.min(10))
}

fn smtp(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let block = block(model, "SMTP");
    let Some(smtp) = &model.status.smtp else {
        let text = "packet filter only; mxdp serves no SMTP";
        frame.render_widget(Paragraph::new(text).block(block), area);
        return;
    };
    let mut lines = vec![
        Line::from(format!(
            "{} open, {} connections per second",
            number(smtp.open),
            rate(model.connections)
        )),
        Line::from(format!(
            "recipients per second: {} accepted, {} refused",
            rate(model.accepted),
            rate(model.refused)
        )),
    ];
    let state = |name: String, wrong: Option<&str>| {
        let style = colour(model, wrong.is_some());
        let text = wrong.map_or_else(|| "up".to_owned(), |wrong| clean(wrong).replace('\n', "; "));
        Line::from(vec![Span::from(format!("{} ", clean(&name))), Span::styled(text, style)])
    };
    let servers = smtp.servers.iter().map(|server| {
        state(format!("{} {}", server.backend, server.server), server.error.as_deref())
    });
    let zones = smtp.zones.iter().map(|zone| {
        let wrong = zone.disabled.as_deref().or(zone.error.as_deref());
        state(format!("{} ({} of {})", zone.zone, number(zone.listed), number(zone.asked)), wrong)
    });
    // Failures come first.
    let mut states: Vec<_> = servers.chain(zones).collect();
    states.sort_by_key(|line| line.spans.last().is_some_and(|span| span.content == "up"));
    lines.extend(states);
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

fn sources(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.summary.sources.iter().map(|source| {
        Row::new([
            Cell::from(source.ip.to_string()),
            Cell::from(clean(source.country.as_deref().unwrap_or("-")).into_owned()),
            right(number(source.blocked)),
        ])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(7), Constraint::Length(13)];
    let head = Row::new([Cell::from("source"), Cell::from("country"), right("blocked".to_owned())]);
    let block = block(model, "Top blocked sources");
    table(frame, area, block, (rows.collect(), &widths, head), "nothing blocked");
}

fn countries(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let rows = model.summary.countries.iter().map(|country| {
        Row::new([
            Cell::from(clean(country.country.as_deref().unwrap_or("none")).into_owned()),
            right(number(country.blocked)),
            right(number(country.accepted)),
        ])
    });
    let widths = [Constraint::Fill(1), Constraint::Length(11), Constraint::Length(11)];
    let head = Row::new([
        Cell::from("country"),
        right("blocked".to_owned()),
        right("accepted".to_owned()),
    ]);
    table(frame, area, block(model, "Countries"), (rows.collect(), &widths, head), "none yet");
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::top::model::tests::refresh;

    fn screen(model: &Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    fn model() -> Model {
        let start = std::time::Instant::now();
        let mut model = Model::new(refresh(start, 0), "1h", true);
        model.take(refresh(start + Duration::from_secs(1), 70));
        model
    }

    #[test]
    fn as_many_panels_as_fit_are_drawn() {
        let panels = [
            "Frames by verdict",
            "Frames per second",
            "Recipients and dropped SYNs",
            "SMTP",
            "Top blocked sources",
            "Countries",
        ];
        for (width, height, shown) in
            [(200, 60, 6), (120, 40, 6), (80, 24, 6), (80, 14, 4), (60, 40, 6), (40, 10, 1)]
        {
            let screen = screen(&model(), width, height);
            let seen = panels.iter().filter(|panel| screen.contains(*panel)).count();
            assert_eq!(seen, shown, "{width}x{height}:\n{screen}");
            assert!(screen.contains("mxdp ") && screen.contains("q: quit"), "{screen}");
        }
        for width in 1..40 {
            for height in 1..20 {
                screen(&model(), width, height);
            }
        }
    }

    #[test]
    fn control_characters_of_others_are_escaped() {
        let mut model = model();
        model.status.alarms = vec!["\u{1b}[2J wiped\nand more".to_owned()];
        model.lost = Some("no \u{7} socket".to_owned());
        let screen = screen(&model, 100, 30);
        assert!(screen.contains(r"ALARM \u{1b}[2J wiped; and more"), "{screen}");
        assert!(screen.contains(r"the daemon does not answer: no \u{7} socket"), "{screen}");
        assert!(screen.chars().all(|c| !c.is_control() || c == '\n'), "{screen}");
    }
}
