//! The documents: every relative link and anchor resolves, and the book has every page.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

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

/// The documents for people, decisions included.
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
    // A link's text may hold brackets in code, its target holds none.
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

#[test]
fn every_relative_link_and_anchor_resolves() {
    let mut count = 0;
    for document in documents() {
        let text = read(&document);
        let folder = document.parent().expect("a folder");
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { document.clone() } else { folder.join(file) };
            assert!(target.exists(), "{}: {link} is not there", document.display());
            if !anchor.is_empty() {
                let known = anchors(&read(&target));
                assert!(known.contains(anchor), "{}: {link}: {known:?}", document.display());
            }
        }
    }
    assert!(count > 50, "{count} links are found");
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
    // Decisions are for those who change mxdp, and stand beside the book.
    pages.retain(|page| !page.starts_with(docs.join("adr")) && !page.ends_with("SUMMARY.md"));
    assert_eq!(pages.into_iter().collect::<BTreeSet<_>>(), unique);
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
