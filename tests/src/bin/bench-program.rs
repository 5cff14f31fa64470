//! Measures the XDP program alone, part by part: one frame again and again in the
//! kernel's test run, with all it needs in the caches.
//!
//! `cargo xtask bench program [--json]`. Each line is a frame that comes one step
//! further than the one before it; the difference is what the step costs.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::abi::{Settings, SourceKey, SynRate, TemporaryBlock, TemporaryReason};
use filter_common::{Address, Class, ClassSet, Reason};
use ipnet::{IpNet, Ipv4Net};
use mxdp::config::{Engine, KernelLog};
use mxdp::io::kernel::{Capacities, Change, Filter, Options, Prepared};
use mxdp::lists::Table;
use mxdp_tests::frames::{ACK, SYN, TCP, UDP, V4, ethernet, tcp, udp, v6_frame};
use serde_json::json;

/// Runs of the program in one measurement.
const REPEAT: u32 = 2_000_000;

/// Measurements, of which the median counts.
const ROUNDS: usize = 7;

/// A frame, and what becomes of it.
struct Step {
    name: &'static str,
    frame: Vec<u8>,
    reason: Reason,
    /// The active rule set.
    tables: Engine,
    rate: bool,
}

fn main() -> Result<()> {
    let as_json = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--json") => true,
        Some(word) => bail!("unknown argument {word}; see the head of bench-program.rs"),
    };
    let steps = steps();
    let mut filters = Vec::new();
    for step in &steps {
        filters.push(filter(step)?);
    }
    let mut times = vec![Vec::new(); steps.len()];
    for _ in 0..ROUNDS {
        for ((step, filter), times) in steps.iter().zip(&mut filters).zip(&mut times) {
            times.push(measure(step, filter)?);
        }
    }
    let verified = filters.first_mut().context("no step")?.verified_instructions()?;
    let verified = verified.context("kernel 5.16 or newer")?;
    let mut figures = serde_json::Map::new();
    for (step, times) in steps.iter().zip(&mut times) {
        times.sort();
        let median = times[times.len() / 2].as_nanos();
        if as_json {
            figures.insert(step.name.to_owned(), json!(u64::try_from(median)?));
        } else {
            println!("{:<44}{median:>6} ns   {}", step.name, step.reason.name());
        }
    }
    if as_json {
        println!(
            "{}",
            json!({
                "nanoseconds": figures, "repeat": REPEAT, "rounds": ROUNDS,
                "verified_instructions": verified,
            })
        );
    } else {
        println!("verified in {verified} instructions");
    }
    Ok(())
}

fn steps() -> Vec<Step> {
    let v4 = |source: &str, port| V4::from(source).frame(&tcp(port, SYN));
    let step =
        |name, frame, reason| Step { name, frame, reason, tables: Engine::Trie, rate: false };
    let listed = "192.0.2.2";
    let free = "198.51.100.1";
    let datagram = V4 { protocol: UDP, ..V4::from(listed) }.frame(&udp(25));
    vec![
        step("not IP", ethernet(0x0806, &[0; 46]), Reason::NotIp),
        step("not TCP", datagram, Reason::NotTcp),
        step("not SYN", V4::from(listed).frame(&tcp(25, ACK)), Reason::NotSyn),
        step("IPv6, not SYN", v6_frame("2001:db8::2", TCP, &tcp(25, ACK)), Reason::NotSyn),
        step("another port", v4(listed, 80), Reason::OtherPort),
        step("blocked, trie", v4(listed, 25), Reason::BlockedIp),
        Step {
            tables: Engine::Ranges,
            ..step("blocked, ranges", v4(listed, 25), Reason::BlockedIp)
        },
        step("in no list, trie", v4(free, 25), Reason::Unlisted),
        Step {
            tables: Engine::Ranges,
            ..step("in no list, ranges", v4(free, 25), Reason::Unlisted)
        },
        step("under a temporary block", v4("198.51.100.2", 25), Reason::TemporaryBlock),
        Step { rate: true, ..step("in no list, with a rate", v4(free, 25), Reason::Unlisted) },
    ]
}

fn filter(step: &Step) -> Result<Filter> {
    let capacities = Capacities { temporary: 65_536, syn_rate: 65_536 };
    let mut filter = Filter::open(&Options { capacities, kernel_log: KernelLog::Off, pin: None })?;
    let net: Ipv4Net = "192.0.2.2/32".parse()?;
    let table = Table { v4: vec![(net, ClassSet::of(Class::BlockedIp))], v6: Vec::new() };
    let mut settings = Settings::new(1);
    settings.protect(25);
    settings.events_per_second = 256;
    if step.rate {
        // So fast that nothing is ever over it.
        settings.syn_rate_v4 = SynRate { interval_ns: 1, tolerance_ns: 1_000_000_000_000 };
    }
    let files = Some(Prepared::build(&table, step.tables, |_| ())?);
    filter.publish(&Change { files, settings: Some(settings) })?;
    let blocked: IpAddr = "198.51.100.2".parse()?;
    let key = SourceKey::of(&Address::from_ip(IpNet::from(blocked).addr()));
    let reason = TemporaryReason::Operator as u32;
    let block = TemporaryBlock { expires_ns: u64::MAX, reason, ..TemporaryBlock::default() };
    filter.temporary().insert(key, block)?;
    Ok(filter)
}

/// The mean time of a run, of which every one must have had the expected end.
fn measure(step: &Step, filter: &mut Filter) -> Result<Duration> {
    let counted = |filter: &Filter| -> Result<u64> {
        let counters = filter.counters().context("counters")?;
        let own = counters.into_iter().filter(|(reason, ..)| *reason == step.reason);
        Ok(own.map(|(.., frames)| frames).sum())
    };
    let before = counted(filter)?;
    let (_, time) = filter.run_on(&step.frame, REPEAT)?;
    let runs = counted(filter)? - before;
    ensure!(runs == u64::from(REPEAT), "{}: {runs} of {REPEAT} ended so", step.name);
    Ok(time)
}
