//! Where programs are: the binary of this build, and what the set-up unpacked.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The `mxdp` binary of this build.
#[must_use]
pub fn mxdp() -> PathBuf {
    if let Some(path) = env::var_os("MXDP_BIN") {
        return path.into();
    }
    // target/PROFILE/deps/TEST is beside target/PROFILE/mxdp.
    let test = env::current_exe().expect("this test's path");
    let profile = test.ancestors().nth(2).expect("the profile's folder");
    let path = profile.join("mxdp");
    assert!(path.exists(), "{} is missing; run `cargo xtask test`", path.display());
    path
}

/// ip(8) of iproute2.
#[must_use]
pub fn ip() -> PathBuf {
    find("ip")
}

/// A program of the packages that the set-up unpacked, or of the host; by its
/// name, or by its path in the tree.
#[must_use]
pub fn find(name: &str) -> PathBuf {
    let folders = ["sbin", "bin", "usr/sbin", "usr/bin", ""];
    let roots = [peers(), Some(PathBuf::from("/"))];
    roots
        .iter()
        .flatten()
        .flat_map(|root| folders.iter().map(move |folder| root.join(folder).join(name)))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing; run `cargo xtask test`"))
}

/// A command for a program of [`find`], with the libraries beside it.
#[must_use]
pub fn command(name: &str) -> Command {
    let mut command = Command::new(find(name));
    command.envs(environment());
    command
}

/// What programs of the unpacked packages need in their environment.
#[must_use]
pub fn environment() -> Vec<(String, PathBuf)> {
    let Some(root) = peers() else {
        return Vec::new();
    };
    let folders = [
        "usr/lib/postfix",
        "usr/lib/x86_64-linux-gnu",
        "lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu/pulseaudio",
    ];
    let paths: Vec<_> = folders.iter().map(|folder| root.join(folder)).collect();
    let joined = env::join_paths(paths).expect("no colon in the paths");
    vec![("LD_LIBRARY_PATH".to_owned(), joined.into())]
}

pub(crate) fn peers() -> Option<PathBuf> {
    env::var_os("MXDP_PEERS").map(PathBuf::from).or_else(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
        Some(workspace.join("target/peers"))
    })
}
