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
mod toolchain;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) use cxx::Cxx;
pub(crate) use kernels::{Emulator, Kernel};

use crate::sh::{self, Workspace, say};

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

/// `target/setup`: downloads and half-done work, held by one set-up at a time.
struct Scratch {
    folder: PathBuf,
    /// Held, not read: the kernel drops the lock when the process ends.
    _lock: File,
}

impl Scratch {
    fn lock(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join("lock");
        let lock =
            File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say("another set-up is running; waiting for it");
                lock.lock().with_context(|| format!("cannot lock {}", path.display()))?;
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        Ok(Self { folder: folder.to_owned(), _lock: lock })
    }

    /// Where downloaded packages wait; they are checked whenever they are used.
    fn downloads(&self) -> PathBuf {
        self.folder.join("packages")
    }

    /// An empty folder to put `name` together in. What interrupted set-ups left
    /// is removed; the process number keeps a child that outlived one of them
    /// from writing into this one's.
    fn stage(&self, name: &str) -> Result<PathBuf> {
        for entry in fs::read_dir(&self.folder)?.flatten() {
            if entry.file_name().to_string_lossy().starts_with("stage-") {
                sh::remove(&entry.path())?;
            }
        }
        let stage = self.folder.join(format!("stage-{name}-{}", std::process::id()));
        fs::create_dir(&stage).with_context(|| format!("cannot make {}", stage.display()))?;
        Ok(stage)
    }

    /// Frees the room that only a set-up in progress needs; the package index
    /// stays, it is small and the next set-up starts quicker with it.
    fn clear(&self) {
        for name in ["packages", "linker-build"] {
            if let Err(error) = sh::remove(&self.folder.join(name)) {
                say(format_args!("left behind: {error:#}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
        sh::remove(&folder).unwrap();
        folder
    }

    #[test]
    fn a_stage_starts_empty_and_removes_what_others_left() {
        let folder = folder("stage");
        let scratch = Scratch::lock(&folder).unwrap();
        let left = folder.join("stage-peers-1");
        fs::create_dir_all(left.join("usr")).unwrap();
        let stage = scratch.stage("peers").unwrap();
        assert!(!left.exists());
        assert_eq!(fs::read_dir(&stage).unwrap().count(), 0);
        sh::remove(&folder).unwrap();
    }

    #[test]
    fn only_one_set_up_holds_the_lock() {
        let folder = folder("lock");
        let scratch = Scratch::lock(&folder).unwrap();
        let second = File::create(folder.join("lock")).unwrap();
        assert!(matches!(second.try_lock(), Err(TryLockError::WouldBlock)));
        drop(scratch);
        assert!(second.try_lock().is_ok());
        sh::remove(&folder).unwrap();
    }
}
