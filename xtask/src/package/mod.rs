//! `package` and `install`: one tree of files, as a Debian package or put in place.
//!
//! [`tree`] says which files there are and where; [`deb`] wraps them, [`notices`]
//! tells whose work is in the binary.

mod deb;
mod files;
mod notices;
mod tree;

use std::path::PathBuf;

use anyhow::Result;

use crate::setup;
use crate::sh::{self, Workspace, say};

use tree::{Places, Tree};

/// `cargo xtask package [--dev]`.
pub(crate) fn package(workspace: &Workspace, development: bool) -> Result<()> {
    // Told before anything is built.
    deb::require()?;
    let binary = binary(workspace, development)?;
    let stage = workspace.target().join("package/tree");
    let tree = Tree::lay_out(workspace, &binary, &Places::of_a_package(), &stage)?;
    let file = deb::build(workspace, &tree, development)?;
    sh::remove(&stage)?;
    say(format_args!("install it: apt-get install {}", file.display()));
    println!("{}", file.display());
    Ok(())
}

/// Where and what `install` installs.
#[derive(clap::Args)]
pub(crate) struct Installation {
    /// The prefix of the paths.
    #[arg(long, value_name = "DIR", default_value = "/usr/local", value_parser = absolute)]
    prefix: PathBuf,
    /// The root of the file system that the files are put into.
    #[arg(long, value_name = "DIR", default_value = "/")]
    destdir: PathBuf,
    /// Install the development build.
    #[arg(long)]
    dev: bool,
}

fn absolute(text: &str) -> Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("expected an absolute path") }
}

/// `cargo xtask install [--prefix DIR] [--destdir DIR] [--dev]`.
pub(crate) fn install(workspace: &Workspace, installation: &Installation) -> Result<()> {
    let Installation { prefix, destdir, dev } = installation;
    let binary = binary(workspace, *dev)?;
    let stage = workspace.target().join("package/install");
    let tree = Tree::lay_out(workspace, &binary, &Places::below(prefix), &stage)?;
    let kept = tree.copy_to(destdir)?;
    sh::remove(&stage)?;
    for file in kept {
        say(format_args!("{}: is there and stays as it is", file.display()));
    }
    say(format_args!("installed below {}; `systemctl daemon-reload` next", prefix.display()));
    Ok(())
}

/// The binary to ship: built now, or the one that `MXDP_BIN` names, as for tests.
fn binary(workspace: &Workspace, development: bool) -> Result<PathBuf> {
    if development && let Some(path) = std::env::var_os("MXDP_BIN") {
        return Ok(path.into());
    }
    setup::ensure_toolchain(workspace)?;
    let mut cargo = workspace.cargo(["build", "--locked", "--package", "filter-userspace"]);
    cargo.args(["--bin", "mxdp"]);
    if !development {
        cargo.arg("--release");
    }
    sh::run(&mut cargo)?;
    let profile = if development { "debug" } else { "release" };
    Ok(workspace.target().join(profile).join("mxdp"))
}
