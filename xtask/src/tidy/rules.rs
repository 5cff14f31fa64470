//! The rules, one function each.

use super::Finding;
use super::source::{Named, Token, paths, tokens};

/// Lines before the tests.
const LONG: usize = 350;
const TOO_LONG: usize = 450;

/// The rooms of `filter-userspace/src` that decide and never act.
const PURE_ROOMS: [&str; 6] = ["dns", "lists", "policy", "record", "smtp", "spf"];
const OUTER_ROOMS: [&str; 7] = ["io", "store", "control", "web", "cli", "config", "main"];

/// All breaches in the file `path` (relative to the workspace) with this text.
pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Findings { path, list: Vec::new() };
    machine_paths(text, &mut findings);
    if path.ends_with(".rs") {
        rust(path, text, &mut findings);
    }
    if let Some(folder) = path.strip_suffix("/Cargo.toml") {
        manifest(folder, text, &mut findings);
    }
    findings.list
}

struct Findings<'a> {
    path: &'a str,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn error(&mut self, line: usize, message: impl Into<String>) {
        self.add(line, message.into(), false);
    }

    fn add(&mut self, line: usize, message: String, is_warning: bool) {
        let path = self.path.to_owned();
        self.list.push(Finding { path, line, message, is_warning });
    }
}

fn rust(path: &str, text: &str, findings: &mut Findings<'_>) {
    let all = tokens(text);
    half_done(text, &all, findings);
    unsafe_code(path, &all, findings);

    if is_tests(path) {
        return;
    }
    let body = before_tests(text, &all);
    length(body, findings);
    let named =
        paths(&all.iter().take_while(|token| token.line <= body).cloned().collect::<Vec<_>>());
    if let Some(inside) = path.strip_prefix("filter-userspace/src/") {
        imports(inside, &named, findings);
    }
    if path.starts_with("filter-common/src/") {
        only_core(&named, findings);
    }
}

/// Whether the whole file is tests: in a crate's `tests` folder, or a module of
/// tests that has a file of its own.
fn is_tests(path: &str) -> bool {
    let inside_crate = path.split_once('/').map_or(path, |(_, inside)| inside);
    let mut parts = inside_crate.trim_end_matches(".rs").split('/');
    parts.any(|part| part == "tests")
}

/// The number of lines before the file's test module.
fn before_tests(text: &str, tokens: &[Token]) -> usize {
    let attribute = ["#", "[", "cfg", "(", "test", ")", "]", "mod"];
    let is_module = |window: &[Token]| {
        let (head, rest) = window.split_at(attribute.len());
        // One in another file does not end this one.
        head.iter().map(|token| token.text.as_str()).eq(attribute) && rest[1].text == "{"
    };
    let found = tokens.windows(attribute.len() + 2).find(|window| is_module(window));
    found.map_or_else(|| text.lines().count(), |window| window[0].line - 1)
}

fn length(lines: usize, findings: &mut Findings<'_>) {
    if lines > LONG {
        let message =
            format!("{lines} lines before the tests, {TOO_LONG} at most: split it by purpose");
        findings.add(lines, message, lines <= TOO_LONG);
    }
}

/// Nothing half-done stays, and no test is left out.
fn half_done(text: &str, tokens: &[Token], findings: &mut Findings<'_>) {
    let mark = ["FIX", "ME"].concat();
    for (index, line) in text.lines().enumerate() {
        if line.contains(&mark) {
            findings.error(index + 1, format!("{mark}: do it, or file an issue"));
        }
    }
    for window in tokens.windows(3) {
        let [first, second, third] = window else {
            continue;
        };
        if first.text == "todo" && second.text == "!" {
            findings.error(first.line, "todo!: do it, or file an issue");
        }
        if first.text == "#" && second.text == "[" && third.text == "ignore" {
            findings.error(first.line, "an ignored test: a missing tool or privilege is a failure");
        }
    }
}

/// Unsafe code is where the kernel is, and nowhere else.
fn unsafe_code(path: &str, tokens: &[Token], findings: &mut Findings<'_>) {
    let kernel_edge = ["filter-ebpf/src/", "filter-userspace/src/io/kernel"];
    if kernel_edge.iter().any(|allowed| path.starts_with(allowed)) {
        return;
    }
    for token in tokens.iter().filter(|token| token.text == "unsafe") {
        findings.error(token.line, "unsafe outside the kernel edge");
    }
}

/// Imports run downwards: what decides has no clock, no socket, no file, and
/// does not know who calls it.
fn imports(inside: &str, named: &[Named], findings: &mut Findings<'_>) {
    let modules: Vec<_> =
        inside.trim_end_matches(".rs").trim_end_matches("/mod").split('/').collect();
    let Some(room) = modules.first().filter(|room| PURE_ROOMS.contains(room)) else {
        return;
    };
    for path in named {
        let path = &from_the_crate(&modules, path);
        let outer = OUTER_ROOMS.iter().any(|outer| path.starts_with(&format!("crate::{outer}")));
        let library = ["tokio", "aya", "std::fs", "std::os", "std::process"]
            .iter()
            .any(|name| path.starts_with(name));
        let act = ["TcpStream", "TcpListener", "UdpSocket", "Instant::now", "SystemTime::now"];
        if outer || library || act.iter().any(|name| path.contains(name)) {
            findings.error(
                path.line,
                format!("{room} is pure and must not use {}", path.segments.join("::")),
            );
        }
    }
}

/// `super::super::io` in the module `lists::parse` is `crate::io`.
fn from_the_crate(modules: &[&str], path: &Named) -> Named {
    let ups = path.segments.iter().take_while(|segment| *segment == "super").count();
    if ups == 0 || ups > modules.len() {
        return path.clone();
    }
    let above = modules[..modules.len() - ups].iter().map(|module| (*module).to_owned());
    let segments = std::iter::once("crate".to_owned())
        .chain(above)
        .chain(path.segments[ups..].iter().cloned());
    Named { segments: segments.collect(), line: path.line }
}

/// The kernel has neither an allocator nor an operating system.
fn only_core(named: &[Named], findings: &mut Findings<'_>) {
    for path in named.iter().filter(|path| path.segments.len() > 1) {
        if ["std", "alloc"].iter().any(|library| path.starts_with(library)) {
            findings.error(
                path.line,
                format!("filter-common is for the kernel too: no {}", path.segments.join("::")),
            );
        }
    }
}

/// Every crate inherits the ledger of lints.
fn manifest(folder: &str, text: &str, findings: &mut Findings<'_>) {
    let mut section = "";
    // A workspace of its own, as cargo-fuzz wants it, has nothing to inherit.
    let mut inherits = text.contains("\n[workspace]\n") && text.contains("unsafe_code = \"deny\"");
    for (index, line) in text.lines().map(str::trim).enumerate() {
        if line.starts_with('[') {
            section = line;
        } else if section == "[lints]" && line.replace(' ', "") == "workspace=true" {
            inherits = true;
        } else if folder == "filter-common" && section == "[dependencies]" && line.contains('=') {
            findings.error(index + 1, "filter-common is for the kernel too: no dependencies");
        }
    }
    if !inherits {
        findings.error(1, "the crate does not inherit the lints: [lints] workspace = true");
    }
}

/// A path of somebody's machine is none of the reader's.
fn machine_paths(text: &str, findings: &mut Findings<'_>) {
    let patterns = ["home", "root", "work", "Users"].map(|folder| format!("/{folder}/"));
    for (index, line) in text.lines().enumerate() {
        for pattern in &patterns {
            let starts_a_path = |at: usize| {
                !line[..at].ends_with(|letter: char| {
                    letter.is_alphanumeric() || "._-~/}$*".contains(letter)
                })
            };
            if line.match_indices(pattern.as_str()).any(|(at, _)| starts_a_path(at)) {
                findings.error(index + 1, format!("a path of one machine: {pattern}…"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(path: &str, text: &str) -> Vec<(usize, String)> {
        let findings = check(path, text).into_iter().filter(|finding| !finding.is_warning);
        findings.map(|finding| (finding.line, finding.message)).collect()
    }

    fn fails(path: &str, text: &str) {
        assert!(!errors(path, text).is_empty(), "must fail in {path}: {text}");
    }

    fn passes(path: &str, text: &str) {
        assert_eq!(errors(path, text), [], "must pass in {path}: {text}");
    }

    #[test]
    fn what_decides_does_not_act() {
        let path = "filter-userspace/src/lists/parse.rs";
        for text in [
            "use tokio::sync::mpsc;",
            "use aya::Ebpf;",
            "use std::{collections::BTreeMap, fs};",
            "fn f() { std::fs::read(p); }",
            "use std::net::{IpAddr, TcpStream};",
            "use std::net; fn f() { net::UdpSocket::bind(a); }",
            "fn f() { Instant::now(); }",
            "fn f() { std::time::SystemTime::now(); }",
            "use crate::{lists, io::kernel};",
            "use crate::config::Config;",
            "use super::super::store::Event;",
            "use super::super::{lists, web};",
        ] {
            fails(path, text);
        }
        for text in [
            "use std::net::IpAddr; use std::time::{Duration, Instant};",
            "// tokio::spawn, std::fs\nfn f() { g(\"std::fs::read\"); }",
            "use super::class::Class; use super::super::policy::Facts;",
            "use crate::lists::{compile, io};",
            "#[cfg(test)]\nmod tests { use std::fs; }",
        ] {
            passes(path, text);
        }
        passes("filter-userspace/src/io/dns.rs", "use tokio::net::UdpSocket; use crate::config;");
        fails("filter-userspace/src/smtp/mod.rs", "use super::io::Clock;");
        fails("filter-userspace/src/policy.rs", "use crate::io::Clock;");
    }

    #[test]
    fn a_breach_is_told_with_its_place() {
        let findings = check("filter-userspace/src/spf/eval.rs", "\n\nuse crate::store;\n");
        assert_eq!(
            findings[0].to_string(),
            "filter-userspace/src/spf/eval.rs:3: spf is pure and must not use crate::store"
        );
    }

    #[test]
    fn the_shared_crate_needs_core_only() {
        fails("filter-common/src/frame.rs", "use std::vec::Vec;");
        fails("filter-common/src/frame.rs", "fn f() -> alloc::string::String {}");
        passes(
            "filter-common/src/frame.rs",
            "use core::net::IpAddr;\n#[cfg(test)]\nmod tests { use std::vec; }",
        );
        fails(
            "filter-common/Cargo.toml",
            "[dependencies]\nlibc = \"1\"\n[lints]\nworkspace = true\n",
        );
        passes("filter-common/Cargo.toml", "[dependencies]\n\n[lints]\nworkspace = true\n");
    }

    #[test]
    fn unsafe_code_stays_at_the_kernel_edge() {
        fails("tests/src/lib.rs", "fn f() { unsafe { g() } }");
        fails("filter-userspace/src/io/connection.rs", "unsafe fn f() {}");
        passes("filter-userspace/src/io/kernel/maps.rs", "unsafe fn f() {}");
        passes("filter-ebpf/src/main.rs", "unsafe fn f() {}");
        passes("filter-common/src/lib.rs", "#![forbid(unsafe_code)] // unsafe");
    }

    #[test]
    fn nothing_half_done_stays() {
        fails("xtask/src/run.rs", "fn f() { todo!() }");
        fails("xtask/src/run.rs", "#[test]\n#[ignore = \"slow\"]\nfn f() {}");
        fails("xtask/src/run.rs", &["// FIX", "ME later"].concat());
        passes("xtask/src/run.rs", "// what is to do: todo\nlet todo = 1;");
    }

    #[test]
    fn files_stay_short_before_their_tests() {
        let lines = |count: usize| "const A: u8 = 1;\n".repeat(count);
        passes("tests/src/a.rs", &lines(TOO_LONG));
        assert!(check("tests/src/a.rs", &lines(LONG)).is_empty());
        assert!(check("tests/src/a.rs", &lines(LONG + 1)).iter().all(|finding| finding.is_warning));
        fails("tests/src/a.rs", &lines(TOO_LONG + 1));
        passes("tests/tests/vectors.rs", &lines(TOO_LONG + 1));
        passes("filter-userspace/src/lists/compile/tests.rs", &lines(TOO_LONG + 1));
        fails("tests/src/a.rs", &format!("#[cfg(test)]\nmod tests;\n{}", lines(TOO_LONG)));
        passes(
            "tests/src/a.rs",
            &format!("{}#[cfg(test)]\nmod tests {{\n{}}}", lines(LONG), lines(900)),
        );
    }

    #[test]
    fn every_crate_inherits_the_lints() {
        passes("xtask/Cargo.toml", "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n");
        fails("xtask/Cargo.toml", "[package]\nname = \"x\"\n");
        fails(
            "xtask/Cargo.toml",
            "[package]\nversion.workspace = true\n[lints.rust]\nunsafe_code = \"allow\"\n",
        );
        passes("Cargo.toml", "[workspace]\n");
    }

    #[test]
    fn no_path_of_one_machine_is_in_a_file() {
        let path = |folder: &str| format!("see /{folder}/x");
        for folder in ["home/ann", "root", "work"] {
            fails("README.md", &path(folder));
        }
        passes("README.md", "see /etc/mxdp/mxdp.toml, $ROOT/work/x, frame/work/x and framework/x");
    }
}
