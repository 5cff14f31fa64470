//! What documents name must be there: a reference to a test that was renamed shows
//! nothing.

use super::finding::Finding;

/// Files of the repository, as documents name them: by the end of their path.
const KINDS: [&str; 5] = [".rs", ".md", ".toml", ".txt", ".yml"];

/// All names in the document `path` of files that are not among `files`.
pub(super) fn check(path: &str, text: &str, files: &[&str]) -> Vec<Finding> {
    // What has changed since is history there.
    if !path.ends_with(".md") || path == "CHANGELOG.md" {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for name in names(line) {
            let is_there = |file: &&str| {
                let end = file.strip_suffix(name);
                end.is_some_and(|before| before.is_empty() || before.ends_with('/'))
            };
            if !files.iter().any(is_there) {
                let message = format!("`{name}` is named, and is not there");
                findings.push(Finding::error("links", path, index + 1, message));
            }
        }
    }
    findings
}

/// The names of files between backticks: relative paths with a folder, and code.
fn names(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2);
    let words = quoted.flat_map(|text| text.split([' ', ':', ',']));
    words.filter(|word| {
        let plain = word.chars().all(|letter| letter.is_alphanumeric() || "._-/".contains(letter));
        let kind = KINDS.iter().any(|kind| word.ends_with(kind));
        let is_ours = word.contains('/') || word.ends_with(".rs");
        // A path from the root or of the target folder is no file of the repository.
        plain && kind && is_ours && !word.starts_with(['/', '.']) && !word.starts_with("target/")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_must_be_there() {
        let files = ["tests/tests/mail.rs", "docs/adr/0001-x.md", "filter-userspace/src/dns.rs"];
        let missing = |text: &str| -> Vec<String> {
            let findings = check("docs/x.md", text, &files).into_iter();
            findings.map(|finding| finding.to_string()).collect()
        };
        assert!(missing("see `tests/mail.rs`, `tests/tests/mail.rs`, `dns.rs`").is_empty());
        assert!(missing("`/etc/mxdp/mxdp.toml`, `mxdp.toml`, `*.rs`, tests/none.rs").is_empty());
        assert!(missing("`target/x.rs`, `cargo build`").is_empty());
        assert_eq!(
            missing("\n`tests/mails.rs`, `mail.rs`: `cargo test ail.rs`"),
            [
                "docs/x.md:2: `tests/mails.rs` is named, and is not there",
                "docs/x.md:2: `ail.rs` is named, and is not there"
            ]
        );
        assert!(check("src/x.rs", "`tests/mails.rs`", &files).is_empty());
    }
}
