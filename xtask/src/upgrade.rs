//! `upgrade REV`: from a daemon of another commit to this one and back, under traffic.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::setup;
use crate::sh::{self, Workspace};

/// `cargo xtask upgrade REV`.
pub(crate) fn run(workspace: &Workspace, revision: &str) -> Result<()> {
    if !sh::is_root() {
        bail!("namespaces and the filter need root");
    }
    setup::ensure_toolchain(workspace)?;
    setup::ensure_peers(workspace)?;
    let former = build(workspace, revision)?;
    let build = ["build", "--locked", "--package", "filter-userspace", "--bin", "mxdp"];
    sh::run(&mut workspace.cargo(build))?;
    let mut cargo = workspace.cargo(["run", "--locked", "--package", "mxdp-tests"]);
    cargo.env("MXDP_PEERS", workspace.target().join("peers"));
    cargo.env("MXDP_BIN", workspace.target().join("debug/mxdp"));
    sh::run(cargo.args(["--bin", "upgrade", "--"]).arg(former))
}

/// Builds a commit's mxdp in `target/former`, with the toolchain of this one.
fn build(workspace: &Workspace, revision: &str) -> Result<PathBuf> {
    let git = || {
        let mut git = Command::new("git");
        git.current_dir(&workspace.root);
        git
    };
    let commit = format!("{revision}^{{commit}}");
    let commit = sh::capture(git().args(["rev-parse", "--verify", "--quiet", &commit]))
        .with_context(|| format!("{revision} is not a commit of this repository"))?;
    let commit = commit.trim();
    let folder = workspace.target().join("former");
    let sources = folder.join(commit);
    sh::remove(&sources)?;
    std::fs::create_dir_all(&sources).with_context(|| sources.display().to_string())?;
    let archive = folder.join("sources.tar");
    sh::run(git().args(["archive", "--output"]).arg(&archive).arg(commit))?;
    sh::run(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(&sources))?;
    sh::say(format_args!("building mxdp as of {}", &commit[..12.min(commit.len())]));
    let build = ["build", "--locked", "--package", "filter-userspace", "--bin", "mxdp"];
    let mut cargo = workspace.cargo(build);
    cargo.arg("--manifest-path").arg(sources.join("Cargo.toml"));
    cargo.env("CARGO_TARGET_DIR", folder.join("target"));
    cargo.env("MXDP_EBPF_TOOLCHAIN", workspace.target().join("ebpf-toolchain/env"));
    sh::run(&mut cargo).with_context(|| format!("{revision} does not build"))?;
    Ok(folder.join("target/debug/mxdp"))
}
