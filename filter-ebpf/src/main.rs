//! mxdp's XDP program: a thin adapter between packets, maps and the shared
//! verdict in `filter-common`.
//!
//! Packet pointers end in [`packet`], maps in [`tables`] and [`events`]; this
//! file holds the entry and the one place where a reason becomes an XDP action.
#![no_std]
#![no_main]

mod events;
mod packet;
mod tables;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use filter_common::verdict::{self, Tables as _, Verdict};
use filter_common::{Class, Disposition, Enforcement, Reason};

use crate::packet::Packet;
use crate::tables::InForce;

/// Judges one frame.
#[xdp(frags)]
pub fn mxdp(ctx: XdpContext) -> u32 {
    let packet = Packet::new(&ctx);
    let dry = packet.asks_for_a_dry_run();
    let tables = InForce::read(dry);
    let verdict = verdict::judge(&packet, &tables);
    if dry {
        packet.answer(verdict.reason, verdict.classes);
    } else {
        record(&ctx, &tables, &verdict);
    }
    match verdict.reason.disposition() {
        Disposition::Pass => XDP_PASS,
        Disposition::Drop => XDP_DROP,
    }
}

#[inline(always)]
fn record(ctx: &XdpContext, tables: &InForce, verdict: &Verdict) {
    tables::count(verdict.reason, verdict.family);
    let Some(syn) = &verdict.syn else {
        return;
    };
    debug!(
        ctx,
        "SYN to port {}: reason {}, classes {}",
        syn.port,
        verdict.reason as u8,
        verdict.classes.bits()
    );
    let dropped = verdict.reason.disposition() == Disposition::Drop;
    if !dropped && verdict.observed.is_empty() {
        return;
    }
    let limit = tables
        .settings()
        .map_or(0, |settings| settings.events_per_second);
    if dropped {
        events::report(ctx, limit, verdict.reason, syn);
    }
    for class in [
        Class::BlockedIp,
        Class::BlockedCountry,
        Class::KnownSpamSource,
    ] {
        if verdict.observed.contains(class) {
            let reason = Reason::of_class(class, Enforcement::Monitor);
            tables::count(reason, verdict.family);
            events::report(ctx, limit, reason, syn);
        }
    }
}

/// The licence that the kernel checks before it lends its helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
#[expect(unsafe_code, reason = "the loader finds the licence by its section")]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // No code path panics: a panic that is reachable would be an endless loop,
    // which the verifier refuses to load.
    loop {}
}
