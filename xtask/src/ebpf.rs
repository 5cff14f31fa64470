//! The eBPF program as cargo sees it: which compiler, which flags.
//!
//! `filter-userspace/build.rs` builds the program that is embedded, from the same
//! description; here it is only checked.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::sh::{self, Workspace};

/// `target/ebpf-toolchain/env`.
pub(crate) struct Description(Vec<(String, String)>);

impl Description {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Ok(Self(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    fn path(&self, key: &str) -> Result<&Path> {
        self.get(key).map(Path::new).with_context(|| format!("the eBPF toolchain has no {key}"))
    }
}

include!("../../filter-ebpf/compile.rs");

/// Lints the eBPF program, for its own target and with its own compiler's clippy.
pub(crate) fn clippy(workspace: &Workspace) -> Result<()> {
    let toolchain = Description::read(&workspace.target().join("ebpf-toolchain/env"))?;
    let mut cargo = workspace.cargo(["check", "--locked", "--package", "filter-ebpf"]);
    configure(
        &mut cargo,
        toolchain.path("RUSTC")?,
        toolchain.path("LINKER")?,
        std::env::consts::ARCH,
        toolchain.get("BUILD_STD") == Some("1"),
    );
    // This is what cargo-clippy does; it cannot be called itself, since it takes
    // the clippy-driver beside it and not the one of the BPF compiler.
    cargo
        .env(
            "RUSTC_WORKSPACE_WRAPPER",
            toolchain.path("CLIPPY").context("fetch one that has clippy")?,
        )
        .env("CLIPPY_ARGS", "-Dwarnings__CLIPPY_HACKERY__")
        .env("CARGO_TARGET_DIR", workspace.target().join("ebpf-clippy"));
    sh::run(&mut cargo)
}
