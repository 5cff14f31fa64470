//! Filters of mxdp that no pin of this configuration names: found by what the kernel reports about
//! the interfaces, wherever they are pinned.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use aya::maps::MapInfo;
use aya::programs::links::PinnedLink;
use aya::programs::loaded_programs;
use filter_common::abi::{self, maps};
use nix::net::if_::if_nameindex;

use super::bpf::{self, XdpLinkInfo};
use super::netlink::attached_program;
use super::pins::{self, FoundLink, Pins};

/// How deep a bpf file system is searched for pins, and how many files are read.
const DEPTH: usize = 6;
const FILES: usize = 65_536;

/// A filter of mxdp on an interface of this network namespace.
pub(super) struct Attached {
    pub(super) interface: String,
    pub(super) ifindex: u32,
    pub(super) program: u32,
    link: Option<XdpLinkInfo>,
    /// The path of its link's pin.
    pub(super) pins: Vec<PathBuf>,
}

/// Every filter of mxdp on an interface of this network namespace.
///
/// # Errors
///
/// When the kernel cannot be queried.
pub(super) fn attached() -> Result<Vec<Attached>> {
    let mut found = Vec::new();
    for interface in &if_nameindex().context("the interfaces")? {
        let (ifindex, name) = (interface.index(), interface.name().to_string_lossy());
        // An interface that disappeared meanwhile is not an error.
        let Ok(Some(on)) = attached_program(ifindex) else { continue };
        if is_ours(on.id)? {
            let (interface, program) = (name.into_owned(), on.id);
            found.push(Attached { interface, ifindex, program, link: None, pins: Vec::new() });
        }
    }
    if found.is_empty() {
        return Ok(found);
    }
    for link in bpf::xdp_links().context("the links of the kernel")? {
        let is_of =
            |one: &&mut Attached| one.program == link.program && one.ifindex == link.ifindex;
        if let Some(one) = found.iter_mut().find(is_of) {
            one.link = Some(link);
        }
    }
    let mut left = FILES;
    for mount in bpf_mounts() {
        look_for_pins(&mount, DEPTH, &mut left, &mut found);
    }
    Ok(found)
}

/// Whether a program is the filter of an mxdp, of whatever version.
fn is_ours(id: u32) -> Result<bool> {
    let program = loaded_programs().filter_map(Result::ok).find(|program| program.id() == id);
    let Some(program) = program else { return Ok(false) };
    if !program.name_as_str().is_some_and(|name| name.starts_with(abi::PROGRAM)) {
        return Ok(false);
    }
    let ids = program.map_ids()?.unwrap_or_default();
    let names: Vec<_> = ids
        .into_iter()
        .filter_map(|id| MapInfo::from_id(id).ok()?.name_as_str().map(str::to_owned))
        .collect();
    Ok([maps::SELECTOR, maps::TEMPORARY].iter().all(|name| names.iter().any(|one| one == name)))
}

/// The mount points of bpf file systems.
fn bpf_mounts() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mount = |line: &str| {
        let (fields, kind) = line.split_once(" - ")?;
        let place = fields.split(' ').nth(4)?;
        kind.starts_with("bpf ").then(|| PathBuf::from(place.replace("\\040", " ")))
    };
    text.lines().filter_map(mount).collect()
}

fn look_for_pins(folder: &Path, depth: usize, left: &mut usize, found: &mut [Attached]) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let path = entry.path();
        let Ok(kind) = entry.file_type() else { continue };
        if kind.is_dir() {
            if depth > 1 {
                look_for_pins(&path, depth - 1, left, found);
            }
            continue;
        }
        let Ok(Some(pinned)) = bpf::pinned_link(&path) else { continue };
        let is_it = |one: &&mut Attached| {
            one.link.as_ref().is_some_and(|link| link.id == pinned.id) && !one.pins.contains(&path)
        };
        if let Some(one) = found.iter_mut().find(is_it) {
            one.pins.push(path);
        }
    }
}

/// The pin directory that contains the pin of a link, if it is one of mxdp's.
fn base_of(pin: &Path) -> Option<&Path> {
    let folder = pin.parent()?;
    folder.file_name()?.to_str()?.starts_with("abi-").then(|| folder.parent()).flatten()
}

impl Attached {
    /// Fails if it belongs to another process: a running daemon holds it, as its pin directory or
    /// its open link shows.
    ///
    /// # Errors
    ///
    /// Names the holder.
    pub(super) fn require_abandoned(&self) -> Result<()> {
        for base in self.pins.iter().filter_map(|pin| base_of(pin)) {
            drop(Pins::new(base).lock()?);
        }
        if self.pins.is_empty() {
            let holder = match self.holder() {
                Some(pid) => format!("the running process {pid}"),
                None => "another process, or a pin that is not visible here,".to_owned(),
            };
            bail!(
                "{}: {holder} holds the filter of another mxdp (program id {}); end it first",
                self.interface,
                self.program
            );
        }
        Ok(())
    }

    /// A process that has the link open.
    fn holder(&self) -> Option<u32> {
        let id = self.link.as_ref()?.id;
        let own = std::process::id();
        let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| *pid != own).find(|pid| {
            let open = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten();
            open.filter_map(Result::ok).any(|file| {
                let text = fs::read_to_string(file.path()).unwrap_or_default();
                let mut ids = text.lines().filter_map(|line| line.strip_prefix("link_id:"));
                ids.any(|text| text.trim().parse() == Ok(id))
            })
        })
    }

    /// The link in the form that can be taken over.
    pub(super) fn into_found(self) -> Option<FoundLink> {
        let path = self.pins.into_iter().next()?;
        let link = PinnedLink::from_pin(&path).ok()?;
        Some(FoundLink { interface: self.interface, ifindex: self.ifindex, path, link })
    }

    /// Detaches it from its interface and removes its pins, and the maps beside them if no other
    /// link uses them.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub(super) fn remove(self) -> Result<String> {
        if let Some(link) = &self.link {
            match bpf::detach_link(&link.link) {
                // It is detached already.
                Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => {
                    return Err(error).with_context(|| format!("{}: detaching", self.interface));
                }
                _ => {}
            }
        }
        for pin in &self.pins {
            remove_pin(pin)?;
        }
        Ok(self.interface)
    }
}

/// Removes the pin of a link, and its directory if no other link is pinned there.
pub(super) fn remove_pin(pin: &Path) -> Result<()> {
    match fs::remove_file(pin) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", pin.display()));
        }
        _ => {}
    }
    let Some(base) = base_of(pin) else { return Ok(()) };
    let pins = Pins::new(base);
    if pins.links().is_empty() {
        pins.remove_all()?;
    }
    Ok(())
}

/// Detaches every filter of mxdp in this network namespace that no running process holds. Returns
/// the interfaces, and why others are still filtered.
///
/// # Errors
///
/// When the kernel cannot be queried.
pub(super) fn detach_all() -> Result<(Vec<String>, Vec<String>)> {
    let (mut interfaces, mut held) = (Vec::new(), Vec::new());
    for one in attached()? {
        let removed = match one.require_abandoned() {
            Ok(()) => one.remove(),
            // Neither a process nor a pin holds it: the kernel is about to detach it.
            Err(_) if one.pins.is_empty() && one.holder().is_none() => one.remove(),
            Err(error) => Err(error),
        };
        match removed {
            Ok(interface) => interfaces.push(interface),
            Err(error) => held.push(format!("{error:#}")),
        }
    }
    Ok((interfaces, held))
}

/// Filters of mxdp on these interfaces that are not among the `known` links: a daemon with other
/// pins has left them.
pub(super) fn abandoned(interfaces: &[String], known: &[FoundLink]) -> Result<Vec<Attached>> {
    let known: Vec<_> = known.iter().filter_map(|found| pins::link_id(found).ok()).collect();
    let mut found = attached()?;
    found.retain(|one| {
        interfaces.contains(&one.interface)
            && one.link.as_ref().is_some_and(|link| !known.contains(&link.id))
            && one.require_abandoned().is_ok()
    });
    Ok(found)
}
