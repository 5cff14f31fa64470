//! The columns as people read them: in a table, in a spreadsheet, among the details of a record.

use super::codes::Status;
use super::columns::{COLUMNS, Cell, Column, Record, Shown};
use super::when;
use crate::text::grouped;

impl Column {
    /// The value in a table; empty if there is none.
    #[must_use]
    pub fn text(&self, record: &Record) -> String {
        match self.name {
            "time" => when::show(record.time),
            "status" => record.status_text().to_owned(),
            // The null sender.
            "sender" if record.sender.as_deref() == Some("") => "<>".to_owned(),
            _ => match self.cell(record) {
                Cell::Empty => String::new(),
                Cell::Number(number) => number.to_string(),
                Cell::Text(text) => text.into_owned(),
            },
        }
    }
}

/// The details of a record: each column with its label and its value, but for those that say
/// nothing about it.
pub fn details(record: &Record) -> impl Iterator<Item = (&'static Column, &'static str, String)> {
    let columns = COLUMNS.iter().filter(|column| column.shown != Shown::Nowhere);
    columns.filter_map(|column| {
        let (label, value) = detail(column, record)?;
        Some((column, label, value))
    })
}

fn detail(column: &Column, record: &Record) -> Option<(&'static str, String)> {
    let is_dropped = record.status == Status::Dropped;
    let (label, value) = match column.name {
        "size" => {
            (column.label, (record.size > 0).then(|| format!("{} bytes", grouped(record.size))))
        }
        "duration_ms" => {
            (column.label, (!is_dropped).then(|| format!("{} ms", grouped(record.duration_ms))))
        }
        "count" if is_dropped => ("SYNs", Some(format!("about {}", grouped(record.count)))),
        "count" => ("Attempts", record.folded().map(grouped)),
        _ => (column.label, Some(column.text(record)).filter(|text| !text.is_empty())),
    };
    Some((label, value?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::codes::Stage;
    use crate::smtp::refusal::Reason;

    fn shown(record: &Record) -> Vec<(&'static str, String)> {
        details(record).map(|(_, label, value)| (label, value)).collect()
    }

    #[test]
    fn details_are_what_a_record_says() {
        let ip = "192.0.2.1".parse().unwrap();
        let dropped = Record {
            count: 12_345,
            ..Record::new(0, ip, Status::Dropped, Stage::PacketFilter, Reason::BlockedIp)
        };
        let text = |label, value: &str| (label, value.to_owned());
        assert_eq!(
            shown(&dropped),
            [
                text("Timestamp (UTC)", "1970-01-01T00:00:00.000Z"),
                text("Reason", "blocked_ip"),
                text("Sender IP", "192.0.2.1"),
                text("Status", "Dropped before SMTP"),
                text("Direction", "inbound"),
                text("Stage", "syn"),
                text("SYNs", "about 12,345"),
            ]
        );
        let refused = Record {
            sender: Some(String::new()),
            size: 4_711,
            count: 3,
            ..Record::new(0, ip, Status::Permanent, Reason::TooLarge.stage(), Reason::TooLarge)
        };
        let found = shown(&refused);
        for expected in [
            text("Sender", "<>"),
            text("Status", "Size limit"),
            text("Size", "4,711 bytes"),
            text("Duration", "0 ms"),
            text("Attempts", "3"),
        ] {
            assert!(found.contains(&expected), "{expected:?} in {found:?}");
        }
    }
}
