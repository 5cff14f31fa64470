//! The reference of the configuration, made of the keys: what each takes, is without it and
//! means, and whether only a restart changes it.
//!
//! The readers say of each key that they ask for which values it takes and what holds
//! where there is none, by the very arguments that they read with: so the reference can
//! be incomplete in no key, and wrong in no range and no default. Tests hold
//! `docs/configuration.md` against it.

use std::fmt::Write as _;
use std::path::Path;

use super::keys::CHAPTERS;
use super::read;
use super::section::key::{Applies, Chapter, Description};

/// What is said before the first chapter, in Markdown.
const INTRODUCTION: &str = "\
The file is TOML, `/etc/mxdp/mxdp.toml` unless `-c` names another. It is checked\n\
as a whole before anything is touched, and every error is shown at once with\n\
file, line, column and key; `mxdp check` does only that. Unknown keys are errors.\n\
Relative paths are taken from the folder of the file. `mxdp check` also warns of what has\n\
no effect or does harm, and `mxdp check --online` asks what the file names on the network:\n\
name servers, DNS lists, backends, directories and ports.\n\
\n\
A duration is a string with units (`\"90s\"`, `\"5m\"`, `\"2h30m\"`, `\"7d\"`; `ms`, `s`, `m`, `h`,\n\
`d`, `w`) or a plain number: of seconds, of milliseconds where the key ends with `_ms`, of\n\
days for `record.days`. A size is a string with a unit (`\"64KB\"`, `\"50MB\"`, `\"10GB\"`; powers\n\
of 1024) or a plain number of bytes.\n\
\n\
A reload (`mxdp reload`, SIGHUP, or a changed file) checks everything again. If\n\
there is an error in this file, the previous configuration stays active and the error is\n\
shown by `mxdp status`. Keys marked *restart* are read at start only; a reload that\n\
changes one says so.\n\
\n\
A list, country database, file of recipients or senders, or directory is judged by\n\
itself, at a start too: one that is missing, unreadable, bad or empty, or that has lost\n\
more than half of its entries, keeps its last good content, which lies in `state.folder`\n\
with a checksum. That is an alarm, which names file, line and age, and everything else is\n\
loaded. Without a last good content nothing of the file is used; for a file of recipients\n\
the backend decides then. One that was shortened on purpose is accepted by\n\
`mxdp reload --accept FILE`. `mxdp check` reports all of it as errors.\n";

/// A configuration in which every key is read: tables of arrays of tables are read empty, and
/// this is the one array of paths or tables.
const EVERYTHING: &str = "[blocked]\nfiles = [{}]\n";

/// What the readers say of every key that there is, in the order in which it is read.
fn descriptions() -> Vec<Description> {
    read::describe(EVERYTHING, Path::new("mxdp.toml")).into_vec()
}

/// The section of a key that a chapter is about: the nearest one.
fn section_of(key: &str) -> Option<&'static str> {
    let has = |section: &&str| {
        key.strip_prefix(*section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let sections = CHAPTERS.iter().flat_map(|chapter| chapter.sections).copied();
    sections.filter(has).max_by_key(|section| section.len())
}

/// The rows of a chapter, section by section.
fn rows<'a>(
    known: &'a [Description],
    chapter: &'a Chapter,
) -> impl Iterator<Item = &'a Description> {
    chapter.sections.iter().flat_map(|section| {
        let is_in = move |key: &&Description| section_of(&key.path) == Some(*section);
        known.iter().filter(|key| !key.meaning.is_empty()).filter(is_in)
    })
}

/// The reference as Markdown: docs/configuration.md.
#[must_use]
pub fn markdown() -> String {
    let known = descriptions();
    let mut text = format!("# Configuration reference\n\n{INTRODUCTION}");
    for chapter in &CHAPTERS {
        let before = if chapter.before.is_empty() { "" } else { "\n\n" };
        // Writing into a text does not fail.
        _ = write!(
            text,
            "\n## {}{before}{}\n\n| key | values | default | meaning |\n|---|---|---|---|\n",
            chapter.title, chapter.before
        );
        for Description { path, kind, default, meaning, applies } in rows(&known, chapter) {
            let restart = if *applies == Applies::Restart { ". *restart*" } else { "" };
            _ = writeln!(text, "| `{path}` | {kind} | {default} | {meaning}{restart} |");
        }
        if !chapter.after.is_empty() {
            _ = write!(text, "\n{}\n", chapter.after);
        }
    }
    text
}

/// The reference as the source of a manual page: mxdp.toml(5).
#[must_use]
pub fn manual() -> Vec<Block> {
    let known = descriptions();
    let mut blocks: Vec<_> = paragraphs(INTRODUCTION).collect();
    for chapter in &CHAPTERS {
        blocks.push(Block::Section(plain(chapter.title).to_uppercase()));
        blocks.extend(paragraphs(chapter.before));
        blocks.extend(rows(&known, chapter).map(|key| {
            let restart = if key.applies == Applies::Restart { " (restart)" } else { "" };
            Block::Key {
                name: key.path.clone(),
                values: plain(&format!("{}; default: {}", key.kind, key.default)),
                meaning: format!("{}{restart}", plain(key.meaning)),
            }
        }));
        blocks.extend(paragraphs(chapter.after));
    }
    blocks
}

fn paragraphs(text: &str) -> impl Iterator<Item = Block> {
    let paragraphs = text.split("\n\n").filter(|paragraph| !paragraph.trim().is_empty());
    paragraphs.map(|paragraph| Block::Text(plain(&paragraph.trim().replace('\n', " "))))
}

/// A block of the manual page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Block {
    /// A heading.
    Section(String),
    /// A paragraph.
    Text(String),
    /// A key.
    Key {
        /// With its sections.
        name: String,
        /// What it takes, and what holds without it.
        values: String,
        /// What it means.
        meaning: String,
    },
}

/// Without the marks of Markdown, which no key and no value has.
fn plain(text: &str) -> String {
    text.replace('`', "").replace("*restart*", "(restart)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn the_committed_reference_is_what_the_code_says() {
        let committed = include_str!("../../../docs/configuration.md");
        assert!(
            committed == markdown(),
            "docs/configuration.md is not what the code says: \
             `cargo run --bin mxdp -- man --reference --dir docs`"
        );
    }

    #[test]
    fn every_key_is_described_in_a_chapter() {
        let known = descriptions();
        for Description { path, kind, default, meaning, .. } in &known {
            // A table without a meaning is there by its keys.
            let has_keys = known.iter().any(|other| other.path.starts_with(&format!("{path}.")));
            assert!(!meaning.is_empty() || has_keys, "{path} has no meaning");
            assert!(!kind.is_empty() && !default.is_empty(), "{path}: {kind:?}, {default:?}");
            assert!(![kind, default, *meaning].iter().any(|it| it.contains(" | ")), "{path}");
            assert!(section_of(path).is_some(), "{path} is in no chapter");
        }
        for chapter in &CHAPTERS {
            assert!(rows(&known, chapter).next().is_some(), "{} has no keys", chapter.title);
        }
    }

    #[test]
    fn what_is_said_of_a_key_is_what_reading_does() {
        let known = descriptions();
        for (key, kind, default) in [
            ("filter.mode", "`auto`, `native`, `generic`", "`auto`"),
            (
                "filter.ports",
                "array of 1 to 65535",
                "`25`, and the ports that mxdp listens on for mail",
            ),
            ("smtp.recipients", "1 to 100000", "`1000`"),
            ("enforcement.known_spam_source", "`drop`, `reject`, `monitor`", "`reject`"),
            ("record.folder", "absolute path", "`record` in `state.folder`"),
            ("reputation.dynamic.code", "421, 450, 451, 452, 521, 550, 553, 554", "`450`"),
            ("web.listen", "array of address:port", "`[\"127.0.0.1:8025\"]`"),
        ] {
            let said = known.iter().find(|said| said.path == key).expect(key);
            assert_eq!((said.kind.as_str(), said.default.as_str()), (kind, default), "{key}");
        }
    }

    #[test]
    fn the_manual_page_has_every_row() {
        let blocks = manual();
        let keys = blocks.iter().filter(|block| matches!(block, Block::Key { .. })).count();
        let rows = descriptions().iter().filter(|key| !key.meaning.is_empty()).count();
        assert_eq!(keys, rows);
        assert!(blocks.contains(&Block::Section("THE OUTGOING RELAY".to_owned())));
        assert!(matches!(&blocks[0], Block::Text(text) if text.starts_with("The file is TOML")));
    }

    /// A key is marked as needing a restart exactly where its value is in `Startup`, under its
    /// own name: so a reload keeps it and says so.
    #[test]
    fn the_keys_that_need_a_restart_are_those_of_the_start() {
        let everything = "[filter]\ninterfaces = [\"eth0\"]\n[web]\n[listen]\n\
             smtp = [\"0.0.0.0:25\"]\n[[domain]]\nnames = [\"example.org\"]\nbackend = \"main\"\n\
             [[backend]]\nname = \"main\"\nservers = [\"192.0.2.1:25\"]\n[relay]\n\
             listen = [\"0.0.0.0:587\"]\nbackend = \"main\"\n[[customer]]\nname = \"c\"\n\
             networks = [\"192.0.2.9/32\"]\ndomains = [\"c.example\"]\n";
        let config = parse(everything, Path::new("mxdp.toml")).expect("a configuration");
        let fixed: Vec<_> = config.startup.keys().into_keys().collect();
        let known = descriptions();
        let marked = known.iter().filter(|key| key.applies == Applies::Restart);
        let mut marked: Vec<_> = marked.map(|key| key.path.clone()).collect();
        marked.sort_unstable();
        assert_eq!(marked, fixed);
    }
}
