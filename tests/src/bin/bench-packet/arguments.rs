//! The command line.

use std::path::PathBuf;
use std::{env, process};

use anyhow::{Context as _, Result, bail, ensure};
use filter_common::Family;
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;

use crate::contender::Kind;
use crate::workload::Workload;

const HELP: &str = "\
cargo xtask bench packet: what a SYN costs, from the device to the verdict

SYNs are made in the kernel and sent into a veth device, one for each contender,
on whose other end it drops them. All of it runs on one core. Contenders take
turns, each with the same sources; figures are medians of the rounds, and ratios
are to the floor of the same round. Each frame must be found in its contender's
counters.

  --sizes N,...       prefixes of the generated lists (1k,100k,1M,10M)
  --table FILE        prefixes to take instead, a CIDR a line; .gz is uncompressed
  --family 4|6        only this one (both)
  --workloads W,...   random: sources at random; listed: from listed prefixes;
                      beside: near them and not listed; one: a listed address
                      (all four)
  --contenders C,...  floor, trie, ranges, ipset, nftables, xdp-filter (all; the
                      floor is always there)
  --frames N          SYNs in a round (1M)
  --rounds N          rounds (5)
  --cpu N             the core (the last)
  --json [FILE]       the figures as JSON, on stdout instead of the table
  --svg FILE          a plot
  --reload            instead: reloads under traffic, and what the packets notice
  --quick             a small run: 1k,100k, 20k frames, 3 rounds
";

/// Where the JSON goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Json {
    Stdout,
    File(PathBuf),
}

#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) sizes: Vec<usize>,
    pub(crate) table: Option<PathBuf>,
    pub(crate) families: Vec<Family>,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) contenders: Vec<Kind>,
    pub(crate) frames: u32,
    pub(crate) rounds: u32,
    pub(crate) cpu: usize,
    pub(crate) json: Option<Json>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) reload: bool,
}

impl Arguments {
    /// This process's.
    pub(crate) fn take() -> Result<Self> {
        let words: Vec<String> = env::args().skip(1).collect();
        if words.iter().any(|word| word == "--help" || word == "-h") {
            print!("{HELP}");
            process::exit(0);
        }
        Self::parse(&words, last_cpu()?)
    }

    fn parse(words: &[String], cpu: usize) -> Result<Self> {
        let mut parsed = Self {
            sizes: vec![1_000, 100_000, 1_000_000, 10_000_000],
            table: None,
            families: vec![Family::V4, Family::V6],
            workloads: Workload::ALL.to_vec(),
            contenders: Kind::ALL.to_vec(),
            frames: 1_000_000,
            rounds: 5,
            cpu,
            json: None,
            svg: None,
            reload: false,
        };
        let mut words = words.iter().peekable();
        while let Some(word) = words.next() {
            if word == "--json" {
                let file = words.next_if(|next| !next.starts_with("--"));
                parsed.json = Some(file.map_or(Json::Stdout, |file| Json::File(file.into())));
                continue;
            }
            if word == "--reload" {
                parsed.reload = true;
                continue;
            }
            if word == "--quick" {
                parsed.sizes = vec![1_000, 100_000];
                (parsed.frames, parsed.rounds) = (20_000, 3);
                continue;
            }
            let mut value = || words.next().with_context(|| format!("{word} needs a value"));
            match word.as_str() {
                "--sizes" => parsed.sizes = each(value()?, number)?,
                "--table" => parsed.table = Some(value()?.into()),
                "--family" => parsed.families = each(value()?, family)?,
                "--workloads" => parsed.workloads = each(value()?, workload)?,
                "--contenders" => parsed.contenders = each(value()?, contender)?,
                "--frames" => parsed.frames = u32::try_from(number(value()?)?)?,
                "--rounds" => parsed.rounds = u32::try_from(number(value()?)?)?,
                "--cpu" => parsed.cpu = value()?.parse()?,
                "--svg" => parsed.svg = Some(value()?.into()),
                _ => bail!("no option {word}; see --help"),
            }
        }
        ensure!(!parsed.sizes.contains(&0), "no prefixes, nothing to measure");
        ensure!(parsed.rounds > 0 && parsed.frames > 0, "at least a round and a frame");
        Ok(parsed)
    }
}

fn each<T>(list: &str, parse: impl Fn(&str) -> Result<T>) -> Result<Vec<T>> {
    list.split(',').map(parse).collect()
}

/// `1000`, `1k` or `1M`.
fn number(word: &str) -> Result<usize> {
    let (digits, factor) = match word.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => word.strip_suffix('M').map_or((word, 1), |digits| (digits, 1_000_000)),
    };
    let number: usize = digits.parse().with_context(|| format!("{word} is no number"))?;
    number.checked_mul(factor).context("too large a number")
}

fn family(word: &str) -> Result<Family> {
    match word {
        "4" => Ok(Family::V4),
        "6" => Ok(Family::V6),
        _ => bail!("no family {word}; there are 4 and 6"),
    }
}

fn workload(word: &str) -> Result<Workload> {
    let found = Workload::ALL.into_iter().find(|workload| workload.name() == word);
    found.with_context(|| format!("no workload {word}; see --help"))
}

fn contender(word: &str) -> Result<Kind> {
    let found = Kind::ALL.into_iter().find(|kind| kind.name() == word);
    found.with_context(|| format!("no contender {word}; see --help"))
}

/// The last core that this process may use.
fn last_cpu() -> Result<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    let last = (0..CpuSet::count()).rev().find(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    last.context("no core to run on")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments> {
        let words: Vec<_> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&words, 0)
    }

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(parse("--sizes 5,1k,2M").unwrap().sizes, [5, 1_000, 2_000_000]);
        assert!(parse("--sizes 1G").is_err());
        assert!(parse("--sizes 0").is_err());
    }

    #[test]
    fn json_has_a_file_or_not() {
        assert_eq!(parse("--json --quick").unwrap().json, Some(Json::Stdout));
        assert_eq!(parse("--json a --quick").unwrap().json, Some(Json::File("a".into())));
        assert_eq!(parse("--quick").unwrap().json, None);
    }

    #[test]
    fn every_name_is_in_the_help() {
        for name in Kind::ALL.map(Kind::name).into_iter().chain(Workload::ALL.map(Workload::name)) {
            assert!(HELP.contains(name), "{name}");
        }
    }
}
