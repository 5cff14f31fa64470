//! The figures, for people and for programs.

use anyhow::Result;
use filter_common::Family;
use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::contender::Kind;
use crate::workload::Workload;

/// What one contender took in one workload: medians of the rounds.
pub(crate) struct Cell {
    pub(crate) kind: Kind,
    /// Nanoseconds a packet, from the generator to the drop.
    pub(crate) ns: f64,
    /// The fastest and the slowest round.
    pub(crate) lowest_ns: f64,
    pub(crate) highest_ns: f64,
    /// To the floor of the same round.
    pub(crate) ratio: f64,
    /// Frames counted as listed, over all rounds and their warming up.
    pub(crate) listed: Option<u64>,
}

/// A workload on a list.
pub(crate) struct Row {
    pub(crate) family: Family,
    pub(crate) prefixes: usize,
    pub(crate) workload: Workload,
    pub(crate) cells: Vec<Cell>,
}

/// Why something has no figure.
pub(crate) struct Gap {
    pub(crate) family: Family,
    pub(crate) prefixes: usize,
    pub(crate) what: String,
    pub(crate) why: String,
}

/// How long a contender took to be filled.
pub(crate) struct Fill {
    pub(crate) family: Family,
    pub(crate) prefixes: usize,
    pub(crate) kind: Kind,
    pub(crate) seconds: f64,
}

/// All that was measured, and what was not.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) fills: Vec<Fill>,
}

impl Report {
    /// A table for people: nanoseconds a packet, and the ratio to the floor.
    pub(crate) fn print(&self, arguments: &Arguments) {
        println!(
            "nanoseconds a packet (ratio to the floor); {} frames, medians of {} rounds\n",
            arguments.frames, arguments.rounds
        );
        let kinds: Vec<_> = Kind::ALL.into_iter().filter(|kind| self.has(*kind)).collect();
        let heading: String = kinds.iter().map(|kind| format!(" {kind} |")).collect();
        println!("| | prefixes | sources |{heading}");
        println!("|---|---|---|{}", "---|".repeat(kinds.len()));
        for row in &self.rows {
            let cells: String = kinds.iter().map(|kind| row.cell(*kind)).collect();
            println!("| {} | {} | {} |{cells}", row.family.name(), row.prefixes, row.workload);
        }
        println!("\nseconds to fill");
        for fill in self.fills.iter().filter(|fill| fill.kind != Kind::Floor) {
            let (family, prefixes) = (fill.family.name(), fill.prefixes);
            println!("  {family}, {prefixes}: {} {:.1}", fill.kind, fill.seconds);
        }
        for gap in &self.gaps {
            println!("{}", gap.line());
        }
    }

    fn has(&self, kind: Kind) -> bool {
        self.rows.iter().any(|row| row.find(kind).is_some())
    }

    /// The same for programs.
    pub(crate) fn json(&self, arguments: &Arguments) -> Result<String> {
        let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
        let gaps: Vec<Value> = self
            .gaps
            .iter()
            .map(|gap| {
                json!({
                    "family": gap.family.name(), "prefixes": gap.prefixes,
                    "what": gap.what, "why": gap.why,
                })
            })
            .collect();
        let fills: Vec<Value> = self
            .fills
            .iter()
            .map(|fill| {
                json!({
                    "family": fill.family.name(), "prefixes": fill.prefixes,
                    "contender": fill.kind.name(), "seconds": fill.seconds,
                })
            })
            .collect();
        let report = json!({
            "frames": arguments.frames, "rounds": arguments.rounds,
            "rows": rows, "not_measured": gaps, "fills": fills,
        });
        Ok(serde_json::to_string_pretty(&report)?)
    }
}

impl Row {
    pub(crate) fn find(&self, kind: Kind) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.kind == kind)
    }

    fn cell(&self, kind: Kind) -> String {
        self.find(kind).map_or_else(
            || " |".to_owned(),
            |cell| format!(" {:.0} ({:.2}) |", cell.ns, cell.ratio),
        )
    }

    fn json(&self) -> Value {
        let cells: Vec<Value> = self
            .cells
            .iter()
            .map(|cell| {
                json!({
                    "contender": cell.kind.name(), "ns": cell.ns, "ratio": cell.ratio,
                    "lowest_ns": cell.lowest_ns, "highest_ns": cell.highest_ns,
                    "listed_frames": cell.listed,
                })
            })
            .collect();
        json!({
            "family": self.family.name(), "prefixes": self.prefixes,
            "sources": self.workload.name(), "contenders": cells,
        })
    }
}

impl Gap {
    /// The gap in one line.
    pub(crate) fn line(&self) -> String {
        let (family, prefixes) = (self.family.name(), self.prefixes);
        format!("{family}, {prefixes} prefixes, {}: not measured: {}", self.what, self.why)
    }
}
