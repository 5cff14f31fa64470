//! Attaches the program to interfaces, and takes over existing links.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpLink;
use aya::programs::{ProgramError, Xdp, XdpMode, loaded_programs};
use filter_common::abi;
use nix::net::if_::{if_indextoname, if_nametoindex};

use super::bpf;
use super::netlink::{AttachedMode, AttachedProgram, attached_program, is_ethernet};
use super::pins::FoundLink;
use crate::config::Mode;

/// Whether a link in one mode will do where another is configured.
const fn accepts(request: Mode, attached: AttachedMode) -> bool {
    match request {
        Mode::Auto => true,
        Mode::Native => matches!(attached, AttachedMode::Native),
        Mode::Generic => matches!(attached, AttachedMode::Generic),
    }
}

/// The filter on an interface.
#[derive(Debug)]
pub struct Attachment {
    /// The interface.
    pub interface: String,
    /// Its index.
    pub ifindex: u32,
    /// How the filter is attached.
    pub mode: AttachedMode,
    /// Whether it was found attached and taken over without interruption.
    pub adopted: bool,
    /// The link that holds the filter there; none only after pinning failed.
    link: Option<FdLink>,
    /// The path of its pin.
    pinned_at: Option<PathBuf>,
}

impl Attachment {
    /// Whether the filter outlives this process.
    #[must_use]
    pub const fn is_pinned(&self) -> bool {
        self.pinned_at.is_some()
    }

    /// Removes its pin: the filter ends with this process.
    pub(super) fn forget_pin(&mut self) {
        self.pinned_at = None;
    }

    /// Pins the link at `path`, replacing what is there.
    pub(super) fn pin(&mut self, path: PathBuf) -> Result<()> {
        if self.pinned_at.as_ref() == Some(&path) {
            // This link is pinned there already: it is never without a pin.
            return Ok(());
        }
        let Some(link) = self.link.take() else {
            return Ok(());
        };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => {}
        }
        let pinned = link.pin(&path).with_context(|| format!("pinning {}", path.display()))?;
        self.link = Some(pinned.into());
        self.pinned_at = Some(path);
        Ok(())
    }
}

/// The index of an interface.
///
/// # Errors
///
/// When there is no interface of that name.
pub(super) fn index_of(interface: &str) -> Result<u32> {
    if_nametoindex(interface).map_err(|_| {
        anyhow!("filter.interfaces: there is no interface {interface} (see `ip link`)")
    })
}

/// The name of the interface with an index, if there is one.
pub(super) fn name_of(ifindex: u32) -> Option<String> {
    // For an index that is gone, the name is empty.
    if_indextoname(ifindex).ok()?.into_string().ok().filter(|name| !name.is_empty())
}

/// Whether the filter can judge the frames of an interface.
///
/// # Errors
///
/// When it does not exist, or carries no Ethernet frames.
pub(super) fn require(interface: &str) -> Result<()> {
    if !is_ethernet(index_of(interface)?)? {
        bail!(
            "filter.interfaces: {interface} carries no Ethernet frames (a tunnel, TUN or PPP \
             device), which the filter cannot judge; name Ethernet interfaces"
        );
    }
    Ok(())
}

/// Attaches `program`, replacing `found` if it is on the interface.
pub(super) fn attach(
    program: &mut Xdp,
    interface: &str,
    request: Mode,
    found: Option<FoundLink>,
) -> Result<Attachment> {
    let ifindex = index_of(interface)?;
    // Its former place and mode.
    let mut former = None;
    if let Some(found) = found {
        let pin = found.path.clone();
        match adopt(program, interface, ifindex, request, found) {
            Ok(Some(attachment)) => return Ok(attachment),
            Ok(None) => tracing::warn!(
                interface,
                "the pinned link is not on the interface, or not in the configured mode: \
                 the filter is attached again, after a moment without it"
            ),
            Err(error) => tracing::warn!(interface, "the pinned link is unusable: {error:#}"),
        }
        former = release(&pin, ifindex)?.map(|mode| (pin, mode));
    }
    let link = match (attach_as(program, interface, ifindex, request), former) {
        (Err(error), Some((pin, mode))) => {
            return Err(put_back(program, interface, ifindex, mode, pin, error));
        }
        (link, _) => link?,
    };
    attachment(interface, ifindex, link)
}

/// Restores the filter after it was taken off to be attached in another mode, which failed: in the
/// former mode, with the former pin, with this program. Returns why it failed.
fn put_back(
    program: &mut Xdp,
    interface: &str,
    ifindex: u32,
    mode: AttachedMode,
    pin: PathBuf,
    error: anyhow::Error,
) -> anyhow::Error {
    let flags = if mode == AttachedMode::Generic { XdpMode::Skb } else { XdpMode::Driver };
    let again = attach_in(program, interface, ifindex, flags)
        .and_then(|link| attachment(interface, ifindex, link)?.pin(pin));
    match again {
        Ok(()) => error.context(format!("the filter stays in {} mode", mode.name())),
        Err(again) => error.context(format!("the filter is off {interface} now ({again:#})")),
    }
}

fn attach_as(program: &mut Xdp, interface: &str, ifindex: u32, request: Mode) -> Result<XdpLink> {
    Ok(match request {
        Mode::Native => attach_in(program, interface, ifindex, XdpMode::Driver)?,
        Mode::Generic => attach_in(program, interface, ifindex, XdpMode::Skb)?,
        Mode::Auto => match attach_in(program, interface, ifindex, XdpMode::Driver) {
            Ok(link) => link,
            Err(error) if error.downcast_ref::<Occupied>().is_some() => return Err(error),
            Err(error) => {
                let link = attach_in(program, interface, ifindex, XdpMode::Skb)?;
                tracing::warn!(
                    interface,
                    "native XDP is not available ({error:#}); the filter runs in GENERIC mode, \
                     which is many times slower and helps little against a flood"
                );
                link
            }
        },
    })
}

fn attachment(interface: &str, ifindex: u32, link: XdpLink) -> Result<Attachment> {
    let link: FdLink = link.try_into().map_err(|_| {
        anyhow!("{interface}: the kernel gave no link; mxdp needs Linux 6.1 or newer")
    })?;
    let mode = attached_program(ifindex)?.context("the program is not on the interface")?.mode;
    Ok(Attachment {
        interface: interface.to_owned(),
        ifindex,
        mode,
        adopted: false,
        link: Some(link),
        pinned_at: None,
    })
}

/// Releases a pinned link that cannot be taken over, and waits until it is off the interface.
/// Returns its mode, if it was attached.
fn release(pin: &Path, ifindex: u32) -> Result<Option<AttachedMode>> {
    let link = bpf::pinned_link(pin).ok().flatten();
    let program = link.as_ref().map(|link| link.program);
    let attached = attached_program(ifindex)?.filter(|attached| Some(attached.id) == program);
    fs::remove_file(pin).with_context(|| format!("removing {}", pin.display()))?;
    if let Some(link) = link.filter(|link| link.ifindex == ifindex) {
        // It may be pinned elsewhere too. If this fails, it ends with its last pin.
        _ = bpf::detach_link(&link.link);
    }
    if let Some(program) = program {
        wait_until_off(ifindex, program)?;
    }
    Ok(attached.map(|attached| attached.mode))
}

/// Replaces the program of a link atomically, so that every packet is judged. `None` if the link is
/// no longer on the interface, or not in an acceptable mode.
fn adopt(
    program: &mut Xdp,
    interface: &str,
    ifindex: u32,
    request: Mode,
    found: FoundLink,
) -> Result<Option<Attachment>> {
    let former: FdLink = found.link.into();
    let former_id = former.info()?.program_id();
    let Some(attached) = attached_program(ifindex)? else {
        return Ok(None);
    };
    if attached.id != former_id || !accepts(request, attached.mode) {
        return Ok(None);
    }
    let id = program.attach_to_link(XdpLink::try_from(former)?)?;
    let link: FdLink = program.take_link(id)?.try_into()?;
    Ok(Some(Attachment {
        interface: interface.to_owned(),
        ifindex,
        mode: attached.mode,
        adopted: true,
        link: Some(link),
        pinned_at: Some(found.path),
    }))
}

/// The error when another program is on the interface.
#[derive(Debug, thiserror::Error)]
#[error(
    "{interface}: another XDP program is attached: {name} (id {id}, {mode} mode); {remedy}, or \
     filter on another interface"
)]
struct Occupied {
    interface: String,
    name: String,
    id: u32,
    mode: &'static str,
    remedy: String,
}

fn attach_in(program: &mut Xdp, interface: &str, ifindex: u32, mode: XdpMode) -> Result<XdpLink> {
    match program.attach_to_if_index(ifindex, mode) {
        Ok(id) => Ok(program.take_link(id)?),
        Err(error) => {
            if let Some(attached) = attached_program(ifindex)? {
                return Err(occupied(interface, attached).into());
            }
            Err(explain(interface, error))
        }
    }
}

fn occupied(interface: &str, attached: AttachedProgram) -> Occupied {
    let name = loaded_programs()
        .filter_map(Result::ok)
        .find(|program| program.id() == attached.id)
        .and_then(|program| program.name_as_str().map(str::to_owned))
        .filter(|name| !name.is_empty());
    let name = name.unwrap_or_else(|| "without a name".to_owned());
    let flag = if attached.mode == AttachedMode::Generic { "xdpgeneric" } else { "xdp" };
    let remedy = if name.starts_with(abi::PROGRAM) {
        "that is the filter of another mxdp: take it off with `mxdp detach -c` and its \
         configuration"
            .to_owned()
    } else {
        format!(
            "take it off (`ip link set dev {interface} {flag} off`; one that is pinned goes with \
             its pin, see `bpftool link`)"
        )
    };
    Occupied {
        interface: interface.to_owned(),
        name,
        id: attached.id,
        mode: attached.mode.name(),
        remedy,
    }
}

fn explain(interface: &str, error: ProgramError) -> anyhow::Error {
    let number = match &error {
        ProgramError::SyscallError(error) => error.io_error.raw_os_error(),
        _ => None,
    };
    /// The kernel's internal "not supported", which libc does not name.
    const ENOTSUPP: i32 = 524;
    match number {
        Some(libc::EOPNOTSUPP | ENOTSUPP) => anyhow!(
            "{interface}: the driver has no native XDP, or not with these settings: switch LRO off \
             (`ethtool -K {interface} lro off`), lower the MTU or the number of queues (`ethtool \
             -L`), and see `dmesg`"
        ),
        Some(libc::EPERM | libc::EACCES) => {
            anyhow!("{interface}: attaching needs root, or CAP_NET_ADMIN and CAP_BPF")
        }
        Some(number) => anyhow!(
            "{interface}: the kernel refused to attach: {}",
            std::io::Error::from_raw_os_error(number)
        ),
        None => anyhow::Error::new(error).context(interface.to_owned()),
    }
}

/// The id of the XDP program on an interface.
pub(super) fn program_on(interface: &str) -> Result<Option<u32>> {
    Ok(attached_program(index_of(interface)?)?.map(|attached| attached.id))
}

/// Waits until our program is off the interface.
///
/// # Errors
///
/// When it is still there after five seconds.
pub(super) fn wait_until_gone(interface: &str, program: u32) -> Result<()> {
    match index_of(interface) {
        Ok(ifindex) => wait_until_off(ifindex, program).with_context(|| interface.to_owned()),
        // The interface is gone, and its program with it.
        Err(_) => Ok(()),
    }
}

/// The kernel detaches a link a moment after its last holder is gone.
fn wait_until_off(ifindex: u32, program: u32) -> Result<()> {
    for _ in 0..500 {
        match attached_program(ifindex)? {
            Some(attached) if attached.id == program => thread::sleep(Duration::from_millis(10)),
            _ => return Ok(()),
        }
    }
    bail!("the filter is still attached; does another process hold its link?")
}
