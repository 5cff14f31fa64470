//! `cargo xtask bench packet`: what a SYN costs, from the device to the verdict.

mod contender;
mod lane;
mod lists;
mod load;

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::Family;

use contender::{Contender, Counts, Engine, Floor, Mxdp};
use lane::Lane;
use lists::Lists;
use load::{Generator, Sources};

fn main() -> Result<()> {
    let mut size = 1_000_000;
    let mut frames = 1 << 20;
    let mut rounds = 5;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--sizes" => size = value()?.parse()?,
            "--frames" => frames = value()?.parse()?,
            "--rounds" => rounds = value()?.parse()?,
            _ => bail!("unknown argument {word}"),
        }
    }
    let mut generator = Generator::new(1)?;
    for family in [Family::V4, Family::V6] {
        let lists = Lists::synthetic(family, size);
        println!("{}: {} prefixes", family.name(), lists.listed.len());
        let lane = Lane::new(&generator.home)?;
        generator.attach_floor(&lane)?;
        let mut contenders: Vec<(String, Box<dyn Contender>)> =
            vec![("floor".to_owned(), Box::new(Floor(lane)))];
        for engine in [Engine::Trie, Engine::Ranges] {
            match Mxdp::new(&generator.home, engine, &lists) {
                Ok(mxdp) => contenders.push((engine.to_string(), Box::new(mxdp))),
                Err(error) => println!("{engine}: not measured: {error:#}"),
            }
        }
        generator.prepare(&Sources::Random)?;
        for round in 0..rounds {
            for (name, contender) in &mut contenders {
                let (time, counts) =
                    run(&mut generator, contender.as_mut(), family, round << 32, frames)?;
                println!(
                    "{name}: {:.1} ns, {counts:?}",
                    time.as_secs_f64() * 1e9 / f64::from(frames)
                );
            }
        }
    }
    Ok(())
}

/// Sends frames, and checks that each is accounted for.
fn run(
    generator: &mut Generator,
    contender: &mut dyn Contender,
    family: Family,
    first: u64,
    frames: u32,
) -> Result<(Duration, Option<Counts>)> {
    let received = contender.lane().received()?;
    let before = contender.counts()?;
    let time = generator.send(contender.lane(), family, first, frames)?;
    let received = contender.lane().received()? - received;
    ensure!(received == u64::from(frames), "{received} frames came in of {frames}");
    let after = contender.counts()?;
    let (Some(before), Some(after)) = (before, after) else {
        return Ok((time, None));
    };
    let counts =
        Counts { listed: after.listed - before.listed, unlisted: after.unlisted - before.unlisted };
    ensure!(counts.total() == u64::from(frames), "{counts:?} were judged of {frames}");
    Ok((time, Some(counts)))
}
