//! The engines agree: tries and ranges in the kernel, ranges on slices, and an
//! evaluator that goes through every list, entry by entry.

use std::net::IpAddr;

use filter_common::abi::Settings;
use filter_common::verdict::decide;
use filter_common::{ClassSet, Enforcement, Reason};
use mxdp::config::Debug;
use mxdp::io::kernel::{Capacities, Change, Filter, Options, Prepared};
use mxdp::lists::Table;
use mxdp::lists::ranges::Ranges;
use mxdp_tests::random::SplitMix;
use mxdp_tests::tables::{ENGINES, Lists};

fn open() -> Filter {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    let options = Options { capacities, debug: Debug::Off, pin: None };
    Filter::open(&options).expect("the program loads (root is needed)")
}

/// The program with a table in each engine.
struct Engines([(&'static str, Filter); 2]);

impl Engines {
    fn new() -> Self {
        Self(ENGINES.map(|(name, _)| (name, open())))
    }

    fn publish(&mut self, table: &Table) {
        let mut settings = Settings::new(1);
        settings.protect(25);
        for ((_, filter), (_, engine)) in self.0.iter_mut().zip(ENGINES) {
            let files = Some(Prepared::build(table, engine, |_| ()).expect("tables"));
            let change = Change { files, runtime: None, settings: Some(settings) };
            filter.publish(&change).expect("a generation");
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
    assert!((1000..200_000).contains(&verified), "{verified} instructions");
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
        for address in near.into_iter().chain(far.take(10_000)) {
            let expected = lists.classes(address);
            assert_eq!(ranges.lookup(address), expected, "slices: {address} of {lists:?}");
            engines.assert(address, expected, &|| format!("{lists:?}"));
            answers += 1;
        }
    }
    assert!(answers > 600_000, "{answers} answers");
}
