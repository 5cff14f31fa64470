//! The emulated machine: what it is told to do, and what it says that came of it.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::test::Tally;

/// Begins the lines by which the machine reports; all others are the tests' own.
const MARK: &str = "mxdp-guest:";

/// One test program, run once.
pub(super) struct Run {
    /// What it is called in the report.
    pub(super) name: String,
    /// The command and its environment, in words of the shell.
    pub(super) command: String,
}

/// The machine's first process, a script of busybox.
///
/// When it has done all the machine resets, which ends the emulator; the kernel does so by
/// itself when it panics.
pub(super) fn init(environment: &[(&str, &str)], runs: &[Run]) -> String {
    let mut script = "#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
ip link set lo up
insmod /veth.ko || reboot -f
"
    .to_owned();
    for (name, value) in environment {
        _ = writeln!(script, "export {name}='{value}'");
    }
    _ = writeln!(script, "echo {MARK} kernel $(uname -r)");
    for Run { name, command } in runs {
        _ = writeln!(script, "echo {MARK} begin {name}\n{command}\necho {MARK} end $? {name}");
    }
    _ = writeln!(script, "echo {MARK} done\nreboot -f");
    script
}

/// What became of a machine.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// The kernel's release, as it says itself.
    pub(super) release: String,
    pub(super) tally: Tally,
    /// The runs that ended with a failure.
    failed: Vec<String>,
    ended: usize,
    is_done: bool,
}

impl Report {
    /// Takes a line of the console. Those that are not for this are given back.
    fn take<'a>(&mut self, line: &'a str) -> Option<&'a str> {
        self.tally.add(line);
        let Some(report) = line.strip_prefix(MARK) else {
            return Some(line);
        };
        match report.trim().split_once(' ').unwrap_or((report.trim(), "")) {
            ("kernel", release) => release.clone_into(&mut self.release),
            ("end", outcome) => {
                self.ended += 1;
                match outcome.split_once(' ') {
                    Some(("0", _)) => {}
                    Some((code, name)) => self.failed.push(format!("{name} (exit code {code})")),
                    None => self.failed.push(outcome.to_owned()),
                }
            }
            ("begin", name) => return Some(name),
            ("done", _) => self.is_done = true,
            _ => return Some(line),
        }
        None
    }

    /// # Errors
    /// Not everything was run to its end, or something failed.
    pub(super) fn check(&self, runs: usize) -> Result<()> {
        ensure!(!self.release.is_empty(), "the machine did not come up");
        ensure!(
            self.is_done && self.ended == runs,
            "the machine ended after {} of {runs} test programs",
            self.ended
        );
        ensure!(self.failed.is_empty(), "failed: {}", self.failed.join(", "));
        ensure!(self.tally.passed > 0 && self.tally.failed == 0, "{}", self.tally.line());
        Ok(())
    }
}

/// Runs the emulator to its end and shows what the machine prints, with its name.
///
/// # Errors
/// It does not start, or not end within `limit`.
pub(super) fn run(emulator: &mut Command, name: &str, limit: Duration) -> Result<Report> {
    let mut child = Ended(
        emulator
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{emulator:?} did not start"))?,
    );
    let console = child.0.stdout.take().context("the emulator has no output")?;
    let (sender, lines) = sync_channel(1024);
    // Ends with the emulator, whose output ends then.
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n') {
            let Ok(line) = line else { return };
            if sender.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                return;
            }
        }
    });
    let end = Instant::now() + limit;
    let mut report = Report::default();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if let Some(line) = report.take(&line).filter(|line| !line.is_empty()) {
                    println!("{name} | {line}");
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!("the machine was not done within {} s", limit.as_secs())
            }
        }
    }
    let status = child.0.wait()?;
    ensure!(status.success(), "{emulator:?} ended with {status}");
    Ok(report)
}

/// A process that does not outlive what waits for it.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &str) -> Report {
        let mut report = Report::default();
        for line in lines.lines() {
            report.take(line);
        }
        report
    }

    const GOOD: &str = "mxdp-guest: kernel 6.1.0\nmxdp-guest: begin vectors, trie\n\
        test result: ok. 3 passed; 0 failed; 0 ignored\nmxdp-guest: end 0 vectors, trie\n\
        mxdp-guest: done\n";

    #[test]
    fn a_machine_that_did_all_is_believed() {
        let report = report(GOOD);
        assert_eq!(
            (report.release.as_str(), report.tally.line()),
            ("6.1.0", "3 passed, 0 failed".to_owned())
        );
        assert!(report.check(1).is_ok());
        assert!(report.check(2).is_err());
    }

    #[test]
    fn a_machine_that_did_less_is_not() {
        let error = |text: &str| report(text).check(1).unwrap_err().to_string();
        assert_eq!(error("Kernel panic - not syncing"), "the machine did not come up");
        let panicked = GOOD.split("mxdp-guest: end").next().unwrap_or_default();
        assert_eq!(error(panicked), "the machine ended after 0 of 1 test programs");
        assert!(error(&GOOD.replace("end 0", "end 101")).contains("vectors, trie (exit code 101)"));
        assert_eq!(error(&GOOD.replace("3 passed", "0 passed")), "0 passed, 0 failed");
        assert!(error(&GOOD.replace("done", "")).contains("after 1 of 1"));
    }

    #[test]
    fn an_emulator_that_hangs_is_ended() {
        let error =
            run(Command::new("sleep").arg("600"), "x", Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("not done within"), "{error:#}");
        assert!(
            run(Command::new("sh").args(["-c", "exit 3"]), "x", Duration::from_secs(60)).is_err()
        );
    }
}
