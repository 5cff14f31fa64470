//! House rules that a compiler cannot check.
//!
//! Comes in: the files that git knows. Goes out: one line a breach,
//! `file:line: message`. A rule stands here when ARCHITECTURE.md promises what it
//! guards.

mod links;
mod rules;
mod source;

use std::fmt;
use std::fs;
use std::process::Command;

use anyhow::{Result, bail};

use crate::sh::{self, Workspace, say};

/// A breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1.
    line: usize,
    message: String,
    /// Told, but no failure.
    is_warning: bool,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_warning { "warning: " } else { "" };
        write!(out, "{}:{}: {kind}{}", self.path, self.line, self.message)
    }
}

/// Checks every file of the checkout, and lists every breach.
pub(crate) fn check(workspace: &Workspace) -> Result<()> {
    // What is not yet added is checked too; what is ignored is not ours.
    let mut git = Command::new("git");
    git.current_dir(&workspace.root).args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]);
    let listed = sh::capture(&mut git)?;
    let paths: Vec<_> = listed.split_terminator('\0').collect();
    let paths: Vec<_> =
        paths.into_iter().filter(|path| workspace.root.join(path).exists()).collect();
    let mut errors = 0;
    let mut files = 0;
    for &path in &paths {
        // Binary files have no lines, and a removed one is not there any more.
        let Ok(text) = fs::read_to_string(workspace.root.join(path)) else {
            continue;
        };
        files += 1;
        let found = rules::check(path, &text).into_iter();
        for finding in found.chain(links::check(path, &text, &paths)) {
            eprintln!("{finding}");
            errors += usize::from(!finding.is_warning);
        }
    }
    if errors > 0 {
        bail!("house rules broken: {errors}");
    }
    say(format_args!("tidy: {files} files keep the house rules"));
    Ok(())
}
