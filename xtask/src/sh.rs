//! Subprocesses, announcements and the places of the checkout.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

use anyhow::{Context, Result, bail};

/// The checkout that this xtask belongs to.
pub(crate) struct Workspace {
    /// The folder of the workspace's `Cargo.toml`.
    pub(crate) root: PathBuf,
}

impl Workspace {
    /// The workspace around this crate, wherever it was called from.
    pub(crate) fn find() -> Result<Self> {
        // The running cargo knows better than the compiled-in path: the checkout
        // may have been moved since.
        let manifest = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = manifest.parent().context("xtask has no workspace around it")?;
        Ok(Self { root: root.to_owned() })
    }

    /// The one target folder; `filter-userspace/build.rs` looks for the
    /// toolchain there, so a `CARGO_TARGET_DIR` from outside does not move it.
    pub(crate) fn target(&self) -> PathBuf {
        self.root.join("target")
    }

    /// The cargo that runs this xtask, on this workspace and its target folder.
    pub(crate) fn cargo<I: AsRef<str>>(&self, arguments: impl IntoIterator<Item = I>) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", self.target());
        for argument in arguments {
            cargo.arg(argument.as_ref());
        }
        cargo
    }
}

/// Says what is going on, on standard error, so that standard output stays the
/// tools' own.
pub(crate) fn say(message: impl Display) {
    eprintln!("xtask: {message}");
}

/// Runs a command with its output shown as it comes.
///
/// # Errors
/// It does not start or does not succeed; the error shows the whole command.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("{command:?} did not start"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// Runs a command and returns its standard output.
///
/// # Errors
/// It does not start or does not succeed; the error shows the whole command and
/// all that it printed.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{command:?} did not start"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}\n{text}{errors}", output.status);
    }
    Ok(text)
}

/// The program's path if one of that name is on `PATH` or where administrators'
/// programs live (a user's `PATH` often lacks those).
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

/// Whether this process has root's rights: its effective user is 0.
pub(crate) fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    effective_user(&status) == Some("0")
}

/// From proc(5): `Uid:` has the real, effective, saved and file-system user.
fn effective_user(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)
}

/// Removes a folder with all in it; one that is not there is fine.
pub(crate) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Bytes as people read them: whole megabytes, at least one.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1_000_000).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_command_and_its_output() {
        let error = capture(Command::new("sh").args(["-c", "echo seen; echo why >&2; exit 3"]))
            .unwrap_err()
            .to_string();
        for part in ["\"sh\"", "exit status: 3", "seen", "why"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(run(Command::new("sh").args(["-c", "exit 1"])).is_err());
        assert!(capture(&mut Command::new("no-such-program")).is_err());
    }

    #[test]
    fn the_effective_user_is_the_second() {
        assert_eq!(effective_user("Name:\tx\nUid:\t1000\t0\t1000\t1000\n"), Some("0"));
        assert_eq!(effective_user("Name:\tx\n"), None);
    }

    #[test]
    fn sizes_are_rounded_up() {
        assert_eq!(megabytes(1), "1 MB");
        assert_eq!(megabytes(29_378_692), "30 MB");
    }
}
