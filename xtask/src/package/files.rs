//! Files of the package, and the time that they have.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::sh::{self, Workspace};

/// Seconds since 1970 that stand for the time of everything that is made, so that the
/// same sources make the same package: `SOURCE_DATE_EPOCH`, or that of the last commit.
pub(super) fn source_date(workspace: &Workspace) -> Result<String> {
    if let Ok(date) = std::env::var("SOURCE_DATE_EPOCH") {
        ensure!(date.parse::<u64>().is_ok(), "SOURCE_DATE_EPOCH={date}: not a number of seconds");
        return Ok(date);
    }
    let mut git = Command::new("git");
    git.arg("-C").arg(&workspace.root).args(["log", "-1", "--format=%ct"]);
    let date = sh::capture(&mut git)
        .context("the time of the last commit; without git, set SOURCE_DATE_EPOCH")?;
    Ok(date.trim().to_owned())
}

/// Writes a file, and the folders above it.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    let folder = path.parent().context("a file without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Reads a file of text.
pub(super) fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
