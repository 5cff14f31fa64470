//! The parts of `bpf(2)` that aya does not offer: the links of other processes, and batches of a
//! map's elements.
#![expect(unsafe_code, reason = "the system call takes the addresses of what it reads and writes")]

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;
const BPF_LINK_GET_FD_BY_ID: libc::c_int = 30;
const BPF_LINK_GET_NEXT_ID: libc::c_int = 31;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `BPF_LINK_TYPE_XDP`.
const LINK_TYPE_XDP: u32 = 6;

/// `union bpf_attr`, as far as it is used here: 64 bytes; the kernel takes the rest as zero.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Attributes([u64; 8]);

impl Attributes {
    const EMPTY: Self = Self([0; 8]);

    /// Two fields of 32 bits, the first at the lower address.
    const fn pair(first: u32, second: u32) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) = (first.to_ne_bytes(), second.to_ne_bytes());
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }

    fn second(self) -> u32 {
        let [.., e, f, g, h] = self.0[0].to_ne_bytes();
        u32::from_ne_bytes([e, f, g, h])
    }
}

fn address<T>(of: *mut T) -> u64 {
    of as u64
}

/// Calls `bpf(2)`.
///
/// # Safety
///
/// The memory that the attributes point at must be as long as the command reads or writes.
unsafe fn bpf(command: libc::c_int, attributes: &mut Attributes) -> io::Result<libc::c_long> {
    // SAFETY: the attributes have the given length; the caller is responsible for what they point
    // at.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_mut(attributes),
            size_of::<Attributes>(),
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// An XDP link of the kernel, whoever made it.
#[derive(Debug)]
pub(super) struct XdpLinkInfo {
    /// The link, held open.
    pub(super) link: OwnedFd,
    pub(super) id: u32,
    pub(super) program: u32,
    /// The index of its interface, in whatever network namespace; 0 where that is gone.
    pub(super) ifindex: u32,
}

/// Every XDP link of the kernel.
///
/// # Errors
///
/// Without CAP_SYS_ADMIN, which links by number need.
pub(super) fn xdp_links() -> io::Result<Vec<XdpLinkInfo>> {
    let mut links = Vec::new();
    let mut last = 0;
    while let Some(id) = next_link(last)? {
        last = id;
        match link_by_id(id).and_then(xdp_link) {
            Ok(link) => links.extend(link),
            // It has disappeared meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(links)
}

/// The id of the first link after `after`.
fn next_link(after: u32) -> io::Result<Option<u32>> {
    let mut attributes = Attributes::EMPTY;
    attributes.0[0] = Attributes::pair(after, 0);
    // SAFETY: the command reads and writes the attributes alone.
    match unsafe { bpf(BPF_LINK_GET_NEXT_ID, &mut attributes) } {
        Ok(_) => Ok(Some(attributes.second())),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn link_by_id(id: u32) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::EMPTY;
    attributes.0[0] = Attributes::pair(id, 0);
    // SAFETY: the command reads the attributes alone.
    let fd = unsafe { bpf(BPF_LINK_GET_FD_BY_ID, &mut attributes) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel made the descriptor just now, for this call.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The kernel's information about a link, if it is an XDP link.
pub(super) fn xdp_link(link: OwnedFd) -> io::Result<Option<XdpLinkInfo>> {
    // `struct bpf_link_info`: type, id, program, a gap, and for XDP the interface.
    let mut info = [0_u32; 32];
    let mut attributes = Attributes::EMPTY;
    let fd = u32::try_from(link.as_raw_fd()).map_err(io::Error::other)?;
    let length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    attributes.0[0] = Attributes::pair(fd, length);
    attributes.0[1] = address(info.as_mut_ptr());
    // SAFETY: the kernel writes at most `length` bytes to `info`.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    let [kind, id, program, _, ifindex, ..] = info;
    Ok((kind == LINK_TYPE_XDP).then_some(XdpLinkInfo { link, id, program, ifindex }))
}

/// Detaches a link from its interface, whoever else holds it (kernel 5.9).
pub(super) fn detach_link(link: impl AsFd) -> io::Result<()> {
    let mut attributes = Attributes::EMPTY;
    let fd = u32::try_from(link.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    attributes.0[0] = Attributes::pair(fd, 0);
    // SAFETY: the command reads the attributes alone.
    unsafe { bpf(BPF_LINK_DETACH, &mut attributes) }.map(drop)
}

/// Opens the pin at a path, if it is an XDP link.
pub(super) fn pinned_link(path: &Path) -> io::Result<Option<XdpLinkInfo>> {
    let mut text = path.as_os_str().as_bytes().to_vec();
    if text.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    text.push(0);
    let mut attributes = Attributes::EMPTY;
    attributes.0[0] = address(text.as_mut_ptr());
    // SAFETY: the text ends in a zero.
    let fd = unsafe { bpf(BPF_OBJ_GET, &mut attributes) }?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel made the descriptor just now, for this call.
    let pinned = unsafe { OwnedFd::from_raw_fd(fd) };
    // In the description of a map or a program, the same words have another meaning.
    let kind = std::fs::read_link(format!("/proc/self/fd/{fd}"))?;
    let names = ["anon_inode:bpf-link", "anon_inode:bpf_link"];
    if !names.iter().any(|name| kind.as_os_str() == *name) {
        return Ok(None);
    }
    xdp_link(pinned)
}

/// The number of elements of a batch: more than any bucket of a hash map has.
const BATCH: usize = 16_384;

/// Reads all elements of a hash map, many in a call (kernel 5.6). `K` and `V` must be as long as
/// its keys and values.
///
/// # Errors
///
/// When the kernel refuses.
pub(super) fn read_map<K: aya::Pod, V: aya::Pod>(map: impl AsFd) -> io::Result<Vec<(K, V)>> {
    let fd = u32::try_from(map.as_fd().as_raw_fd()).map_err(io::Error::other)?;
    // SAFETY: every bit pattern is a value of a `Pod`.
    let (key, value) = unsafe { (std::mem::zeroed::<K>(), std::mem::zeroed::<V>()) };
    let mut elements = Vec::new();
    let (mut keys, mut values) = (vec![key; BATCH], vec![value; BATCH]);
    let (mut from, mut to) = (0_u64, 0_u64);
    let mut is_first = true;
    loop {
        let mut attributes = Attributes::EMPTY;
        attributes.0[0] = if is_first { 0 } else { address(&raw mut from) };
        attributes.0[1] = address(&raw mut to);
        attributes.0[2] = address(keys.as_mut_ptr());
        attributes.0[3] = address(values.as_mut_ptr());
        attributes.0[4] = Attributes::pair(u32::try_from(BATCH).map_err(io::Error::other)?, fd);
        // SAFETY: there is space for the requested number of keys and values, and for the kernel's
        // position, which is 4 bytes for a hash map.
        let result = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attributes) };
        let [a, b, c, d, ..] = attributes.0[4].to_ne_bytes();
        let count = u32::from_ne_bytes([a, b, c, d]) as usize;
        let is_last = match result {
            Ok(_) => false,
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
            Err(error) => return Err(error),
        };
        let read = keys.iter().copied().zip(values.iter().copied());
        elements.extend(read.take(count));
        if is_last {
            return Ok(elements);
        }
        from = to;
        is_first = false;
    }
}
