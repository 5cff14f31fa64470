//! `fuzz`: a bounded run of each fuzz target, guided by coverage, under
//! AddressSanitizer.
//!
//! The compiler at hand does it: `RUSTC_BOOTSTRAP` opens what cargo-fuzz wants a
//! nightly for. libFuzzer itself comes as source with a crate, and needs a C++ compiler,
//! which is fetched where the host has none.
//! All is built in a target folder of its own, for the target by name, so that build
//! scripts and macros are not instrumented.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};

use crate::setup;
use crate::sh::{self, Workspace, say};

/// The target that is instrumented; the same as the host, but by name.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// What the compiler adds: counters of edges and comparisons for libFuzzer, and the
/// checks of AddressSanitizer. These are cargo-fuzz's.
const FLAGS: [&str; 8] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Zsanitizer=address",
    "-Cdebug-assertions",
];

/// The seconds of a target in `test`, and where nothing else is asked for.
pub(crate) const SECONDS: u32 = 5;

/// The most memory of a target in megabytes: several times what the largest input needs.
const MEMORY: u32 = 2048;

/// The seconds that one input may take; a busy machine is no finding.
const INPUT_SECONDS: u32 = 25;

/// `cargo xtask fuzz [TARGET] [--seconds N]`.
pub(crate) fn run(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    setup::ensure_toolchain(workspace)?;
    run_targets(workspace, target, seconds)
}

/// The stage of `test`: every target, shortly.
pub(crate) fn stage(workspace: &Workspace) -> Result<()> {
    run_targets(workspace, None, SECONDS)
}

fn run_targets(workspace: &Workspace, target: Option<&str>, seconds: u32) -> Result<()> {
    let fuzz = workspace.root.join("tests/fuzz");
    let targets = targets(&fuzz.join("fuzz_targets"))?;
    let chosen: Vec<_> = match target {
        None => targets.iter().map(String::as_str).collect(),
        Some(target) => {
            let known = targets.iter().any(|known| known == target);
            ensure!(known, "no fuzz target '{target}'; there are: {}", targets.join(", "));
            vec![target]
        }
    };
    let start = Instant::now();
    let programs = build(workspace, &fuzz, target)?;
    say(format_args!("fuzz: built in {:.0} s", start.elapsed().as_secs_f64()));
    let mut failed = Vec::new();
    for target in chosen {
        match run_one(workspace, &fuzz, &programs.join(target), target, seconds) {
            Ok(line) => say(format_args!("fuzz: {target}: {line}")),
            Err(error) => {
                eprintln!("{error:#}");
                failed.push(target);
            }
        }
    }
    ensure!(failed.is_empty(), "fuzz targets that found something: {}", failed.join(", "));
    Ok(())
}

/// The names of the targets: a file each.
fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).with_context(|| format!("no {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Builds all targets, or one, and returns the folder of the programs.
fn build(workspace: &Workspace, fuzz: &Path, target: Option<&str>) -> Result<PathBuf> {
    let cxx = setup::ensure_cxx(workspace)?;
    let mut flags: Vec<_> = FLAGS.map(str::to_owned).into();
    flags.extend(cxx.libraries.map(|folder| format!("-Lnative={}", folder.display())));
    let folder = workspace.target().join("fuzz");
    let mut cargo = workspace.cargo(["build", "--locked", "--quiet", "--target", TARGET]);
    cargo.arg("--manifest-path").arg(fuzz.join("Cargo.toml"));
    match target {
        None => cargo.arg("--bins"),
        Some(target) => cargo.args(["--bin", target]),
    };
    cargo
        .env("CARGO_TARGET_DIR", &folder)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .envs(cxx.environment)
        .env("RUSTC_BOOTSTRAP", "1");
    sh::run(&mut cargo)?;
    Ok(folder.join(TARGET).join("debug"))
}

/// Runs a target on a copy of its corpus, and says in a line how far it came.
///
/// # Errors
///
/// Something was found: its output, the bytes, and how to run them again.
fn run_one(
    workspace: &Workspace,
    fuzz: &Path,
    program: &Path,
    target: &str,
    seconds: u32,
) -> Result<String> {
    // What a run finds new is no part of the checkout.
    let corpus = workspace.target().join("fuzz/corpus").join(target);
    sh::remove(&corpus)?;
    fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let found = fuzz.join("artifacts").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;

    let mut command = Command::new(program);
    command
        .current_dir(&workspace.root)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-timeout={INPUT_SECONDS}"))
        .arg(format!("-artifact_prefix={}/", found.display()))
        .args(["-print_final_stats=1", "-use_value_profile=1"])
        // The first folder is written to, the others are only read.
        .arg(&corpus);
    if seconds <= SECONDS {
        // A short run is a test, and begins the same way each time; a long one searches.
        command.arg("-seed=1");
    }
    for folder in ["corpus", "regressions"].map(|folder| fuzz.join(folder).join(target)) {
        if folder.is_dir() {
            command.arg(folder);
        }
    }
    let output =
        command.output().with_context(|| format!("{} did not start", program.display()))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(summary(&text));
    }
    let again = reproducer(&text).map_or_else(String::new, |file| {
        format!(
            "\nThe bytes are in {file}\nAgain: {} {file}\nOnce it is mended, they belong in \
             tests/fuzz/regressions/{target}/ under a name that says what they are",
            program.display()
        )
    });
    bail!("{text}\nfuzz: {target}: {}{again}", output.status)
}

/// How many inputs were run and how much of the code they reached.
fn summary(text: &str) -> String {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches([':', ' ']).split_whitespace().next()
    };
    // `#4096 pulse cov: 1234 ft: 5678 corp: 90/12Kb …`; the last line is the furthest.
    let reached = text.lines().rev().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word != "cov:");
        words.nth(1)
    });
    format!(
        "{} inputs, {} edges, {} MB",
        value("stat::number_of_executed_units").unwrap_or("?"),
        reached.unwrap_or("?"),
        value("stat::peak_rss_mb").unwrap_or("?")
    )
}

/// The file that libFuzzer wrote the bytes to.
fn reproducer(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.split_once("Test unit written to ")).map(|(_, file)| file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_understood() {
        let text = "#2\tINITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 40Mb\n\
                    #9000\tDONE   cov: 345 ft: 900 corp: 80/2Kb lim: 400 exec/s: 900 rss: 90Mb\n\
                    Done 9000 runs in 6 second(s)\n\
                    stat::number_of_executed_units: 9000\n\
                    stat::peak_rss_mb:              91\n";
        assert_eq!(summary(text), "9000 inputs, 345 edges, 91 MB");
        assert_eq!(reproducer(text), None);
        let text = "artifact_prefix='a/'; Test unit written to a/crash-0\nBase64: AA==\n";
        assert_eq!(reproducer(text), Some("a/crash-0"));
    }

    #[test]
    fn each_target_is_a_file() {
        let folder = Workspace::find().unwrap().root.join("tests/fuzz/fuzz_targets");
        assert!(targets(&folder).unwrap().contains(&"smtp_session".to_owned()));
    }
}
