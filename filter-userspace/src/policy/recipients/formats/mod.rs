//! The formats that files of recipients are written in: a file each, and a row each in
//! [`FORMATS`].

mod csv;
mod format;
mod ldif;
mod text;

pub use self::format::Format;
use super::import::{Import, ImportError, ImportOptions};
use super::reader::{Reader, Stop};
use crate::lists::{file_lines, not_text};
use crate::policy::lines::has_open_end;

/// The formats. The last is that of every file whose name does not tell another.
const FORMATS: [&Format; 3] = [&csv::FORMAT, &ldif::FORMAT, &text::FORMAT];

/// The format of a file by the end of its name: `.csv`, `.ldif` or `.ldf`, and text
/// otherwise.
#[must_use]
pub fn format_of(name: &str) -> &'static Format {
    let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
    let is = |known: &&str| known.eq_ignore_ascii_case(ending);
    FORMATS.into_iter().find(|format| format.endings.iter().any(is)).unwrap_or(&text::FORMAT)
}

/// Reads a file of recipients. `name` is the file's, for errors and for
/// [`Found::Valid`](super::Found::Valid).
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
    format: &Format,
    name: &str,
    options: ImportOptions,
) -> Result<Import, ImportError> {
    let mut reader = Reader::new(name, options);
    if let Some(why) = not_text(bytes) {
        return reader.finish(Err(Stop::Unusable(1, why)));
    }
    let read = (format.read)(bytes, &mut reader);
    if has_open_end(bytes) {
        let line = file_lines(bytes).last().map_or(1, |line| line.number);
        reader.remark(line, "the last line has no line end: is the file whole?");
    }
    reader.finish(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::set::{Found, RecipientSet};
    use super::csv::FORMAT as CSV;
    use super::ldif::FORMAT as LDIF;
    use super::text::FORMAT as TEXT;
    use super::*;
    use crate::lists::OnBadLine;
    use crate::smtp::address::Mailbox;

    const REFUSE: ImportOptions =
        ImportOptions { on_bad_line: OnBadLine::Refuse, max_entries: 100 };
    const SKIP: ImportOptions = ImportOptions { on_bad_line: OnBadLine::Skip, max_entries: 100 };

    /// Whether a file makes exactly these addresses of one domain each valid, at
    /// these lines.
    #[track_caller]
    pub(super) fn reads(text: &[u8], format: &Format, expected: &[(&str, u32)]) {
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
    pub(super) fn fails(text: &[u8], format: &Format) -> String {
        parse(text, format, "f", REFUSE).expect_err("bad lines").to_string()
    }

    #[test]
    fn formats_are_known_by_name() {
        let names = ["a.CSV", "/x/b.ldif", "c.ldf", "d.txt", "csv", "e.csv/f"];
        let formats = names.map(|name| format_of(name).name);
        assert_eq!(formats, ["csv", "ldif", "ldif", "text", "text", "text"]);
    }

    #[test]
    fn bad_lines_are_refused_or_skipped_and_counted() {
        let text = b"a@b.c\nnobody\nx@[192.0.2.1]\n@-\n";
        let error = fails(text, &TEXT);
        assert_eq!(error.lines().count(), 3, "{error}");
        assert!(error.starts_with("f:2: `nobody`: is not an address\nf:3: "), "{error}");
        let import = parse(text, &TEXT, "f", SKIP).unwrap();
        assert_eq!((import.len(), import.skipped(), import.skipped_lines().count()), (1, 3, 3));
    }

    #[test]
    fn addresses_are_bounded() {
        let two = ImportOptions { max_entries: 2, ..SKIP };
        assert_eq!(parse(b"a@b.c\n?\nb@b.c", &TEXT, "f", two).unwrap().len(), 2);
        let error = parse(b"a@b.c\n?\nb@b.c\nc@b.c", &TEXT, "f", two).unwrap_err();
        assert_eq!(error.to_string(), "f:4: more recipients than are permitted");
    }

    /// The last line is the one that a cut file has half of, in every format.
    #[test]
    fn an_open_end_is_known_in_every_format() {
        let ann =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "ann@example.or");
        for (text, format, line) in [
            ("a@b.c\nann@example.or", &TEXT, 2),
            ("name,mail\nA,a@b.c\nAnn,ann@example.or", &CSV, 3),
            ("name,mail\rA,a@b.c\rAnn,ann@example.or", &CSV, 3),
            ("mail\r\n\"ann@example.or\"", &CSV, 2),
            ("a@b.c\n\n# x\nann@example.or", &CSV, 4),
            ("dn: a\nmail: a@b.c\n\ndn: b\nmail: ann@example.or", &LDIF, 5),
            ("dn: a\nmail: a@b.c\nmail: ann@exa\n mple.or", &LDIF, 3),
            (&format!("dn: a\nmail:: {ann}"), &LDIF, 2),
        ] {
            let import = parse(text.as_bytes(), format, "f", REFUSE).expect("read");
            let open = import.open_end().map(|(line, domain)| (line, domain.as_str()));
            assert_eq!(open, Some((line, "example.or")), "{text:?}");
            assert!(import.remarks()[0].contains("has no line end"), "{text:?}");
            let import = parse(format!("{text}\n").as_bytes(), format, "f", REFUSE).expect("read");
            assert_eq!(import.open_end(), None, "{text:?}");
        }
        // The column of addresses may be what is missing.
        let cut = fails(b"name,mail\nA,a@b.c\nAnn", &CSV);
        assert!(cut.starts_with("f:3: ") && cut.contains("may have been cut"), "{cut}");
        reads(b"name,mail,x\nA,a@b.c\n", &CSV, &[("a@b.c", 2)]);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, words in "([a@.,;:\"\n #=]|mail|dn|\r\n|a@b\\.c){0,40}") {
            for format in [&TEXT, &CSV, &LDIF] {
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
            let files = [(plain, &TEXT), (table, &CSV), (directory, &LDIF)];
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
