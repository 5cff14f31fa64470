//! `build` and `run`.

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::setup;
use crate::sh::{self, Workspace, say};

/// `cargo xtask build [--release]`.
pub(crate) fn build(workspace: &Workspace, release: bool) -> Result<()> {
    setup::ensure_toolchain(workspace)?;
    let mut cargo =
        workspace.cargo(["build", "--locked", "--workspace", "--exclude", "filter-ebpf"]);
    sh::run(cargo.args(release.then_some("--release")))
}

/// `cargo xtask run [-- ARGS]`: mxdp on loopback, with the trial's policy.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    // Told before anything is fetched and built.
    ensure!(sh::is_root(), "loading a packet filter takes root: run this as root, or with sudo");
    setup::ensure_toolchain(workspace)?;
    // The development profile: this is about a quick first start.
    sh::run(&mut workspace.cargo([
        "build",
        "--locked",
        "--package",
        "filter-userspace",
        "--bin",
        "mxdp",
    ]))?;
    if let Ok(text) = fs::read_to_string(workspace.root.join("config/trial.txt")) {
        println!("\n{}\n", text.trim_end());
    }
    let binary = workspace.target().join("debug/mxdp");
    say(format_args!("{} trial -c config/trial.toml; Ctrl-C ends it", binary.display()));
    // Becomes mxdp, so that signals reach it without anything in between.
    let error = Command::new(&binary)
        .args(["trial", "-c", "config/trial.toml"])
        .args(arguments)
        .current_dir(&workspace.root)
        .exec();
    Err(error).with_context(|| format!("cannot run {}", binary.display()))
}
