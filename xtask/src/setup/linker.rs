//! bpf-linker, built against the LLVM of the compiler whose output it links.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Workspace, say};

use super::apt::Apt;
use super::libraries;
use super::scratch::Scratch;

/// The release that is built.
pub(super) const VERSION: &str = "0.13.0";

/// The LLVM majors that this release has a cargo feature for.
const SUPPORTED: std::ops::RangeInclusive<u32> = 21..=23;

/// An LLVM to build against and to run with.
pub(super) struct Llvm {
    prefix: OsString,
    major: u32,
    /// `LD_LIBRARY_PATH` for whatever loads it.
    search_path: OsString,
}

/// Whether a linker for that LLVM can be made here, before anything large is
/// fetched for it.
pub(super) fn can_be_had(scratch: &Scratch, major: u32) -> Result<()> {
    ensure!(SUPPORTED.contains(&major), "bpf-linker {VERSION} has no support for LLVM {major}");
    if own_prefix().is_none() {
        Apt::new(scratch)?.find(&[&package(major)])?;
    }
    Ok(())
}

/// The LLVM that the environment names, or Debian's, unpacked under `root`.
pub(super) fn obtain_llvm(scratch: &Scratch, root: &Path, major: u32) -> Result<Llvm> {
    if let Some(prefix) = own_prefix() {
        say(format_args!("LLVM {major}: {}, as LLVM_PREFIX says", prefix.display()));
        return Ok(Llvm { prefix, major, search_path: OsString::new() });
    }
    let prefix = root.join(format!("usr/lib/llvm-{major}"));
    let library = prefix.join("lib/libLLVM.so");
    let mut apt = Apt::new(scratch)?;
    let runtime = format!("libllvm{major}");
    let mut names = vec![package(major)];
    if !has_runtime(root, major) {
        names.push(runtime);
    }
    apt.unpack(&names.iter().map(String::as_str).collect::<Vec<_>>(), root)?;
    libraries::complete(&mut apt, root, &[library], &[])?;
    Ok(Llvm { prefix: prefix.into(), major, search_path: libraries::search_path(root, &[])? })
}

fn has_runtime(root: &Path, major: u32) -> bool {
    let name = format!("libLLVM-{major}.so");
    libraries::folders(root, &[]).iter().any(|folder| folder.join(&name).exists())
}

fn package(major: u32) -> String {
    format!("llvm-{major}-dev")
}

fn own_prefix() -> Option<OsString> {
    std::env::var_os("LLVM_PREFIX").filter(|prefix| !prefix.is_empty())
}

/// Builds the linker into `stage/linker`.
pub(super) fn install(
    workspace: &Workspace,
    scratch: &Scratch,
    stage: &Path,
    llvm: &Llvm,
) -> Result<PathBuf> {
    say(format_args!("building bpf-linker {VERSION} against LLVM {} (about a minute)", llvm.major));
    let root = stage.join("linker");
    let feature = format!("llvm-{}", llvm.major);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::split_paths(&path).chain([root.join("bin")]);
    let mut cargo = workspace.cargo(["install", "bpf-linker", "--version", VERSION, "--locked"]);
    cargo
        .args(["--no-default-features", "--features", &feature, "--no-track", "--root"])
        .arg(&root)
        .env("LLVM_PREFIX", &llvm.prefix)
        // Else cargo advises to put a folder there that is about to be renamed.
        .env("PATH", std::env::join_paths(path)?)
        // Nobody debugs it, and it builds quicker without.
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        // Outlives an interruption, so that what was compiled is not lost.
        .env("CARGO_TARGET_DIR", scratch.folder.join("linker-build"));
    if !llvm.search_path.is_empty() {
        cargo.env("LD_LIBRARY_PATH", &llvm.search_path);
    }
    sh::run(&mut cargo).context("bpf-linker did not build")?;
    Ok(root.join("bin/bpf-linker"))
}
