//! `audit`: what mxdp is built of, held against `deny.toml` by cargo-deny.

use anyhow::{Result, ensure};

use crate::sh::{self, Workspace, say};
use crate::tools::Tool;

/// The release that is used; it needs no newer compiler than the workspace.
const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", arguments: &[] };

/// What needs nothing but the lock file and the registry.
const OFFLINE: [&str; 3] = ["licenses", "bans", "sources"];

/// `cargo xtask audit [--advisories]`: licences, sources, banned and doubled crates, and
/// known vulnerabilities where their database can be fetched; with `--advisories` it
/// must be.
pub(crate) fn run(workspace: &Workspace, required: bool) -> Result<()> {
    sh::run(deny(workspace)?.args(["check", "--hide-inclusion-graph"]).args(OFFLINE))?;
    // A git host is asked for it.
    if let Err(error) = sh::run(deny(workspace)?.args(["fetch", "db"])) {
        ensure!(!required, "the database of advisories cannot be fetched: {error:#}");
        say("== NOT CHECKED: known vulnerabilities, since their database cannot be fetched");
        say("== run `cargo xtask audit --advisories` where it can be");
        return Ok(());
    }
    sh::run(deny(workspace)?.args(["check", "--disable-fetch", "advisories"]))
}

/// All but the advisories, which change without us: a part of `test`. Doubled crates are
/// the command's to tell.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    sh::run(deny(workspace)?.args(["check", "--allow", "duplicate"]).args(OFFLINE))
}

/// cargo-deny on this workspace.
fn deny(workspace: &Workspace) -> Result<std::process::Command> {
    let program = DENY.ensure(workspace)?;
    let mut command = std::process::Command::new(program);
    command.current_dir(&workspace.root).args(["--locked", "--workspace"]);
    Ok(command)
}
