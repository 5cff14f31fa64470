//! CSV for spreadsheets and scripts.

use std::borrow::Cow;
use std::io::{self, Write};

use super::columns::COLUMNS;
use super::page::Stored;
use crate::text;

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
        csv.to.write_record(COLUMNS.iter().map(|column| column.name))?;
        Ok(csv)
    }

    /// Writes a record.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, stored: &Stored) -> io::Result<()> {
        let cells = COLUMNS.iter().map(|column| column.text(&stored.record));
        self.to.write_record(cells.map(|cell| harmless(&cell).into_owned()))?;
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
    use super::*;
    use crate::record::codes::{Reason, Stage, Status};
    use crate::record::columns::Record;

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
            ..Record::new(0, ip, Status::Permanent, Stage::read("data"), Reason::read("too_large"))
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
