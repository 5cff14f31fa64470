//! Records for spreadsheets and scripts.

use std::borrow::Cow;
use std::io::{self, Write};

use super::{Record, Stored, when};
use crate::text;

/// The columns of the CSV: the five of the view first.
pub const COLUMNS: [&str; 26] = [
    "time",
    "sender",
    "recipient",
    "reason",
    "ip",
    "status",
    "type",
    "direction",
    "stage",
    "country",
    "rule",
    "reply",
    "helo",
    "tls",
    "spf",
    "reputation",
    "size",
    "duration_ms",
    "session",
    "reference",
    "customer",
    "backend",
    "message_id",
    "from",
    "subject",
    "count",
];

/// Writes CSV (RFC 4180).
///
/// A cell that a spreadsheet would take for a formula gets an apostrophe in front,
/// which the spreadsheet takes for "text".
#[derive(Debug)]
pub struct Csv<W: Write> {
    to: csv::Writer<W>,
}

impl<W: Write> Csv<W> {
    /// Rows without a heading: those that follow others.
    pub fn rows(to: W) -> Self {
        let terminator = csv::Terminator::CRLF;
        Self { to: csv::WriterBuilder::new().terminator(terminator).from_writer(to) }
    }

    /// Writes the heading; rows follow.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn with_heading(to: W) -> io::Result<Self> {
        let mut csv = Self::rows(to);
        csv.to.write_record(COLUMNS)?;
        Ok(csv)
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, stored: &Stored) -> io::Result<()> {
        let cells = cells(&stored.record);
        self.to.write_record(cells.iter().map(|cell| harmless(cell).into_owned()))?;
        Ok(())
    }

    /// Hands over what is buffered.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.to.flush()
    }
}

fn cells(record: &Record) -> [String; 26] {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let sender = match record.sender.as_deref() {
        Some("") => "<>".to_owned(),
        sender => sender.unwrap_or_default().to_owned(),
    };
    [
        when::show(record.time),
        sender,
        text(&record.recipient),
        record.reason.clone(),
        record.ip.to_string(),
        record.status_text().to_owned(),
        record.kind.name().to_owned(),
        record.direction.clone(),
        record.stage.clone(),
        text(&record.country),
        text(&record.rule),
        text(&record.reply),
        text(&record.helo),
        text(&record.tls),
        text(&record.spf),
        text(&record.reputation),
        record.size.to_string(),
        record.duration_ms.to_string(),
        text(&record.session),
        text(&record.reference),
        text(&record.customer),
        text(&record.backend),
        text(&record.message_id),
        text(&record.from),
        text(&record.subject),
        record.count.to_string(),
    ]
}

/// The text as a cell that no spreadsheet calculates (OWASP, "CSV Injection"), with
/// control characters in sight.
fn harmless(text: &str) -> Cow<'_, str> {
    let is_formula =
        text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
    let shown = text::escape_untrusted(text, |_| false);
    if is_formula { Cow::Owned(format!("'{shown}")) } else { shown }
}

#[cfg(test)]
mod tests {
    use super::super::Status;
    use super::*;

    #[test]
    fn no_cell_is_a_formula() {
        for (text, cell) in [
            ("=HYPERLINK(\"http://x\")", "'=HYPERLINK(\"http://x\")"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\t=1", "'\\t=1"),
            ("\r\n=1", "'\\r\\n=1"),
            ("＝1", "'＝1"),
            ("a=1", "a=1"),
            ("a\nb", "a\\nb"),
        ] {
            assert_eq!(harmless(text), cell);
        }
    }

    #[test]
    fn the_view_is_the_first_five_columns() {
        let ip = "2001:db8::1".parse().unwrap();
        let record = Record {
            sender: Some(String::new()),
            recipient: Some("a,\"b\"@example.org".to_owned()),
            ..Record::new(0, ip, Status::Permanent, "data", "too_large")
        };
        let mut text = Vec::new();
        let mut csv = Csv::with_heading(&mut text).unwrap();
        csv.write(&Stored { id: 1, record }).unwrap();
        csv.finish().unwrap();
        let text = String::from_utf8(text).unwrap();
        let (heading, row) = text.split_once("\r\n").unwrap();
        assert!(heading.starts_with("time,sender,recipient,reason,ip,status,"));
        assert!(row.starts_with(
            "1970-01-01T00:00:00.000Z,<>,\"a,\"\"b\"\"@example.org\",too_large,2001:db8::1,\
             Size limit,blocked,inbound,data,"
        ));
    }
}
