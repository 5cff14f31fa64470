//! The file system of the emulated machine: what the tests need, and nothing else.
//!
//! It is laid out as a tree, which cpio of Debian's busybox packs in the format `newc`: the
//! kernel unpacks that into memory, and several archives behind each other as if they were
//! one (kernel documentation, `driver-api/early-userspace/buffer-format`).

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::sh;

/// A tree in the making. What is there already stays as it is.
pub(super) struct Initramfs {
    root: PathBuf,
}

impl Initramfs {
    /// An empty tree in `root`, which is made anew.
    pub(super) fn at(root: PathBuf) -> Result<Self> {
        sh::remove(&root)?;
        fs::create_dir_all(&root).with_context(|| format!("cannot make {}", root.display()))?;
        Ok(Self { root })
    }

    /// An empty folder.
    pub(super) fn folder(&self, path: &str) -> Result<()> {
        Ok(fs::create_dir_all(self.root.join(path.trim_start_matches('/')))?)
    }

    /// A file that can be executed.
    pub(super) fn file(&self, path: &str, content: &[u8]) -> Result<()> {
        if let Some(file) = self.place(path)? {
            fs::write(&file, content)
                .with_context(|| format!("cannot write {}", file.display()))?;
            fs::set_permissions(&file, Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// A symbolic link.
    pub(super) fn link(&self, path: &str, target: &str) -> Result<()> {
        if let Some(link) = self.place(path)? {
            symlink(target, link)?;
        }
        Ok(())
    }

    /// A program of this host with the libraries that it is linked to: those go to `/lib`,
    /// where its loader looks, and the loader to where the program names it.
    ///
    /// # Errors
    /// A file cannot be read, or a library is in none of `libraries` and not the host's.
    pub(super) fn program(&self, path: &str, from: &Path, libraries: &[PathBuf]) -> Result<()> {
        self.file(path, &read(from)?)?;
        let search = std::env::join_paths(libraries)?;
        let answer = sh::capture(
            Command::new("ldd").arg(from).env("LD_LIBRARY_PATH", search).env("LC_ALL", "C"),
        )?;
        for (name, file) in linked(&answer)? {
            self.file(&name, &read(&file)?)?;
        }
        Ok(())
    }

    /// Packs the tree, appends it to the file `archive`, and removes the tree.
    pub(super) fn append_to(self, archive: &Path, busybox: &Path) -> Result<()> {
        let archive = OpenOptions::new().create(true).append(true).open(archive)?;
        let mut cpio = Command::new(busybox);
        cpio.args(["cpio", "-o", "-H", "newc", "-R", "0:0"]).current_dir(&self.root);
        cpio.stdin(Stdio::piped()).stdout(archive).stderr(Stdio::piped());
        let mut child = cpio.spawn().with_context(|| format!("{cpio:?} did not start"))?;
        let mut names = Vec::new();
        list(&self.root, "", &mut names)?;
        child.stdin.take().context("cpio has no input")?.write_all(names.concat().as_bytes())?;
        let output = child.wait_with_output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{cpio:?} ended with {}\n{errors}", output.status);
        sh::remove(&self.root)
    }

    /// Where a path is in the tree, with the folders above it; `None` if it is there.
    fn place(&self, path: &str) -> Result<Option<PathBuf>> {
        let place = self.root.join(path.trim_start_matches('/'));
        fs::create_dir_all(place.parent().unwrap_or(&self.root))?;
        Ok((!place.is_symlink() && !place.exists()).then_some(place))
    }
}

/// The paths below `folder`, a line each: folders come before what is in them.
fn list(root: &Path, folder: &str, names: &mut Vec<String>) -> Result<()> {
    let mut entries = fs::read_dir(root.join(folder))?.collect::<std::io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().ok().context("a name is not UTF-8")?;
        names.push(format!("{folder}{name}\n"));
        if entry.file_type()?.is_dir() {
            list(root, &format!("{folder}{name}/"), names)?;
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The paths in the machine and on this host of what ldd(1) names.
fn linked(answer: &str) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for line in answer.lines().map(str::trim) {
        let Some((words, _)) = line.rsplit_once(" (0x") else {
            ensure!(line == "statically linked", "a library is missing: {line}");
            continue;
        };
        match words.split_once(" => ") {
            Some((name, file)) => found.push((format!("/lib/{name}"), file.into())),
            None if words.starts_with('/') => found.push((words.to_owned(), words.into())),
            // What the kernel itself has.
            None if words.starts_with("linux-vdso") => {}
            None => bail!("ldd's answer is not understood: {line}"),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_before_what_is_in_them_and_nothing_is_replaced() {
        let root = std::env::temp_dir().join(format!("xtask-tree-{}", std::process::id()));
        let tree = Initramfs::at(root.clone()).unwrap();
        tree.file("/a/b/c", b"12345").unwrap();
        tree.file("/a/b/c", b"other").unwrap();
        tree.link("/a/d", "b/c").unwrap();
        tree.folder("/a/b").unwrap();
        assert_eq!(fs::read(root.join("a/d")).unwrap(), b"12345");
        assert_eq!(fs::metadata(root.join("a/b/c")).unwrap().permissions().mode() & 0o777, 0o755);
        let mut names = Vec::new();
        list(&root, "", &mut names).unwrap();
        assert_eq!(names, ["a\n", "a/b\n", "a/b/c\n", "a/d\n"]);
        // What is packed is what cpio, here a script, was told, and the tree is gone.
        let (cpio, archive) = (root.with_extension("sh"), root.with_extension("cpio"));
        fs::write(&cpio, "#!/bin/sh\necho $@\ncat\n").unwrap();
        fs::set_permissions(&cpio, Permissions::from_mode(0o755)).unwrap();
        tree.append_to(&archive, &cpio).unwrap();
        let packed = fs::read_to_string(&archive).unwrap();
        assert_eq!(packed, "cpio -o -H newc -R 0:0\na\na/b\na/b/c\na/d\n");
        assert!(!root.exists());
        fs::remove_file(&cpio).unwrap();
        fs::remove_file(&archive).unwrap();
    }

    #[test]
    fn libraries_go_where_the_loader_looks() {
        let answer = "\tlinux-vdso.so.1 (0x00007ffd)\n\
            \tlibc.so.6 => /usr/lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let expected = [
            ("/lib/libc.so.6", "/usr/lib/libc.so.6"),
            ("/lib64/ld-linux-x86-64.so.2", "/lib64/ld-linux-x86-64.so.2"),
        ];
        let found = linked(answer).unwrap();
        assert_eq!(found, expected.map(|(to, from)| (to.to_owned(), from.into())));
        assert!(linked("\tstatically linked\n").unwrap().is_empty());
        assert!(linked("\tlibz.so.1 => not found\n").is_err());
    }
}
