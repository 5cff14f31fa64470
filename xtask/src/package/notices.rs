//! Whose work is in the binary, and by which licence.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::files::read;
use crate::sh::{self, Workspace};

/// The crates whose code is in the binary, with all that they depend on: the program
/// for the kernel is embedded.
const ROOTS: [&str; 2] = ["filter-userspace", "filter-ebpf"];

/// A package that is linked.
struct Linked {
    name: String,
    version: String,
    license: String,
    repository: String,
    folder: PathBuf,
}

/// The package's own terms, in the form of Debian's copyright-format 1.0.
pub(super) fn copyright(workspace: &Workspace) -> Result<String> {
    let mit = read(&workspace.root.join("LICENSE-MIT"))?;
    let holder = mit.lines().find_map(|line| line.trim().strip_prefix("Copyright (c) "));
    let holder = holder.context("LICENSE-MIT has no line of copyright")?;
    Ok(format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\
         Upstream-Name: mxdp\n\
         Comment: The works of others that are linked into the binary, and their licences, are\n \
         in third-party-notices.gz beside this file.\n\n\
         Files: *\n\
         Copyright: {holder}\n\
         License: Apache-2.0 or Expat\n\n\
         License: Apache-2.0\n \
         See /usr/share/common-licenses/Apache-2.0.\n\n\
         License: Expat\n{}",
        folded(&mit)
    ))
}

/// As a field of many lines: indented, a dot for an empty one.
fn folded(text: &str) -> String {
    let line = |line: &str| match line.trim_end() {
        "" => " .\n".to_owned(),
        line => format!(" {line}\n"),
    };
    text.trim().lines().map(line).collect()
}

/// Every linked package with its licence, and every text of theirs once.
pub(super) fn third_party(workspace: &Workspace) -> Result<String> {
    let mut cargo = workspace.cargo(["metadata", "--format-version=1", "--locked"]);
    let metadata = sh::capture(cargo.args(["--filter-platform", &host()?]))?;
    let metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    let mut text = "The binary of mxdp contains the works below, beside the standard library of \
                    Rust (https://github.com/rust-lang/rust; MIT OR Apache-2.0) and SQLite \
                    (https://sqlite.org; public domain).\n"
        .to_owned();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Linked { name, version, license, repository, folder } in linked(&metadata)? {
        text += &format!("\n{name} {version}\n  {license}\n  {repository}\n");
        for content in licence_texts(&folder)? {
            texts.entry(content).or_default().push(format!("{name} {version}"));
        }
    }
    for (content, of) in texts {
        text += &format!("\n{}\nOf {}:\n\n{content}\n", "-".repeat(72), of.join(", "));
    }
    Ok(text)
}

/// The platform that this is, as cargo calls it.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let version = sh::capture(Command::new(rustc).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc -vV names no host")
}

/// What the roots depend on, without what only builds or tests them.
fn linked(metadata: &Value) -> Result<Vec<Linked>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages: BTreeMap<_, _> = list(&metadata["packages"])
        .into_iter()
        .map(|package| (word(&package["id"]), package))
        .collect();
    let nodes: BTreeMap<_, _> = list(&metadata["resolve"]["nodes"])
        .into_iter()
        .map(|node| (word(&node["id"]), list(&node["deps"])))
        .collect();
    let is_root = |package: &Value| ROOTS.iter().any(|root| package["name"] == *root);
    let mut waiting: Vec<_> =
        packages.iter().filter(|(_, package)| is_root(package)).map(|(id, _)| id.clone()).collect();
    ensure!(waiting.len() == ROOTS.len(), "cargo metadata lacks one of {}", ROOTS.join(", "));
    let mut seen = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let is_linked = |dependency: &&Value| {
            list(&dependency["dep_kinds"]).iter().any(|kind| kind["kind"].is_null())
        };
        let dependencies = nodes.get(&id).map(Vec::as_slice).unwrap_or_default();
        waiting.extend(dependencies.iter().filter(is_linked).map(|one| word(&one["pkg"])));
    }
    // What has no source is this workspace's own.
    let foreign =
        seen.iter().filter_map(|id| packages.get(id)).filter(|one| !one["source"].is_null());
    foreign
        .map(|package| {
            let manifest = PathBuf::from(word(&package["manifest_path"]));
            let name = word(&package["name"]);
            let license = word(&package["license"]);
            let file = word(&package["license_file"]);
            ensure!(!license.is_empty() || !file.is_empty(), "{name} names no licence");
            Ok(Linked {
                version: word(&package["version"]),
                license: if license.is_empty() { format!("see {file} below") } else { license },
                repository: word(&package["repository"]),
                folder: manifest.parent().context("a manifest without a folder")?.to_owned(),
                name,
            })
        })
        .collect()
}

/// The texts that a package brings beside its manifest.
fn licence_texts(folder: &Path) -> Result<Vec<String>> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && is_licence(path))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = fs::read(&path).with_context(|| path.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).replace("\r\n", "\n").trim().to_owned())
    };
    paths.into_iter().map(read).collect()
}

fn is_licence(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_uppercase());
    let begins = |name: String| {
        ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    name.is_some_and(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_linked_is_named_with_its_licence() {
        let text = third_party(&Workspace::find().unwrap()).unwrap();
        for part in ["\naya 0.14.0\n  MIT OR Apache-2.0\n", "\naya-ebpf 0.2.1\n", "\nring 0.17"] {
            assert!(text.contains(part), "{part}");
        }
        // Only the tests use it.
        assert!(!text.contains("\nproptest "), "{}", &text[..2000]);
        assert!(text.contains("Permission is hereby granted"));
    }

    #[test]
    fn the_copyright_file_has_the_licence_in_full() {
        let text = copyright(&Workspace::find().unwrap()).unwrap();
        assert!(text.contains("\nCopyright: ") && text.contains("\n .\n"), "{text}");
        assert!(text.contains(" Permission is hereby granted"), "{text}");
    }
}
