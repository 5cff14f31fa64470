//! Programs of cargo's registry that the commands call, at a pinned version each.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::sh::{self, Workspace, say};

/// A program, the crate that it is built from, and the version that is used.
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// Further arguments of `cargo install`.
    pub(crate) arguments: &'static [&'static str],
}

impl Tool {
    /// Where the program is. It is built under `target/tools` where it is missing.
    pub(crate) fn ensure(&self, workspace: &Workspace) -> Result<PathBuf> {
        let Self { name, version, arguments } = *self;
        let root = workspace.target().join("tools").join(format!("{name}-{version}"));
        let program = root.join("bin").join(name);
        if program.is_file() {
            return Ok(program);
        }
        say(format_args!("building {name} {version} (a few minutes)"));
        let scratch = workspace.target().join("tools/build");
        let mut cargo = workspace.cargo(["install", name, "--version", version, "--locked"]);
        cargo
            .args(arguments)
            .args(["--no-track", "--root"])
            .arg(&root)
            .env("CARGO_TARGET_DIR", &scratch)
            // It runs for a second: what counts is how long it takes to build.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
            .env("CARGO_PROFILE_RELEASE_LTO", "off");
        sh::run(&mut cargo).with_context(|| format!("{name} did not build"))?;
        sh::remove(&scratch)?;
        Ok(program)
    }
}
