//! Builds the eBPF program and hands its object to the crate.
//!
//! `cargo xtask setup` leaves a compiler for the BPF target under `target/` and
//! describes it in `target/ebpf-toolchain/env`; this script only uses it, so
//! that a plain `cargo build` always embeds the program of this checkout.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

include!("../filter-ebpf/compile.rs");

fn main() {
    if let Err(message) = build() {
        println!("cargo::error={message}");
    }
}

fn build() -> Result<(), String> {
    let manifest = PathBuf::from(required("CARGO_MANIFEST_DIR")?);
    let workspace = manifest.parent().ok_or("the crate has no workspace around it")?;
    let out = PathBuf::from(required("OUT_DIR")?);

    for input in ["filter-ebpf", "filter-common", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-env-changed=MXDP_EBPF_TOOLCHAIN");
    let description = env::var_os("MXDP_EBPF_TOOLCHAIN")
        .map_or_else(|| workspace.join("target/ebpf-toolchain/env"), PathBuf::from);
    println!("cargo::rerun-if-changed={}", description.display());

    let toolchain = Toolchain::read(&description)?;
    let objects = toolchain.compile(workspace, &out.join("ebpf"))?;
    println!("cargo::rustc-env=MXDP_EBPF_OBJECT={}", objects.join("filter-ebpf").display());
    // For the build script of whoever depends on this crate: DEP_MXDP_EBPF_BENCH.
    println!("cargo::metadata=bench={}", objects.join("bench").display());
    Ok(())
}

/// The compiler for the BPF target, as the set-up found or fetched it.
struct Toolchain {
    rustc: String,
    linker: String,
    /// The compiler has no prebuilt `core` for the target but its sources.
    build_std: bool,
}

impl Toolchain {
    fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| {
            format!("no eBPF toolchain ({}: {error}); run `cargo xtask setup` once", path.display())
        })?;
        let mut keys: HashMap<_, _> =
            text.lines().filter_map(|line| line.split_once('=')).collect();
        let mut take = |key: &str| {
            keys.remove(key)
                .map(str::to_owned)
                .ok_or_else(|| format!("{} lacks {key}; run `cargo xtask setup`", path.display()))
        };
        Ok(Self {
            rustc: take("RUSTC")?,
            linker: take("LINKER")?,
            build_std: take("BUILD_STD")? == "1",
        })
    }

    /// Compiles the programs, and returns the folder that they are in.
    fn compile(&self, workspace: &Path, target: &Path) -> Result<PathBuf, String> {
        let mut cargo = Command::new(required("CARGO")?);
        // What the outer cargo says to this script must not reach the inner one.
        for (key, _) in env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("CARGO") || name.starts_with("RUST") {
                cargo.env_remove(&key);
            }
        }
        for kept in ["CARGO_HOME", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_NET_OFFLINE"] {
            if let Some(value) = env::var_os(kept) {
                cargo.env(kept, value);
            }
        }
        cargo
            .current_dir(workspace)
            .args(["build", "--locked", "--quiet", "--package", "filter-ebpf", "--target-dir"])
            .arg(target);
        configure(
            &mut cargo,
            self.rustc.as_ref(),
            self.linker.as_ref(),
            &required("CARGO_CFG_TARGET_ARCH")?,
            self.build_std,
        );
        let output = cargo.output().map_err(|error| format!("cargo did not start: {error}"))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            for line in text.lines() {
                println!("cargo::warning={line}");
            }
            return Err("the eBPF program did not build; see the lines above".to_owned());
        }
        Ok(target.join("bpfel-unknown-none/release"))
    }
}

fn required(key: &str) -> Result<String, String> {
    env::var(key).map_err(|error| format!("{key}: {error}"))
}
