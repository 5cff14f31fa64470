//! A plot: nanoseconds a packet against prefixes, both on log scales, one field
//! for each family and workload.

use std::fmt::Write as _;

use filter_common::Family;

use mxdp::io::kernel::Layout;

use crate::contender::Kind;
use crate::report::Row;
use crate::workload::Workload;

/// The size of a field, and the room around it for its scales and title.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 190.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 18.0;
const ABOVE: f64 = 34.0;
const BELOW: f64 = 46.0;
/// The room of the legend, above all fields.
const LEGEND: f64 = 56.0;

/// No outside font; the colours of text and lines follow the reader's choice of
/// light or dark, and those of the contenders are legible on both.
const STYLE: &str = "\
text{font:12px system-ui,sans-serif;fill:#24292f}\
.title{font-weight:600}\
.back{fill:#ffffff}\
.axis{stroke:#57606a;fill:none}\
.grid{stroke:#d0d7de}\
.line{fill:none;stroke-width:2}\
@media (prefers-color-scheme:dark){\
text{fill:#e6edf3}.back{fill:#0d1117}.axis{stroke:#8b949e}.grid{stroke:#30363d}}";

/// A contender's colour and dashes: told apart without colours as well.
const fn look(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Floor => ("#7d8590", "2 3"),
        Kind::Mxdp(Layout::Trie) => ("#3b82f6", "7 3"),
        Kind::Mxdp(Layout::Ranges) => ("#16a34a", ""),
        Kind::Ipset => ("#d97706", "10 3 2 3"),
        Kind::Nftables => ("#c026d3", "4 2"),
        Kind::XdpFilter => ("#dc2626", "1 2"),
    }
}

/// The plot of all rows.
pub(crate) fn plot(rows: &[Row]) -> String {
    let present = |family, workload| {
        rows.iter().filter(move |row: &&Row| row.family == family && row.workload == workload)
    };
    let families = [Family::V4, Family::V6];
    let families = families.into_iter().filter(|one| rows.iter().any(|row| row.family == *one));
    let families: Vec<_> = families.collect();
    let workloads = Workload::ALL.into_iter();
    let workloads = workloads.filter(|one| rows.iter().any(|row| row.workload == *one));
    let workloads: Vec<_> = workloads.collect();
    let scale = Scale::of(rows);

    let width = (LEFT + WIDTH + RIGHT) * families.len().max(1) as f64;
    let height = LEGEND + (ABOVE + HEIGHT + BELOW) * workloads.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>Nanoseconds a packet against the number of prefixes</title>\n\
         <style>{STYLE}</style>\n<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n"
    );
    legend(&mut svg, rows, width);
    for (line, workload) in workloads.iter().enumerate() {
        for (column, family) in families.iter().enumerate() {
            let x = (LEFT + WIDTH + RIGHT) * column as f64 + LEFT;
            let y = LEGEND + (ABOVE + HEIGHT + BELOW) * line as f64 + ABOVE;
            put(&mut svg, format_args!("<g transform=\"translate({x} {y})\">"));
            let name = if *family == Family::V6 { "IPv6" } else { "IPv4" };
            put(
                &mut svg,
                format_args!(
                    "<text class=\"title\" x=\"0\" y=\"-10\">{name}, {}</text>",
                    workload.title()
                ),
            );
            scale.draw(&mut svg);
            for kind in Kind::ALL {
                let points = present(*family, *workload).filter_map(|row| {
                    let cell = row.find(kind)?;
                    Some((scale.x(row.prefixes), scale.y(cell.ns)))
                });
                draw(&mut svg, kind, &points.collect::<Vec<_>>());
            }
            svg.push_str("</g>\n");
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Decades from and to which the scales go.
struct Scale {
    prefixes: (i32, i32),
    ns: (i32, i32),
}

impl Scale {
    fn of(rows: &[Row]) -> Self {
        let prefixes = rows.iter().map(|row| row.prefixes as f64);
        let ns = rows.iter().flat_map(|row| row.cells.iter().map(|cell| cell.ns));
        Self { prefixes: decades(prefixes, 0.01), ns: decades(ns, 0.0) }
    }

    fn x(&self, prefixes: usize) -> f64 {
        WIDTH * share(prefixes as f64, self.prefixes)
    }

    fn y(&self, ns: f64) -> f64 {
        HEIGHT * (1.0 - share(ns, self.ns))
    }

    fn draw(&self, svg: &mut String) {
        for decade in self.prefixes.0..=self.prefixes.1 {
            let x = WIDTH * share(10_f64.powi(decade), self.prefixes);
            put(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M{x:.1} 0V{HEIGHT}\"/>\
                     <text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                    HEIGHT + 16.0,
                    short(decade)
                ),
            );
        }
        for decade in self.ns.0..=self.ns.1 {
            let y = self.y(10_f64.powi(decade));
            put(
                svg,
                format_args!(
                    "<path class=\"grid\" d=\"M0 {y:.1}H{WIDTH}\"/>\
                     <text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    y + 4.0,
                    10_f64.powi(decade)
                ),
            );
            // Twos and fives, since there are few decades.
            for step in [2.0, 5.0] {
                let ns = step * 10_f64.powi(decade);
                if decade < self.ns.1 {
                    let y = self.y(ns);
                    put(
                        svg,
                        format_args!(
                            "<path class=\"grid\" stroke-dasharray=\"1 3\" d=\"M0 {y:.1}H{WIDTH}\"/>\
                             <text x=\"-6\" y=\"{:.1}\" text-anchor=\"end\">{ns}</text>",
                            y + 4.0
                        ),
                    );
                }
            }
        }
        put(svg, format_args!("<path class=\"axis\" d=\"M0 0V{HEIGHT}H{WIDTH}\"/>"));
        let (middle, below) = (WIDTH / 2.0, HEIGHT + 33.0);
        put(
            svg,
            format_args!(
                "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">prefixes</text>\
                 <text transform=\"translate(-48 {}) rotate(-90)\" text-anchor=\"middle\">ns a packet</text>",
                HEIGHT / 2.0
            ),
        );
    }
}

/// The decades around the values; one that is just missed is not begun.
#[expect(clippy::cast_possible_truncation, reason = "logarithms of counts and times")]
fn decades(values: impl Iterator<Item = f64>, slack: f64) -> (i32, i32) {
    let logs: Vec<f64> = values.map(|value| value.max(1.0).log10()).collect();
    let low = logs.iter().copied().fold(f64::INFINITY, f64::min);
    let high = logs.iter().copied().fold(0.0, f64::max);
    if !low.is_finite() {
        return (0, 1);
    }
    let low = (low + slack).floor() as i32;
    (low, ((high - slack).ceil() as i32).max(low + 1))
}

fn share(value: f64, (low, high): (i32, i32)) -> f64 {
    (value.max(1.0).log10() - f64::from(low)) / f64::from(high - low)
}

/// 10^`decade`: 1k, 10k, 1M.
fn short(decade: i32) -> String {
    let digits = "0".repeat(usize::try_from(decade % 3).unwrap_or_default());
    let unit = ["", "k", "M", "G"].get(usize::try_from(decade / 3).unwrap_or_default());
    format!("1{digits}{}", unit.unwrap_or(&"?"))
}

fn draw(svg: &mut String, kind: Kind, points: &[(f64, f64)]) {
    let (colour, dashes) = look(kind);
    let line: Vec<_> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    if points.len() > 1 {
        put(
            svg,
            format_args!(
                "<polyline class=\"line\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\" points=\"{}\"/>",
                line.join(" ")
            ),
        );
    }
    for (x, y) in points {
        put(svg, format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"));
    }
}

fn legend(svg: &mut String, rows: &[Row], width: f64) {
    let kinds = Kind::ALL.into_iter();
    let kinds = kinds.filter(|kind| rows.iter().any(|row| row.find(*kind).is_some()));
    let (mut x, mut y) = (LEFT, 20.0);
    for kind in kinds {
        let name = kind.to_string();
        let room = 46.0 + 6.6 * name.len() as f64;
        if x + room > width {
            (x, y) = (LEFT, y + 20.0);
        }
        let (colour, dashes) = look(kind);
        put(
            svg,
            format_args!(
                "<path class=\"line\" stroke=\"{colour}\" stroke-dasharray=\"{dashes}\" d=\"M{x} {y}h28\"/>\
                 <circle cx=\"{}\" cy=\"{y}\" r=\"3\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"{}\">{name}</text>",
                x + 14.0,
                x + 34.0,
                y + 4.0
            ),
        );
        x += room;
    }
}

/// Adds a line; writing into a string cannot fail.
fn put(svg: &mut String, line: std::fmt::Arguments<'_>) {
    _ = writeln!(svg, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Cell;

    fn row(prefixes: usize, ns: f64) -> Row {
        let cell =
            |kind, ns| Cell { kind, ns, lowest_ns: ns, highest_ns: ns, ratio: 1.0, listed: None };
        let cells = vec![cell(Kind::Floor, 100.0), cell(Kind::Nftables, ns)];
        Row { family: Family::V4, prefixes, workload: Workload::Random, cells }
    }

    #[test]
    fn lines_are_where_the_figures_are() {
        let svg = plot(&[row(1_000, 100.0), row(100_000, 1000.0)]);
        assert!(svg.contains("points=\"0.0,190.0 320.0,0.0\""), "{svg}");
        assert!(svg.contains("points=\"0.0,190.0 320.0,190.0\""), "{svg}");
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn a_table_that_is_not_round_keeps_its_decade() {
        assert_eq!(decades([989.0, 941_410.0].into_iter(), 0.01), (3, 6));
        assert_eq!(decades([].into_iter(), 0.0), (0, 1));
        assert_eq!((short(3), short(5), short(7)), ("1k".into(), "100k".into(), "10M".into()));
    }

    #[test]
    fn one_size_is_a_point() {
        let svg = plot(&[row(1_000, 300.0)]);
        assert!(!svg.contains("<polyline") && svg.contains("<circle"));
        assert!(plot(&[]).ends_with("</svg>\n"));
    }
}
