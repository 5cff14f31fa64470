//! Fetches what the host lacks into `target/`, and nothing outside it.
//!
//! Comes in: what is already there, the active rustc, Debian's packages. Goes
//! out: `target/ebpf-toolchain/env`, which `filter-userspace/build.rs` reads,
//! `target/peers/`, `target/cxx`, and `target/emulator/` with `target/kernels/`. Each is put
//! together in a working folder and renamed into place at the end, so what is there is whole; packages that were
//! downloaded before an interruption are not downloaded again.

mod apt;
mod compiler;
mod cxx;
mod kernels;
mod libraries;
mod linker;
mod peers;
mod scratch;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use cxx::Cxx;
pub(crate) use kernels::{Emulator, Kernel};

use crate::sh::{self, Workspace, say};

use scratch::Scratch;

/// `cargo xtask setup [--peers]`.
pub(crate) fn run(workspace: &Workspace, with_peers: bool) -> Result<()> {
    let mut nothing_to_do = ensure_toolchain(workspace)?;
    if with_peers {
        nothing_to_do &= ensure_peers(workspace)?;
    }
    if nothing_to_do {
        say("everything is set up already");
    }
    Ok(())
}

/// Makes sure that the eBPF toolchain is there; true if it already was.
pub(crate) fn ensure_toolchain(workspace: &Workspace) -> Result<bool> {
    ensure(
        workspace,
        &workspace.target().join("ebpf-toolchain"),
        toolchain::is_ready,
        toolchain::assemble,
    )
}

/// Makes sure that the test peers are there; true if they already were.
pub(crate) fn ensure_peers(workspace: &Workspace) -> Result<bool> {
    ensure(workspace, &workspace.target().join("peers"), peers::is_ready, peers::assemble)
}

/// Where programs of the test peers find their libraries.
pub(crate) fn peer_libraries(workspace: &Workspace) -> Vec<PathBuf> {
    peers::library_folders(&workspace.target().join("peers"))
}

/// Makes sure that the emulator is there and says how to start it.
pub(crate) fn ensure_emulator(workspace: &Workspace) -> Result<Emulator> {
    let place = workspace.target().join("emulator");
    ensure(workspace, &place, kernels::has_emulator, kernels::assemble_emulator)?;
    Emulator::at(&place)
}

/// Makes sure that there is a C++ compiler and says how to use it.
pub(crate) fn ensure_cxx(workspace: &Workspace) -> Result<Cxx> {
    if cxx::is_on_host() {
        return Ok(Cxx::of_host());
    }
    let place = workspace.target().join("cxx");
    ensure(workspace, &place, cxx::is_ready, cxx::assemble)?;
    Cxx::at(&place)
}

/// Makes sure that a kernel of a release of Debian is there.
pub(crate) fn ensure_kernel(workspace: &Workspace, release: &str) -> Result<Kernel> {
    let place = workspace.target().join("kernels").join(release);
    let assemble = |_: &Workspace, scratch: &Scratch, stage: &Path| {
        kernels::assemble_kernel(scratch, release, stage)
    };
    ensure(workspace, &place, kernels::has_kernel, assemble)?;
    Kernel::at(&place)
}

fn ensure(
    workspace: &Workspace,
    place: &Path,
    is_ready: fn(&Path) -> bool,
    assemble: impl Fn(&Workspace, &Scratch, &Path) -> Result<()>,
) -> Result<bool> {
    if is_ready(place) {
        return Ok(true);
    }
    let scratch = Scratch::lock(&workspace.target().join("setup"))?;
    // Another set-up may have done it while this one waited.
    if is_ready(place) {
        return Ok(true);
    }
    let target = workspace.target();
    let name = place.strip_prefix(&target).context("a place outside target/")?.to_string_lossy();
    say(format_args!("setting up target/{name}; nothing outside target/ is changed"));
    let stage = scratch.stage(&name.replace('/', "-"))?;
    assemble(workspace, &scratch, &stage)?;
    sh::remove(place)?;
    fs::create_dir_all(place.parent().unwrap_or(&target))?;
    fs::rename(&stage, place)
        .with_context(|| format!("cannot rename {} into place", stage.display()))?;
    scratch.clear();
    say(format_args!("target/{name} is ready"));
    Ok(false)
}
