//! Plots, as SVG within a page: no script, no other host, readable in light and dark.

use maud::{Markup, html};

use crate::record::when;
use crate::text::grouped;

/// Values over time, one for each step.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) values: Vec<u64>,
    /// Whether it counts what passes, which has its own colours.
    pub(super) passes: bool,
}

/// The colours of what passes and of what is stopped; the last of each is for the rest.
const COLOURS: [&[usize]; 2] = [&[0, 2, 5], &[1, 3, 4, 6, 7]];

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 64.0;
const BOTTOM: f64 = 28.0;
const TOP: f64 = 10.0;

/// Series with their colours: what passes first, the largest first of each, and the
/// smallest added up to one where there are more than colours.
fn coloured(all: Vec<Series>) -> Vec<(usize, Series)> {
    let (passing, stopped): (Vec<_>, Vec<_>) = all.into_iter().partition(|series| series.passes);
    let mut coloured = Vec::new();
    for (mut some, colours) in [passing, stopped].into_iter().zip(COLOURS) {
        some.sort_by_key(|series| std::cmp::Reverse(series.values.iter().sum::<u64>()));
        if some.len() > colours.len() {
            let rest = some.split_off(colours.len() - 1);
            let steps = rest.first().map_or(0, |series| series.values.len());
            let sum = |step: usize| rest.iter().filter_map(|one| one.values.get(step)).sum();
            let passes = rest.iter().any(|one| one.passes);
            let name = if passes { "others that pass" } else { "others" }.to_owned();
            some.push(Series { name, values: (0..steps).map(sum).collect(), passes });
        }
        coloured.extend(colours.iter().copied().zip(some));
    }
    coloured
}

/// Stacked bars over time; `since` and `step` are in milliseconds.
pub(super) fn stacked(title: &str, since: u64, step: u64, series: Vec<Series>) -> Markup {
    let series = &*coloured(series);
    let steps = series.iter().map(|(_, series)| series.values.len()).max().unwrap_or(0).max(1);
    let at = |series: &Series, step: usize| series.values.get(step).copied().unwrap_or(0);
    let total = |step: usize| series.iter().map(|(_, series)| at(series, step)).sum::<u64>();
    let most = (0..steps).map(total).max().unwrap_or(0);
    let scale = Scale::of(most);
    let wide = (WIDTH - LEFT) / float(steps as u64);
    let x = |step: usize| LEFT + wide * float(step as u64);
    html! {
        figure.plot {
            figcaption { (title) }
            svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
                @for tick in scale.ticks() {
                    @let y = scale.y(tick);
                    line.grid x1=(LEFT) x2=(WIDTH) y1=(round(y)) y2=(round(y)) {}
                    text.tick x=(LEFT - 6.0) y=(round(y + 4.0)) text-anchor="end" { (short(tick)) }
                }
                @for step_index in 0..steps {
                    @let tops = tops(series, step_index);
                    g {
                        title { (described(since + step * step_index as u64, series, step_index)) }
                        // The pointer finds a bar at any height.
                        rect.point x=(round(x(step_index))) y=(TOP) width=(round(wide))
                            height=(HEIGHT - BOTTOM - TOP) {}
                        @for (colour, from, to) in tops {
                            rect class=(format!("c{colour}")) x=(round(x(step_index)))
                                y=(round(scale.y(to))) width=(round((wide - 0.6).max(0.6)))
                                height=(round(scale.y(from) - scale.y(to))) {}
                        }
                    }
                }
                @for mark in marks(steps) {
                    text.tick x=(round(x(mark) + wide / 2.0)) y=(HEIGHT - 8.0) text-anchor="middle" {
                        (clock(since + step * mark as u64, step * steps as u64))
                    }
                }
            }
            ul.legend {
                @for (colour, one) in series {
                    @let sum = one.values.iter().sum::<u64>();
                    li { span class=(format!("key c{colour}")) {} (one.name) " " b { (grouped(sum)) } }
                }
            }
        }
    }
}

/// Where each colour of a step begins and ends.
fn tops(series: &[(usize, Series)], step: usize) -> Vec<(usize, u64, u64)> {
    let mut from = 0;
    let mut tops = Vec::new();
    for (colour, one) in series {
        let value = one.values.get(step).copied().unwrap_or(0);
        if value > 0 {
            tops.push((*colour, from, from + value));
            from += value;
        }
    }
    tops
}

fn described(time: u64, series: &[(usize, Series)], step: usize) -> String {
    let shown = when::show(time);
    let mut text = shown.get(..16).unwrap_or(&shown).replace('T', " ");
    for (_, one) in series {
        let value = one.values.get(step).copied().unwrap_or(0);
        if value > 0 {
            text.push_str(&format!("\n{}: {}", one.name, grouped(value)));
        }
    }
    text
}

/// The steps that have a time below them.
fn marks(steps: usize) -> impl Iterator<Item = usize> {
    let every = steps.div_ceil(8).max(1);
    (0..steps).step_by(every)
}

/// A time as an axis shows it: the date if more than two days are shown.
fn clock(time: u64, span: u64) -> String {
    let shown = when::show(time);
    let part = if span > 2 * 86_400_000 { shown.get(5..10) } else { shown.get(11..16) };
    part.unwrap_or(&shown).to_owned()
}

struct Scale {
    most: u64,
    tick: u64,
}

impl Scale {
    /// A scale that fits `most`, with four or five round ticks.
    fn of(most: u64) -> Self {
        let wanted = most.div_ceil(4).max(1);
        let mut unit = 1_u64;
        let tick = loop {
            let round = [1, 2, 5].map(|factor| unit.saturating_mul(factor));
            if let Some(tick) = round.into_iter().find(|tick| *tick >= wanted) {
                break tick;
            }
            unit = unit.saturating_mul(10);
        };
        Self { most: most.div_ceil(tick).max(1).saturating_mul(tick), tick }
    }

    fn ticks(&self) -> impl Iterator<Item = u64> {
        (0..=self.most / self.tick).map(|number| number * self.tick)
    }

    fn y(&self, value: u64) -> f64 {
        let height = HEIGHT - BOTTOM - TOP;
        TOP + height * (1.0 - float(value) / float(self.most))
    }
}

/// A bar beside its label, as wide as its share of `most`.
pub(super) fn bar(value: u64, most: u64, colour: usize) -> Markup {
    let width = 100.0 * float(value) / float(most.max(1));
    html! {
        svg.bar viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true" {
            rect class=(format!("c{colour}")) x="0" y="0" width=(round(width)) height="8" {}
        }
    }
}

/// A number as an axis shows it: `2.5k`.
pub(super) fn short(number: u64) -> String {
    let units = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match units.into_iter().find(|(factor, _)| number >= *factor) {
        None => number.to_string(),
        Some((factor, unit)) => {
            let text = format!("{:.1}", float(number) / float(factor));
            format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
        }
    }
}

fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[expect(clippy::cast_precision_loss, reason = "a plot shows four digits at most")]
const fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_room_and_round_ticks() {
        for (most, ticks) in [
            (0, vec![0, 1]),
            (1, vec![0, 1]),
            (9, vec![0, 5, 10]),
            (100, vec![0, 50, 100]),
            (1_234, vec![0, 500, 1_000, 1_500]),
        ] {
            assert_eq!(Scale::of(most).ticks().collect::<Vec<_>>(), ticks, "{most}");
        }
        Scale::of(u64::MAX);
    }

    #[test]
    fn the_smallest_series_become_one_and_what_passes_is_told_apart() {
        let series =
            |n: u64| Series { name: format!("s{n}"), values: vec![n, 2 * n], passes: n == 3 };
        let all = coloured((0..12).map(series).collect());
        let colours: Vec<_> = all.iter().map(|(colour, _)| *colour).collect();
        assert_eq!(colours, [0, 1, 3, 4, 6, 7]);
        assert_eq!((&*all[0].1.name, &*all[1].1.name, &*all[5].1.name), ("s3", "s11", "others"));
        let rest = (0..=7).sum::<u64>() - 3;
        assert_eq!(all[5].1.values, [rest, 2 * rest]);
    }

    #[test]
    fn a_plot_shows_every_value_and_escapes_names() {
        let values = vec![0, 3, 7];
        let series = vec![Series { name: "<b>".to_owned(), values, passes: true }];
        let svg = stacked("A & B", 1_795_407_240_000, 60_000, series).into_string();
        assert!(svg.contains("2026-11-23 04:15\n&lt;b&gt;: 3"), "{svg}");
        assert!(svg.contains("A &amp; B") && !svg.contains("<b>:"), "{svg}");
        assert_eq!(svg.matches("class=\"c0\"").count(), 2);
        stacked("empty", 0, 60_000, Vec::new());
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!([0, 999, 1_000, 2_500, 1_000_000].map(short), ["0", "999", "1k", "2.5k", "1M"]);
    }
}
