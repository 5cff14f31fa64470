//! `test`: every check there is, in one way, for people and for CI.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{self, Workspace, say};
use crate::{audit, ebpf, fuzz, setup, tidy};

/// Its name and its code; the stages run in this order.
type Stage = (&'static str, fn(&Workspace) -> Result<()>);

const STAGES: &[Stage] = &[
    ("format", format),
    ("tidy", tidy::check),
    ("dependencies", audit::check),
    ("lints", lints),
    ("lints of the eBPF program", ebpf::clippy),
    ("documentation", documentation),
    ("build", build),
];

/// Everything but the program for the kernel, which has a target of its own.
const HOST_CRATES: [&str; 4] = ["--locked", "--workspace", "--exclude", "filter-ebpf"];

/// `cargo xtask test [FILTER]`: the stages, and the tests whose names have
/// FILTER in them. Where FILTER names a file or folder of `tests/tests`, its tests run
/// alone, without the other stages.
pub(crate) fn run(workspace: &Workspace, filter: Option<&str>) -> Result<()> {
    // A missing privilege is a failure and never a skip.
    ensure!(
        sh::is_root(),
        "the tests load programs into the kernel and make namespaces: run them as root, or with sudo"
    );
    let start = Instant::now();
    setup::ensure_toolchain(workspace)?;
    setup::ensure_peers(workspace)?;
    if let Some(name) = filter
        && is_target(workspace, name)
    {
        timed("build", || build(workspace))?;
        let tally = timed("tests", || tests(workspace, &Selection::Target(name)))?;
        ensure!(tally.passed + tally.failed > 0, "no test was run");
        println!("{}", tally.line());
        return Ok(());
    }
    for (name, stage) in STAGES {
        timed(name, || stage(workspace))?;
    }
    let mut tally = timed("tests", || tests(workspace, &Selection::All(filter)))?;
    ensure!(tally.passed + tally.failed > 0, "no test was run");
    for engine in ["trie", "ranges"] {
        let name = format!("tests of the packet filter, {engine}");
        let of_engine =
            timed(&name, || tests(workspace, &Selection::PacketFilter { engine, filter }))?;
        tally.add_all(&of_engine);
    }
    if filter.is_none() {
        timed("fuzz targets", || fuzz::stage(workspace))?;
    }
    say(format_args!("all checks passed in {:.0} s", start.elapsed().as_secs_f64()));
    // Test programs print their own counts one by one; this is their sum.
    println!("{}", tally.line());
    Ok(())
}

fn timed<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    say(format_args!("== {name}"));
    let start = Instant::now();
    let outcome = work();
    let verdict = if outcome.is_ok() { "ok" } else { "FAILED" };
    say(format_args!("== {name}: {verdict}, {:.1} s", start.elapsed().as_secs_f64()));
    outcome.with_context(|| format!("{name} failed"))
}

fn format(workspace: &Workspace) -> Result<()> {
    sh::run(&mut workspace.cargo(["fmt", "--all", "--check"]))
}

fn lints(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo(["clippy"]);
    sh::run(cargo.args(HOST_CRATES).args(["--all-targets", "--keep-going", "--", "-D", "warnings"]))
}

fn documentation(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo(["doc"]);
    cargo.args(HOST_CRATES).args(["--no-deps", "--document-private-items", "--keep-going"]);
    // The documentation is for those who work here, private items and all, so a
    // link to one is no mistake.
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    sh::run(cargo.env("RUSTDOCFLAGS", flags))
}

/// Builds all that runs on this host.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    sh::run(workspace.cargo(["build"]).args(HOST_CRATES))
}

/// What is run again with either engine forced.
const PACKET_FILTER: [&str; 4] = ["vectors", "traffic", "generations", "life"];

/// Which tests to run.
enum Selection<'a> {
    /// All whose names contain the filter.
    All(Option<&'a str>),
    /// Those of the packet filter, with one engine forced.
    PacketFilter { engine: &'a str, filter: Option<&'a str> },
    /// Those of one file or folder of `tests/tests`.
    Target(&'a str),
}

/// Whether a file or folder of `tests/tests` has this name.
fn is_target(workspace: &Workspace, name: &str) -> bool {
    let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let folder = workspace.root.join("tests/tests");
    is_plain
        && (folder.join(format!("{name}.rs")).is_file()
            || folder.join(name).join("main.rs").is_file())
}

fn tests(workspace: &Workspace, selection: &Selection<'_>) -> Result<Tally> {
    let mut cargo = workspace.cargo(["test"]);
    let filter = match *selection {
        Selection::All(filter) => {
            cargo.args(HOST_CRATES);
            filter
        }
        Selection::PacketFilter { engine, filter } => {
            cargo.args(["--locked", "--package", "mxdp-tests"]).env("MXDP_TEST_ENGINE", engine);
            cargo.args(PACKET_FILTER.iter().flat_map(|name| ["--test", name]));
            filter
        }
        Selection::Target(name) => {
            cargo.args(["--locked", "--package", "mxdp-tests", "--test", name]);
            None
        }
    };
    cargo
        .arg("--no-fail-fast")
        .args(filter)
        .env("MXDP_BIN", workspace.target().join("debug/mxdp"))
        // Each test takes the peers' paths from there; as search paths for all
        // they would reach programs that are not theirs.
        .env("MXDP_PEERS", workspace.target().join("peers"));
    count(&mut cargo, &mut std::io::stdout())
}

/// Runs `cargo test`, passes its output on, and adds up the results.
fn count(cargo: &mut Command, out: &mut impl Write) -> Result<Tally> {
    let mut child = cargo
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("{cargo:?} did not start"))?;
    let mut tally = Tally::default();
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
        tally.add(&String::from_utf8_lossy(&line));
    }
    let status = child.wait()?;
    if !status.success() {
        writeln!(out, "{}", tally.line())?;
        bail!("{cargo:?} ended with {status}");
    }
    Ok(tally)
}

/// The sum of what test programs report.
#[derive(Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Tally {
    /// Adds `test result: ok. 3 passed; 0 failed; 1 ignored; …`, if it is that.
    pub(crate) fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let number: u64 = number.parse().unwrap_or_default();
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    pub(crate) fn line(&self) -> String {
        let skipped =
            if self.ignored == 0 { String::new() } else { format!(", {} skipped", self.ignored) };
        format!("{} passed, {} failed{skipped}", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_add_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 10 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.1s",
            "test one ... ok",
        ] {
            tally.add(line);
        }
        assert_eq!(tally, Tally { passed: 13, failed: 2, ignored: 1 });
        assert_eq!(tally.line(), "13 passed, 2 failed, 1 skipped");
        assert_eq!(Tally { passed: 1, failed: 0, ignored: 0 }.line(), "1 passed, 0 failed");
    }

    #[test]
    fn output_is_counted_and_a_failure_told() {
        let script = "echo 'test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured'; exit";
        let mut shown = Vec::new();
        let mut run = |code: u8| {
            let script = format!("{script} {code}");
            count(Command::new("sh").args(["-c", &script]), &mut shown)
        };
        assert_eq!(run(0).unwrap().passed, 2);
        assert!(run(1).is_err());
        assert!(String::from_utf8(shown).unwrap().ends_with("\n2 passed, 0 failed\n"));
    }
}
