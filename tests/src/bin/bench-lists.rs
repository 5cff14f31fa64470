//! Measures the way of a list from its text into the kernel: parse, compile,
//! install, and what it takes of memory.
//!
//! `cargo xtask bench lists [--prefixes N] [--runs N] [--file LIST]… [--engine trie|ranges]
//! [--json]`.
//! Without a file, N prefixes (a million) are generated, with the lengths of a
//! blocklist and a routing table: many /24 and /32, few short ones.

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use filter_common::Class;
use filter_common::abi::Settings;
use mxdp::config::{Engine, KernelLog};
use mxdp::io::kernel::{Capacities, Change, Filter, Options, Prepared};
use mxdp::lists::ranges::Ranges;
use mxdp::lists::{
    CountryPolicy, ListSet, LoadedFile, OnBadLine, ParseOptions, Purpose, compile, parse,
};
use mxdp_tests::random::SplitMix;
use mxdp_tests::tables::ENGINES;
use serde_json::json;

struct Arguments {
    prefixes: u32,
    runs: usize,
    files: Vec<String>,
    engine: Engine,
    json: bool,
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let (name, text) = if arguments.files.is_empty() {
        (format!("{} generated prefixes", arguments.prefixes), generate(arguments.prefixes))
    } else {
        let mut text = Vec::new();
        for file in &arguments.files {
            text.extend(fs::read(file).with_context(|| file.clone())?);
            text.push(b'\n');
        }
        (arguments.files.join(", "), text)
    };
    let mut runs = Vec::new();
    for _ in 0..arguments.runs {
        runs.push(measure(&text, arguments.engine)?);
    }
    report(&name, &text, &mut runs, arguments.json);
    Ok(())
}

fn arguments() -> Result<Arguments> {
    let mut parsed = Arguments {
        prefixes: 1_000_000,
        runs: 5,
        files: Vec::new(),
        engine: Engine::Auto,
        json: false,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value"));
        match word.as_str() {
            "--prefixes" => parsed.prefixes = value()?.parse()?,
            "--runs" => parsed.runs = value()?.parse()?,
            "--engine" => {
                let name = value()?;
                let known = ENGINES.iter().find(|(known, _)| *known == name);
                parsed.engine = known.context("--engine trie or ranges")?.1;
            }
            "--file" => parsed.files.push(value()?),
            "--json" => parsed.json = true,
            _ => bail!("unknown argument {word}; see the head of bench-lists.rs"),
        }
    }
    if parsed.runs == 0 {
        bail!("--runs must be at least 1");
    }
    Ok(parsed)
}

/// One run's figures.
struct Run {
    parse: Duration,
    compile: Duration,
    ranges: Duration,
    install: Duration,
    publish: Duration,
    entries: usize,
    table: usize,
    user_bytes: u64,
    kernel_bytes: u64,
}

fn measure(text: &[u8], engine: Engine) -> Result<Run> {
    let capacities = Capacities { temporary: 1024, syn_rate: 1024 };
    let mut filter = Filter::open(&Options { capacities, kernel_log: KernelLog::Off, pin: None })?;
    let memory = resident_bytes()?;
    let options = ParseOptions {
        on_bad_line: OnBadLine::Refuse,
        purpose: Purpose::Block { force: false },
        leave_out_bogons: false,
        max_entries: usize::MAX,
    };
    let start = Instant::now();
    let list = parse(text, &options).map_err(|error| anyhow::anyhow!(error.display("list")))?;
    let parsed = start.elapsed();
    let entries = list.len();

    let file = LoadedFile { name: "list".to_owned(), class: Class::BlockedIp, list };
    let set = ListSet::new(vec![file], None, CountryPolicy::default());
    let start = Instant::now();
    let table = compile(&set).table;
    let compiled = start.elapsed();
    let user_bytes = resident_bytes()?.saturating_sub(memory);

    let start = Instant::now();
    drop(Ranges::compile(&table)?);
    let ranges = start.elapsed();

    let kernel = kernel_bytes()?;
    let start = Instant::now();
    let tables = Prepared::build(&table, engine, |_| ())?;
    let installed = start.elapsed();
    let kernel_bytes = kernel_bytes()?.saturating_sub(kernel);
    let start = Instant::now();
    let change = Change { files: Some(tables), settings: Some(Settings::new(1)) };
    filter.publish(&change)?;
    let published = start.elapsed();
    Ok(Run {
        parse: parsed,
        compile: compiled,
        ranges,
        install: installed,
        publish: published,
        entries,
        table: table.len(),
        user_bytes,
        kernel_bytes,
    })
}

fn report(name: &str, text: &[u8], runs: &mut [Run], as_json: bool) {
    let mut median = |figure: fn(&Run) -> u64| {
        runs.sort_by_key(figure);
        figure(&runs[runs.len() / 2])
    };
    let parse = median(|run| as_micros(run.parse));
    let compile = median(|run| as_micros(run.compile));
    let ranges = median(|run| as_micros(run.ranges));
    let install = median(|run| as_micros(run.install));
    let publish = median(|run| as_micros(run.publish));
    let user = median(|run| run.user_bytes);
    let kernel = median(|run| run.kernel_bytes);
    let (entries, table) = (runs[0].entries, runs[0].table);
    if as_json {
        let figures = json!({
            "list": name, "bytes": text.len(), "entries": entries, "table": table,
            "runs": runs.len(), "parse_us": parse, "compile_us": compile, "ranges_us": ranges,
            "install_us": install, "publish_us": publish, "user_bytes": user,
            "kernel_bytes": kernel,
        });
        println!("{figures}");
        return;
    }
    let per_entry = |bytes: u64| bytes / (table.max(1) as u64);
    println!("{name}: {} MB of text, medians of {} runs", text.len() / 1_000_000, runs.len());
    println!("  entries read                {entries:>12}");
    println!("  prefixes of the table       {table:>12}");
    println!("  parse                       {:>12} ms", parse / 1000);
    println!("  compile                     {:>12} ms", compile / 1000);
    println!("  compile to ranges           {:>12} ms (part of the next)", ranges / 1000);
    println!("  install in the kernel       {:>12} ms", install / 1000);
    println!("  put in force                {:>12} ms", publish / 1000);
    println!("  user memory                 {:>12} MB", user / 1_000_000);
    println!(
        "  kernel memory               {:>12} MB ({} bytes a prefix)",
        kernel / 1_000_000,
        per_entry(kernel)
    );
}

fn as_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Prefixes with the lengths of real tables, from a fixed seed.
fn generate(count: u32) -> Vec<u8> {
    let mut random = SplitMix::new(0x6d78_6470);
    let mut next = || random.next();
    let mut text = Vec::with_capacity(count as usize * 20);
    for _ in 0..count {
        let random = next();
        let length = match random % 100 {
            0..55 => 24,
            55..90 => 32,
            90..98 => 22 + random / 100 % 2,
            _ => 20 + random / 100 % 2,
        };
        let bytes = next().to_be_bytes();
        let address = Ipv4Addr::new(bytes[0] % 223 + 1, bytes[1], bytes[2], bytes[3]);
        text.extend(format!("{address}/{length}\n").bytes());
    }
    text
}

fn resident_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// The kernel's memory for small objects, which tries are made of, and for large
/// ones, which arrays are.
fn kernel_bytes() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let mut kib = 0;
    for key in ["SUnreclaim:", "VmallocUsed:"] {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).context(key)?;
        kib += line.trim().trim_end_matches(" kB").parse::<u64>()?;
    }
    Ok(kib * 1024)
}
