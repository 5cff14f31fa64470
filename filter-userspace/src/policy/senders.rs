//! Approved and blocked envelope senders.
//!
//! A pattern is an address (`user@example.org`), all senders of a domain (`*@example.org` or
//! `@example.org`) or all senders of its subdomains (`*@*.example.org`, which does not include
//! `example.org` itself). The closest pattern decides: an address before a domain, a domain before
//! the domains above it. At the same level blocked beats approved.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

use super::lines::{Contrary, entries, has_open_end, lines, note, says_pass, says_refuse};
use crate::lists::{BadLines, Why, file_lines, invisible, not_text};
use crate::smtp::address::{Domain, Host, Mailbox};

/// The class of a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SenderClass {
    /// The sender is exempt from reputation checks.
    Approved,
    /// The sender's mail is refused.
    Blocked,
}

/// The pattern that decides about a sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderMatch<'a> {
    /// The class that it gives.
    pub class: SenderClass,
    /// The pattern in its one form: lower case, A-labels, `*@` before a domain.
    pub pattern: String,
    /// The name of the file, or the place in the configuration.
    pub source: &'a str,
    /// The pattern's line there, from 1.
    pub line: u32,
}

/// All approved and blocked senders.
///
/// Takes one allocation per pattern; a lookup searches one hash table for the address, one for the
/// domain and one for each domain above it.
#[derive(Clone, Debug, Default)]
pub struct SenderLists {
    sources: Vec<Source>,
    /// By [`Mailbox::key`].
    users: HashMap<Box<str>, Place>,
    /// By the host behind the `@`.
    hosts: HashMap<Box<str>, Place>,
    /// By the parent domain.
    above: HashMap<Box<str>, Place>,
}

#[derive(Clone, Debug)]
struct Source {
    name: String,
    class: SenderClass,
}

/// The place of a pattern: the index of its source, and the line.
#[derive(Clone, Copy, Debug)]
struct Place {
    source: u32,
    line: u32,
}

impl SenderLists {
    /// Starts lists that may have `max_patterns` in all sources together.
    #[must_use]
    pub fn builder(max_patterns: usize) -> Builder {
        Builder { lists: Self::default(), left: max_patterns }
    }

    /// The number of different patterns.
    #[must_use]
    pub fn len(&self) -> usize {
        self.users.len() + self.hosts.len() + self.above.len()
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The closest pattern that matches the sender.
    #[must_use]
    pub fn find(&self, sender: &Mailbox) -> Option<SenderMatch<'_>> {
        if !self.users.is_empty() {
            let key = sender.key();
            if let Some(place) = self.users.get(key.as_str()) {
                return self.describe(*place, key);
            }
        }
        let found = match sender.host() {
            Host::Domain(domain) => self.hosts.get(domain.as_str()),
            // Literals are rare enough for an allocation.
            literal @ Host::Literal(_) => self.hosts.get(literal.to_string().as_str()),
        };
        if let Some(place) = found {
            return self.describe(*place, format!("*@{}", sender.host()));
        }
        let mut domain = sender.domain()?.as_str();
        while let Some((_, above)) = domain.split_once('.') {
            if let Some(place) = self.above.get(above) {
                return self.describe(*place, format!("*@*.{above}"));
            }
            domain = above;
        }
        None
    }

    fn source(&self, place: Place) -> Option<&Source> {
        self.sources.get(usize::try_from(place.source).ok()?)
    }

    fn describe(&self, place: Place, pattern: String) -> Option<SenderMatch<'_>> {
        let Source { name, class } = self.source(place)?;
        Some(SenderMatch { class: *class, pattern, source: name, line: place.line })
    }

    /// Adds a pattern. Blocked beats approved; otherwise the first one stays.
    fn insert(&mut self, pattern: Pattern, place: Place) {
        let is_blocked = |sources: &[Source], place: Place| {
            let source = usize::try_from(place.source).ok().and_then(|index| sources.get(index));
            source.is_some_and(|source| source.class == SenderClass::Blocked)
        };
        let (level, key) = match pattern {
            Pattern::User(key) => (&mut self.users, key),
            Pattern::Host(key) => (&mut self.hosts, key),
            Pattern::Below(key) => (&mut self.above, key),
        };
        match level.entry(key.into_boxed_str()) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
            }
            Entry::Occupied(mut old) => {
                if is_blocked(&self.sources, place) && !is_blocked(&self.sources, *old.get()) {
                    old.insert(place);
                }
            }
        }
    }
}

/// Lists under construction.
#[derive(Debug)]
pub struct Builder {
    lists: SenderLists,
    left: usize,
}

/// The contents of a file.
#[derive(Debug)]
pub struct Patterns {
    class: SenderClass,
    name: String,
    patterns: Vec<(Pattern, u32)>,
    remarks: Vec<String>,
}

impl Patterns {
    /// The number of patterns.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether there is no pattern.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Warnings about what an operator may not have meant, `name:line: text` each.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }
}

impl Builder {
    /// Reads the patterns of a file, one per line: `#` or `;` starts a comment line; text behind a
    /// pattern is a note, unless it consists of patterns too. `name` is for errors and for
    /// [`SenderMatch::source`].
    ///
    /// # Errors
    ///
    /// The bad lines, or the line with which there are more patterns than permitted. A last line
    /// without a line end is bad if it means all senders of a domain: `gmail.com` may be what is
    /// left of `gmail.com.spam.example`.
    pub fn read(
        &self,
        class: SenderClass,
        name: &str,
        bytes: &[u8],
    ) -> Result<Patterns, SenderErrors> {
        let unusable = |line, why| Err(SenderErrors(vec![format!("{name}:{line}: {why}")]));
        if let Some(why) = not_text(bytes) {
            return unusable(1, why);
        }
        let mut patterns = Vec::new();
        let mut bad = BadLines::default();
        let mut contrary = Contrary::default();
        for line in lines(bytes) {
            let says_contrary = match class {
                SenderClass::Approved => says_refuse,
                SenderClass::Blocked => says_pass,
            };
            if line.text.is_ok_and(|text| says_contrary(note(text))) {
                contrary.add(line.number);
            }
            let is_pattern = |text: &str, field: &str| {
                // A domain behind an address is a note.
                (field.contains('@') || !text.contains('@')) && parse(class, field).is_ok()
            };
            let entries = line.text.and_then(|text| entries(text, |field| is_pattern(text, field)));
            match entries {
                Err(why) => bad.add(line.number, line.bytes, why),
                Ok(entries) => {
                    for entry in entries {
                        let ends_file = !line.has_end && line.bytes.ends_with(entry.as_bytes());
                        match parse(class, entry) {
                            Ok(pattern) if ends_file && pattern.may_be_cut() => {
                                bad.add(line.number, line.bytes, MAY_BE_CUT);
                            }
                            Ok(pattern) => patterns.push((pattern, line.number)),
                            Err(why) => bad.add(line.number, line.bytes, why),
                        }
                    }
                }
            }
            if patterns.len() > self.left {
                return unusable(
                    line.number,
                    "more sender patterns than are permitted in all lists together",
                );
            }
        }
        if bad.total() > 0 {
            return Err(SenderErrors(bad.named(name).collect()));
        }
        let what = match class {
            SenderClass::Approved => {
                "the note says to refuse the sender, and this list approves it"
            }
            SenderClass::Blocked => "the note says to let the sender pass, and this list blocks it",
        };
        let said = contrary.said(what).map(|(line, what)| format!("{name}:{line}: {what}"));
        let mut remarks = Vec::from_iter(said);
        if has_open_end(bytes) {
            let line = file_lines(bytes).last().map_or(1, |line| line.number);
            let what = "the last line has no line end: is the file whole?";
            remarks.push(format!("{name}:{line}: {what}"));
        }
        Ok(Patterns { class, name: name.to_owned(), patterns, remarks })
    }

    /// Adds a pattern of a line of the configuration.
    ///
    /// # Errors
    ///
    /// When it is not a pattern, or one too many.
    pub fn add_one(
        &mut self,
        class: SenderClass,
        name: &str,
        line: u32,
        text: &str,
    ) -> Result<(), SenderErrors> {
        let mut bad = BadLines::default();
        match parse(class, text) {
            Ok(_) if self.left == 0 => {
                let why = "more sender patterns than are permitted in all lists together";
                bad.add(line, text.as_bytes(), why);
            }
            Ok(pattern) => {
                let (name, patterns) = (name.to_owned(), vec![(pattern, line)]);
                self.add(Patterns { class, name, patterns, remarks: Vec::new() });
            }
            Err(why) => bad.add(line, text.as_bytes(), why),
        }
        let errors: Vec<_> = bad.named(name).collect();
        if errors.is_empty() { Ok(()) } else { Err(SenderErrors(errors)) }
    }

    /// Adds parsed patterns.
    pub fn add(&mut self, read: Patterns) {
        let Patterns { class, name, patterns, .. } = read;
        let is_same = |source: &Source| source.class == class && source.name == name;
        let sources = &mut self.lists.sources;
        let source = sources.iter().position(is_same).unwrap_or_else(|| {
            sources.push(Source { name: name.clone(), class });
            sources.len() - 1
        });
        let Ok(source) = u32::try_from(source) else { return };
        self.left = self.left.saturating_sub(patterns.len());
        for (pattern, line) in patterns {
            self.lists.insert(pattern, Place { source, line });
        }
    }

    /// The lists.
    #[must_use]
    pub fn build(self) -> SenderLists {
        self.lists
    }
}

/// Why sender lists were not accepted: `name:line: text: why`, one line for each of the first bad
/// lines of every source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderErrors(Vec<String>);

impl SenderErrors {
    /// The errors, one line of text each.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for SenderErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for SenderErrors {}

/// A pattern, by its level.
#[derive(Debug)]
enum Pattern {
    User(String),
    Host(String),
    Below(String),
}

const MAY_BE_CUT: Why = "the last line has no line end, and its domain may have been cut; if it is \
                         whole, end the line";

impl Pattern {
    /// Whether a truncated pattern at the end of a file may match more senders than the whole one:
    /// a truncated domain is another domain, a truncated address only another address.
    fn may_be_cut(&self) -> bool {
        match self {
            Self::User(_) => false,
            Self::Host(host) => !host.ends_with(']'),
            Self::Below(_) => true,
        }
    }
}

fn parse(class: SenderClass, text: &str) -> Result<Pattern, Why> {
    const STAR: Why = "a `*` may stand only in `*@domain` and `*@*.domain`";
    if let Some(why) = invisible(text) {
        return Err(why);
    }
    let Some(host) = text.strip_prefix("*@").or_else(|| text.strip_prefix('@')) else {
        if !text.contains('@') {
            return bare_domain(class, text);
        }
        if text.contains('*') {
            return Err(STAR);
        }
        let address =
            Mailbox::parse(text).map_err(|_| "is not an address, `*@domain` or `*@*.domain`")?;
        return Ok(Pattern::User(address.key()));
    };
    if matches!(host, "*" | "*.") {
        return Err("would match every sender");
    }
    if let Some(above) = host.strip_prefix("*.") {
        if above.contains('*') {
            return Err(STAR);
        }
        let above = Domain::parse(above).map_err(|_| "has no domain behind `*.`")?;
        if above.parent().is_none() {
            return Err("would match every sender of a whole top-level domain");
        }
        return Ok(Pattern::Below(above.as_str().to_owned()));
    }
    if host.contains('*') {
        return Err(STAR);
    }
    Ok(Pattern::Host(Host::parse(host).map_err(|_| "has no domain behind the `@`")?.to_string()))
}

/// A domain alone, as in public lists of domains: it means all senders of the domain, or with `*.`
/// or `.` before it those of its subdomains. To approve so many, the pattern must be explicit.
fn bare_domain(class: SenderClass, text: &str) -> Result<Pattern, Why> {
    let below = text.strip_prefix("*.").or_else(|| text.strip_prefix('.'));
    let name = below.unwrap_or(text);
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err("is an IP address; those are blocked by blocked.files");
    }
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let domain = Domain::parse(name)
        .ok()
        .filter(|domain| !domain.as_str().rsplit('.').next().is_none_or(is_number))
        .ok_or("is not an address, `*@domain` or `*@*.domain`")?;
    if class == SenderClass::Approved {
        return Err("is a domain; write `*@domain` to approve all of its senders");
    }
    if domain.parent().is_none() {
        return Err("would match every sender of a whole top-level domain");
    }
    let name = domain.as_str().to_owned();
    Ok(if below.is_some() { Pattern::Below(name) } else { Pattern::Host(name) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SenderClass::{Approved, Blocked};
    use super::*;

    fn build(files: &[(SenderClass, &str, &str)]) -> Result<SenderLists, SenderErrors> {
        let mut builder = SenderLists::builder(1000);
        let mut errors = Vec::new();
        for (class, name, text) in files {
            match builder.read(*class, name, text.as_bytes()) {
                Ok(patterns) => builder.add(patterns),
                Err(error) => errors.push(error.0),
            }
        }
        if errors.is_empty() { Ok(builder.build()) } else { Err(SenderErrors(errors.concat())) }
    }

    fn find(lists: &SenderLists, sender: &str) -> Option<(SenderClass, String)> {
        let found = lists.find(&Mailbox::parse(sender).unwrap())?;
        Some((found.class, format!("{} {}:{}", found.pattern, found.source, found.line)))
    }

    #[test]
    fn the_closest_pattern_decides() {
        let lists = build(&[
            (Approved, "good", "# ours\nbob@a.example.org note\n*@b.example.org\n*@*.x.test\n"),
            (Blocked, "bad", "*@a.example.org\n@C.Example.org\n*@*.example.org\r\n*@*.y.x.test\n"),
        ])
        .unwrap();
        let find = |sender| find(&lists, sender);
        assert_eq!(find("BOB@A.example.ORG"), Some((Approved, "bob@a.example.org good:2".into())));
        assert_eq!(find("\"bob\"@a.example.org").unwrap().0, Approved);
        assert_eq!(find("eve@a.example.org"), Some((Blocked, "*@a.example.org bad:1".into())));
        assert_eq!(find("eve@b.example.org"), Some((Approved, "*@b.example.org good:3".into())));
        assert_eq!(find("eve@c.example.org"), Some((Blocked, "*@c.example.org bad:2".into())));
        assert_eq!(find("eve@q.r.example.org"), Some((Blocked, "*@*.example.org bad:3".into())));
        assert_eq!(find("eve@example.org"), None);
        assert_eq!(find("eve@badexample.org"), None);
        assert_eq!(find("a@z.y.x.test").unwrap().0, Blocked);
        assert_eq!(find("a@y.x.test").unwrap().0, Approved);
        assert_eq!(find("a@x.test"), None);
        assert_eq!(lists.len(), 7);
    }

    #[test]
    fn blocked_beats_approved_at_the_same_level_in_either_order() {
        let (good, bad) =
            ((Approved, "good", "a@b.c\n*@d.e\n"), (Blocked, "bad", "\nA@B.c\n@d.e\n"));
        for files in [[good, bad], [bad, good]] {
            let lists = build(&files).unwrap();
            assert_eq!(find(&lists, "a@b.c"), Some((Blocked, "a@b.c bad:2".into())));
            assert_eq!(find(&lists, "x@d.e"), Some((Blocked, "*@d.e bad:3".into())));
        }
    }

    #[test]
    fn international_names_and_literals_have_one_form() {
        let text = "用户@例子.广告\n*@*.BÜCHER.example\n*@[ipv6:2001:DB8::1]";
        let lists = build(&[(Blocked, "bad", text)]).unwrap();
        assert!(find(&lists, "用户@xn--fsqu00a.xn--4rr70v").is_some());
        assert!(find(&lists, "a@b.xn--bcher-kva.example").is_some());
        assert!(find(&lists, "a@[IPv6:2001:db8:0::1]").is_some());
        assert_eq!(find(&lists, "a@[IPv6:2001:db8::2]"), None);
    }

    #[test]
    fn all_errors_are_told_with_file_and_line() {
        let patterns = "*@*\n@*\n*@*.com\n*@*.\nuser@*.example.org\nb*@example.org\n*\n*@a.*.b\n\
                        example\n*@\n*@*.*.org\na@b..c\n*@exa*mple.org\n*@*.рф\n*x@y\n";
        let files = [(Approved, "good", "ok@ok.example\n@?\n"), (Blocked, "bad", patterns)];
        let errors = build(&files).unwrap_err();
        assert_eq!(errors.lines().len(), 16, "{errors}");
        assert!(errors.lines()[0].starts_with("good:2: `@?`: "), "{errors}");
        assert_eq!(errors.lines()[1], "bad:1: `*@*`: would match every sender");
        assert!(
            errors.to_string().contains("bad:3: `*@*.com`: would match every sender of a whole")
        );
        assert!(
            errors.to_string().contains("bad:14: `*@*.рф`: would match every sender of a whole")
        );
        let binary = {
            let builder = SenderLists::builder(10);
            builder.read(Blocked, "b", b"\xef\xbb\xbfa@b.c\nx\0@y.z\n\xff@y.z\n").unwrap_err()
        };
        assert_eq!(binary.lines().len(), 2);
        assert!(binary.lines()[0].starts_with("b:2: ") && binary.lines()[1].starts_with("b:3: "));
    }

    #[test]
    fn patterns_are_bounded() {
        let mut builder = SenderLists::builder(2);
        builder.add(builder.read(Blocked, "one", b"a@b.c").unwrap());
        let errors = builder.read(Blocked, "two", b"a@b.d\n#\na@b.e\na@b.f").unwrap_err();
        assert_eq!(errors.lines().len(), 1);
        assert!(errors.lines()[0].starts_with("two:3: more sender patterns"), "{errors}");
        builder.add(builder.read(Blocked, "three", b"a@b.g").unwrap());
        assert!(builder.add_one(Blocked, "four", 7, "a@b.h").is_err());
        assert_eq!(builder.build().len(), 2);
    }

    #[test]
    fn a_domain_alone_blocks_all_of_its_senders() {
        let text = "a.example\nB.Example spam\n*.c.example\n.d.example\ne.example f.example\n\
                    bücher.example\nx@g.example h.example\n";
        let lists = build(&[(Blocked, "bad", text)]).unwrap();
        for sender in [
            "x@a.example",
            "x@b.example",
            "x@y.c.example",
            "x@y.d.example",
            "x@e.example",
            "x@f.example",
            "x@xn--bcher-kva.example",
            "x@g.example",
        ] {
            assert!(find(&lists, sender).is_some(), "{sender}");
        }
        for sender in ["x@y.a.example", "x@c.example", "x@h.example", "y@g.example", "x@spam"] {
            assert_eq!(find(&lists, sender), None, "{sender}");
        }
        for bad in
            ["com", "192.0.2.1", "2001:db8::1", "1.2.3", "a..example", "a_b c@d", "-a.example"]
        {
            assert!(build(&[(Blocked, "bad", bad)]).is_err(), "{bad}");
        }
        let error = build(&[(Approved, "good", "a.example")]).unwrap_err().to_string();
        assert!(error.contains("write `*@domain`"), "{error}");
    }

    #[test]
    fn nothing_is_passed_over() {
        let lists = build(&[(Blocked, "bad", "a@b.c d@e.f\rg@h.i\r")]).unwrap();
        assert_eq!(lists.len(), 3);
        for (text, what) in [
            ("a@b.c and d@e.f", "write one address a line"),
            ("a@b.c\n\u{feff}d@e.f\n", "bad:2: "),
            ("a\u{200b}@b.c\n", "U+200B ZERO WIDTH SPACE"),
            ("a.exam\u{ad}ple\n", "U+00AD SOFT HYPHEN"),
            ("<html>\n", "HTML"),
        ] {
            let error = build(&[(Blocked, "bad", text)]).unwrap_err().to_string();
            assert!(error.contains(what), "{error}");
        }
        let read = SenderLists::builder(9).read(Blocked, "bad", b"a@b.c\nd@e.f").unwrap();
        assert_eq!(read.len(), 2);
        assert!(read.remarks()[0].starts_with("bad:2: the last line has no line end"));
    }

    #[test]
    fn a_cut_last_line_is_not_all_of_a_domain() {
        for cut in ["gmail.com", "*@gmail.com", "@gmail.com", "*@*.spam.exam", ".d.exam", "a.b c.d"]
        {
            for text in [format!("x@y.example\n{cut}"), cut.to_owned()] {
                let error = build(&[(Blocked, "bad", &text)]).unwrap_err().to_string();
                assert!(error.contains("may have been cut"), "{error}");
                assert!(build(&[(Blocked, "bad", &format!("{text}\n"))]).is_ok(), "{text}");
                assert!(build(&[(Blocked, "bad", &format!("{text}\r"))]).is_ok(), "{text}");
            }
        }
        assert!(build(&[(Approved, "good", "*@gmail.com")]).is_err());
        // A truncated address is only another address, and a pattern before a note is whole.
        for whole in ["x@d.exam", "gmail.com spam", "*@d.exam # x", "*@[192.0.2.1]", "gmail.com "] {
            assert!(build(&[(Blocked, "bad", whole)]).is_ok(), "{whole}");
        }
    }

    #[test]
    fn a_note_that_says_the_contrary_is_remarked() {
        let remarks = |class, text: &str| {
            SenderLists::builder(9).read(class, "f", text.as_bytes()).unwrap().remarks().to_vec()
        };
        assert_eq!(
            remarks(Blocked, "a@b.c spam\na@b.example OK\nb.example permit\n"),
            ["f:2: the note says to let the sender pass, and this list blocks it (and 1 more \
              lines like it)"]
        );
        assert_eq!(
            remarks(Approved, "a@b.example REJECT\n"),
            ["f:1: the note says to refuse the sender, and this list approves it"]
        );
        assert_eq!(remarks(Approved, "a@b.example 554 5.7.1 go\n").len(), 1);
        assert_eq!(remarks(Approved, "a@b.example OK\n"), [""; 0]);
        assert_eq!(remarks(Blocked, "a@b.example REJECT\n"), [""; 0]);
    }

    /// The rules of precedence without any table.
    fn naive(patterns: &[(SenderClass, String)], local: &str, domain: &str) -> Option<SenderClass> {
        let specificity = |pattern: &str| {
            if pattern == format!("{local}@{domain}") {
                return Some(1000);
            }
            if pattern == format!("*@{domain}") {
                return Some(500);
            }
            let above = pattern.strip_prefix("*@*.")?;
            domain.ends_with(&format!(".{above}")).then_some(above.len())
        };
        let matches = patterns.iter().filter_map(|(class, pattern)| {
            Some((specificity(pattern)?, *class == Blocked, *class))
        });
        matches.max_by_key(|(level, blocked, _)| (*level, *blocked)).map(|(_, _, class)| class)
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            _ = SenderLists::builder(100).read(Blocked, "f", &bytes);
        }

        #[test]
        fn the_tables_agree_with_a_naive_model(
            patterns in prop::collection::vec((any::<bool>(), "([ab]|\\*)@(\\*\\.)?([ab]\\.){1,3}c"), 0..12),
            local in "[ab]", domain in "([ab]\\.){1,4}c",
        ) {
            let good = |pattern: &str| parse(Blocked, pattern).is_ok();
            let patterns: Vec<_> = patterns.into_iter()
                .filter(|(_, pattern)| good(pattern))
                .map(|(blocked, pattern)| (if blocked { Blocked } else { Approved }, pattern))
                .collect();
            let mut builder = SenderLists::builder(100);
            for (class, pattern) in &patterns {
                builder.add(builder.read(*class, "f", format!("{pattern}\n").as_bytes()).unwrap());
            }
            let lists = builder.build();
            let sender = Mailbox::parse(&format!("{local}@{domain}")).unwrap();
            let found = lists.find(&sender).map(|found| found.class);
            prop_assert_eq!(found, naive(&patterns, &local, &domain));
        }
    }
}
