//! The rounds: contenders take turns, and each frame is accounted for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use mxdp_tests::random::SplitMix;
use nix::sys::signal::{SigSet, Signal};

use crate::arguments::Arguments;
use crate::contender::Kind;
use crate::contest::{Contender, Counts};
use crate::lists::Lists;
use crate::load::{Generator, PREPARED, Sources};
use crate::report::{Cell, Row};
use crate::workload::Workload;

/// A contender that is ready.
pub(crate) struct Entrant {
    pub(crate) kind: Kind,
    pub(crate) contender: Box<dyn Contender>,
}

/// Set when the user wants an end: namespaces are removed on the way out.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Makes an interrupt an error like others.
pub(crate) fn heed_interrupts() -> Result<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context("signals")?;
    thread::spawn(move || {
        if signals.wait().is_ok() {
            INTERRUPTED.store(true, Ordering::Relaxed);
        }
    });
    Ok(())
}

/// Fails once the user wants an end.
pub(crate) fn go_on() -> Result<()> {
    ensure!(!INTERRUPTED.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

/// Runs the rounds of one workload.
pub(crate) fn workload(
    generator: &mut Generator,
    entrants: &mut [Entrant],
    lists: &Lists,
    arguments: &Arguments,
    workload: Workload,
    one: IpAddr,
) -> Result<Row> {
    let mut random = SplitMix::new(0x7365_6564);
    let prepared = match workload {
        Workload::Random => Vec::new(),
        Workload::Listed => lists.inside(&mut random, PREPARED),
        Workload::Beside => lists.beside(&mut random, PREPARED)?,
        Workload::One => vec![one],
    };
    generator.prepare(&match workload {
        Workload::Random => Sources::Random,
        _ => Sources::Walk(&prepared),
    })?;
    let mut taking_part: Vec<_> =
        entrants.iter_mut().filter(|entrant| entrant.kind.knows(workload)).collect();
    let mut times: Vec<Vec<f64>> = vec![Vec::new(); taking_part.len()];
    let mut listed = BTreeMap::new();
    for round in 0..u64::from(arguments.rounds) {
        let mut kinds: Option<(Kind, Counts)> = None;
        for (entrant, times) in taking_part.iter_mut().zip(&mut times) {
            go_on()?;
            let kind = entrant.kind;
            let (time, counts) =
                run(generator, entrant.contender.as_mut(), lists, round, arguments.frames)
                    .with_context(|| format!("{kind}, {workload}"))?;
            times.push(time.as_secs_f64() * 1e9);
            let Some(counts) = counts else { continue };
            // All were sent the same, and so must have found the same.
            let (first, expected) = *kinds.get_or_insert((kind, counts));
            ensure!(
                counts == expected,
                "{workload}: {kind} says {counts:?} and {first} says {expected:?}"
            );
            check(workload, counts).with_context(|| format!("{kind}, {workload}"))?;
            *listed.entry(kind.name()).or_insert(0) += counts.listed;
        }
    }
    let floors = times.first().context("no floor")?.clone();
    let cells = taking_part.iter().zip(times).map(|(entrant, times)| {
        let ratios = times.iter().zip(&floors).map(|(time, floor)| time / floor).collect();
        Cell {
            kind: entrant.kind,
            listed: listed.get(entrant.kind.name()).copied(),
            ratio: median(ratios),
            lowest_ns: times.iter().copied().fold(f64::INFINITY, f64::min),
            highest_ns: times.iter().copied().fold(0.0, f64::max),
            ns: median(times),
        }
    });
    let cells = cells.collect();
    Ok(Row { family: lists.family, prefixes: lists.listed.len(), workload, cells })
}

fn check(workload: Workload, counts: Counts) -> Result<()> {
    match workload {
        Workload::Random => {}
        Workload::Listed | Workload::One => ensure!(counts.unlisted == 0, "{counts:?}"),
        Workload::Beside => ensure!(counts.listed == 0, "{counts:?}"),
    }
    Ok(())
}

/// Sends the frames of a round, and checks that each is accounted for.
fn run(
    generator: &mut Generator,
    contender: &mut dyn Contender,
    lists: &Lists,
    round: u64,
    frames: u32,
) -> Result<(Duration, Option<Counts>)> {
    let received = contender.lane().received()?;
    let before = contender.counts()?;
    // First some without a clock: who had the core before leaves the caches as
    // they served it.
    let warming = frames.div_ceil(8);
    let first = round << 32;
    generator.send(contender.lane(), lists.family, first, warming)?;
    let first = first + u64::from(warming);
    let time = generator.send(contender.lane(), lists.family, first, frames)?;

    let sent = u64::from(warming) + u64::from(frames);
    let start = Instant::now();
    let arrived = loop {
        let arrived = contender.lane().received()? - received;
        if arrived >= sent || start.elapsed() > Duration::from_secs(1) {
            break arrived;
        }
    };
    ensure!(arrived == sent, "{sent} frames were sent and {arrived} came in");
    let (Some(before), Some(after)) = (before, contender.counts()?) else {
        return Ok((time, None));
    };
    let counts =
        Counts { listed: after.listed - before.listed, unlisted: after.unlisted - before.unlisted };
    ensure!(counts.total() == sent, "{sent} frames came in and it counted {counts:?}");
    Ok((time, Some(counts)))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
