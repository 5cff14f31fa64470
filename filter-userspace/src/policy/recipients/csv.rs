//! Recipients in a table (RFC 4180).
//!
//! A header names the columns of addresses; several are read, and a cell may
//! hold several addresses. Without such a header each row's first cell with an
//! `@` counts.

use ::csv::{ByteRecord, ReaderBuilder};

use super::super::lines::{text, without_mark};
use super::import::{Reader, Stop};
use super::values::{self, Kind};

pub(super) fn read(bytes: &[u8], reader: &mut Reader) -> Result<(), Stop> {
    let bytes = without_mark(bytes);
    let mut rows = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .delimiter(delimiter(bytes))
        .from_reader(bytes);
    let mut lines = Lines { bytes, at: 0, line: 1 };
    let mut row = ByteRecord::new();
    let mut header = None;
    let mut last = (0, 1);
    // Reading from memory, with rows of any length, does not fail.
    while rows.read_byte_record(&mut row).unwrap_or(false) {
        let start = lines.next_row(&row);
        last = (start, lines.line);
        let header = match &header {
            Some(header) => header,
            None => {
                let is_header = !row.iter().any(|cell| cell.contains(&b'@'));
                let header = header.insert(Header::of(&row, is_header));
                if is_header {
                    continue;
                }
                header
            }
        };
        header.read(&row, lines.line, reader)?;
    }
    let (start, line) = last;
    let rest = &bytes[start..];
    let quotes = rest.iter().filter(|byte| **byte == b'"').count();
    if quotes % 2 == 1 && row_lines(rest) > 1 {
        return Err(Stop::Unusable(line, "a quote is not closed before the end of the file"));
    }
    Ok(())
}

/// How many lines have something in them.
fn row_lines(bytes: &[u8]) -> usize {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).count()
}

/// The most frequent of `,`, `;` and tabulator in the first line, outside quotes.
fn delimiter(bytes: &[u8]) -> u8 {
    let is_content = |line: &&[u8]| !matches!(line.trim_ascii(), [] | [b'#', ..]);
    let first = bytes.split(|byte| *byte == b'\n').find(is_content).unwrap_or_default();
    let count = |wanted: u8| {
        let mut quoted = false;
        let counted = first.iter().filter(|byte| {
            quoted ^= **byte == b'"';
            !quoted && **byte == wanted
        });
        counted.count()
    };
    // Of equals the last is the greatest.
    [b'\t', b';', b','].into_iter().max_by_key(|byte| count(*byte)).unwrap_or(b',')
}

/// Where rows start: the reader passes over empty lines and comments without
/// counting them to the row before.
struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl Lines<'_> {
    /// Goes to the row that was read, and says where it starts.
    fn next_row(&mut self, row: &ByteRecord) -> usize {
        let told = row.position().and_then(|position| usize::try_from(position.byte()).ok());
        let mut start = told.unwrap_or(self.at).clamp(self.at, self.bytes.len());
        while let Some(byte) = self.bytes.get(start) {
            match byte {
                b'\r' | b'\n' => start += 1,
                b'#' => {
                    let rest = &self.bytes[start..];
                    let end = rest.iter().position(|byte| *byte == b'\n');
                    start += end.unwrap_or(rest.len());
                }
                _ => break,
            }
        }
        let passed = self.bytes[self.at..start].iter().filter(|byte| **byte == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(passed).unwrap_or(u32::MAX));
        self.at = start;
        start
    }
}

/// The columns of addresses; none are known without a header.
struct Header {
    columns: Vec<(usize, Kind)>,
    width: usize,
}

impl Header {
    /// The header of a table that starts with this row.
    fn of(row: &ByteRecord, is_header: bool) -> Self {
        if !is_header {
            return Self { columns: Vec::new(), width: 0 };
        }
        let names = || row.iter().map(|cell| String::from_utf8_lossy(cell));
        let mut columns: Vec<_> = names()
            .enumerate()
            .filter_map(|(index, name)| Some((index, values::kind(&name)?)))
            .collect();
        // `address` may be where somebody lives.
        if !columns.iter().any(|(_, kind)| *kind == Kind::Addresses) {
            let address = names().position(|name| values::plain(&name) == "address");
            columns.extend(address.map(|index| (index, Kind::Addresses)));
        }
        Self { columns, width: row.len() }
    }

    const fn is_named(&self) -> bool {
        !self.columns.is_empty()
    }

    fn read(&self, row: &ByteRecord, line: u32, reader: &mut Reader) -> Result<(), Stop> {
        if !self.is_named() {
            match row.iter().find(|cell| cell.contains(&b'@')) {
                Some(cell) => return read_cell(Kind::Addresses, cell, line, reader),
                None => reader.bad(line, row.as_slice(), "has no cell with an address"),
            }
            return Ok(());
        }
        if row.len() > self.width {
            reader.bad(line, row.as_slice(), "has more cells than the header");
            return Ok(());
        }
        for (index, kind) in &self.columns {
            if let Some(cell) = row.get(*index) {
                read_cell(*kind, cell, line, reader)?;
            }
        }
        Ok(())
    }
}

fn read_cell(kind: Kind, cell: &[u8], line: u32, reader: &mut Reader) -> Result<(), Stop> {
    match text(cell) {
        Ok(cell) => values::read_many(kind, cell, line, reader),
        Err(why) => {
            reader.bad(line, cell, why);
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Format::Csv;
    use super::super::import::tests::{fails, reads};

    #[test]
    fn a_header_names_the_columns() {
        let text = b"\xef\xbb\xbf\"Name\",\"E-Mail\",Address,aliases\r\n\
                     \"Bob \"\"B\"\", jr\",bob@a.example,1 Main St,\"b@a.example; Bobby\"\r\n\
                     # a comment\r\n\r\nAnn,ann@a.example\r\n";
        reads(text, Csv, &[("bob@a.example", 2), ("b@a.example", 2), ("ann@a.example", 5)]);
        reads(b"#TYPE x\nAddress;x\na@b.c;1\n", Csv, &[("a@b.c", 3)]);
        reads(b"x\tmail\n\n1,2\ta@b.c\n", Csv, &[("a@b.c", 3)]);
        reads(b"mail\n*@b.c\n", Csv, &[]);
        reads(b"", Csv, &[]);
    }

    #[test]
    fn an_exchange_export() {
        let text = b"Alias,PrimarySmtpAddress,ProxyAddresses\n\
            bob,Bob@a.example,\"SMTP:bob@a.example,smtp:b.b@a.example;X400:C=US;A= ;P=Org;O=Ex;\
            S=B; SIP:bob@sip.example smtp:bob@b.example x500:/o=Org/ou=Ex (F)/cn=Bob\"\n";
        reads(text, Csv, &[("bob@a.example", 2), ("b.b@a.example", 2), ("bob@b.example", 2)]);
    }

    #[test]
    fn without_a_header_the_first_cell_with_an_address_counts() {
        reads(b"1,a@b.c,x@y.z\n2,b@b.c\n", Csv, &[("a@b.c", 1), ("b@b.c", 2)]);
        reads(b"mail,mail@b.c\n", Csv, &[("mail@b.c", 1)]);
        reads(b"Who,Where\nBob,a@b.c\n", Csv, &[("a@b.c", 2)]);
        assert!(fails(b"1,a@b.c\n2,nothing\n", Csv).starts_with("f:2: "));
    }

    #[test]
    fn lines_are_counted_through_quoted_line_breaks() {
        let text = b"mail,note\na@b.c,\"one\ntwo\nthree\"\r\n\nb@b.c,x\n";
        reads(text, Csv, &[("a@b.c", 2), ("b@b.c", 6)]);
        let error = fails(b"mail,note\n\"a@b.c\",\"x\ny\"\n\xff@b.c\nnobody\n", Csv);
        assert!(error.starts_with("f:4: ") && error.contains("\nf:5: `nobody`"), "{error}");
    }

    #[test]
    fn what_would_lose_recipients_is_refused() {
        assert!(fails(b"mail\na@b.c,b@b.c\n", Csv).contains("more cells than the header"));
        let error = fails(b"name,mail\nAnn,a@b.c\n\"Bob,b@b.c\nEve,e@b.c\n", Csv);
        assert_eq!(error, "f:3: a quote is not closed before the end of the file");
    }
}
