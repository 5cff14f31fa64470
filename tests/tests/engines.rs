//! The engines agree: tries and ranges in the kernel, ranges on slices, and an
//! evaluator that goes through every list, entry by entry.
#![expect(clippy::cast_possible_truncation, reason = "random numbers, of which any bits do")]

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use filter_common::abi::Settings;
use filter_common::verdict::decide;
use filter_common::{Class, ClassSet, Enforcement, Reason};
use ipnet::IpNet;
use mxdp::config::{Engine, KernelLog};
use mxdp::io::kernel::{Capacities, Change, Filter, Options, Prepared};
use mxdp::lists::Table;
use mxdp::lists::ranges::Ranges;
use mxdp_tests::daemon::Home;
use mxdp_tests::netns::{Namespace, connect};
use mxdp_tests::pace::share;
use mxdp_tests::random::SplitMix;
use mxdp_tests::tables::{ENGINES, Lists};

fn open() -> Filter {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    let options = Options { capacities, kernel_log: KernelLog::Off, pin: None };
    Filter::open(&options).expect("the program loads (root is needed)")
}

fn publish(filter: &mut Filter, table: &Table, engine: Engine) {
    let mut settings = Settings::new(1);
    settings.protect(25);
    let files = Some(Prepared::build(table, engine, |_| ()).expect("tables"));
    let change = Change { files, settings: Some(settings) };
    filter.publish(&change).expect("a generation");
}

/// The program with a table in each engine.
struct Engines([(&'static str, Filter); 2]);

impl Engines {
    fn new() -> Self {
        Self(ENGINES.map(|(name, _)| (name, open())))
    }

    fn publish(&mut self, table: &Table) {
        for ((_, filter), (_, engine)) in self.0.iter_mut().zip(ENGINES) {
            publish(filter, table, engine);
        }
    }

    fn assert(&mut self, address: IpAddr, expected: ClassSet, context: &dyn Fn() -> String) {
        let decided = decide(expected, |_| Enforcement::Drop).decided;
        let reason = decided.map_or(Reason::Unlisted, |(_, reason)| reason);
        for (name, filter) in &mut self.0 {
            let answer = filter.ask(address, 25).expect("an answer");
            assert_eq!(answer, (reason, expected), "{name}: {address} of {}", context());
        }
    }
}

/// The kernel takes a million instructions of verification. What is near that on one
/// kernel is over it on another.
#[test]
fn the_verifier_is_far_from_its_limit() {
    let verified = open().verified_instructions().expect("a loaded program");
    let verified = verified.expect("kernel 5.16 or newer");
    assert!((1000..250_000).contains(&verified), "{verified} instructions");
}

/// Without CAP_PERFMON the kernel takes another program, which knows tries only.
#[test]
fn without_perfmon_the_filter_stays_on_tries_and_says_so() {
    let namespace = Namespace::new("mxp");
    let home = Home::new();
    let listed = (0..2000_u32).map(|host| format!("127.9.{}.{}\n", host / 250, host % 250));
    home.write("blocked.txt", listed.collect::<String>());
    home.configure(
        "interfaces = [\"lo\"]\nmode = \"generic\"\nports = [25]",
        "[blocked]\nfiles = [\"blocked.txt\"]",
    );
    let _daemon = home.start_without(&["sys_admin", "perfmon"], &namespace);
    assert_eq!(home.json(&["status"])["generation"]["ipv4_engine"], "trie");
    assert!(home.log().contains("without CAP_PERFMON"), "{}", home.log());
    let lookup = home.json(&["lookup", "127.9.7.249", "--live"]);
    assert_eq!(lookup["kernel"]["reason"], "blocked_ip", "{lookup}");
    let kind = |from: &str| {
        let source = from.parse().expect("an address");
        let target = "127.0.0.1:25".parse().expect("an address");
        let connected = namespace.run(|| connect(source, target, Duration::from_millis(500)));
        connected.expect_err("nobody listens").kind()
    };
    assert_eq!(kind("127.9.7.249"), io::ErrorKind::TimedOut);
    assert_eq!(kind("127.9.7.250"), io::ErrorKind::ConnectionRefused);
}

/// A table of the size that the engine is for, with the lengths of real ones: each of
/// its boundaries, and as many random addresses, in the kernel.
#[test]
fn large_tables_agree() {
    let mut random = SplitMix::new(1);
    let mut nets: Vec<IpNet> = Vec::new();
    while nets.len() < share(200_000) {
        let wide = random.wide();
        let net = match nets.len() % 20 {
            0..8 => IpNet::new(IpAddr::V4((wide as u32).into()), 24),
            8..12 => IpNet::new(IpAddr::V4((wide as u32).into()), 32),
            12 => IpNet::new(IpAddr::V4((wide as u32).into()), 12 + (wide >> 40) as u8 % 12),
            // A few hundred allocations with hundreds of networks each.
            13..19 => {
                let address =
                    0x2a00_u128 << 112 | (wide >> 64 & 0x1ff) << 96 | wide & ((1 << 96) - 1);
                IpNet::new(
                    IpAddr::V6(address.into()),
                    [40, 44, 48, 48, 48, 56, 64, 128][wide as usize >> 5 & 7],
                )
            }
            _ => {
                IpNet::new(IpAddr::V6((wide >> 3 | 1 << 125).into()), 20 + (wide >> 40) as u8 % 40)
            }
        };
        nets.push(net.expect("a prefix").trunc());
    }
    let classes = [Class::BlockedIp, Class::ApprovedIp, Class::BlockedIp, Class::KnownSpamSource];
    let lists = Lists(nets.iter().enumerate().map(|(at, net)| (classes[at % 4], *net)).collect());
    let set = lists.set();
    let table = lists.table();
    let ranges = Ranges::compile(&table).expect("ranges");
    let mut filter = open();
    publish(&mut filter, &table, Engine::Ranges);
    let mut answers = 0;
    let near = lists.boundaries().collect::<Vec<_>>();
    let far = near.iter().map(|address| {
        let wide = random.wide();
        match address {
            IpAddr::V4(_) => IpAddr::V4((wide as u32).into()),
            IpAddr::V6(near) => {
                let kept = u128::MAX << (wide as u32 % 96);
                let address = near.to_bits() & kept | wide >> 64 & !kept;
                IpAddr::V6(address.into()).to_canonical()
            }
        }
    });
    for address in near.iter().copied().chain(far.collect::<Vec<_>>()) {
        // By a search of each list for each length, which shares nothing with either.
        let expected = set.classify(address).classes;
        assert_eq!(ranges.lookup(address), expected, "slices: {address}");
        let (_, classes) = filter.ask(address, 25).expect("an answer");
        assert_eq!(classes, expected, "kernel: {address}");
        answers += 1;
    }
    assert!(answers > share(1_500_000), "{answers} answers");
}

/// Addresses of a table and random ones, each asked of every engine.
#[test]
fn engines_say_what_the_lists_say() {
    let mut engines = Engines::new();
    let mut random = SplitMix::new(0x6d78_6470);
    let mut answers = 0;
    for case in 0..60 {
        let count = [0, 1, 3, 10, 40, 120, 400][case % 7];
        let bytes = random.bytes(count * 10);
        let lists = Lists::from_bytes(&bytes);
        let table = lists.table();
        let ranges = Ranges::compile(&table).expect("ranges");
        engines.publish(&table);
        let near = lists.boundaries().collect::<Vec<_>>();
        let far = std::iter::repeat_with(|| {
            let (high, low) = (random.next(), random.next());
            match high % 4 {
                0 => IpAddr::V4(((low as u32) & 0x01ff_ffff).into()),
                1 => IpAddr::V4((low as u32).into()),
                _ => {
                    let any = u128::from(high) << 64 | u128::from(low);
                    IpAddr::V6((any >> 3 | 1 << 125).into())
                }
            }
        });
        for address in near.into_iter().chain(far.take(share(20_000))) {
            let expected = lists.classes(address);
            assert_eq!(ranges.lookup(address), expected, "slices: {address} of {lists:?}");
            engines.assert(address, expected, &|| format!("{lists:?}"));
            answers += 1;
        }
    }
    assert!(answers > share(1_000_000), "{answers} answers");
}
