//! `cargo xtask bench packet`: what a SYN costs, from the device to the verdict.
//!
//! Frames are made in the kernel by a program that is run on live frames, and are
//! redirected into a veth device; its peer's NAPI serves them in the soft interrupt
//! that follows, on the same core. So a figure is the whole path: making the frame,
//! moving it, and the verdict; the floor is all of it but the verdict.
//!
//! Each contender drops every SYN, and counts apart those that are listed. So no
//! frame goes on to a network stack, which would be measured with it, and a source
//! that is not listed costs a whole look-up as well. In mxdp that is a policy of
//! its own, a block of addresses without a country; the others have a second rule.

mod arguments;
mod contender;
mod contest;
mod lane;
mod lists;
mod load;
mod measure;
mod reload;
mod report;
mod rivals;
mod svg;
mod workload;

use std::fs;
use std::time::{Duration, Instant};
use std::{io, thread};

use anyhow::{Context as _, Result};
use filter_common::Family;
use mxdp_tests::random::SplitMix;

use arguments::{Arguments, Json};
use contender::Kind;
use lists::Lists;
use load::Generator;
use measure::Entrant;
use report::{Fill, Gap, Report};

/// What a prefix takes of memory while all contenders hold it, in bytes, about.
const MEMORY: u64 = 800;

fn main() -> Result<()> {
    let arguments = Arguments::take()?;
    measure::heed_interrupts()?;
    if arguments.reload {
        return reload::measure_all(&arguments);
    }
    let mut report = Report::default();
    let outcome = measure_all(&arguments, &mut report);
    // What was measured until something went wrong is worth its time.
    if outcome.is_ok() || !report.rows.is_empty() {
        write(&arguments, &report)?;
    }
    outcome
}

fn measure_all(arguments: &Arguments, report: &mut Report) -> Result<()> {
    let mut generator = Generator::new(arguments.cpu)?;
    for &family in &arguments.families {
        if let Some(path) = &arguments.table {
            let lists = Lists::read(family, path)?;
            if lists.listed.is_empty() {
                add_gap(report, family, 0, "all".to_owned(), "the file has none".to_owned());
                continue;
            }
            measure_lists(&mut generator, &lists, arguments, report)?;
            continue;
        }
        for &size in &arguments.sizes {
            let needed = size as u64 * MEMORY;
            if available()? < needed {
                let why = format!("{} MB of memory are needed", needed / 1_000_000);
                add_gap(report, family, size, "all".to_owned(), why);
                continue;
            }
            let lists = Lists::synthetic(family, size);
            measure_lists(&mut generator, &lists, arguments, report)?;
        }
    }
    Ok(())
}

fn write(arguments: &Arguments, report: &Report) -> Result<()> {
    match &arguments.json {
        Some(Json::Stdout) => println!("{}", report.json(arguments)?),
        Some(Json::File(path)) => {
            fs::write(path, report.json(arguments)?).context("the JSON file")?;
            report.print(arguments);
        }
        None => report.print(arguments),
    }
    if let Some(path) = &arguments.svg {
        fs::write(path, svg::plot(&report.rows)).context("the SVG file")?;
    }
    Ok(())
}

/// Measures all contenders on the same lists.
fn measure_lists(
    generator: &mut Generator,
    lists: &Lists,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<()> {
    let (family, prefixes) = (lists.family, lists.listed.len());
    let one = *lists.inside(&mut SplitMix::new(1), 1).first().context("no address")?;
    let mut entrants = Vec::new();
    for kind in Kind::ALL {
        measure::go_on()?;
        if kind != Kind::Floor && !arguments.contenders.contains(&kind) {
            continue;
        }
        say(format_args!("{}, {prefixes} prefixes: {kind}", family.name()));
        let start = Instant::now();
        match kind.build(generator, lists, one) {
            Ok(contender) => {
                entrants.push(Entrant { kind, contender });
                let seconds = start.elapsed().as_secs_f64();
                report.fills.push(Fill { family, prefixes, kind, seconds });
            }
            Err(error) if kind != Kind::Floor => {
                add_gap(report, family, prefixes, kind.to_string(), format!("{error:#}"));
            }
            Err(error) => return Err(error),
        }
    }
    for &workload in &arguments.workloads {
        say(format_args!("{}, {prefixes} prefixes: {}", family.name(), workload.title()));
        report.rows.push(measure::workload(
            generator,
            &mut entrants,
            lists,
            arguments,
            workload,
            one,
        )?);
    }
    drop(entrants);
    settle()
}

fn add_gap(report: &mut Report, family: Family, prefixes: usize, what: String, why: String) {
    let gap = Gap { family, prefixes, what, why };
    say(format_args!("{}", gap.line()));
    report.gaps.push(gap);
}

/// Waits until the kernel has freed what a former list took: it does so by and by,
/// on any core.
fn settle() -> Result<()> {
    let start = Instant::now();
    let mut last = memory("SUnreclaim:")?;
    while start.elapsed() < Duration::from_secs(20) {
        thread::sleep(Duration::from_millis(500));
        let now = memory("SUnreclaim:")?;
        if now.abs_diff(last) < 4_000_000 {
            break;
        }
        last = now;
    }
    Ok(())
}

fn available() -> Result<u64> {
    memory("MemAvailable:")
}

/// A line of /proc/meminfo, in bytes.
fn memory(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).context("/proc/meminfo")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Says what goes on; stdout is for the figures.
fn say(words: std::fmt::Arguments<'_>) {
    use io::Write as _;
    _ = writeln!(io::stderr(), "{words}");
}
