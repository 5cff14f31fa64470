//! `docs`: the book of `docs/`, built by mdBook.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::sh::{self, Workspace, say};
use crate::tools::Tool;

/// Without its server and its search, which the pages on disk do not need.
const MDBOOK: Tool =
    Tool { name: "mdbook", version: "0.5.4", arguments: &["--no-default-features"] };

/// `cargo xtask docs`: builds the book in `target/book`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let book = workspace.root.join("docs");
    ensure!(book.join("book.toml").is_file(), "docs/book.toml is missing: there is no book yet");
    let program = MDBOOK.ensure(workspace)?;
    let place = workspace.target().join("book");
    sh::run(Command::new(program).arg("build").arg(&book).arg("--dest-dir").arg(&place))?;
    say(format_args!("the book is at {}", place.join("index.html").display()));
    Ok(())
}
