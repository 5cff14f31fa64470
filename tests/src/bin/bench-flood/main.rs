//! `cargo xtask bench flood`: how much of its rate mail keeps while SYNs come as fast as
//! a core makes them, on the interface that it comes in by.
//!
//! One core makes the flood and takes it in, in the soft interrupt that follows; the
//! other has all that mail needs: the client, mxdp and the mail system behind. Without a
//! flood they have no more than that core either. The device has a queue for each core, as
//! those of network cards; for contrast, both go through one as well, which the flood then
//! fills: what is lost there no filter has seen. The turns are interleaved, and each is
//! compared with the quiet one of its round.

mod site;

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use mxdp_tests::generator::Generator;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use site::{Cores, LISTED, Sample, Site, UNLISTED};

/// A turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Quiet,
    Listed,
    Unlisted,
    OpenQuiet,
    Open,
    Nftables,
    OneQueueQuiet,
    OneQueue,
}

impl Case {
    /// In the order of a round; every other goes backwards.
    const ALL: [Self; 8] = [
        Self::Quiet,
        Self::Listed,
        Self::Unlisted,
        Self::OpenQuiet,
        Self::Open,
        Self::Nftables,
        Self::OneQueueQuiet,
        Self::OneQueue,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Listed => "listed",
            Self::Unlisted => "unlisted",
            Self::OpenQuiet => "open-quiet",
            Self::Open => "open",
            Self::Nftables => "nftables",
            Self::OneQueueQuiet => "one-queue-quiet",
            Self::OneQueue => "one-queue",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Quiet => "mxdp, no flood",
            Self::Listed => "mxdp, flood from listed sources",
            Self::Unlisted => "mxdp, flood from unlisted sources",
            Self::OpenQuiet => "no filter, no flood",
            Self::Open => "no filter, flood",
            Self::Nftables => "nftables at ingress, flood from listed sources",
            Self::OneQueueQuiet => "mxdp, one queue for both, no flood",
            Self::OneQueue => "mxdp, one queue for both, flood from listed sources",
        }
    }

    /// What it is compared with.
    const fn quiet(self) -> Self {
        match self {
            Self::Quiet | Self::Listed | Self::Unlisted => Self::Quiet,
            Self::OpenQuiet | Self::Open | Self::Nftables => Self::OpenQuiet,
            Self::OneQueueQuiet | Self::OneQueue => Self::OneQueueQuiet,
        }
    }
}

struct Arguments {
    rounds: usize,
    time: Duration,
    json: bool,
    cases: Vec<Case>,
}

impl Arguments {
    fn take() -> Result<Self> {
        let mut parsed = Self {
            rounds: 7,
            time: Duration::from_secs(3),
            json: false,
            cases: Case::ALL.to_vec(),
        };
        let mut words = env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rounds" => {
                    parsed.rounds = words.next().context("--rounds needs a number")?.parse()?;
                }
                "--seconds" => {
                    let seconds = words.next().context("--seconds needs a number")?.parse()?;
                    parsed.time = Duration::from_secs(seconds);
                }
                "--json" => parsed.json = true,
                "--quick" => {
                    parsed.rounds = 1;
                    parsed.time = Duration::from_secs(1);
                    parsed.cases = vec![Case::Quiet, Case::Listed];
                }
                other => bail!(
                    "no option {other}; there are --rounds N (7), --seconds N (3), --quick and \
                     --json"
                ),
            }
        }
        ensure!(parsed.rounds > 0 && !parsed.time.is_zero(), "at least one round and second");
        Ok(parsed)
    }
}

fn main() -> Result<()> {
    let arguments = Arguments::take()?;
    let cores = leave_a_core()?;
    let mut generator = Generator::new(cores.flood)?;
    let filtered = Site::new(true, Some(cores))?;
    let open = Site::new(false, Some(cores))?;
    let narrow = Site::new(true, None)?;
    let [filtered_daemon, open_daemon, narrow_daemon] =
        [&filtered, &open, &narrow].map(|site| site.start());
    let mut samples: Vec<(Case, Vec<Sample>)> =
        arguments.cases.iter().map(|case| (*case, Vec::new())).collect();
    for round in 0..arguments.rounds {
        let count = samples.len();
        for turn in 0..count {
            let turn = if round % 2 == 0 { turn } else { count - 1 - turn };
            let (case, taken) = &mut samples[turn];
            eprintln!("round {} of {}: {}", round + 1, arguments.rounds, case.title());
            let (site, daemon, first) = match case {
                Case::Quiet => (&filtered, &filtered_daemon, None),
                Case::Listed => (&filtered, &filtered_daemon, Some(LISTED)),
                Case::Unlisted => (&filtered, &filtered_daemon, Some(UNLISTED)),
                Case::OpenQuiet => (&open, &open_daemon, None),
                Case::Open | Case::Nftables => (&open, &open_daemon, Some(LISTED)),
                Case::OneQueueQuiet => (&narrow, &narrow_daemon, None),
                Case::OneQueue => (&narrow, &narrow_daemon, Some(LISTED)),
            };
            if *case == Case::Nftables {
                site.drop_by_nftables(true)?;
            }
            let sample = site.measure(daemon, &mut generator, first, arguments.time)?;
            if *case == Case::Nftables {
                site.drop_by_nftables(false)?;
            }
            taken.push(sample);
        }
    }
    let rows: Vec<_> =
        samples.iter().map(|(case, taken)| Row::of(*case, taken, &samples)).collect();
    if arguments.json {
        print_json(&rows, &arguments);
    } else {
        print_table(&rows, &arguments);
    }
    Ok(())
}

/// Takes the last core for the flood, keeps this process and all that it starts off it,
/// and gives both.
fn leave_a_core() -> Result<Cores> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this).context("sched_getaffinity")?;
    let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or(false));
    let (Some(mail), Some(flood)) = (cpus.next(), cpus.next_back()) else {
        bail!("two cores are needed: one for the flood, one for mail");
    };
    let mut only = CpuSet::new();
    only.set(mail)?;
    sched_setaffinity(this, &only).context("sched_setaffinity")?;
    Ok(Cores { flood, mail })
}

/// What the turns of a case come to: medians, and sums of counts.
struct Row {
    case: Case,
    mail: f64,
    lowest: f64,
    highest: f64,
    /// The share of the quiet rate that mail keeps, and the lowest and highest.
    kept: [f64; 3],
    frames: f64,
    sum: Sample,
}

impl Row {
    fn of(case: Case, taken: &[Sample], all: &[(Case, Vec<Sample>)]) -> Self {
        let sorted = |mut values: Vec<f64>| {
            values.sort_by(f64::total_cmp);
            values
        };
        let mail = sorted(taken.iter().map(|sample| sample.mail).collect());
        let frames = sorted(taken.iter().map(|sample| sample.frames).collect());
        let quiet = all.iter().find(|(other, _)| *other == case.quiet());
        let quiet = quiet.map_or(taken, |(_, taken)| taken.as_slice());
        let kept = taken.iter().zip(quiet).map(|(sample, quiet)| sample.mail / quiet.mail);
        let kept = sorted(kept.collect());
        let ends = |values: &[f64]| [values[0], values[values.len() / 2], values[values.len() - 1]];
        let [lowest, median, highest] = ends(&mail);
        let mut sum = Sample::default();
        for sample in taken {
            sum.sent += sample.sent;
            sum.dropped += sample.dropped;
            sum.lost += sample.lost;
            sum.admitted += sample.admitted;
            sum.connections += sample.connections;
            sum.restarts += sample.restarts;
        }
        let [least, kept, most] = ends(&kept);
        let frames = ends(&frames)[1];
        Self { case, mail: median, lowest, highest, kept: [kept, least, most], frames, sum }
    }
}

fn print_table(rows: &[Row], arguments: &Arguments) {
    println!(
        "messages of 4 KB, one a connection, 10 at once; {} rounds of {} s, interleaved; medians\n",
        arguments.rounds,
        arguments.time.as_secs()
    );
    println!(
        "| | mail a second (lowest to highest) | flood, million frames a second | mail keeps |"
    );
    println!("|---|---|---|---|");
    for Row { case, mail, lowest, highest, kept: [kept, least, most], frames, .. } in rows {
        let title = case.title();
        print!("| {title} | {mail:.0} ({lowest:.0} to {highest:.0}) | {:.2} |", frames / 1e6);
        if case.quiet() == *case {
            println!(" |");
        } else {
            println!(" {:.0} % ({:.0} to {:.0}) |", kept * 100.0, least * 100.0, most * 100.0);
        }
    }
    if let Some(Row { sum, .. }) = rows.iter().find(|row| row.case == Case::Listed) {
        println!(
            "\nfrom listed sources: {} frames made, {} counted as dropped, {} found the device's \
             queue full; {} SYNs admitted for {} connections",
            sum.sent, sum.dropped, sum.lost, sum.admitted, sum.connections
        );
    }
    for row in rows.iter().filter(|row| row.sum.restarts > 0) {
        println!("{}: the client gave up {} times", row.case.title(), row.sum.restarts);
    }
}

fn print_json(rows: &[Row], arguments: &Arguments) {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            serde_json::json!({
                "case": row.case.name(),
                "mail_a_second": row.mail, "lowest": row.lowest, "highest": row.highest,
                "kept": row.kept[0], "kept_lowest": row.kept[1], "kept_highest": row.kept[2],
                "frames_a_second": row.frames, "frames": row.sum.sent,
                "dropped": row.sum.dropped, "lost": row.sum.lost, "admitted": row.sum.admitted,
                "connections": row.sum.connections, "restarts": row.sum.restarts,
            })
        })
        .collect();
    let report = serde_json::json!({
        "rounds": arguments.rounds, "seconds": arguments.time.as_secs(), "cases": rows,
    });
    println!("{report:#}");
}
