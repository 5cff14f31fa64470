//! Where the compiler for the BPF target comes from: the first of these that
//! works.
//!
//! 1. The active rustc, if its library sources are installed.
//! 2. The same release with its sources, fetched by rustup into `target/`.
//! 3. Debian's `rustc-web`, which has a prebuilt `core` for the BPF target.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::sh::{self, Workspace, say};

use super::apt::Apt;
use super::scratch::Scratch;
use super::{libraries, linker};

/// Names the only source to try: `sysroot`, `rustup` or `debian`.
const FORCE: &str = "MXDP_EBPF_SOURCE";

/// A download that does not grow for this long is given up.
const STALL: Duration = Duration::from_secs(30);

/// A compiler for the BPF target.
pub(super) struct Compiler {
    pub(super) source: &'static str,
    pub(super) rustc: PathBuf,
    pub(super) clippy: Option<PathBuf>,
    /// `core` has to be built, from sources that are there.
    pub(super) build_std: bool,
    /// `rustc -vV`'s first line.
    pub(super) version: String,
    pub(super) llvm: u32,
    /// The shared library that is the compiler proper.
    pub(super) driver: PathBuf,
    /// The sources of `core`, or the prebuilt one.
    pub(super) target_library: PathBuf,
}

/// The one source that the environment asks for, if it does.
pub(super) fn forced() -> Option<String> {
    std::env::var(FORCE).ok().filter(|source| !source.is_empty())
}

type Source = fn(&Workspace, &Scratch, &Path, &Path) -> Result<Compiler>;

const SOURCES: [(&str, Source); 3] =
    [("sysroot", from_sysroot), ("rustup", from_rustup), ("debian", from_debian)];

/// Finds or fetches a compiler: into `stage`, Debian's packages into `root`.
///
/// # Errors
/// No source has one; the error has each source's reason.
pub(super) fn obtain(
    workspace: &Workspace,
    scratch: &Scratch,
    stage: &Path,
    root: &Path,
) -> Result<Compiler> {
    let forced = forced();
    let mut reasons = String::new();
    for (name, source) in SOURCES {
        if forced.as_ref().is_some_and(|forced| forced != name) {
            continue;
        }
        match source(workspace, scratch, stage, root) {
            Ok(compiler) => return Ok(compiler),
            Err(error) => {
                say(format_args!("not from {name}: {error:#}"));
                reasons += &format!("\n  {name}: {error:#}");
            }
        }
    }
    if reasons.is_empty() {
        bail!("{FORCE} must be sysroot, rustup or debian");
    }
    bail!("no compiler for the eBPF program can be had; what was tried:{reasons}")
}

fn from_sysroot(workspace: &Workspace, scratch: &Scratch, _: &Path, _: &Path) -> Result<Compiler> {
    let sysroot = sh::capture(
        Command::new("rustc").args(["--print", "sysroot"]).current_dir(&workspace.root),
    )?;
    with_sources("sysroot", Path::new(sysroot.trim()), scratch)
}

/// The toolchain at `sysroot`, if it can build `core` and a linker for it can be had.
fn with_sources(source: &'static str, sysroot: &Path, scratch: &Scratch) -> Result<Compiler> {
    let sources = sysroot.join("lib/rustlib/src/rust/library/core");
    ensure!(sources.is_dir(), "the active rustc has no library sources (rust-src)");
    let rustc = sysroot.join("bin/rustc");
    let (version, llvm) = identify(&rustc, &[])?;
    linker::can_be_had(scratch, llvm)?;
    let clippy = sysroot.join("bin/clippy-driver");
    Ok(Compiler {
        source,
        driver: driver(&[sysroot.join("lib")])?,
        rustc,
        clippy: clippy.exists().then_some(clippy),
        build_std: true,
        version,
        llvm,
        target_library: sources,
    })
}

fn from_rustup(
    workspace: &Workspace,
    scratch: &Scratch,
    stage: &Path,
    _: &Path,
) -> Result<Compiler> {
    ensure!(sh::program("rustup").is_some(), "there is no rustup here");
    let answer = sh::capture(Command::new("rustc").arg("-vV").current_dir(&workspace.root))?;
    let release = field(&answer, "release").context("rustc -vV names no release")?;
    ensure!(
        release.chars().all(|letter| letter.is_ascii_digit() || letter == '.'),
        "the active rustc is {release}; only a stable release can be fetched by its name"
    );
    linker::can_be_had(scratch, llvm_major(&answer)?)?;

    say(format_args!("fetching Rust {release} with its library sources by rustup (about 150 MB)"));
    let home = stage.join("rustup");
    fs::create_dir(&home)?;
    let log = stage.join("rustup.log");
    let mut rustup = Command::new("rustup");
    rustup
        .args(["toolchain", "install", release, "--profile", "minimal", "--no-self-update"])
        .args(["--component", "rust-src", "--component", "clippy"])
        // A home of its own: the host's toolchains and settings stay as they are.
        .env("RUSTUP_HOME", &home)
        .env_remove("RUSTUP_TOOLCHAIN")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(&log)?);
    let mut child = rustup.spawn().context("rustup did not start")?;
    let outcome = wait_while_growing(&mut child, &home);
    if let Err(error) = outcome {
        let said = fs::read_to_string(&log).unwrap_or_default();
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default().trim();
        sh::remove(&home)?;
        return Err(error.context(last.to_owned()));
    }
    fs::remove_file(&log)?;
    let toolchain = fs::read_dir(home.join("toolchains"))?
        .flatten()
        .next()
        .context("rustup installed nothing")?;
    // What it keeps besides the toolchain is of use to an update only.
    for folder in ["downloads", "tmp"] {
        sh::remove(&home.join(folder))?;
    }
    with_sources("rustup", &toolchain.path(), scratch)
}

/// Waits for a child that fills `folder`, as long as it does.
fn wait_while_growing(child: &mut Child, folder: &Path) -> Result<()> {
    let (mut size, mut grown) = (0, Instant::now());
    let mut looked = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "rustup ended with {status}");
            return Ok(());
        }
        sleep(Duration::from_millis(100));
        if looked.elapsed() < Duration::from_secs(2) {
            continue;
        }
        looked = Instant::now();
        let now = size_of(folder);
        if now != size {
            (size, grown) = (now, Instant::now());
        } else if grown.elapsed() > STALL {
            child.kill()?;
            child.wait()?;
            bail!("nothing came for {} s", STALL.as_secs());
        }
    }
}

fn size_of(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size_of(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

fn from_debian(
    workspace: &Workspace,
    scratch: &Scratch,
    _: &Path,
    root: &Path,
) -> Result<Compiler> {
    let mut apt = Apt::new(scratch)?;
    let found = apt.find(&[
        "rustc-web",
        "libstd-rust-web-dev",
        "libstd-rust-web-dev-bpf",
        "rust-web-clippy",
    ])?;
    let needed = minimum_rust(workspace)?;
    let version = &found[0].version;
    ensure!(
        release(version) >= release(&needed),
        "Debian's rustc-web is {version} and Rust {needed} is needed; \
         its newest versions are in the updates and security archives"
    );
    let mut names: Vec<_> = found.iter().map(|package| package.name.as_str()).collect();
    // The library that the compiler shares with clippy has its release in its name.
    names.extend(
        found[1]
            .depends
            .iter()
            .map(String::as_str)
            .filter(|name| name.starts_with("libstd-rust-web-")),
    );
    apt.unpack(&names, root)?;

    let rustc = root.join("usr/bin/rustc");
    let clippy = root.join("usr/bin/clippy-driver");
    libraries::complete(&mut apt, root, &[rustc.clone(), clippy.clone()], &[])?;
    let (version, llvm) = identify(&rustc, &libraries::folders(root, &[]))?;
    linker::can_be_had(scratch, llvm)?;
    Ok(Compiler {
        source: "debian",
        driver: driver(&libraries::folders(root, &[]))?,
        rustc,
        clippy: Some(clippy),
        build_std: false,
        version,
        llvm,
        target_library: root.join("usr/lib/rustlib/bpfel-unknown-none/lib"),
    })
}

/// The workspace's `rust-version`.
fn minimum_rust(workspace: &Workspace) -> Result<String> {
    let manifest =
        fs::read_to_string(workspace.root.join("Cargo.toml")).context("cannot read Cargo.toml")?;
    let value = manifest.lines().find_map(|line| line.strip_prefix("rust-version"));
    let version = value.and_then(|value| value.split('"').nth(1));
    version.map(str::to_owned).context("Cargo.toml has no rust-version")
}

/// `1.96.0+dfsg1-1~deb12u2` is (1, 96).
fn release(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// `rustc -vV`'s first line and its LLVM's major version.
fn identify(rustc: &Path, libraries: &[PathBuf]) -> Result<(String, u32)> {
    let mut command = Command::new(rustc);
    if !libraries.is_empty() {
        command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
    }
    let answer = sh::capture(command.arg("-vV"))?;
    let version = answer.lines().next().context("rustc -vV says nothing")?;
    Ok((version.to_owned(), llvm_major(&answer)?))
}

fn llvm_major(answer: &str) -> Result<u32> {
    let version = field(answer, "LLVM version").context("rustc -vV names no LLVM")?;
    let major = version.split('.').next().unwrap_or_default();
    major.parse().with_context(|| format!("LLVM version {version}"))
}

fn field<'a>(answer: &'a str, key: &str) -> Option<&'a str> {
    answer.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "))
}

fn driver(folders: &[PathBuf]) -> Result<PathBuf> {
    let entries = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let is_driver = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("librustc_driver-"))
    };
    entries
        .map(|entry| entry.path())
        .find(is_driver)
        .context("there is no librustc_driver beside rustc")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_says_what_it_is() {
        let answer = "rustc 1.96.0 (ac68faa20 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(field(answer, "release"), Some("1.96.0"));
        assert_eq!(llvm_major(answer).unwrap(), 22);
        assert!(llvm_major("rustc 1.96.0\n").is_err());
    }

    #[test]
    fn releases_are_compared_as_numbers() {
        assert!(release("1.100.0") > release("1.96.0+dfsg1-1~deb12u2"));
        assert!(release("1.85.0+dfsg3-1~deb12u3") < release("1.95"));
        assert_eq!(release("unknown"), None);
    }

    #[test]
    fn a_child_that_stays_is_waited_for_and_one_that_fails_is_told() {
        let folder = Path::new("/nonexistent");
        let child = |script: &str| Command::new("sh").args(["-c", script]).spawn().unwrap();
        assert!(wait_while_growing(&mut child("sleep 0.2"), folder).is_ok());
        assert!(wait_while_growing(&mut child("exit 3"), folder).is_err());
    }
}
