//! House rules that a compiler cannot check.
//!
//! Comes in: the files that git knows. Goes out: one line a breach,
//! `file:line: message`. A rule stands here when ARCHITECTURE.md promises what it
//! guards. What a new rule finds in old code is in [`ledger`], which can only shrink.

mod abi;
mod cycles;
mod finding;
mod house;
mod ledger;
mod links;
mod prose;
mod rfc;
mod rooms;
mod rules;
mod source;
mod table;
mod words;

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::sh::{self, Workspace, say};

use abi::Abi;
use finding::Finding;
use house::{House, Sources};
use ledger::{LEDGER, Ledger};
use source::Source;

/// The document that shows the table of rooms, between these lines.
const MAP: &str = "ARCHITECTURE.md";
const BEGIN: &str = "<!-- rooms: `cargo xtask tidy --write` -->\n";
const END: &str = "<!-- end of rooms -->\n";

/// Checks every file of the checkout, and lists every breach.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    run(workspace, false)
}

/// `cargo xtask tidy [--write]`: checks, having written what follows from the code: the table
/// of rooms in the map, the fingerprint of a new ABI, and a ledger without what is gone.
pub(crate) fn run(workspace: &Workspace, write: bool) -> Result<()> {
    let listed = list(workspace)?;
    let files: Vec<_> = listed
        .split_terminator('\0')
        // Binary files have no lines, and a removed one is not there any more.
        .filter_map(|path| Some((path, fs::read_to_string(workspace.root.join(path)).ok()?)))
        .collect();
    let abi = Abi::read(files.iter().map(|(path, text)| (*path, text.as_str())));
    let mut findings = in_files(&files);
    let mut ledger =
        Ledger::read(&fs::read_to_string(workspace.root.join(LEDGER)).unwrap_or_default());
    let map = files.iter().find(|(path, _)| *path == MAP);
    let map = map.map(|(_, text)| text.as_str()).context("ARCHITECTURE.md is missing")?;
    let drawn = drawn(map)?;
    let there = Ledger::of(&findings);
    if write {
        abi.write(&workspace.root)?;
        if drawn != map {
            fs::write(workspace.root.join(MAP), &drawn)?;
        }
        if ledger.may_become(&there) {
            fs::write(workspace.root.join(LEDGER), there.text())?;
            ledger = there;
        }
    } else if drawn != map {
        let message = "the table of rooms is not the code's: `cargo xtask tidy --write`";
        findings.push(Finding::error("rooms", MAP, 1, message));
    }
    findings.extend(abi.check(&abi::recorded(&workspace.root)));
    let findings = ledger.apply(findings);
    for finding in &findings {
        eprintln!("{finding}");
    }
    let errors = findings.iter().filter(|finding| !finding.is_warning).count();
    if errors > 0 {
        bail!("house rules broken: {errors}");
    }
    say(format_args!("tidy: {} files keep the house rules", files.len()));
    Ok(())
}

/// The paths of the checkout, each with a zero behind it. What is not yet added is checked
/// too; what is ignored is not ours.
fn list(workspace: &Workspace) -> Result<String> {
    let mut git = Command::new("git");
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    sh::capture(git.current_dir(&workspace.root).args(arguments))
}

/// All that is wrong in these files, which are path and text.
fn in_files(files: &[(&str, String)]) -> Vec<Finding> {
    let paths: Vec<_> = files.iter().map(|(path, _)| *path).collect();
    let mut findings = Vec::new();
    let mut sources = Sources::new();
    for (path, text) in files {
        let mut passages = Vec::new();
        if path.ends_with(".rs") {
            let stream =
                text.parse::<proc_macro2::TokenStream>().map_err(|error| error.to_string());
            let read = stream.and_then(|stream| {
                passages = prose::of_rust(text, stream.clone());
                Source::read(text, stream).map_err(|error| error.to_string())
            });
            match read {
                Ok(source) => _ = sources.insert((*path).to_owned(), source),
                Err(error) => findings.push(Finding::error("house", path, 1, error)),
            }
        } else if path.ends_with(".md") {
            passages = prose::of_markdown(text);
        }
        let source = sources.get(*path);
        let before_tests = match source {
            Some(source) if !rules::is_tests(path) => source.before_tests,
            _ => 0,
        };
        findings.extend(rules::check(path, text, source));
        findings.extend(links::check(path, text, &paths));
        findings.extend(words::check(path, &passages, before_tests));
        findings.extend(rfc::check(path, &passages));
    }
    let manifests = files.iter().filter(|(path, _)| path.ends_with("Cargo.toml"));
    let manifests: Vec<_> = manifests.map(|(path, text)| (*path, text.as_str())).collect();
    let house = House::build(&sources, &manifests);
    findings.extend(house.dead_files());
    findings.extend(cycles::check(&house));
    findings.extend(rooms::check(&house, &manifests));
    findings
}

/// The map with the table of rooms as the code has it.
fn drawn(map: &str) -> Result<String> {
    let (before, rest) = map.split_once(BEGIN).context("ARCHITECTURE.md has no table of rooms")?;
    let (_, after) = rest.split_once(END).context("the table of rooms has no end")?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", rooms::printed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_sees_the_files() {
        let file = |path, text: &str| (path, text.to_owned());
        let findings = in_files(&[
            file("x/Cargo.toml", "[lints]\nworkspace = true\n"),
            file("x/src/lib.rs", &["mod a;\nmod b;\n// What is in force. RFC", "-1\n"].concat()),
            file("x/src/a.rs", "use super::b::B;\npub struct A;"),
            file(
                "x/src/b.rs",
                &format!("pub struct B(crate::a::A);\nfn f() {{{}}}", "\n".repeat(90)),
            ),
            file("x/src/c.rs", "fn f("),
            file("x/src/d.rs", "fn f() { unsafe { g() } }"),
            file("docs/x.md", "See `docs/y.md`.\n"),
        ]);
        let mut rules: Vec<_> = findings.iter().map(|finding| finding.rule).collect();
        rules.sort_unstable();
        rules.dedup();
        let expected = ["cycle", "dead", "function", "house", "links", "rfc", "rooms", "words"];
        assert_eq!(rules, expected, "{findings:?}");
    }

    #[test]
    fn the_table_of_rooms_is_drawn_between_its_lines() {
        let map = format!("a\n{BEGIN}old\n{END}b\n");
        let shown = drawn(&map).unwrap();
        assert!(shown.starts_with("a\n") && shown.ends_with("b\n") && !shown.contains("old"));
        assert!(shown.contains("\n| `policy` | what decides | "), "{shown}");
        assert_eq!(drawn(&shown).unwrap(), shown);
        assert!(drawn("no table").is_err());
    }
}
