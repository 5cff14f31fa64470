//! `target/emulator` and `target/kernels/RELEASE`: kernels of Debian's releases, and what
//! runs them without a virtual machine of the host's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{self, Workspace, say};

use super::apt::Apt;
use super::libraries;
use super::scratch::Scratch;

/// The emulator, its firmware, and the shell of the machine that it emulates.
const EMULATOR: [(&str, &str); 5] = [
    ("qemu-system-x86", "usr/bin/qemu-system-x86_64"),
    ("qemu-system-common", "usr/lib/x86_64-linux-gnu/qemu"),
    ("qemu-system-data", "usr/share/qemu/linuxboot_dma.bin"),
    ("seabios", "usr/share/seabios/bios-256k.bin"),
    ("busybox-static", "bin/busybox"),
];

/// Names the kernel of the release, whatever its version is at the time. The cloud's is
/// the same as the other, with fewer drivers.
const META: &str = "linux-image-cloud-amd64";

/// The name of the device that the tests need and Debian builds as a module.
const MODULE: &str = "veth.ko";

/// How the emulator is started.
pub(crate) struct Emulator {
    place: PathBuf,
    libraries: std::ffi::OsString,
}

impl Emulator {
    pub(super) fn at(place: &Path) -> Result<Self> {
        Ok(Self { place: place.to_owned(), libraries: libraries::search_path(place, &[])? })
    }

    /// The emulator, with its libraries and firmware.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.place.join(EMULATOR[0].1));
        command.env("LD_LIBRARY_PATH", &self.libraries);
        for folder in ["usr/share/qemu", "usr/share/seabios"] {
            command.arg("-L").arg(self.place.join(folder));
        }
        command
    }

    /// A shell and its tools in one static program.
    pub(crate) fn busybox(&self) -> PathBuf {
        self.place.join("bin/busybox")
    }
}

pub(super) fn has_emulator(place: &Path) -> bool {
    EMULATOR.iter().all(|(_, path)| place.join(path).exists())
}

pub(super) fn assemble_emulator(_: &Workspace, scratch: &Scratch, stage: &Path) -> Result<()> {
    let mut apt = Apt::new(scratch).context("the emulator is a package of Debian's")?;
    apt.unpack(&EMULATOR.map(|(package, _)| package), stage)?;
    for (package, path) in EMULATOR {
        ensure!(stage.join(path).exists(), "the package {package} does not have {path}");
    }
    libraries::complete(&mut apt, stage, &[stage.join(EMULATOR[0].1)], &[])?;
    let emulator = Emulator::at(stage)?;
    let version = sh::capture(emulator.command().arg("--version"))
        .context("the fetched emulator does not run")?;
    say(version.lines().next().unwrap_or_default());
    Ok(())
}

/// A kernel that can be booted.
pub(crate) struct Kernel {
    /// The compressed image.
    pub(crate) image: PathBuf,
    /// veth's module.
    pub(crate) module: PathBuf,
}

impl Kernel {
    pub(super) fn at(place: &Path) -> Result<Self> {
        ensure!(has_kernel(place), "{} has no kernel", place.display());
        Ok(Self { image: place.join("vmlinuz"), module: place.join(MODULE) })
    }
}

pub(super) fn has_kernel(place: &Path) -> bool {
    ["vmlinuz", MODULE].iter().all(|name| place.join(name).exists())
}

/// Fetches the release's kernel and keeps of it what is used.
pub(super) fn assemble_kernel(scratch: &Scratch, release: &str, stage: &Path) -> Result<()> {
    let mut apt = Apt::of_release(scratch, release)?;
    let meta = apt.find(&[META])?;
    let image = meta
        .iter()
        .flat_map(|package| &package.depends)
        .find(|name| name.starts_with("linux-image-"))
        .with_context(|| format!("{META} of {release} names no kernel"))?;
    let tree = stage.join("tree");
    apt.unpack(&[image], &tree)?;
    apt.forget()?;
    let found = |wanted: &str| {
        let mut folders = vec![tree.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)?.flatten() {
                let path = entry.path();
                if entry.file_type()?.is_dir() {
                    folders.push(path);
                } else if entry.file_name().to_string_lossy().starts_with(wanted) {
                    return Ok(path);
                }
            }
        }
        bail!("{image} has no {wanted}")
    };
    fs::rename(found("vmlinuz-")?, stage.join("vmlinuz"))?;
    let module = stage.join(MODULE);
    unpack_module(&found(MODULE)?, &module)?;
    needs_no_other(&module)?;
    sh::remove(&tree)?;
    say(format_args!("kernel of {release}: {image}"));
    Ok(())
}

/// Newer releases compress modules.
fn unpack_module(from: &Path, to: &Path) -> Result<()> {
    match from.extension().and_then(|extension| extension.to_str()) {
        Some("ko") => _ = fs::copy(from, to)?,
        Some("xz") => {
            let mut xz = Command::new("xz");
            xz.arg("-dc").arg(from).stdout(fs::File::create(to)?);
            let status = xz.status().context("xz did not start; it is in Debian's xz-utils")?;
            ensure!(status.success(), "{xz:?} ended with {status}");
        }
        _ => bail!("{} is compressed in a way that is not known here", from.display()),
    }
    Ok(())
}

/// The module says itself which others it needs (`depends=` in `.modinfo`).
fn needs_no_other(module: &Path) -> Result<()> {
    let bytes = fs::read(module)?;
    let key = b"\0depends=";
    let at = bytes
        .windows(key.len())
        .position(|window| window == key)
        .with_context(|| format!("{} does not say what it needs", module.display()))?;
    let value = bytes[at + key.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    ensure!(
        value.is_empty(),
        "{MODULE} of this kernel needs other modules: {}",
        String::from_utf8_lossy(value)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_that_needs_others_is_told_from_one_that_does_not() {
        let file = std::env::temp_dir().join(format!("xtask-module-{}", std::process::id()));
        let verdict = |text: &[u8]| {
            fs::write(&file, text).unwrap();
            needs_no_other(&file).map_err(|error| error.to_string())
        };
        assert_eq!(verdict(b"\0license=GPL v2\0depends=\0retpoline=Y\0"), Ok(()));
        let error = verdict(b"\0depends=ptr_ring,x\0name=veth\0").unwrap_err();
        assert!(error.ends_with("needs other modules: ptr_ring,x"), "{error}");
        assert!(verdict(b"\x7fELF").is_err());
        fs::remove_file(&file).unwrap();
    }
}
