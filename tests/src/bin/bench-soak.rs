//! `cargo xtask bench soak [--minutes N]`: a busy mail edge's hours, compressed
//! ([`mxdp_tests::soak`]), for so many minutes, and what the daemon held meanwhile.

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mxdp_tests::soak::{self, HOUR};

fn main() -> Result<()> {
    let mut minutes = 5;
    let arguments: Vec<String> = env::args().skip(1).collect();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--minutes" => minutes = rest.next().context("--minutes needs a number")?.parse()?,
            other => bail!("no option {other}; there is --minutes N"),
        }
    }
    ensure!(minutes > 0, "at least one minute");
    let end = Duration::from_secs(minutes * 60);
    let report = soak::run(|steps, time| steps < 8 || time < end);
    let steps = report.samples.len();
    println!(
        "{:.1} hours' worth in {:.0} s: {} records, {} SYNs dropped\n",
        steps as f64 / HOUR as f64,
        report.time.as_secs_f64(),
        report.records,
        report.dropped
    );
    println!("| steps | resident, MB | descriptors | threads | maps open |");
    println!("|---|---|---|---|---|");
    for eighth in 0..8 {
        let part = steps * eighth / 8..steps * (eighth + 1) / 8;
        let last = &report.samples[part.end - 1];
        println!(
            "| {}-{} | {:.1} | {} | {} | {} |",
            part.start + 1,
            part.end,
            report.mean(part.clone()) as f64 / 1e6,
            last.descriptors,
            last.threads,
            last.maps.len()
        );
    }
    let (third, last) = report.second_half();
    println!(
        "\nthird quarter {:.1} MB, last {:.1} MB on average",
        third as f64 / 1e6,
        last as f64 / 1e6
    );
    Ok(())
}
