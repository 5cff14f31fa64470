//! Sampled events: bounded per second and CPU, each with its weight.
#![expect(unsafe_code, reason = "per-CPU state is reached by a pointer that the kernel gives")]

use aya_ebpf::btf_maps::{PerCpuArray, RingBuf};
use aya_ebpf::helpers::generated::{bpf_ktime_get_boot_ns, bpf_ktime_get_coarse_ns};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::XdpContext;
use filter_common::abi::{Event, Sampler};
use filter_common::{Reason, Syn};

#[btf_map]
static SAMPLER: PerCpuArray<Sampler, 1> = PerCpuArray::new();
/// 512 KiB: nearly 8,000 events, half a minute at the default rate.
#[btf_map]
static EVENTS: RingBuf<Event, { 512 * 1024 }> = RingBuf::new();

/// Reports a SYN, if the sampling selects it. A full ring is counted and changes no verdict.
#[inline(never)]
#[expect(
    clippy::needless_borrows_for_generic_args,
    reason = "by value the event would lie twice on a stack of 512 bytes"
)]
pub(crate) fn report(ctx: &XdpContext, limit: u32, reason: Reason, syn: &Syn) {
    if limit == 0 {
        return;
    }
    let Some(sampler) = SAMPLER.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: the value belongs to this CPU, and the program is not preempted by another run of
    // itself on it.
    let sampler = unsafe { &mut *sampler };
    // SAFETY: the helper has no preconditions (kernel 5.11).
    let now = unsafe { bpf_ktime_get_coarse_ns() };
    let unattributed = sampler.turn(now);
    let weight = sampler.sample(limit);
    if unattributed == 0 && weight.is_none() {
        return;
    }
    // SAFETY: the helper has no preconditions (kernel 5.8).
    let time = unsafe { bpf_ktime_get_boot_ns() };
    // SAFETY: the kernel gave the context, whose field is 32 bits wide.
    let ifindex = unsafe { (*ctx.ctx).ingress_ifindex };
    let mut event = Event::new(time, 0, ifindex, reason, syn);
    if unattributed > 0 {
        event.unattribute(unattributed);
        if EVENTS.output(&event, 0).is_err() {
            sampler.lost += u64::from(unattributed);
        }
    }
    let Some(weight) = weight else {
        return;
    };
    event.attribute(weight);
    if EVENTS.output(&event, 0).is_err() {
        sampler.lost += u64::from(weight);
    }
}
