//! The reference of the configuration: what each key takes and is without it, from the
//! code that reads it, and what it means, from `reference.md`.
//!
//! The reader says of each key that it asks for which values it takes and what holds
//! where there is none, by the very arguments that it reads with: so the reference can
//! be incomplete in no key, and wrong in no range and no default. Tests hold
//! `docs/configuration.md` against it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::keys;

/// The prose, and a row with the meaning of each key.
const PROSE: &str = include_str!("reference.md");

/// A configuration in which every key is asked for: one of each table that may be there
/// more than once, with what is required in it and no more.
const EVERYTHING: &str = r#"
[filter]
interfaces = ["eth0"]
[blocked]
files = [{ path = "blocked.txt" }]
[listen]
smtp = ["0.0.0.0:25"]
[tls]
self_signed = true
[[tls.certificates]]
chain = "chain.pem"
key = "key.pem"
[[tls.peers]]
domains = ["example.com"]
[[domain]]
names = ["example.org"]
backend = "main"
[[backend]]
name = "main"
servers = ["192.0.2.1:25"]
[[ldap]]
name = "directory"
url = "ldap://192.0.2.2"
base = "dc=example"
[relay]
listen = ["0.0.0.0:587"]
backend = "main"
[[customer]]
name = "acme"
networks = ["192.0.2.0/24"]
domains = ["acme.example"]
[[reputation.standard.zones]]
name = "stable.example"
codes = ["127.0.0.2"]
[[reputation.dynamic.zones]]
name = "fast.example"
codes = ["127.0.0.2"]
[syn_rate]
ipv4.per_second = 1
ipv6.per_second = 1
[web]
[[web.tokens]]
name = "anna"
sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
"#;

/// What the reader says of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Description {
    /// Which values it takes.
    pub(super) kind: String,
    /// What holds without it.
    pub(super) default: String,
}

/// The keys that were asked for, with their sections.
pub(super) type Descriptions = BTreeMap<String, Description>;

/// What the reader says of every key that there is.
///
/// # Panics
///
/// Where [`EVERYTHING`] is no good configuration, which the tests see.
pub(super) fn descriptions() -> Descriptions {
    keys::describe(EVERYTHING, Path::new("mxdp.toml"))
}

/// A part of the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    /// The heading of a table, and the line below it.
    Heading,
    /// A key and its meaning.
    Key(&'a str, &'a str),
    /// A line of prose.
    Line(&'a str),
}

fn parts() -> impl Iterator<Item = Part<'static>> {
    PROSE.lines().filter_map(|line| match line {
        "| key | meaning |" => Some(Part::Heading),
        "|---|---|" => None,
        line => Some(row(line).map_or(Part::Line(line), |(key, text)| Part::Key(key, text))),
    })
}

/// The key and the meaning of a row.
fn row(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | ")
}

/// The reference as Markdown: docs/configuration.md.
#[must_use]
pub fn markdown() -> String {
    let known = descriptions();
    let mut text = String::new();
    for part in parts() {
        // Writing into a text does not fail.
        _ = match part {
            Part::Heading => {
                writeln!(text, "| key | values | default | meaning |\n|---|---|---|---|")
            }
            Part::Line(line) => writeln!(text, "{line}"),
            Part::Key(key, meaning) => {
                let Description { kind, default } = known.get(key).cloned().unwrap_or_default();
                writeln!(text, "| `{key}` | {kind} | {default} | {meaning} |")
            }
        };
    }
    text
}

/// The reference as the source of a manual page: mxdp.toml(5).
#[must_use]
pub fn manual() -> Vec<Block> {
    let known = descriptions();
    let mut blocks = Vec::new();
    let mut paragraph = String::new();
    for part in parts() {
        let line = if let Part::Line(line) = part { line } else { "" };
        if line.is_empty() || line.starts_with('#') {
            let whole = std::mem::take(&mut paragraph);
            if !whole.is_empty() {
                blocks.push(Block::Text(plain(&whole)));
            }
        }
        match part {
            Part::Heading => {}
            Part::Line(line) if line.starts_with("# ") => {}
            Part::Line(line) => match line.strip_prefix("## ") {
                Some(title) => blocks.push(Block::Section(plain(title).to_uppercase())),
                None if line.is_empty() => {}
                None => paragraph = format!("{paragraph} {line}").trim_start().to_owned(),
            },
            Part::Key(key, meaning) => {
                let Description { kind, default } = known.get(key).cloned().unwrap_or_default();
                blocks.push(Block::Key {
                    name: key.to_owned(),
                    values: plain(&format!("{kind}; default: {default}")),
                    meaning: plain(meaning),
                });
            }
        }
    }
    if !paragraph.is_empty() {
        blocks.push(Block::Text(plain(&paragraph)));
    }
    blocks
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
    text.replace(['`'], "").replace("*restart*", "(restart)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_reference_is_what_the_code_says() {
        let committed = include_str!("../../../docs/configuration.md");
        assert!(
            committed == markdown(),
            "docs/configuration.md is not what the code says: \
             `cargo run --bin mxdp -- man --reference > docs/configuration.md`"
        );
    }

    #[test]
    fn every_key_has_a_meaning_and_every_meaning_a_key() {
        let known = descriptions();
        let mut rows: Vec<_> = PROSE.lines().filter_map(row).map(|(key, _)| key).collect();
        for (key, Description { kind, default }) in &known {
            // A table that has no row is there by its keys.
            let has_keys = known.keys().any(|other| other.starts_with(&format!("{key}.")));
            assert!(rows.contains(&key.as_str()) || has_keys, "{key} is not in reference.md");
            assert!(!kind.is_empty() && !default.is_empty(), "{key}: {kind:?}, {default:?}");
            assert!(!kind.contains(" | ") && !default.contains(" | "), "{key}");
        }
        for key in &rows {
            assert!(known.contains_key(*key), "{key} has a meaning, and nobody reads it");
        }
        let count = rows.len();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), count, "a key has two rows");
    }

    #[test]
    fn what_is_said_of_a_key_is_what_reading_does() {
        let known = descriptions();
        for (key, kind, default) in [
            ("filter.mode", "`auto`, `native`, `generic`", "`auto`"),
            (
                "filter.ports",
                "list of 1 to 65535",
                "`25`, and the ports that mxdp listens on for mail",
            ),
            ("smtp.recipients", "1 to 100000", "`1000`"),
            ("enforcement.known_spam_source", "`drop`, `reject`, `monitor`", "`reject`"),
            ("record.folder", "absolute path", "`record` in `state.folder`"),
            ("reputation.dynamic.code", "421, 450, 451, 452, 521, 550, 553, 554", "`450`"),
            ("web.listen", "list of address:port", "`[\"127.0.0.1:8025\"]`"),
        ] {
            let said = &known[key];
            assert_eq!((said.kind.as_str(), said.default.as_str()), (kind, default), "{key}");
        }
    }

    #[test]
    fn the_manual_page_has_every_row() {
        let keys = |blocks: &[Block]| {
            blocks.iter().filter(|block| matches!(block, Block::Key { .. })).count()
        };
        let blocks = manual();
        assert_eq!(keys(&blocks), PROSE.lines().filter_map(row).count());
        assert!(blocks.contains(&Block::Section("THE OUTGOING RELAY".to_owned())));
        assert!(matches!(&blocks[0], Block::Text(text) if text.starts_with("The file is TOML")));
    }
}
