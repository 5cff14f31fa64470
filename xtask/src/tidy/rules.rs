//! The rules, one function each.

use super::finding::Finding;
use super::source::{Source, Token};

/// Lines before the tests.
const LONG: usize = 350;
const TOO_LONG: usize = 450;

/// Lines of a function, from `fn` to its closing brace.
const LONG_FUNCTION: usize = 70;

/// All breaches in the file `path` (relative to the workspace) with this text, and what is
/// in it if it is Rust.
pub(super) fn check(path: &str, text: &str, source: Option<&Source>) -> Vec<Finding> {
    let mut findings = Findings { path, list: Vec::new() };
    machine_paths(text, &mut findings);
    if let Some(source) = source {
        rust(path, text, source, &mut findings);
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
        self.list.push(Finding::error("house", self.path, line, message));
    }
}

fn rust(path: &str, text: &str, source: &Source, findings: &mut Findings<'_>) {
    half_done(text, &source.tokens, findings);
    unsafe_code(path, &source.tokens, findings);
    if !is_tests(path) {
        length(source, findings);
    }
}

/// Whether the whole file is tests: in a crate's `tests` folder, or a module of
/// tests that has a file of its own.
pub(super) fn is_tests(path: &str) -> bool {
    let inside_crate = path.split_once('/').map_or(path, |(_, inside)| inside);
    let mut parts = inside_crate.trim_end_matches(".rs").split('/');
    parts.any(|part| part == "tests")
}

fn length(source: &Source, findings: &mut Findings<'_>) {
    let lines = source.before_tests;
    if lines > LONG {
        let message =
            format!("{lines} lines before the tests, {TOO_LONG} at most: split it by purpose");
        let finding = Finding::error("length", findings.path, lines, message);
        findings.list.push(if lines > TOO_LONG { finding } else { finding.warning() });
    }
    for function in source.functions.iter().filter(|function| function.lines > LONG_FUNCTION) {
        let message = format!(
            "the function {} has {} lines, {LONG_FUNCTION} at most: split it by purpose",
            function.name, function.lines
        );
        let finding = Finding::error("function", findings.path, function.line, message);
        findings.list.push(finding.known_as(&function.name));
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

/// A path of somebody's machine means nothing to a reader.
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

    fn read(text: &str) -> Source {
        Source::read(text, text.parse().unwrap()).unwrap()
    }

    fn errors(path: &str, text: &str) -> Vec<(usize, String)> {
        let source = path.ends_with(".rs").then(|| read(text));
        let findings = check(path, text, source.as_ref()).into_iter();
        let findings = findings.filter(|finding| !finding.is_warning);
        findings.map(|finding| (finding.line, finding.message)).collect()
    }

    fn fails(path: &str, text: &str) {
        assert!(!errors(path, text).is_empty(), "must fail in {path}: {text}");
    }

    fn passes(path: &str, text: &str) {
        assert_eq!(errors(path, text), [], "must pass in {path}: {text}");
    }

    #[test]
    fn the_shared_crate_has_no_dependencies() {
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
        passes("xtask/src/run.rs", "// what is to do: todo\nfn todo() {}");
    }

    #[test]
    fn files_stay_short_before_their_tests() {
        let lines = |count: usize| "const A: u8 = 1;\n".repeat(count);
        passes("tests/src/a.rs", &lines(TOO_LONG));
        let warnings = |text: &str| check("tests/src/a.rs", text, Some(&read(text))).len();
        assert_eq!((warnings(&lines(LONG)), warnings(&lines(LONG + 1))), (0, 1));
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
    fn functions_stay_short() {
        let function = |lines: usize| format!("fn f() {{{}}}\n", "\n".repeat(lines - 1));
        passes("tests/src/a.rs", &function(LONG_FUNCTION));
        fails("tests/src/a.rs", &function(LONG_FUNCTION + 1));
        passes("tests/tests/a.rs", &function(LONG_FUNCTION + 1));
        passes("tests/src/a.rs", &format!("#[cfg(test)]\n{}", function(LONG_FUNCTION + 1)));
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
