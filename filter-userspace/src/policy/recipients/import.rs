//! What a file or a directory says about its domains' recipients.

use std::collections::HashMap;
use std::fmt;

use super::super::lines::has_open_end;
use super::locals::Locals;
use super::one::Recipient;
use super::{csv, ldif, text};
use crate::lists::{BadLines, OnBadLine, Why, file_lines, not_text};
use crate::smtp::address::Domain;

/// How many remarks on a file are kept.
const REMARKS: usize = 20;

/// How a file of recipients is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An address a line.
    Text,
    /// A table (RFC 4180) with a column of addresses.
    Csv,
    /// The export of a directory (RFC 2849).
    Ldif,
}

impl Format {
    /// The format of a file by the end of its name: `.csv`, `.ldif` or `.ldf`,
    /// and text otherwise.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("csv") => Self::Csv,
            Some("ldif" | "ldf") => Self::Ldif,
            _ => Self::Text,
        }
    }
}

/// How recipients are read.
#[derive(Clone, Copy, Debug)]
pub struct ImportOptions {
    /// What a line that is no address does.
    pub on_bad_line: OnBadLine,
    /// The most addresses.
    pub max_entries: usize,
}

/// The recipients of some domains.
#[derive(Clone, Debug)]
pub struct Import {
    pub(super) name: String,
    pub(super) domains: HashMap<Domain, Locals>,
    bad: BadLines,
    remarks: Vec<String>,
    open_end: Option<(u32, Domain)>,
}

impl Import {
    /// How many recipients there are, catch-alls not counted.
    #[must_use]
    pub fn len(&self) -> usize {
        self.domains.values().map(Locals::len).sum()
    }

    /// Whether it has no domain, so that it would replace nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// Where it is from.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Leaves the domains out that are not wanted, and gives them, in order.
    pub fn retain(&mut self, wanted: impl Fn(&Domain) -> bool) -> Vec<Domain> {
        let mut others: Vec<_> = self
            .domains
            .extract_if(|domain, _| !wanted(domain))
            .map(|(domain, _)| domain)
            .collect();
        others.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        others
    }

    /// The domains whose recipients it replaces, with the number of these, in no order. A
    /// domain all of whose recipients are valid counts one more.
    pub fn domains(&self) -> impl Iterator<Item = (&Domain, usize)> {
        let count = |locals: &Locals| locals.len() + usize::from(locals.catch_all().is_some());
        self.domains.iter().map(move |(domain, locals)| (domain, count(locals)))
    }

    /// The last line of a file and the domain of its last recipient, where the line has no
    /// line end, so that it may have been cut.
    #[must_use]
    pub fn open_end(&self) -> Option<(u32, &Domain)> {
        self.open_end.as_ref().map(|(line, domain)| (*line, domain))
    }

    /// What an operator may not have meant, `name:line: text` each.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The bad lines that were skipped.
    #[must_use]
    pub const fn skipped(&self) -> usize {
        self.bad.total()
    }

    /// The first bad lines that were skipped, and how many more: a line of text
    /// each.
    pub fn skipped_lines(&self) -> impl Iterator<Item = String> {
        self.bad.named(&self.name)
    }
}

/// Why recipients were not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportError {
    /// Lines that are no addresses, `name:line: text: why` each, the first ones.
    BadLines(Vec<String>),
    /// More addresses than permitted.
    TooMany {
        /// The file.
        name: String,
        /// The line that was one too many.
        line: u32,
    },
    /// The file cannot be a list of all recipients.
    Unusable {
        /// The file.
        name: String,
        /// Where that shows.
        line: u32,
        /// Why.
        why: &'static str,
    },
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadLines(lines) => f.write_str(&lines.join("\n")),
            Self::TooMany { name, line } => {
                write!(f, "{name}:{line}: more recipients than are permitted")
            }
            Self::Unusable { name, line, why } => write!(f, "{name}:{line}: {why}"),
        }
    }
}

impl std::error::Error for ImportError {}

/// Reads a file of recipients. `name` is the file's, for errors and for
/// [`super::Found::Valid`].
///
/// In all formats `@example.org` and `*@example.org` make every recipient of
/// the domain valid.
///
/// # Errors
///
/// All bad lines, unless they are to be skipped; too many addresses; and, skipped
/// or not, a file that is not text, an LDIF file of changes, and a CSV file with a quote
/// that is not closed or with several columns of addresses and no header that names one,
/// since none of these lists all recipients.
pub fn parse(
    bytes: &[u8],
    format: Format,
    name: &str,
    options: ImportOptions,
) -> Result<Import, ImportError> {
    let mut reader = Reader::new(name, options);
    if let Some(why) = not_text(bytes) {
        return reader.finish(Err(Stop::Unusable(1, why)));
    }
    let read = match format {
        Format::Text => text::read(bytes, &mut reader),
        Format::Csv => csv::read(bytes, &mut reader),
        Format::Ldif => ldif::read(bytes, &mut reader),
    };
    if has_open_end(bytes) {
        let line = file_lines(bytes).last().map_or(1, |line| line.number);
        reader.remark(line, "the last line has no line end: is the file whole?");
    }
    reader.finish(read)
}

/// What ends the reading of a file.
pub(super) enum Stop {
    TooMany(u32),
    Unusable(u32, Why),
}

/// An import that is being read.
pub(super) struct Reader {
    import: Import,
    options: ImportOptions,
    left: usize,
    /// Whether what is read stands in a last line without a line end.
    is_open: bool,
}

impl Reader {
    pub(super) fn new(name: &str, options: ImportOptions) -> Self {
        let import = Import {
            name: name.to_owned(),
            domains: HashMap::new(),
            bad: BadLines::default(),
            remarks: Vec::new(),
            open_end: None,
        };
        Self { import, options, left: options.max_entries, is_open: false }
    }

    /// Takes an address, or a domain all of whose recipients are valid.
    pub(super) fn address(&mut self, text: &str, line: u32) -> Result<(), Stop> {
        let Some(left) = self.left.checked_sub(1) else {
            return Err(Stop::TooMany(line));
        };
        let parsed = Recipient::parse(text);
        if self.is_open
            && let Ok(recipient) = &parsed
        {
            self.import.open_end = recipient.domain().map(|domain| (line, domain.clone()));
        }
        match parsed {
            Ok(Recipient::All(domain)) => {
                self.import.domains.entry(domain).or_default().catch(line);
            }
            Ok(Recipient::One(mailbox)) => {
                let local = mailbox.local().to_lowercase();
                let Some(domain) = mailbox.domain() else { return Ok(()) };
                // A look first: the domain is cloned only when it is new.
                let domains = &mut self.import.domains;
                let pushed = match domains.get_mut(domain) {
                    Some(locals) => locals.push(&local, line),
                    None => domains.entry(domain.clone()).or_default().push(&local, line),
                };
                pushed.ok_or(Stop::TooMany(line))?;
            }
            Err(why) => {
                self.bad(line, text.as_bytes(), why);
                return Ok(());
            }
        }
        self.left = left;
        Ok(())
    }

    pub(super) fn bad(&mut self, line: u32, bytes: &[u8], why: Why) {
        self.import.bad.add(line, bytes, why);
    }

    /// Says whether the line that is read next has no line end.
    pub(super) const fn set_open(&mut self, is_open: bool) {
        self.is_open = is_open;
    }

    /// Whether the line that is read has no line end, so that it may have been cut.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Notes what is not an error, and probably not meant.
    pub(super) fn remark(&mut self, line: u32, what: &str) {
        if self.import.remarks.len() < REMARKS {
            self.import.remarks.push(format!("{}:{line}: {what}", self.import.name));
        }
    }

    pub(super) fn finish(mut self, read: Result<(), Stop>) -> Result<Import, ImportError> {
        let name = self.import.name.clone();
        if let Err(stop) = read {
            return Err(match stop {
                Stop::TooMany(line) => ImportError::TooMany { name, line },
                Stop::Unusable(line, why) => ImportError::Unusable { name, line, why },
            });
        }
        if self.options.on_bad_line == OnBadLine::Refuse && self.import.bad.total() > 0 {
            return Err(ImportError::BadLines(self.import.bad.named(&name).collect()));
        }
        self.import.domains.values_mut().for_each(Locals::finish);
        Ok(self.import)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::{Found, RecipientSet};
    use super::*;
    use crate::smtp::address::Mailbox;

    const REFUSE: ImportOptions =
        ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 100 };
    const SKIP: ImportOptions = ImportOptions { on_bad_line: OnBadLine::Skip, max_entries: 100 };

    /// Whether a file makes exactly these addresses of one domain each valid, at
    /// these lines.
    #[track_caller]
    pub(in super::super) fn reads(text: &[u8], format: Format, expected: &[(&str, u32)]) {
        let import = parse(text, format, "f", REFUSE).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(import.len(), expected.len(), "{import:?}");
        let mut set = RecipientSet::default();
        set.import(import);
        for (address, line) in expected {
            let found = set.check(&Mailbox::parse(address).unwrap(), None);
            assert_eq!(found, Found::Valid { source: "f", line: *line }, "{address}");
        }
    }

    /// The error of a file.
    #[track_caller]
    pub(in super::super) fn fails(text: &[u8], format: Format) -> String {
        parse(text, format, "f", REFUSE).expect_err("bad lines").to_string()
    }

    #[test]
    fn formats_are_known_by_name() {
        let formats =
            ["a.CSV", "/x/b.ldif", "c.ldf", "d.txt", "csv", "e.csv/f"].map(Format::of_name);
        use Format::{Csv, Ldif, Text};
        assert_eq!(formats, [Csv, Ldif, Ldif, Text, Text, Text]);
    }

    #[test]
    fn bad_lines_are_refused_or_skipped_and_counted() {
        let text = b"a@b.c\nnobody\nx@[192.0.2.1]\n@-\n";
        let error = fails(text, Format::Text);
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(error.starts_with("f:2: `nobody`: is not an address\nf:3: "), "{error}");
        let import = parse(text, Format::Text, "f", SKIP).unwrap();
        assert_eq!((import.len(), import.skipped(), import.skipped_lines().count()), (1, 3, 3));
    }

    #[test]
    fn addresses_are_bounded() {
        let two = ImportOptions { max_entries: 2, ..SKIP };
        assert_eq!(parse(b"a@b.c\n?\nb@b.c", Format::Text, "f", two).unwrap().len(), 2);
        let error = parse(b"a@b.c\n?\nb@b.c\nc@b.c", Format::Text, "f", two).unwrap_err();
        assert_eq!(error.to_string(), "f:4: more recipients than are permitted");
    }

    /// The last line is the one that a cut file has half of, in every format.
    #[test]
    fn an_open_end_is_known_in_every_format() {
        let ann =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "ann@example.or");
        for (text, format, line) in [
            ("a@b.c\nann@example.or", Format::Text, 2),
            ("name,mail\nA,a@b.c\nAnn,ann@example.or", Format::Csv, 3),
            ("name,mail\rA,a@b.c\rAnn,ann@example.or", Format::Csv, 3),
            ("mail\r\n\"ann@example.or\"", Format::Csv, 2),
            ("a@b.c\n\n# x\nann@example.or", Format::Csv, 4),
            ("dn: a\nmail: a@b.c\n\ndn: b\nmail: ann@example.or", Format::Ldif, 5),
            ("dn: a\nmail: a@b.c\nmail: ann@exa\n mple.or", Format::Ldif, 3),
            (&format!("dn: a\nmail:: {ann}"), Format::Ldif, 2),
        ] {
            let import = parse(text.as_bytes(), format, "f", REFUSE).expect("read");
            let open = import.open_end().map(|(line, domain)| (line, domain.as_str()));
            assert_eq!(open, Some((line, "example.or")), "{text:?}");
            assert!(import.remarks()[0].contains("has no line end"), "{text:?}");
            let import = parse(format!("{text}\n").as_bytes(), format, "f", REFUSE).expect("read");
            assert_eq!(import.open_end(), None, "{text:?}");
        }
        // The column of addresses may be what is missing.
        let cut = fails(b"name,mail\nA,a@b.c\nAnn", Format::Csv);
        assert!(cut.starts_with("f:3: ") && cut.contains("may have been cut"), "{cut}");
        reads(b"name,mail,x\nA,a@b.c\n", Format::Csv, &[("a@b.c", 2)]);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, words in "([a@.,;:\"\n #=]|mail|dn|\r\n|a@b\\.c){0,40}") {
            for format in [Format::Text, Format::Csv, Format::Ldif] {
                for bytes in [&bytes, words.as_bytes()] {
                    _ = parse(bytes, format, "f", SKIP).map(|import| import.len());
                }
            }
        }

        #[test]
        fn all_formats_say_the_same(users in prop::collection::btree_set("[a-z]{1,8}(\\.[a-z]{1,3})?", 1..20)) {
            let rows = |head: &str, row: &dyn Fn(&str) -> String| {
                users.iter().fold(head.to_owned(), |text, user| text + &row(user))
            };
            let plain = rows("", &|user| format!("{user}@d.example\n"));
            let table = rows("name;E-Mail\r\n", &|user| format!("\"{user};x\";{user}@d.example\r\n"));
            let directory = rows("version: 1\n", &|user| format!("\ndn: uid={user}\nmail: {user}\n @d.example\n"));
            let files = [(plain, Format::Text), (table, Format::Csv), (directory, Format::Ldif)];
            for (text, format) in files {
                let mut set = RecipientSet::default();
                set.import(parse(text.as_bytes(), format, "f", REFUSE).unwrap());
                prop_assert_eq!(set.len(), users.len());
                for user in &users {
                    let mailbox = Mailbox::parse(&format!("{user}@d.example")).unwrap();
                    let is_valid = matches!(set.check(&mailbox, None), Found::Valid { .. });
                    prop_assert!(is_valid);
                }
            }
        }
    }
}
