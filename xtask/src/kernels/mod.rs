//! `kernels`: the packet filter on kernels of Debian's releases, in an emulated machine.
//!
//! Comes in: the test programs as built, the peers, kernels and emulator in `target/`.
//! Goes out: what each kernel passed. The host's own kernel takes no part, and no
//! privilege of the host's is needed.

mod guest;
mod initramfs;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::setup::{self, Emulator, Kernel};
use crate::sh::{self, Workspace, say};
use crate::test::Tally;

use guest::{Report, Run};
use initramfs::Initramfs;

/// A release of Debian, whose kernel is tried.
struct Release {
    name: &'static str,
    /// mxdp does not run on it, and says so.
    is_below_floor: bool,
}

const RELEASES: [Release; 3] = [
    Release { name: "bullseye", is_below_floor: true },
    Release { name: "bookworm", is_below_floor: false },
    Release { name: "trixie", is_below_floor: false },
];

/// A test that is not run, by the beginning of its name, and why.
const LEFT_OUT: (&str, &str) = (
    "without_perfmon_the_filter_stays_on_tries",
    "kernels 6.1 and 6.12 take no program without CAP_PERFMON (ADR 13)",
);

/// Test programs, with the engines they are told to use; the engines' own asks all.
const RUNS: [(&str, &[&str]); 6] = [
    ("vectors", &["trie", "ranges"]),
    ("engines", &[]),
    ("traffic", &["trie", "ranges"]),
    ("life", &["ranges"]),
    ("generations", &["trie", "ranges"]),
    ("floor", &[]),
];

/// What there is to run on a kernel below the floor.
const BELOW_FLOOR: (&str, &str) = ("floor", "a_kernel_below_the_floor_is_refused --nocapture");

/// What tells tests how slow their machine is (`mxdp_tests::pace`). Set for this command, it
/// goes to the machines: on a host that is very busy, more than usual is right.
const SLOWNESS: &str = "MXDP_TEST_SLOWNESS";

/// How many times slower than its host an emulated machine is taken to be.
const USUAL_SLOWNESS: &str = "10";

/// How long a machine may take, on a host that is busy.
const LIMIT: Duration = Duration::from_secs(1800);

/// What a kernel has to say in between would tear the tests' lines apart; of an oops or a
/// warning it says all, and then the machine ends. Where the host is busy the emulated
/// clock stands still at times, which must not be taken for a fault of the machine's.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 loglevel=1 panic=-1 oops=panic panic_on_warn=1 \
                                no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1";

/// Programs of the host that the tests call by their names.
const TOOLS: [&str; 3] = ["nsenter", "setpriv", "setarch"];

/// Programs of the peers, by their paths in the tree.
const PEERS: [&str; 1] = ["usr/sbin/smtp-sink"];

/// `cargo xtask kernels [RELEASE…]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<()> {
    let names = || RELEASES.iter().map(|release| release.name).collect::<Vec<_>>().join(", ");
    for argument in arguments {
        let is_known = RELEASES.iter().any(|release| release.name == argument);
        ensure!(is_known, "no release '{argument}' of Debian's here; there are: {}", names());
    }
    let start = Instant::now();
    setup::ensure_toolchain(workspace)?;
    setup::ensure_peers(workspace)?;
    let emulator = setup::ensure_emulator(workspace)?;
    clear(workspace)?;
    let base = base(&emulator, workspace, &build(workspace)?)?;
    let wanted = RELEASES
        .iter()
        .filter(|release| arguments.is_empty() || arguments.iter().any(|a| a == release.name))
        // One after the other, since a set-up locks the others out.
        .map(|release| (release, setup::ensure_kernel(workspace, release.name)))
        .collect::<Vec<_>>();
    say(format_args!("left out: {}: {}", LEFT_OUT.0, LEFT_OUT.1));
    let outcomes = try_all(workspace, &emulator, &base, wanted);
    fs::remove_file(&base)?;
    let (mut tally, mut failed) = (Tally::default(), Vec::new());
    for (Release { name, .. }, outcome) in outcomes {
        let verdict = outcome.and_then(|Outcome { taken, report, verdict }| {
            tally.add_all(&report.tally);
            let what = format!("Linux {}, {} s", report.release, taken.as_secs());
            verdict.map(|counts| format!("{what}: {counts}")).context(what)
        });
        match verdict {
            Ok(line) => println!("{name}: {line}"),
            Err(error) => {
                println!("{name}: FAILED: {error:#}");
                failed.push(*name);
            }
        }
    }
    say(format_args!("all kernels took {} s", start.elapsed().as_secs()));
    println!("{}", tally.line());
    ensure!(failed.is_empty(), "not all is well on the kernel of {}", failed.join(", "));
    Ok(())
}

/// Tries each kernel that could be had. The machines wait more than they work, so they do
/// it at once; one that fails does not keep the others from being tried.
fn try_all(
    workspace: &Workspace,
    emulator: &Emulator,
    base: &Path,
    wanted: Vec<(&'static Release, Result<Kernel>)>,
) -> Vec<(&'static Release, Result<Outcome>)> {
    thread::scope(|scope| {
        let start = |(release, kernel): (&'static Release, Result<Kernel>)| {
            (release, scope.spawn(move || try_kernel(workspace, emulator, base, release, &kernel?)))
        };
        let threads = wanted.into_iter().map(start).collect::<Vec<_>>();
        let join = |(release, thread): (&'static Release, ScopedJoinHandle<'_, _>)| {
            (release, thread.join().unwrap_or_else(|_| Err(anyhow!("xtask itself panicked"))))
        };
        threads.into_iter().map(join).collect()
    })
}

/// What a machine reported, and what is thought of it.
struct Outcome {
    taken: Duration,
    report: Report,
    verdict: Result<String>,
}

/// Boots the kernel and runs what there is for it.
fn try_kernel(
    workspace: &Workspace,
    emulator: &Emulator,
    base: &Path,
    release: &Release,
    kernel: &Kernel,
) -> Result<Outcome> {
    let start = Instant::now();
    let runs = runs(release);
    let tree = Initramfs::at(scratch(workspace, &format!("tree-{}", release.name)))?;
    let slowness = env::var(SLOWNESS).unwrap_or_else(|_| USUAL_SLOWNESS.to_owned());
    let environment = [
        ("MXDP_BIN", "/mxdp"),
        ("MXDP_PEERS", "/peers"),
        (SLOWNESS, slowness.as_str()),
        ("TMPDIR", "/tmp"),
    ];
    tree.file("/init", guest::init(&environment, &runs).as_bytes())?;
    tree.file("/veth.ko", &fs::read(&kernel.module)?)?;
    let file = scratch(workspace, &format!("initramfs-{}", release.name));
    fs::copy(base, &file).with_context(|| format!("cannot write {}", file.display()))?;
    tree.append_to(&file, &emulator.busybox())?;
    say(format_args!("{}: booting, {} test programs to run", release.name, runs.len()));
    let outcome = guest::run(&mut machine(emulator, kernel, &file), release.name, LIMIT);
    fs::remove_file(&file)?;
    let report = outcome?;
    let counts = report.tally.line();
    let counts =
        if release.is_below_floor { format!("{counts}: refused as too old") } else { counts };
    let verdict = report.check(runs.len()).map(|()| counts);
    Ok(Outcome { taken: start.elapsed(), report, verdict })
}

/// Removes what is at [`scratch`] and processes which were ended have left.
fn clear(workspace: &Workspace) -> Result<()> {
    for entry in fs::read_dir(workspace.target().join("kernels")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.rsplit_once('-').map_or("", |(_, process)| process);
        let is_left = !process.is_empty() && !Path::new("/proc").join(process).exists();
        if is_left && entry.file_type()?.is_dir() {
            sh::remove(&entry.path())?;
        } else if is_left {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// A file or folder of this process alone, in `target/kernels`.
fn scratch(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.target().join(format!("kernels/{name}-{}", std::process::id()))
}

fn runs(release: &Release) -> Vec<Run> {
    let run = |name: &str, engine: &str, arguments: &str| {
        let (suffix, variable) = match engine {
            "" => (String::new(), String::new()),
            _ => (format!(", {engine}"), format!("MXDP_TEST_ENGINE={engine} ")),
        };
        // One test at a time: what an emulated machine does at once it does slowly.
        let command = format!("{variable}/tests/{name} --test-threads=1 {arguments}");
        Run { name: format!("{name}{suffix}"), command }
    };
    if release.is_below_floor {
        return vec![run(BELOW_FLOOR.0, "", BELOW_FLOOR.1)];
    }
    let skip = format!("--skip {}", LEFT_OUT.0);
    let mut runs = Vec::new();
    for (name, engines) in RUNS {
        let engines = if engines.is_empty() { &[""] } else { engines };
        runs.extend(engines.iter().map(|engine| run(name, engine, &skip)));
    }
    runs
}

/// The emulator with everything but what it is to boot on.
fn machine(emulator: &Emulator, kernel: &Kernel, initramfs: &Path) -> Command {
    let mut command = emulator.command();
    command
        .args(["-machine", "q35", "-accel", "tcg", "-cpu", "max", "-smp", "2", "-m", "1536"])
        .args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"])
        .arg("-kernel")
        .arg(&kernel.image)
        .arg("-initrd")
        .arg(initramfs)
        .args(["-append", KERNEL_ARGUMENTS]);
    command
}

/// The archive of the files of every machine.
fn base(emulator: &Emulator, workspace: &Workspace, tests: &[PathBuf]) -> Result<PathBuf> {
    let tree = Initramfs::at(scratch(workspace, "tree"))?;
    for folder in ["/proc", "/sys", "/dev", "/run", "/tmp", "/var/lib", "/root", "/etc"] {
        tree.folder(folder)?;
    }
    tree.file("/etc/passwd", b"root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")?;
    tree.file("/etc/group", b"root:x:0:\nnogroup:x:65534:\n")?;
    tree.file("/bin/busybox", &fs::read(emulator.busybox())?)?;
    tree.link("/bin/sh", "busybox")?;

    let peers = workspace.target().join("peers");
    let libraries = setup::peer_libraries(workspace);
    for path in PEERS {
        tree.program(&format!("/peers/{path}"), &peers.join(path), &libraries)?;
    }
    for name in TOOLS {
        let file = sh::program(name).with_context(|| format!("there is no {name} here"))?;
        tree.program(&format!("/usr/bin/{name}"), &file, &[])?;
    }
    let ip = Some(peers.join("bin/ip")).filter(|file| file.exists()).or_else(|| sh::program("ip"));
    tree.program("/sbin/ip", &ip.context("there is no ip(8) here")?, &libraries)?;

    let stripped = scratch(workspace, "stripped");
    let program = |path: &str, file: &Path| {
        let mut strip = Command::new("strip");
        // A tenth of the bytes: memory of the machine, and time to unpack.
        sh::capture(strip.arg("-o").arg(&stripped).arg(file))
            .context("strip(1) is in Debian's binutils")?;
        tree.program(path, &stripped, &[])
    };
    program("/mxdp", &workspace.target().join("debug/mxdp"))?;
    for test in tests {
        program(&format!("/tests/{}", test_name(test)), test)?;
    }
    fs::remove_file(&stripped)?;
    let archive = scratch(workspace, "base");
    tree.append_to(&archive, &emulator.busybox())?;
    Ok(archive)
}

/// Builds mxdp and the test programs; where those are, cargo says.
fn build(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    // Both as `cargo xtask test` does, so that what one has built the other has.
    crate::test::build(workspace)?;
    let mut cargo = workspace.cargo(["test", "--locked", "--package", "mxdp-tests", "--no-run"]);
    cargo.arg("--message-format=json-render-diagnostics");
    cargo.args(RUNS.iter().flat_map(|(name, _)| ["--test", name]));
    let output = cargo.stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "{cargo:?} ended with {}", output.status);
    let answer = String::from_utf8(output.stdout).context("cargo's answer is not UTF-8")?;
    let mut found = Vec::new();
    for (name, _) in RUNS {
        let mut files =
            answer.lines().filter_map(executable).filter(|file| test_name(file) == name);
        match files.next() {
            Some(file) => found.push(file),
            None => bail!("cargo built no test program {name}"),
        }
    }
    Ok(found)
}

/// The test program that a line of cargo's answer says it made.
fn executable(line: &str) -> Option<PathBuf> {
    let is_test = line.contains(r#""kind":["test"]"#);
    let (_, rest) = line.split_once(r#""executable":""#).filter(|_| is_test)?;
    rest.split_once('"').map(|(path, _)| path.into())
}

/// `vectors` of `…/deps/vectors-72852fe6a730a77e`.
fn test_name(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    name.rsplit_once('-').map_or(name.to_string(), |(name, _)| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_cargos_answer() {
        let line = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"vectors"},"executable":"/x/deps/vectors-72","fresh":true}"#;
        let file = executable(line).unwrap();
        assert_eq!(
            (file.to_str(), test_name(&file).as_str()),
            (Some("/x/deps/vectors-72"), "vectors")
        );
        assert_eq!(executable(&line.replace("[\"test\"]", "[\"bin\"]")), None);
        assert_eq!(executable(&line.replace("\"/x/deps/vectors-72\"", "null")), None);
    }

    #[test]
    fn a_kernel_below_the_floor_runs_nothing_but_the_refusal() {
        assert_eq!(runs(&RELEASES[0]).len(), 1);
        let names: Vec<_> = runs(&RELEASES[1]).into_iter().map(|run| run.name).collect();
        assert!(names.starts_with(&["vectors, trie".to_owned(), "vectors, ranges".to_owned()]));
        assert!(names.contains(&"engines".to_owned()), "{names:?}");
    }
}
