//! The frame behind an XDP context: the only packet pointers of the program.
#![expect(unsafe_code, reason = "packet pointers; each access is bounded against data_end")]

use core::hint::black_box;

use aya_ebpf::bindings::xdp_md;
use aya_ebpf::helpers::generated::bpf_xdp_load_bytes;
use aya_ebpf::programs::XdpContext;
use filter_common::abi::dry_run;
use filter_common::{ClassSet, Frame, Reason};

/// A frame: its linear part by pointer, the rest of a jumbo frame by helper. Without `DIRECT` all
/// of it by helper: the verifier allows adding an offset to a packet pointer only with CAP_PERFMON.
pub(crate) struct Packet<'a, const DIRECT: bool> {
    ctx: &'a XdpContext,
}

impl<'a, const DIRECT: bool> Packet<'a, DIRECT> {
    #[inline(always)]
    pub(crate) const fn new(ctx: &'a XdpContext) -> Self {
        Self { ctx }
    }

    /// Whether the frame carries the metadata of a dry run.
    #[inline(always)]
    pub(crate) fn asks_for_a_dry_run(&self) -> bool {
        // SAFETY: `metadata` checked that the bytes lie before the frame's data.
        self.metadata().is_some_and(|bytes| unsafe { *bytes } == dry_run::QUESTION)
    }

    /// Writes the answer of a dry run over its question.
    #[inline(always)]
    pub(crate) fn answer(&self, reason: Reason, classes: ClassSet) {
        if let Some(bytes) = self.metadata() {
            // SAFETY: as above; metadata is writable by the program that owns the frame.
            unsafe { *bytes = dry_run::answer(reason, classes) };
        }
    }

    #[inline(always)]
    fn metadata(&self) -> Option<*mut [u8; dry_run::LENGTH]> {
        let start = self.ctx.metadata();
        // A driver without metadata support sets the pointer behind the data, which fails here too.
        (start + dry_run::LENGTH <= self.ctx.data()).then_some(start as *mut _)
    }
}

/// Reads `last` + 1 bytes, 1 to 4, beyond the linear part, where a jumbo frame continues in
/// fragments (kernel 5.18): a little-endian number, or -1 if the frame ends. A subprogram of its
/// own, to keep its buffer off the main stack.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn mxdp_load_bytes(ctx: *mut xdp_md, offset: u32, last: u32) -> i64 {
    let mut bytes = [0; 4];
    // From a comparison with 0 the verifier of kernel 6.1 infers no lower bound; from this one it
    // does.
    let length = (last & 3) + 1;
    // SAFETY: the buffer holds `length` bytes; the helper checks the offset against the
    // frame's whole length.
    let result = unsafe { bpf_xdp_load_bytes(ctx, offset, bytes.as_mut_ptr().cast(), length) };
    if result == 0 { i64::from(u32::from_le_bytes(bytes)) } else { -1 }
}

/// The value itself. Without CAP_PERFMON the verifier merges two states only if their numbers have
/// exactly the same bounds; the result of a subprogram has none. A subprogram of its own, which the
/// compiler does not inline.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn mxdp_forget(value: u32) -> u32 {
    black_box(value)
}

impl<const DIRECT: bool> Frame for Packet<'_, DIRECT> {
    #[inline(always)]
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        if !DIRECT {
            return self.read_rare(offset);
        }
        let start = self.ctx.data() + offset as usize;
        if start + N > self.ctx.data_end() {
            return self.read_rare(offset);
        }
        // SAFETY: the line above bounds the N bytes at `start`, and a byte array
        // needs no alignment.
        Some(unsafe { *(start as *const [u8; N]) })
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "N is 2 to 4")]
    fn read_rare<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let value = u32::try_from(mxdp_load_bytes(self.ctx.ctx, offset, N as u32 - 1)).ok()?;
        value.to_le_bytes().first_chunk().copied()
    }

    #[inline(always)]
    fn forget(&self, offset: u32) -> u32 {
        // Packet pointers need the bounds.
        if DIRECT { offset } else { mxdp_forget(offset) }
    }
}
