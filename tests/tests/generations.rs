//! Rule sets in the kernel: its tables against the compiled table, and switches
//! between two policies that disagree on everything, under a flood.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use filter_common::abi::{Managed, Settings};
use filter_common::verdict::decide;
use filter_common::{Class, ClassSet, Enforcement, Family, Reason};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use mxdp::config::{KernelLog, Mode};
use mxdp::io::kernel::{Capacities, Change, Filter, Managing, Options, Prepared};
use mxdp::lists::{CountryPolicy, ListSet, LoadedFile, ParsedList, Table, compile};
use mxdp_tests::frames::*;
use mxdp_tests::netns::{Pair, Wire};
use mxdp_tests::pace::{lasting, share};
use mxdp_tests::tables::engine;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

fn open() -> Filter {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    let options = Options { capacities, kernel_log: KernelLog::Off, pin: None };
    Filter::open(&options).expect("the program loads (root is needed)")
}

fn settings() -> Settings {
    let mut settings = Settings::new(1);
    settings.protect(25);
    settings
}

fn tables(table: &Table) -> Prepared {
    Prepared::build(table, engine().1, |_| ()).expect("tables")
}

/// Prefixes of a small universe, so that they nest, meet and coincide.
fn prefix() -> impl Strategy<Value = IpNet> {
    let v4 = (0_u8..3, any::<u8>(), 0_u8..=32).prop_map(|(a, b, length)| {
        let address = Ipv4Addr::new(192, a, b, b);
        Ipv4Net::new(address, length).expect("a prefix").trunc().into()
    });
    let v6 = (0_u16..3, any::<u16>(), 0_u8..=128).prop_map(|(a, b, length)| {
        let address = Ipv6Addr::new(0x2001, a, b, 0, b, 0, 0, b);
        Ipv6Net::new(address, length).expect("a prefix").trunc().into()
    });
    prop_oneof![v4, v6]
}

fn lists() -> impl Strategy<Value = Vec<(Class, Vec<IpNet>)>> {
    let class =
        prop_oneof![Just(Class::ApprovedIp), Just(Class::BlockedIp), Just(Class::KnownSpamSource)];
    prop::collection::vec((class, prop::collection::vec(prefix(), 0..40)), 0..4)
}

/// Lists of the classes that managed entries have.
fn managed_lists() -> impl Strategy<Value = Vec<(Class, Vec<IpNet>)>> {
    let class = prop_oneof![Just(Class::ApprovedIp), Just(Class::BlockedIp)];
    prop::collection::vec((class, prop::collection::vec(prefix(), 0..40)), 0..4)
}

/// The entries of a table, for good.
fn managed(table: &Table) -> Managing {
    let until =
        |classes: ClassSet, class| if classes.contains(class) { Managed::FOREVER } else { 0 };
    let entry = |classes| {
        Managed::until(until(classes, Class::ApprovedIp), until(classes, Class::BlockedIp))
    };
    let v4 = table.v4.iter().map(|(net, classes)| (IpNet::V4(*net), entry(*classes)));
    let v6 = table.v6.iter().map(|(net, classes)| (IpNet::V6(*net), entry(*classes)));
    v4.chain(v6).collect()
}

fn compiled(lists: &[(Class, Vec<IpNet>)]) -> Table {
    let files = lists.iter().map(|(class, nets)| LoadedFile {
        name: "list".to_owned(),
        class: *class,
        list: ParsedList::from_entries(nets.iter().map(|net| (*net, 1, ""))),
    });
    compile(&ListSet::new(files.collect(), None, CountryPolicy::default())).table
}

/// The first and last address of every prefix, and those beside them.
fn boundaries(lists: &[(Class, Vec<IpNet>)]) -> Vec<IpAddr> {
    let beside = |net: &IpNet| match net {
        IpNet::V4(net) => {
            let (first, last) = (u32::from(net.network()), u32::from(net.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|address| IpAddr::V4(address.into()))
        }
        IpNet::V6(net) => {
            let (first, last) = (u128::from(net.network()), u128::from(net.broadcast()));
            [first, last, first.wrapping_sub(1), last.wrapping_add(1)]
                .map(|address| IpAddr::V6(address.into()))
        }
    };
    lists.iter().flat_map(|(_, nets)| nets).flat_map(beside).collect()
}

#[test]
fn the_kernels_tables_answer_as_the_compiled_table() {
    let mut filter = open();
    filter.publish(&Change { settings: Some(settings()), ..Change::default() }).expect("settings");
    let mut answers = 0;
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(share(60)).expect("few"),
        ..Config::default()
    });
    let strategy = (lists(), managed_lists(), prop::collection::vec(any::<u32>(), 20));
    let filter = std::cell::RefCell::new(&mut filter);
    let answers = std::cell::RefCell::new(&mut answers);
    let outcome = runner.run(&strategy, |(files, runtime, random)| {
        let mut filter = filter.borrow_mut();
        let (file_table, runtime_table) = (compiled(&files), compiled(&runtime));
        filter
            .publish(&Change { files: Some(tables(&file_table)), settings: None })
            .expect("a generation");
        filter.manage_exactly(&managed(&runtime_table)).expect("managed entries");
        let mut addresses = boundaries(&files);
        addresses.extend(boundaries(&runtime));
        addresses.extend(random.iter().map(|address| IpAddr::V4((*address).into())));
        for address in addresses {
            let expected = file_table.lookup(address).union(runtime_table.lookup(address));
            let (reason, classes) = filter.ask(address, 25).expect("an answer");
            prop_assert_eq!(classes, expected, "{}", address);
            let decided = decide(expected, |_| Enforcement::Drop).decided;
            prop_assert_eq!(reason, decided.map_or(Reason::Unlisted, |(_, reason)| reason));
            **answers.borrow_mut() += 1;
        }
        Ok(())
    });
    outcome.expect("the kernel agrees");
    let answers = answers.into_inner();
    assert!(*answers > share(5000), "{answers} answers");
}

/// A policy that names every address of both families in one class, and settings
/// under which that class alone has an answer: a mix of one policy's tables with
/// the other's settings decides nothing, and is counted as unlisted.
struct Policy {
    class: Class,
    other: Class,
    answer: Reason,
    enforcement: Enforcement,
}

const POLICIES: [Policy; 2] = [
    Policy {
        class: Class::BlockedIp,
        other: Class::KnownSpamSource,
        answer: Reason::BlockedIp,
        enforcement: Enforcement::Drop,
    },
    Policy {
        class: Class::KnownSpamSource,
        other: Class::BlockedIp,
        answer: Reason::KnownSpamSourceReject,
        enforcement: Enforcement::Reject,
    },
];

impl Policy {
    fn change(&self, generation: u64) -> Change {
        let everything = ClassSet::of(self.class);
        let table = Table {
            v4: vec![(Ipv4Net::default(), everything)],
            v6: vec![(Ipv6Net::default(), everything)],
        };
        let mut settings = settings();
        settings.generation = generation;
        settings.enforce(self.class, self.enforcement);
        settings.enforce(self.other, Enforcement::Monitor);
        Change { files: Some(tables(&table)), settings: Some(settings) }
    }
}

const FLIPS: usize = 1000;

#[test]
fn a_thousand_flips_under_a_flood_give_no_packet_a_third_answer() {
    let pair = Pair::new();
    let mut filter = open();
    filter.publish(&POLICIES[0].change(0)).expect("a generation");
    pair.edge.run(|| filter.attach(&["e0".to_owned()], Mode::Native)).expect("attached");

    let flips = share(FLIPS) as u64;
    let done = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let flood = scope.spawn(|| pair.client.run(|| flood(&done)));
        for generation in 1..=flips {
            let policy = &POLICIES[usize::try_from(generation % 2).expect("0 or 1")];
            filter.publish(&policy.change(generation)).expect("a generation");
        }
        done.store(true, Ordering::Relaxed);
        flood.join().expect("the flood")
    });

    // What is still on its way arrives.
    let judged = |filter: &Filter| -> u64 {
        let counters = filter.counters().expect("counters");
        let syn = |reason: &Reason| POLICIES.iter().any(|policy| policy.answer == *reason);
        counters.iter().filter(|(reason, ..)| syn(reason)).map(|(.., frames)| frames).sum()
    };
    let least = share(1000) as u64;
    let start = Instant::now();
    while judged(&filter) < sent && start.elapsed() < lasting(Duration::from_secs(5)) {
        thread::sleep(Duration::from_millis(10));
    }
    for (reason, family, frames) in filter.counters().expect("counters") {
        let is_an_answer = POLICIES.iter().any(|policy| policy.answer == reason);
        if is_an_answer && family != Family::Other {
            assert!(frames > least, "{} of {}: {frames}", reason.name(), family.name());
        } else if reason != Reason::NotIp && reason != Reason::NotTcp {
            // Neighbour discovery of the namespaces is neither TCP nor judged.
            assert_eq!(frames, 0, "{} of {}", reason.name(), family.name());
        }
    }
    assert_eq!(judged(&filter), sent, "frames judged of frames sent");
    assert_eq!(filter.generation().expect("a generation"), flips);
}

/// Sends SYNs from changing addresses of both families until `done`, and says
/// how many.
fn flood(done: &AtomicBool) -> u64 {
    let mut wire = Wire::new("e1");
    let mut v4 = V4::from("10.0.0.0").frame(&tcp(25, SYN));
    let mut v6 = v6_frame("2001:db8::", TCP, &tcp(25, SYN));
    let mut sent = 0;
    let mut source: u32 = 1;
    while !done.load(Ordering::Relaxed) {
        for _ in 0..256 {
            // A multiplicative generator: every address once, in no order.
            source = source.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            v4[26..30].copy_from_slice(&source.to_be_bytes());
            v6[34..38].copy_from_slice(&source.to_be_bytes());
            for frame in [&v4, &v6] {
                sent += u64::from(wire.send(frame).is_ok());
            }
        }
    }
    sent
}
