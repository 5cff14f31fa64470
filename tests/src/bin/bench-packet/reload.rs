//! Reloads under traffic: what they take, and what the packets notice.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use filter_common::{Class, Reason};
use mxdp::config::{Engine, Mode};
use mxdp::io::kernel::{Change, Filter, Prepared};
use mxdp::lists::Table;
use mxdp_tests::random::SplitMix;

use crate::arguments::Arguments;
use crate::contender::{open, settings};
use crate::lane::Lane;
use crate::lists::Lists;
use crate::load::{Generator, Pauses, Sources};
use crate::measure;

/// How long the packet path is watched in each phase.
const PHASE: Duration = Duration::from_secs(8);

/// The frames that are sent without a break.
const BURST: u32 = 1 << 20;

/// What came of one engine.
struct Outcome {
    reloads: Vec<(Duration, Duration)>,
    frames: u64,
    quiet: Pauses,
    reloading: Pauses,
}

/// Measures what the arguments select, and prints it.
pub(crate) fn measure_all(arguments: &Arguments) -> Result<()> {
    let mut generator = Generator::new(arguments.cpu)?;
    println!(
        "| | prefixes | engine | reloads | compile and install | put in force | SYNs judged | longest pause, no reload | longest pause, reloading | pauses over 1 ms, none/reloading |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for &family in &arguments.families {
        for &size in &arguments.sizes {
            let lists = Lists::synthetic(family, size);
            for (name, engine) in mxdp_tests::tables::ENGINES {
                let outcome = measure(&mut generator, &lists, engine)
                    .with_context(|| format!("{}, {size} prefixes, {name}", family.name()))?;
                let median = |of: fn(&(Duration, Duration)) -> Duration| {
                    let mut times: Vec<_> = outcome.reloads.iter().map(of).collect();
                    times.sort();
                    times[times.len() / 2].as_millis()
                };
                println!(
                    "| {} | {} | {name} | {} | {} ms | {} ms | {} | {} µs | {} µs | {}/{} |",
                    family.name(),
                    lists.listed.len(),
                    outcome.reloads.len(),
                    median(|reload| reload.0),
                    median(|reload| reload.1),
                    outcome.frames,
                    outcome.quiet.longest.as_micros(),
                    outcome.reloading.longest.as_micros(),
                    outcome.quiet.long,
                    outcome.reloading.long,
                );
            }
        }
    }
    Ok(())
}

/// Sends SYNs, first with one table in force, then while two that disagree about each
/// listed address take turns.
fn measure(generator: &mut Generator, lists: &Lists, engine: Engine) -> Result<Outcome> {
    let tables = [lists.table.clone(), other(&lists.table)];
    let lane = Lane::new(&generator.home)?;
    let mut filter = open()?;
    let publish = |filter: &mut Filter, table: &Table| -> Result<(Duration, Duration)> {
        let start = Instant::now();
        let files = Some(Prepared::build(table, engine, |_| ())?);
        let built = start.elapsed();
        filter.publish(&Change { files, settings: Some(settings()) })?;
        Ok((built, start.elapsed() - built))
    };
    publish(&mut filter, &tables[0])?;
    lane.host.run(|| filter.attach(&[Lane::DEVICE.to_owned()], Mode::Native))?;

    // By turns listed and not.
    let mut random = SplitMix::new(0x7365_6564);
    let half = crate::load::PREPARED / 2;
    let (listed, beside) = (lists.inside(&mut random, half), lists.beside(&mut random, half)?);
    let sources: Vec<IpAddr> =
        listed.into_iter().zip(beside).flat_map(|(listed, beside)| [listed, beside]).collect();
    generator.prepare(&Sources::Walk(&sources))?;

    let mut sent = 0;
    let done = AtomicBool::new(false);
    let mut watch = |until: &dyn Fn() -> bool| -> Result<Pauses> {
        let mut pauses = Pauses::default();
        while !until() {
            measure::go_on()?;
            let burst = generator.send_and_watch(&lane, lists.family, sent, BURST)?;
            sent += u64::from(BURST);
            pauses.longest = pauses.longest.max(burst.longest);
            pauses.long += burst.long;
        }
        Ok(pauses)
    };
    let start = Instant::now();
    let quiet = watch(&|| start.elapsed() > PHASE)?;
    let (reloading, reloads) = thread::scope(|scope| {
        let filter = &mut filter;
        let (done, tables) = (&done, &tables);
        let reloader = scope.spawn(move || {
            let start = Instant::now();
            let mut reloads = Vec::new();
            while start.elapsed() < PHASE || reloads.len() % 2 == 1 {
                let reload = publish(filter, &tables[(reloads.len() + 1) % 2]);
                if reload.is_err() {
                    done.store(true, Ordering::Release);
                }
                reloads.push(reload?);
            }
            done.store(true, Ordering::Release);
            anyhow::Ok(reloads)
        });
        let pauses = watch(&|| done.load(Ordering::Acquire));
        let reloads = reloader.join().map_err(|_| anyhow::anyhow!("the reloads panicked"))?;
        anyhow::Ok((pauses?, reloads?))
    })?;
    account(&filter, lists, sent)?;
    Ok(Outcome { reloads, frames: sent, quiet, reloading })
}

/// The same prefixes, in another class.
fn other(table: &Table) -> Table {
    let mut table = table.clone();
    let sets =
        table.v4.iter_mut().map(|(_, set)| set).chain(table.v6.iter_mut().map(|(_, set)| set));
    for set in sets {
        if set.contains(Class::BlockedIp) {
            *set = filter_common::ClassSet::of(Class::KnownSpamSource);
        }
    }
    table
}

/// Each SYN was judged by one of the tables: the listed by either class, the others
/// as both say.
fn account(filter: &Filter, lists: &Lists, sent: u64) -> Result<()> {
    let (mut listed, mut unlisted) = (0, 0);
    for (reason, family, frames) in filter.counters()? {
        match reason {
            Reason::BlockedIp | Reason::KnownSpamSource if family == lists.family => {
                listed += frames;
            }
            Reason::BlockedCountry if family == lists.family => unlisted += frames,
            _ => ensure!(frames == 0, "{frames} frames were judged {}", reason.name()),
        }
    }
    ensure!(
        listed == sent / 2 && unlisted == sent / 2,
        "of {sent} frames, half of them listed, {listed} were judged as listed and {unlisted} not"
    );
    Ok(())
}
