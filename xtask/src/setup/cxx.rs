//! A C++ compiler, for libFuzzer: the host's, or Debian's of the host's C compiler's
//! release, unpacked. That has no C compiler, headers or binutils of its own; Rust needs
//! those of the host already.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Workspace};

use super::apt::Apt;
use super::scratch::Scratch;

/// `MXDP_CXX_SOURCE=debian` takes Debian's compiler where the host has one too.
const FORCE: &str = "MXDP_CXX_SOURCE";

/// What is said to builds of C++, and to the linker of what they made.
pub(crate) struct Cxx {
    /// `CXX` and `CXXFLAGS`; nothing where the host's compiler is found by itself.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where the linker finds libstdc++.
    pub(crate) libraries: Option<PathBuf>,
}

/// Whether the host's own compiler is to be used.
pub(super) fn is_on_host() -> bool {
    let named = ["c++", "g++", "clang++"].iter().any(|name| sh::program(name).is_some());
    named && env::var_os(FORCE).is_none_or(|source| source != "debian")
}

pub(super) fn is_ready(place: &Path) -> bool {
    // At the first start nobody knows the release yet.
    release().is_ok_and(|release| {
        compiler(place, &release).exists() && libraries(place, &release).is_dir()
    })
}

/// Puts the compiler together in `stage`.
pub(super) fn assemble(_: &Workspace, scratch: &Scratch, stage: &Path) -> Result<()> {
    let release = release()?;
    let names = [format!("g++-{release}"), format!("libstdc++-{release}-dev")];
    let mut apt = Apt::new(scratch).context("the C++ compiler is a package of Debian's")?;
    apt.unpack(&names.each_ref().map(String::as_str), stage)?;
    ensure!(is_ready(stage), "the packages {} have no compiler", names.join(" and "));
    Ok(())
}

impl Cxx {
    pub(super) fn of_host() -> Self {
        Self { environment: Vec::new(), libraries: None }
    }

    pub(super) fn at(place: &Path) -> Result<Self> {
        let release = release()?;
        let include = ask(&["-print-file-name=include"])?;
        let environment = vec![
            ("CXX", compiler(place, &release).display().to_string()),
            ("CXXFLAGS", format!("-isystem {include}")),
        ];
        Ok(Self { environment, libraries: Some(libraries(place, &release)) })
    }
}

/// The major release of the host's C compiler, whose parts the C++ compiler uses.
fn release() -> Result<String> {
    let version = ask(&["-dumpversion"])?;
    Ok(version.split('.').next().unwrap_or_default().to_owned())
}

fn ask(arguments: &[&str]) -> Result<String> {
    let answer = sh::capture(Command::new("cc").args(arguments))
        .context("Rust itself needs a C compiler: install gcc")?;
    Ok(answer.trim().to_owned())
}

fn compiler(root: &Path, release: &str) -> PathBuf {
    root.join(format!("usr/bin/x86_64-linux-gnu-g++-{release}"))
}

fn libraries(root: &Path, release: &str) -> PathBuf {
    root.join(format!("usr/lib/gcc/x86_64-linux-gnu/{release}"))
}
