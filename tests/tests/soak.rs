//! An hour's worth of mixed load leaves the daemon as it was.

use mxdp_tests::soak::{self, HOUR};

/// How much more memory the last quarter may have than the third. Measured are up to 7 MB,
/// while the record's caches still fill (in five minutes, `cargo xtask bench soak`, they
/// are full at 81 MB); what each of the 320 sessions and messages of a step left behind,
/// 15 steps further on, would be more than this from 2.6 KB a session on.
const GROWTH: u64 = 12 << 20;

#[test]
fn an_hours_mixed_load_leaves_memory_and_descriptors_flat() {
    let report = soak::run(|steps, _| steps < HOUR);
    let (third, last) = report.second_half();
    println!("{:?}: {third} and {last} bytes; {} records", report.time, report.records);
    assert!(last < third + GROWTH, "{third} {last}");
    // Sessions that are about to end have theirs open; so the least of each is compared.
    let least = |part: std::ops::Range<usize>| {
        report.samples[part].iter().map(|held| held.descriptors).min()
    };
    let (half, end) = (least(HOUR / 4..HOUR / 2), least(HOUR * 3 / 4..HOUR));
    assert!(end <= half.map(|half| half + 2), "{half:?} {end:?}");
    let maps = |step: usize| report.samples[step].maps.len();
    assert_eq!(maps(HOUR / 2), maps(HOUR - 1));
    // 211 accepted and 100 refused a step, at the least.
    assert!(report.records >= 300 * HOUR as u64, "{}", report.records);
    assert!(report.dropped >= 40 * HOUR as u64, "{}", report.dropped);
}
