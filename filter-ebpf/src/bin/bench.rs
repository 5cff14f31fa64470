//! Programs of the packet benchmark, which no installation contains: a generator of SYNs, and a
//! baseline for comparison.
//!
//! The generator is run on live frames (`BPF_F_TEST_XDP_LIVE_FRAMES`, kernel
//! 5.18) and sends each into a device, so that no user-space loop is measured.
#![no_std]
#![no_main]
#![expect(unsafe_code, reason = "packet pointers and map values of the kernel")]

use aya_ebpf::bindings::xdp_action::{XDP_ABORTED, XDP_DROP};
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_redirect};
use aya_ebpf::macros::{btf_map, xdp};
use aya_ebpf::programs::XdpContext;

/// The maximum number of prepared addresses.
const PREPARED: usize = 1 << 20;

/// The index of the device that the frames go into.
#[btf_map]
static TARGET: Array<u32, 1> = Array::new();
/// The number of the next frame, which decides its source.
#[btf_map]
static NEXT: Array<u64, 1> = Array::new();
/// How many of `SOURCES` are used in rotation, a power of two; 0 for random sources.
#[btf_map]
static WALK: Array<u32, 1> = Array::new();
/// Prepared addresses in their order of use, so that reading them is a sequential walk through
/// memory, which the baseline does as well. IPv4 has the first four bytes.
#[btf_map]
static SOURCES: Array<[u8; 16], PREPARED> = Array::new();
/// The sums of 16-bit words under the IPv4 and the TCP checksum, without the source.
#[btf_map]
static SUMS: Array<u32, 2> = Array::new();

/// The longest time between two frames, if it is watched: 0 if not, 1 to begin, or
/// when the last was made (nanoseconds of CLOCK_MONOTONIC); the longest; and how many
/// were over a millisecond.
#[btf_map]
static PAUSE: Array<[u64; 3], 1> = Array::new();

const IPV4: u16 = 0x0800;

/// Drops every frame: the baseline.
#[xdp(frags)]
fn floor(_ctx: XdpContext) -> u32 {
    XDP_DROP
}

/// Writes the next source into the SYN of the frame, and sends it.
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
#[xdp]
fn load(ctx: XdpContext) -> u32 {
    send(&ctx).unwrap_or(XDP_ABORTED)
}

#[inline(always)]
fn send(ctx: &XdpContext) -> Option<u32> {
    let next = NEXT.get_ptr_mut(0)?;
    // SAFETY: an array's value exists as long as the program, and only one CPU runs the generator.
    let number = unsafe {
        let number = *next;
        *next = number + 1;
        number
    };
    watch_pauses()?;
    let walk = *WALK.get(0)?;
    let ether_type = at::<u16>(ctx, 12)?;
    // SAFETY: `at` bounded the two bytes; they lie at an even offset.
    if unsafe { ether_type.read_unaligned() } == IPV4.to_be() {
        let source =
            if walk == 0 { random_v4(number) } else { first_four(prepared(number, walk)?) };
        write_v4(ctx, source)?;
    } else {
        let source = if walk == 0 { random_v6(number) } else { *prepared(number, walk)? };
        write_v6(ctx, &source)?;
    }
    // SAFETY: the helper has no preconditions.
    let action = unsafe { bpf_redirect(*TARGET.get(0)?, 0) };
    u32::try_from(action).ok()
}

#[inline(always)]
fn watch_pauses() -> Option<()> {
    let pause = PAUSE.get_ptr_mut(0)?;
    // SAFETY: as above.
    let [last, longest, long] = unsafe { &mut *pause };
    if *last == 0 {
        return Some(());
    }
    // SAFETY: the helper has no preconditions.
    let now = unsafe { bpf_ktime_get_ns() };
    if *last > 1 {
        let between = now - *last;
        if between > *longest {
            *longest = between;
        }
        if between > 1_000_000 {
            *long += 1;
        }
    }
    *last = now;
    Some(())
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the mask is below 2^20")]
fn prepared(number: u64, walk: u32) -> Option<&'static [u8; 16]> {
    SOURCES.get((number & u64::from(walk.wrapping_sub(1))) as u32)
}

#[inline(always)]
const fn first_four(address: &[u8; 16]) -> [u8; 4] {
    let [a, b, c, d, ..] = *address;
    [a, b, c, d]
}

/// The `number`th output of splitmix64.
#[inline(always)]
const fn random(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Uniformly within 1.0.0.0 to 223.255.255.255.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the first byte is 1 to 223")]
const fn random_v4(number: u64) -> [u8; 4] {
    let random = random(number);
    let [a, b, c, ..] = random.to_le_bytes();
    [(((random >> 32) * 223) >> 32) as u8 + 1, a, b, c]
}

/// Uniformly within 2000::/3.
#[inline(always)]
const fn random_v6(number: u64) -> [u8; 16] {
    let high = random(number * 2) >> 3 | 1 << 61;
    let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = random(number * 2 + 1).to_be_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

#[inline(always)]
fn write_v4(ctx: &XdpContext, source: [u8; 4]) -> Option<()> {
    let [a, b, c, d] = source;
    let sum = u32::from(u16::from_be_bytes([a, b])) + u32::from(u16::from_be_bytes([c, d]));
    write(ctx, 26, source)?;
    write(ctx, 24, checksum(*SUMS.get(0)? + sum))?;
    write(ctx, 14 + 20 + 16, checksum(*SUMS.get(1)? + sum))
}

#[inline(always)]
fn write_v6(ctx: &XdpContext, source: &[u8; 16]) -> Option<()> {
    let mut sum = 0;
    let mut at = 0;
    while at < 16 {
        sum += u32::from(u16::from_be_bytes([source[at], source[at + 1]]));
        at += 2;
    }
    write(ctx, 22, *source)?;
    write(ctx, 14 + 40 + 16, checksum(*SUMS.get(1)? + sum))
}

/// The internet checksum of a sum of words (RFC 1071): the stack behind a contender discards frames
/// with a wrong one.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "two folds leave 16 bits")]
const fn checksum(sum: u32) -> [u8; 2] {
    let once = (sum >> 16) + (sum & 0xffff);
    let twice = (once >> 16) + (once & 0xffff);
    (!(twice as u16)).to_be_bytes()
}

#[inline(always)]
fn write<const N: usize>(ctx: &XdpContext, offset: usize, bytes: [u8; N]) -> Option<()> {
    let place = at::<[u8; N]>(ctx, offset)?;
    // SAFETY: `at` bounded the bytes, and a byte array needs no alignment.
    unsafe { *place = bytes };
    Some(())
}

/// A pointer into the frame, if the bytes exist.
#[inline(always)]
fn at<T>(ctx: &XdpContext, offset: usize) -> Option<*mut T> {
    let start = ctx.data() + offset;
    (start + size_of::<T>() <= ctx.data_end()).then_some(start as *mut T)
}

/// The licence that the kernel checks before it lends its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No code path panics: a panic that is reachable would be an endless loop,
    // which the verifier refuses to load.
    loop {}
}
