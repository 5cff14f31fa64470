//! The file system of the emulated machine: what the tests need, and nothing else.
//!
//! It is an archive in cpio's `newc` format, which the kernel unpacks into memory (kernel
//! documentation, `driver-api/early-userspace/buffer-format`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::sh;

const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const SYMLINK: u32 = 0o120_777;

/// An archive in the making.
#[derive(Clone, Default)]
pub(super) struct Initramfs {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Initramfs {
    /// An empty folder.
    pub(super) fn folder(&mut self, path: &str) {
        self.entry(path, FOLDER, &[]);
    }

    /// A file that can be executed.
    pub(super) fn file(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, target: &str) {
        self.entry(path, SYMLINK, target.as_bytes());
    }

    /// A program of this host with the libraries that it is linked to: those go to `/lib`,
    /// where its loader looks, and the loader to where the program names it.
    ///
    /// # Errors
    /// A file cannot be read, or a library is in none of `libraries` and not the host's.
    pub(super) fn program(&mut self, path: &str, from: &Path, libraries: &[PathBuf]) -> Result<()> {
        self.file(path, &read(from)?);
        let search = std::env::join_paths(libraries)?;
        let answer = sh::capture(
            Command::new("ldd").arg(from).env("LD_LIBRARY_PATH", search).env("LC_ALL", "C"),
        )?;
        for (name, file) in linked(&answer)? {
            self.file(&name, &read(&file)?);
        }
        Ok(())
    }

    /// The whole archive.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.append("TRAILER!!!", 0, &[]);
        self.bytes
    }

    /// Adds what is not there yet, with the folders above it.
    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let name = path.trim_start_matches('/');
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.entry(parent, FOLDER, &[]);
        }
        if self.names.insert(name.to_owned()) {
            self.append(name, mode, content);
        }
    }

    fn append(&mut self, name: &str, mode: u32, content: &[u8]) {
        let (inode, links, nobody, none) = (self.names.len(), 1, 0, 0);
        let header = [
            inode,
            mode as usize,
            nobody,
            nobody,
            links,
            none,
            content.len(),
            none,
            none,
            none,
            none,
            name.len() + 1,
            none,
        ];
        self.bytes.extend(b"070701");
        for field in header {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
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
    fn folders_come_before_what_is_in_them_and_nothing_twice() {
        let mut archive = Initramfs::default();
        archive.file("/a/b/c", b"12345");
        archive.file("/a/b/c", b"other");
        archive.link("/a/d", "b/c");
        let bytes = archive.finish();
        let text = String::from_utf8_lossy(&bytes);
        assert_eq!(text.matches("070701").count(), 5);
        let at = |name: &str| text.find(name).unwrap();
        assert!(at("a\0") < at("a/b\0") && at("a/b\0") < at("a/b/c\0"));
        assert!(at("a/b/c\0") < at("a/d\0") && at("a/d\0") < at("TRAILER!!!\0"));
        assert!(!text.contains("other"));
        // Each header is 110 bytes, names with their zero and contents are padded to 4.
        let sizes = [("a", 0), ("a/b", 0), ("a/b/c", 5), ("a/d", 3), ("TRAILER!!!", 0)];
        let expected = sizes.map(|(name, content): (&str, usize)| {
            (110 + name.len() + 1).next_multiple_of(4) + content.next_multiple_of(4)
        });
        assert_eq!(bytes.len(), expected.iter().sum::<usize>());
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
