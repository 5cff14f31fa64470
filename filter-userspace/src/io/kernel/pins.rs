//! The pin directory: the parts of the filter that outlive the daemon.
//!
//! `BASE/abi-N/` holds the maps by name and `link-INTERFACE` for each interface.
//! The kernel keeps a pinned link attached without any process.

use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapInfo;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::loaded_programs;
use filter_common::abi::{self, maps};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::statfs;

use super::object::{Capacities, shapes};

/// The standard mount point of the bpf file system.
const STANDARD_MOUNT: &str = "/sys/fs/bpf";

const LINK_PREFIX: &str = "link-";

/// The pin directory of this ABI version, and of others beside it.
#[derive(Clone, Debug)]
pub struct Pins {
    base: PathBuf,
    folder: PathBuf,
}

/// The lock on the pin directory.
pub(super) struct Lock {
    _folder: File,
}

/// A pinned link.
pub(super) struct FoundLink {
    /// The name of its interface when it was pinned.
    pub(super) interface: String,
    /// The index of its present interface; 0 if that is gone.
    pub(super) ifindex: u32,
    pub(super) path: PathBuf,
    pub(super) link: PinnedLink,
}

impl Pins {
    /// The pins under `base`, which need not exist.
    #[must_use]
    pub fn new(base: &Path) -> Self {
        let folder = base.join(format!("abi-{}", abi::VERSION));
        Self { base: base.to_owned(), folder }
    }

    /// Creates the directory, and mounts the bpf file system at its standard place if nobody has.
    ///
    /// # Errors
    ///
    /// When `base` is not on a bpf file system, or another daemon uses it.
    pub(super) fn create(&self) -> Result<Lock> {
        let existing = self.base.ancestors().find(|path| path.exists());
        let existing = existing.context("the pin directory has no parent")?;
        if !is_bpf_file_system(existing)? {
            if !self.base.starts_with(STANDARD_MOUNT) {
                bail!(
                    "filter.pin: {} is not on a bpf file system; mount one (mount -t bpf bpf DIR) \
                     or use a folder under {STANDARD_MOUNT}",
                    self.base.display()
                );
            }
            let none: Option<&str> = None;
            mount(Some("bpf"), STANDARD_MOUNT, Some("bpf"), MsFlags::empty(), none)
                .with_context(|| format!("mounting the bpf file system at {STANDARD_MOUNT}"))?;
            tracing::info!(path = STANDARD_MOUNT, "mounted the bpf file system");
        }
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("creating {}", self.folder.display()))?;
        self.lock()
    }

    /// Keeps other processes from using the directory while the lock is held.
    ///
    /// # Errors
    ///
    /// When another process uses it.
    pub(super) fn lock(&self) -> Result<Lock> {
        let folder = File::open(&self.base).with_context(|| self.base.display().to_string())?;
        match folder.try_lock() {
            Ok(()) => Ok(Lock { _folder: folder }),
            Err(TryLockError::WouldBlock) => bail!(
                "another mxdp is running with its filter pinned at {}; stop it first, or choose \
                 another filter.pin",
                self.base.display()
            ),
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", self.base.display()))
            }
        }
    }

    /// The directory of this ABI version.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn link_path(&self, interface: &str) -> PathBuf {
        self.folder.join(format!("{LINK_PREFIX}{}", escape(interface)))
    }

    /// The pinned links of every ABI version. A pin that is not a link is left out: it is removed
    /// with its directory.
    pub(super) fn links(&self) -> Vec<FoundLink> {
        let mut links = Vec::new();
        for folder in self.folders() {
            for path in entries(&folder) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let Some(interface) = name.strip_prefix(LINK_PREFIX).and_then(unescape) else {
                    continue;
                };
                match open_link(&path) {
                    Ok((link, ifindex)) => {
                        links.push(FoundLink { interface, ifindex, path, link });
                    }
                    Err(error) => tracing::warn!(path = %path.display(), %error, "unusable pin"),
                }
            }
        }
        links
    }

    /// Whether the pinned maps can be taken over: all exist, have the shape that this version and
    /// configuration require, and are the ones that the attached programs use. A crash between two
    /// pins leaves a mixture.
    pub(super) fn maps_match(&self, links: &[FoundLink], capacities: Capacities) -> bool {
        let mut ids = Vec::new();
        for shape in shapes(capacities) {
            match MapInfo::from_pin(self.folder.join(shape.name)) {
                Ok(info) if shape.matches(&info) => ids.push(info.id()),
                Ok(_) => {
                    tracing::info!(map = shape.name, "a pinned map has another shape");
                    return false;
                }
                Err(_) => return false,
            }
        }
        !links.is_empty()
            && links.iter().all(|found| {
                attached_maps(found).is_ok_and(|used| ids.iter().all(|id| used.contains(id)))
            })
    }

    /// Pins the maps of a loaded object, replacing what is there.
    pub(super) fn pin_maps<'a>(
        &self,
        loaded: impl Iterator<Item = (&'a str, &'a aya::maps::Map)>,
    ) -> Result<()> {
        for (name, map) in loaded.filter(|(name, _)| maps::PINNED.contains(name)) {
            let path = self.folder.join(name);
            remove(&path)?;
            map.pin(&path).with_context(|| format!("pinning {}", path.display()))?;
        }
        Ok(())
    }

    /// Removes everything but the given links and this version's maps.
    pub(super) fn keep_only(&self, links: &[PathBuf]) -> Result<()> {
        for folder in self.folders() {
            let is_current = folder == self.folder;
            for path in entries(&folder) {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                let is_map = maps::PINNED.contains(&name.as_ref());
                if !(links.contains(&path) || is_current && is_map) {
                    remove(&path)?;
                }
            }
            if !is_current {
                fs::remove_dir(&folder).with_context(|| folder.display().to_string())?;
            }
        }
        Ok(())
    }

    /// Removes every pin of every version, and the directory. The kernel detaches a filter from its
    /// interface when the last pin and the last process that hold its link are gone.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub fn remove_all(&self) -> Result<Vec<String>> {
        let mut interfaces: Vec<_> =
            self.links().into_iter().map(|found| found.interface).collect();
        interfaces.sort();
        interfaces.dedup();
        for folder in self.folders() {
            for path in entries(&folder) {
                remove(&path)?;
            }
            fs::remove_dir(&folder).with_context(|| folder.display().to_string())?;
        }
        match fs::remove_dir(&self.base) {
            Err(error) if !matches!(error.kind(), ErrorKind::NotFound) => {
                // Other programs may keep their pins there.
                tracing::debug!(path = %self.base.display(), %error, "the folder is kept");
            }
            _ => {}
        }
        Ok(interfaces)
    }

    fn folders(&self) -> Vec<PathBuf> {
        entries(&self.base)
            .into_iter()
            .filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                path.is_dir()
                    && name
                        .strip_prefix("abi-")
                        .is_some_and(|version| version.parse::<u32>().is_ok())
            })
            .collect()
    }
}

/// The ids of the maps that the program behind a link uses.
pub(super) fn attached_maps(found: &FoundLink) -> Result<Vec<u32>> {
    let id = program_id(found)?;
    for program in loaded_programs() {
        let program = program?;
        if program.id() == id {
            return Ok(program.map_ids()?.unwrap_or_default());
        }
    }
    bail!("program {id} is gone")
}

/// The id of a link.
pub(super) fn link_id(found: &FoundLink) -> Result<u32> {
    // The link's information needs an owned link, and the pin is opened again for it.
    let link: FdLink = PinnedLink::from_pin(&found.path)?.into();
    Ok(link.info()?.id())
}

fn program_id(found: &FoundLink) -> Result<u32> {
    // The link's information needs an owned link, and the pin is opened again for it.
    let link: FdLink = PinnedLink::from_pin(&found.path)?.into();
    Ok(link.info()?.program_id())
}

/// Opens a pinned link, and finds the index of its interface: 0 if that is gone.
fn open_link(path: &Path) -> Result<(PinnedLink, u32)> {
    let link = FdLink::from(PinnedLink::from_pin(path)?);
    let ifindex = interface_of(link.info()?.id()).unwrap_or(0);
    // The link's information needs an owned link, and the pin is opened again.
    Ok((PinnedLink::from_pin(path)?, ifindex))
}

/// The index of the interface of an open XDP link, from the kernel's description of the open file;
/// aya does not show it.
fn interface_of(link_id: u32) -> Option<u32> {
    entries(Path::new("/proc/self/fdinfo")).iter().find_map(|path| {
        let text = fs::read_to_string(path).ok()?;
        let number = |name: &str| -> Option<u32> {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        (number("link_id:")? == link_id).then(|| number("ifindex:")).flatten()
    })
}

fn is_bpf_file_system(path: &Path) -> Result<bool> {
    let found = statfs(path).with_context(|| path.display().to_string())?;
    Ok(found.filesystem_type() == nix::sys::statfs::FsType(libc::BPF_FS_MAGIC))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    paths.sort();
    paths
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Interface names may contain dots (eth0.100), which the bpf file system forbids.
fn escape(interface: &str) -> String {
    let mut name = String::new();
    for byte in interface.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => name.push(byte.into()),
            _ => name.push_str(&format!("%{byte:02x}")),
        }
    }
    name
}

fn unescape(name: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = name.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interface_names_survive_the_bpf_file_system() {
        for name in ["eth0", "eth0.100", "br-1%2", "veth_ü", "%", "a.b.c"] {
            let escaped = escape(name);
            assert!(!escaped.contains('.'), "{escaped}");
            assert_eq!(unescape(&escaped).as_deref(), Some(name));
        }
        assert_eq!(unescape("a%z"), None);
        assert_eq!(unescape("a%zz"), None);
    }
}
