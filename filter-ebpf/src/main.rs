//! mxdp's XDP program: a thin adapter between packets, maps and the shared
//! verdict in `filter-common`.
//!
//! Packet pointers are confined to [`packet`], maps to [`tables`] and [`events`]; this file has the
//! entry point and the one place where a reason becomes an XDP action.
#![no_std]
#![no_main]

mod events;
mod packet;
mod tables;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use aya_log_ebpf::debug;
use filter_common::frame;
use filter_common::verdict::{self, Tables, Verdict};
use filter_common::{Class, ClassSet, Disposition, Enforcement, Family, Reason, Syn};

use crate::packet::Packet;
use crate::tables::InForce;

/// Judges one frame, by tables in either engine.
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
#[xdp(frags)]
fn mxdp(ctx: XdpContext) -> u32 {
    judge::<true>(&ctx)
}

/// Judges one frame, by tries only: the verifier accepts the search in ranges only with
/// CAP_PERFMON.
#[expect(clippy::needless_pass_by_value, reason = "the macro hands the context over")]
#[xdp(frags)]
fn mxdp_trie(ctx: XdpContext) -> u32 {
    judge::<false>(&ctx)
}

#[inline(always)]
fn judge<const RANGES: bool>(ctx: &XdpContext) -> u32 {
    let packet = Packet::<RANGES>::new(ctx);
    let dry = packet.asks_for_a_dry_run();
    let mut syn = Syn::EMPTY;
    let (family, found) = frame::parse(&packet, &mut syn);
    let verdict = match found {
        Ok(()) => {
            let tables = InForce::<RANGES>::read(dry);
            let verdict = verdict::judge(&syn, &tables);
            if !dry {
                report(ctx, &tables, family, &syn, &verdict);
            }
            verdict
        }
        Err(reason) => Verdict::without_lists(reason),
    };
    if dry {
        packet.answer(verdict.reason, verdict.classes);
    } else {
        tables::count(verdict.reason, family);
    }
    match verdict.reason.disposition() {
        Disposition::Pass => XDP_PASS,
        Disposition::Drop => XDP_DROP,
    }
}

/// Counts monitored classes, and reports a SYN that was dropped or that a monitored list matches.
#[inline(always)]
fn report(ctx: &XdpContext, tables: &impl Tables, family: Family, syn: &Syn, verdict: &Verdict) {
    debug!(
        ctx,
        "SYN to port {}: reason {}, classes {}",
        syn.port,
        verdict.reason as u8,
        verdict.classes.bits()
    );
    count_monitored(family, verdict.observed);
    let reason = match (verdict.reason.disposition(), verdict.observed.first()) {
        (Disposition::Drop, _) => verdict.reason,
        (Disposition::Pass, Some(class)) => Reason::of_class(class, Enforcement::Monitor),
        (Disposition::Pass, None) => return,
    };
    let limit = tables.settings().map_or(0, |settings| settings.events_per_second);
    events::report(ctx, limit, reason, syn);
}

/// Counts the monitored classes in addition to the verdict.
#[inline(always)]
fn count_monitored(family: Family, observed: ClassSet) {
    for class in [Class::BlockedIp, Class::BlockedCountry, Class::KnownSpamSource] {
        if observed.contains(class) {
            tables::count(Reason::of_class(class, Enforcement::Monitor), family);
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
