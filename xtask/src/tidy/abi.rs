//! A change of what crosses the kernel's edge comes with another `abi::VERSION`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};

use super::finding::Finding;

/// The code that lays it out.
const FOLDER: &str = "filter-common/src/abi/";
/// The version, and the fingerprint of the code that has it.
const RECORDED: &str = "filter-common/src/abi/fingerprint";

/// The code's version and fingerprint.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Abi {
    version: String,
    fingerprint: u64,
}

impl Abi {
    /// Reads it from the files of a checkout, path and text, in the order of their paths.
    pub(super) fn read<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut abi = Self { version: String::new(), fingerprint: 0xcbf2_9ce4_8422_2325 };
        for (path, text) in files {
            if let Some(name) = path.strip_prefix(FOLDER).filter(|name| name.ends_with(".rs")) {
                abi.add(name);
                let stream: TokenStream = text.parse().unwrap_or_default();
                abi.add_tokens(stream);
            }
        }
        abi
    }

    /// Adds a word, as FNV-1a does.
    fn add(&mut self, word: &str) {
        for byte in word.bytes().chain([b' ']) {
            self.fingerprint =
                (self.fingerprint ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// Adds code without its comments and its tests.
    fn add_tokens(&mut self, stream: TokenStream) {
        let mut version = false;
        let mut trees = stream.into_iter().peekable();
        while let Some(tree) = trees.next() {
            match tree {
                TokenTree::Punct(mark) if mark.as_char() == '#' => {
                    if let Some(TokenTree::Punct(_)) = trees.peek() {
                        trees.next();
                    }
                    let attribute = trees.next().map(|tree| tree.to_string()).unwrap_or_default();
                    if attribute == "[cfg (test)]" || attribute == "[cfg(test)]" {
                        return;
                    }
                    if !attribute.starts_with("[doc") {
                        self.add(&attribute);
                    }
                }
                TokenTree::Group(group) => {
                    self.add(&format!("{:?}", group.delimiter()));
                    self.add_tokens(group.stream());
                }
                TokenTree::Literal(literal) if version => {
                    // A new version alone is another version, and no other code.
                    self.version = literal.to_string();
                    version = false;
                }
                TokenTree::Ident(word) => {
                    version = word == "VERSION" && self.version.is_empty() || version;
                    self.add(&word.to_string());
                }
                other => self.add(&other.to_string()),
            }
        }
    }

    /// What [`RECORDED`] is to say.
    fn line(&self) -> String {
        format!("{} {:016x}\n", self.version, self.fingerprint)
    }

    /// What is wrong, given what was recorded.
    pub(super) fn check(&self, recorded: &str) -> Option<Finding> {
        if recorded == self.line() {
            return None;
        }
        let message = if recorded.split_whitespace().next() == Some(self.version.as_str()) {
            format!(
                "the code of the ABI has changed: raise VERSION in {FOLDER}mod.rs; only where \
                 nothing that crosses the kernel's edge means anything else now, write `{}` here",
                self.line().trim()
            )
        } else {
            "VERSION has changed: `cargo xtask tidy --write` records it".to_owned()
        };
        Some(Finding::error("abi", RECORDED, 1, message))
    }

    /// Records a new version.
    pub(super) fn write(&self, root: &Path) -> Result<()> {
        let file = root.join(RECORDED);
        let recorded = recorded(root);
        if recorded.split_whitespace().next() != Some(self.version.as_str()) {
            fs::write(&file, self.line())
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(())
    }
}

/// What was recorded, or nothing.
pub(super) fn recorded(root: &Path) -> String {
    fs::read_to_string(root.join(RECORDED)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(text: &str) -> Abi {
        let text = format!("pub const VERSION: u8 = 3;\n{text}");
        Abi::read([("filter-common/src/abi/mod.rs", text.as_str()), ("src/x.rs", "y")].into_iter())
    }

    #[test]
    fn a_change_of_the_code_needs_another_version() {
        let before = abi("/// A.\npub struct A { b: u8 }\n#[cfg(test)]\nmod tests {}");
        assert_eq!(before.version, "3");
        let recorded = before.line();
        assert_eq!(before.check(&recorded), None);
        assert_eq!(abi("// Other.\npub struct A { b: u8 }").check(&recorded), None);
        for changed in ["pub struct A { b: u16 }", "pub struct A { b: u8 } impl A {}", ""] {
            let finding = abi(changed).check(&recorded).unwrap();
            assert!(finding.message.contains("raise VERSION"), "{finding}");
        }
        let after = Abi { version: "4".to_owned(), ..abi("") };
        assert!(after.check(&recorded).unwrap().message.contains("--write"));
        assert!(before.check("").is_some());
    }
}
