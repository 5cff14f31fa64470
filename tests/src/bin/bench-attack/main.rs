//! `cargo xtask bench attack`: what one attacker at full speed costs everybody else.
//!
//! A mail host with SPF, a DNS list, a mail log and a console is attacked for a minute by
//! one client that neither spares its own processor time nor waits. Meanwhile a
//! well-behaved client sends a message a second and an operator reads the console a
//! second. Automatic blocks are off, so that what is measured is the bounds themselves
//! and not how soon the attacker is dropped. The attacker has the lowest priority of the
//! processor, because a real one would bring processors of its own.

mod attacks;
mod names;
mod site;
mod watch;

use std::env;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use attacks::Case;
use site::{Outcome, Site};
use watch::Times;

struct Arguments {
    seconds: u64,
    cases: Vec<Case>,
}

impl Arguments {
    fn read(words: &[String]) -> Result<Self> {
        let mut read = Self { seconds: 60, cases: Vec::new() };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seconds" => {
                    read.seconds = words.next().context("--seconds needs a number")?.parse()?;
                }
                name => match Case::named(name) {
                    Some(case) => read.cases.push(case),
                    None => bail!(
                        "unknown argument {name}; expected --seconds N or one of {}",
                        Case::ALL.map(Case::name).join(", ")
                    ),
                },
            }
        }
        ensure!(read.seconds > 0, "--seconds must be at least 1");
        if read.cases.is_empty() {
            read.cases = Case::ALL.to_vec();
        }
        Ok(read)
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = env::args().skip(1).collect();
    // The attacker is this program too, in the client's namespace.
    if let [first, case, seconds] = &words[..]
        && first == site::ATTACKER
    {
        let case = Case::named(case).context("an unknown case")?;
        case.run(Duration::from_secs(seconds.parse()?));
        return Ok(());
    }
    let arguments = Arguments::read(&words)?;
    println!(
        "An attack of {} s each; times in ms as median / worst, memory in MiB.\n",
        arguments.seconds
    );
    println!(
        "| attack | mail, quiet | mail, attacked | ratio | refused or failed | console, quiet | \
         console, attacked | console failed | memory, idle | over idle, most | 10 s after | \
         recovered, s | entries lost | attacker's sessions, refused recipients |"
    );
    println!("|{}", "---|".repeat(14));
    for case in arguments.cases {
        let outcome = Site::new()?.attack(case, Duration::from_secs(arguments.seconds))?;
        println!("{}", row(case, &outcome));
    }
    Ok(())
}

fn row(case: Case, outcome: &Outcome) -> String {
    let times = |times: &Times| format!("{:.1} / {:.1}", times.median(), times.worst());
    let (quiet, busy) = (&outcome.quiet, &outcome.attacked);
    let mib = |bytes: u64| format!("{:.0}", bytes as f64 / f64::from(1 << 20));
    let recovered = outcome
        .recovered
        .map_or_else(|| "not within 60".to_owned(), |time| format!("{:.1}", time.as_secs_f64()));
    format!(
        "| {} | {} | {} | {:.2} | {} of {} | {} | {} | {} of {} | {} | {} | {} | {recovered} | {} of {} | {}, {} |",
        case.title(),
        times(&quiet.mail),
        times(&busy.mail),
        busy.mail.median() / quiet.mail.median(),
        busy.mail.failed,
        busy.mail.count(),
        times(&quiet.console),
        times(&busy.console),
        busy.console.failed,
        busy.console.count(),
        mib(outcome.idle),
        mib(outcome.most.saturating_sub(outcome.idle)),
        mib(outcome.after.saturating_sub(outcome.idle)),
        outcome.lost,
        outcome.sent,
        outcome.work.0,
        outcome.work.1,
    )
}
