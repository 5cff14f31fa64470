//! The files that an installed mxdp consists of, and where they lie.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::files::{read, write};
use super::notices;
use crate::sh::{self, Workspace};

/// The configuration; what is there is never overwritten.
pub(super) const CONFIGURATION: &str = "etc/mxdp/mxdp.toml";

/// The path that the units of the checkout name.
const BINARY: &str = "/usr/bin/mxdp";

/// Where the files lie, relative to the root of the file system.
pub(super) struct Places {
    prefix: PathBuf,
    zsh: &'static str,
}

impl Places {
    /// As Debian has it.
    pub(super) fn of_a_package() -> Self {
        Self { prefix: "usr".into(), zsh: "share/zsh/vendor-completions" }
    }

    /// As an administrator's own software, below an absolute `prefix`.
    pub(super) fn below(prefix: &Path) -> Self {
        let prefix = prefix.strip_prefix("/").unwrap_or(prefix).to_owned();
        Self { prefix, zsh: "share/zsh/site-functions" }
    }
}

/// All files, laid out in a folder that stands for the root.
pub(super) struct Tree {
    pub(super) root: PathBuf,
    /// Its binary.
    pub(super) binary: PathBuf,
}

impl Tree {
    /// Lays everything out in `root`, which is made anew.
    pub(super) fn lay_out(
        workspace: &Workspace,
        binary: &Path,
        places: &Places,
        root: &Path,
    ) -> Result<Self> {
        sh::remove(root)?;
        let base = root.join(&places.prefix);
        let tree = Self { root: root.to_owned(), binary: base.join("bin/mxdp") };
        write(&tree.binary, "")?;
        // Line tables are most of its bytes; names for a panic's trace stay.
        sh::capture(
            Command::new("strip").arg("--strip-debug").arg("-o").arg(&tree.binary).arg(binary),
        )
        .context("strip is in Debian's binutils")?;
        fs::set_permissions(&tree.binary, Permissions::from_mode(0o755))?;

        let installed = Path::new("/").join(&places.prefix).join("bin/mxdp");
        let installed = installed.to_str().context("the prefix is not UTF-8")?;
        for unit in ["mxdp.service", "mxdp.socket"] {
            let text = read(&workspace.root.join("config/systemd").join(unit))?;
            write(&base.join("lib/systemd/system").join(unit), text.replace(BINARY, installed))?;
        }
        write(&root.join(CONFIGURATION), read(&workspace.root.join("config/mxdp.toml"))?)?;

        manual(binary, &base.join("share/man"))?;
        for (shell, place) in [
            ("bash", "share/bash-completion/completions/mxdp"),
            ("zsh", &format!("{}/_mxdp", places.zsh)),
            ("fish", "share/fish/vendor_completions.d/mxdp.fish"),
        ] {
            let script = sh::capture(Command::new(binary).args(["completions", shell]))?;
            write(&base.join(place), script)?;
        }
        documents(workspace, &base.join("share/doc/mxdp"))?;
        Ok(tree)
    }

    /// Copies all files below `destination`; those of the configuration that were
    /// there before stay, and are returned.
    pub(super) fn copy_to(&self, destination: &Path) -> Result<Vec<PathBuf>> {
        let mut kept = Vec::new();
        for file in files_below(&self.root)? {
            let inside = file.strip_prefix(&self.root).context("a file outside the tree")?;
            let target = destination.join(inside);
            if inside == Path::new(CONFIGURATION) && target.exists() {
                kept.push(target);
                continue;
            }
            let folder = target.parent().context("a file without a folder")?;
            let failed = || format!("cannot install {} (root is needed)", target.display());
            fs::create_dir_all(folder).with_context(failed)?;
            // A running binary cannot be written to, but another can take its name.
            let new = target.with_extension("mxdp-new");
            fs::copy(&file, &new).with_context(failed)?;
            fs::rename(&new, &target).with_context(failed)?;
        }
        Ok(kept)
    }
}

/// The pages, each in the folder of its section.
fn manual(binary: &Path, folder: &Path) -> Result<()> {
    let commands = folder.join("man1");
    sh::capture(Command::new(binary).args(["man", "--dir"]).arg(&commands))?;
    for page in files_below(&commands)? {
        let name = page.file_name().context("a page without a name")?;
        let section = page.extension().context("a page without a section")?;
        let of_section = folder.join(format!("man{}", section.to_string_lossy()));
        fs::create_dir_all(&of_section)?;
        let place = of_section.join(name);
        fs::rename(&page, &place)?;
        compress(&place)?;
    }
    Ok(())
}

fn documents(workspace: &Workspace, folder: &Path) -> Result<()> {
    let examples = workspace.root.join("config/examples");
    for file in files_below(&examples)? {
        let inside = file.strip_prefix(&examples).context("a file outside the examples")?;
        write(&folder.join("examples").join(inside), read(&file)?)?;
    }
    for (name, from) in [
        ("changelog", "CHANGELOG.md"),
        ("README.md", "README.md"),
        ("configuration.md", "docs/configuration.md"),
    ] {
        write(&folder.join(name), read(&workspace.root.join(from))?)?;
    }
    compress(&folder.join("changelog"))?;
    write(&folder.join("copyright"), notices::copyright(workspace)?)?;
    write(&folder.join("third-party-notices"), notices::third_party(workspace)?)?;
    compress(&folder.join("third-party-notices"))
}

/// Replaces a file by `FILE.gz`, which says nothing of when it was made.
pub(super) fn compress(file: &Path) -> Result<()> {
    sh::capture(Command::new("gzip").args(["-9n", "--"]).arg(file)).map(drop)
}

/// Every file below a folder, sorted.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{}: no files", folder.display());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_that_is_there_stays() {
        let folder = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        sh::remove(&folder).unwrap();
        let tree = Tree { root: folder.join("tree"), binary: folder.join("tree/usr/bin/mxdp") };
        write(&tree.binary, "new").unwrap();
        write(&tree.root.join(CONFIGURATION), "sample").unwrap();
        let there = folder.join("there");
        write(&there.join(CONFIGURATION), "mine").unwrap();
        write(&there.join("usr/bin/mxdp"), "old").unwrap();
        assert_eq!(tree.copy_to(&there).unwrap(), [there.join(CONFIGURATION)]);
        assert_eq!(read(&there.join(CONFIGURATION)).unwrap(), "mine");
        assert_eq!(read(&there.join("usr/bin/mxdp")).unwrap(), "new");
        let empty = folder.join("empty");
        assert!(tree.copy_to(&empty).unwrap().is_empty());
        assert_eq!(read(&empty.join(CONFIGURATION)).unwrap(), "sample");
        sh::remove(&folder).unwrap();
    }
}
