//! The documents: links and anchors resolve, the book has every page, shell blocks are valid shell,
//! and the configuration keys, source files, metrics and decisions that a document names exist.
//!
//! `field/console/documents.rs` checks the configurations in documents with `mxdp check`, and
//! `filter-userspace/src/cli/documents.rs` parses their calls of mxdp.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, into);
        } else if path.extension().is_some_and(|kind| kind == "md") {
            into.push(path);
        }
    }
}

/// All documents, with the decisions.
fn documents() -> Vec<PathBuf> {
    let mut all: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name)).into();
    collect(&root().join("docs"), &mut all);
    all
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        fenced ^= is_fence;
        !fenced && !is_fence && !line.starts_with("    ")
    })
}

/// The targets of the links and pictures of a document.
fn links(text: &str) -> Vec<&str> {
    let prose = prose(text);
    // The text of a link may contain brackets in code; its target contains none.
    prose
        .flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split_once(')')))
        .map(|(target, _)| target)
        .collect()
}

/// The anchors of a document's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let anchor = |line: &str| -> String {
        let title = line.trim_start_matches('#').trim().to_lowercase();
        let letters = title.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
        letters.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    headings.map(anchor).collect()
}

/// The links of a document that do not resolve, and the number of those that were checked.
fn broken_links(document: &Path, text: &str) -> (Vec<String>, usize) {
    let folder = document.parent().expect("a folder");
    let (mut broken, mut count) = (Vec::new(), 0);
    for link in links(text) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        count += 1;
        let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
        let target = if file.is_empty() { document.to_owned() } else { folder.join(file) };
        let target_text = || if file.is_empty() { text.to_owned() } else { read(&target) };
        let resolves = (file.is_empty() || target.exists())
            && (anchor.is_empty() || anchors(&target_text()).contains(anchor));
        if !resolves {
            broken.push(link.to_owned());
        }
    }
    (broken, count)
}

/// The fenced blocks of a language.
fn fenced(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut block: Option<(bool, String)> = None;
    for line in text.lines() {
        match (&mut block, line.strip_prefix("```")) {
            (None, Some(name)) => block = Some((name == language, String::new())),
            (Some(_), Some(_)) => {
                found
                    .extend(block.take().filter(|(is_wanted, _)| *is_wanted).map(|(_, text)| text));
            }
            (Some((_, text)), None) => *text += &format!("{line}\n"),
            (None, None) => {}
        }
    }
    found
}

/// What bash reports about the syntax of the shell blocks of a document, without running them.
fn shell_errors(text: &str) -> (Vec<String>, usize) {
    let blocks = fenced(text, "sh");
    let mut errors = Vec::new();
    for block in &blocks {
        let mut bash = Command::new("bash");
        bash.arg("-n").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut bash = bash.spawn().expect("bash");
        bash.stdin.take().expect("an input").write_all(block.as_bytes()).expect("written");
        let output = bash.wait_with_output().expect("bash ends");
        if !output.status.success() {
            errors.push(format!("{}\n{block}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    (errors, blocks.len())
}

/// The pieces of inline code of a document.
fn code(text: &str) -> BTreeSet<&str> {
    prose(text).flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// The keys of the configuration reference.
fn keys() -> BTreeSet<String> {
    code_of_tables(&read(&root().join("docs/configuration.md")))
}

/// The inline code of a document that is written like a key of a known section, and is none.
fn unknown_keys(text: &str, keys: &BTreeSet<String>) -> (Vec<String>, usize) {
    let sections: BTreeSet<_> = keys.iter().filter_map(|key| key.split('.').next()).collect();
    let is_key = |word: &&&str| {
        let (section, rest) = word.split_once('.').unwrap_or((word, ""));
        let kind = rest.rsplit('.').next().unwrap_or_default();
        let is_file = ["rs", "txt", "toml", "md"].contains(&kind);
        sections.contains(section)
            && !is_file
            && rest
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._".contains(c))
            && !rest.is_empty()
    };
    // The name of a table is one too: `reputation.dynamic`.
    let is_known = |word: &str| {
        let table = format!("{word}.");
        keys.contains(word) || keys.iter().any(|key| key.starts_with(&table))
    };
    let named: Vec<_> = code(text).iter().filter(is_key).map(|word| (*word).to_owned()).collect();
    let unknown = named.iter().filter(|word| !is_known(word)).cloned().collect();
    (unknown, named.len())
}

/// The source files that a document names and that do not exist. A path begins at the root of the
/// repository, or of the sources of a crate.
fn missing_files(text: &str) -> (Vec<String>, usize) {
    let roots = ["", "filter-userspace/src", "filter-common/src", "filter-ebpf/src", "tests"];
    let is_path = |word: &&&str| {
        // `TARGET/` stands for a name, and a folder without a parent is one of another document.
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        let is_file = word.ends_with(".rs") || word.ends_with('/');
        is_file && word.trim_end_matches('/').contains('/') && word.chars().all(is_plain)
    };
    let is_there = |word: &str| roots.iter().any(|folder| root().join(folder).join(word).exists());
    let named: Vec<_> = code(text).iter().filter(is_path).map(|word| (*word).to_owned()).collect();
    let missing = named.iter().filter(|word| !word.starts_with('/') && !is_there(word));
    (missing.cloned().collect(), named.len())
}

/// The metrics that a document names and that the reference does not have.
fn unknown_metrics(text: &str) -> (Vec<String>, usize) {
    let reference = read(&root().join("docs/reference/metrics.md"));
    let known = code_of_tables(&reference);
    let named: Vec<_> = code(text).into_iter().filter(|word| word.starts_with("mxdp_")).collect();
    let unknown = named.iter().filter(|word| !known.contains(**word));
    (unknown.map(|word| (*word).to_owned()).collect(), named.len())
}

/// The first column of the tables of a reference.
fn code_of_tables(text: &str) -> BTreeSet<String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

/// The decisions that a document cites and that do not exist.
fn missing_decisions(text: &str) -> (Vec<String>, usize) {
    let files: Vec<_> =
        fs::read_dir(root().join("docs/adr")).expect("a folder").flatten().collect();
    let is_there = |number: u32| {
        let start = format!("{number:04}-");
        files.iter().any(|file| file.file_name().to_string_lossy().starts_with(&start))
    };
    let cited = prose(text).flat_map(|line| line.split("ADR ").skip(1)).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u32>().ok()
    });
    let cited: Vec<_> = cited.collect();
    let missing = cited.iter().filter(|number| !is_there(**number));
    (missing.map(|number| format!("ADR {number}")).collect(), cited.len())
}

/// Checks all documents, and that at least `least` places were checked.
fn check(
    what: &str,
    least: usize,
    documents: Vec<PathBuf>,
    find: impl Fn(&Path, &str) -> (Vec<String>, usize),
) {
    let (mut faults, mut count) = (Vec::new(), 0);
    for document in documents {
        let (found, checked) = find(&document, &read(&document));
        faults.extend(found.into_iter().map(|fault| format!("{}: {fault}", document.display())));
        count += checked;
    }
    assert!(faults.is_empty(), "{what}:\n{}", faults.join("\n"));
    assert!(count >= least, "only {count} places were checked for {what}");
}

/// The documents that describe the present. Decisions describe their own time.
fn current() -> Vec<PathBuf> {
    let decisions = root().join("docs/adr");
    documents().into_iter().filter(|document| !document.starts_with(&decisions)).collect()
}

#[test]
fn every_relative_link_and_anchor_resolves() {
    check("broken links", 50, documents(), broken_links);
}

#[test]
fn every_shell_block_is_valid_shell() {
    check("invalid shell", 30, documents(), |_, text| shell_errors(text));
}

#[test]
fn every_configuration_key_in_a_document_exists() {
    let keys = keys();
    check("unknown keys", 60, current(), |_, text| unknown_keys(text, &keys));
}

#[test]
fn every_source_file_in_a_document_exists() {
    check("missing files", 60, current(), |_, text| missing_files(text));
}

#[test]
fn every_metric_and_every_decision_in_a_document_exists() {
    check("unknown metrics", 8, current(), |_, text| unknown_metrics(text));
    check("missing decisions", 20, documents(), |_, text| missing_decisions(text));
}

#[test]
fn each_check_finds_a_fault() {
    let document = root().join("docs/SUMMARY.md");
    let text = "# A heading\n[a](#a-heading) [b](#other) [c](none.md) [d](https://none.example/)\n\
                `smtp.errors` `smtp.eror` `reputation.dynamic` `cli/mod.rs` `cli/none.rs`\n\
                ```sh\nmxdp status\n```\n```sh\nif then\n```\n```toml\n`smtp.none`\n```\n";
    let (broken, checked) = broken_links(&document, text);
    assert_eq!((broken, checked), (vec!["#other".to_owned(), "none.md".to_owned()], 3));
    let (errors, checked) = shell_errors(text);
    assert_eq!((errors.len(), checked), (1, 2), "{errors:?}");
    assert_eq!(unknown_keys(text, &keys()), (vec!["smtp.eror".to_owned()], 3));
    assert_eq!(missing_files(text), (vec!["cli/none.rs".to_owned()], 2));
    assert_eq!(unknown_metrics("`mxdp_alarms` `mxdp_none`"), (vec!["mxdp_none".to_owned()], 2));
    assert_eq!(missing_decisions("(ADR 1, ADR 9999)"), (vec!["ADR 9999".to_owned()], 2));
}

#[test]
fn the_book_has_every_page_once() {
    let docs = root().join("docs");
    let summary = read(&docs.join("SUMMARY.md"));
    let listed = links(&summary);
    let unique: BTreeSet<_> = listed.iter().map(|link| docs.join(link)).collect();
    assert_eq!(unique.len(), listed.len(), "a page is in the summary twice");
    let mut pages = Vec::new();
    collect(&docs, &mut pages);
    // Decisions are for people who change mxdp, and are not part of the book.
    pages.retain(|page| !page.starts_with(docs.join("adr")) && !page.ends_with("SUMMARY.md"));
    assert_eq!(pages.into_iter().collect::<BTreeSet<_>>(), unique);
}

#[test]
fn the_guides_that_operators_need_are_there() {
    let summary = read(&root().join("docs/SUMMARY.md"));
    let listed = links(&summary);
    for guide in [
        "allow-a-partner",
        "backup",
        "block-a-country",
        "console-behind-nginx",
        "dns-lists",
        "feeds",
        "fleet",
        "ldap",
        "monitoring",
        "tls-renewal",
        "upgrade",
    ] {
        let page = format!("how-to/{guide}.md");
        assert!(listed.contains(&page.as_str()), "{page}");
    }
    let readme = read(&root().join("README.md"));
    assert!(links(&readme).contains(&"docs/reference/glossary.md"));
}

#[test]
fn the_readme_is_short_and_leads_to_every_quick_start() {
    let readme = read(&root().join("README.md"));
    assert!(readme.lines().count() <= 150, "{} lines", readme.lines().count());
    let linked = links(&readme);
    for page in ["small-office", "provider", "packet-filter", "outgoing-relay"] {
        let page = format!("docs/quick-start/{page}.md");
        assert!(linked.contains(&page.as_str()), "{page}");
        let text = read(&root().join(&page));
        for heading in [
            "## Before",
            "## Copy",
            "## Three values to change",
            "## Go live in observe mode",
            "## Test",
            "## Way back",
        ] {
            assert!(text.lines().any(|line| line == heading), "{page}: {heading}");
        }
    }
}
