//! `bench NAME`: each `tests/src/bin/bench-NAME.rs` is a benchmark.

use std::fs;

use anyhow::{Result, bail};

use crate::setup;
use crate::sh::{self, Workspace};

/// `cargo xtask bench [NAME [ARGS]]`.
pub(crate) fn run(workspace: &Workspace, name: Option<&str>, rest: &[String]) -> Result<()> {
    let known = known(workspace);
    let list = if known.is_empty() { "none yet".to_owned() } else { known.join(", ") };
    let Some(name) = name else {
        println!("benchmarks: {list}");
        return Ok(());
    };
    if !known.iter().any(|known| known == name) {
        bail!("no benchmark '{name}'; there are: {list}");
    }
    setup::ensure_toolchain(workspace)?;
    setup::ensure_peers(workspace)?;
    // Some measure the program itself, which then stands beside them.
    sh::run(&mut workspace.cargo([
        "build",
        "--locked",
        "--release",
        "--package",
        "filter-userspace",
        "--bin",
        "mxdp",
    ]))?;
    let binary = format!("bench-{name}");
    let mut cargo = workspace.cargo(["run", "--locked", "--release", "--package", "mxdp-tests"]);
    cargo.env("MXDP_PEERS", workspace.target().join("peers"));
    cargo.env("MXDP_BIN", workspace.target().join("release/mxdp"));
    sh::run(cargo.args(["--bin", &binary, "--"]).args(rest))
}

fn known(workspace: &Workspace) -> Vec<String> {
    let entries =
        fs::read_dir(workspace.root.join("tests/src/bin")).into_iter().flatten().flatten();
    let mut names: Vec<_> =
        entries.filter_map(|entry| name(&entry.file_name().to_string_lossy())).collect();
    names.sort();
    names
}

/// `bench-lists.rs` and the folder `bench-lists` are `lists`.
fn name(file: &str) -> Option<String> {
    let stem = file.strip_prefix("bench-")?;
    Some(stem.strip_suffix(".rs").unwrap_or(stem).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn benchmarks_are_named_by_their_files() {
        assert_eq!(name("bench-lists.rs").as_deref(), Some("lists"));
        assert_eq!(name("bench-packets").as_deref(), Some("packets"));
        assert_eq!(name("serve.rs"), None);
    }
}
