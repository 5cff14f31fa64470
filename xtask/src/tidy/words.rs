//! Words to avoid, each with the one to write.

use super::finding::Finding;
use super::prose::{Passage, Word};

/// A phrase to avoid.
struct Avoided {
    /// Its words; `…` at the end of one stands for any ending, and `<example>` for a word
    /// that can only be an example.
    phrase: &'static str,
    write: &'static str,
    /// Words that make it right when they stand before it, or after it.
    unless: &'static str,
    /// Where it is the right word: paths begin so. `RFC` stands for prose that cites one.
    except: &'static str,
}

/// Words beside which "is no" is plain English.
const NO: &str = "there longer more less better worse later earlier other different doubt need \
                  way one such reason part use";

/// Code and documents whose subject has the word itself.
const PROTOCOLS: &str = "RFC filter-common/ filter-ebpf/ filter-userspace/src/smtp/ \
                         filter-userspace/src/spf/ filter-userspace/src/dns.rs \
                         filter-userspace/src/io/dns filter-userspace/src/io/smtp/proxy/ \
                         filter-userspace/src/lists/ tests/";

const AVOIDED: &[Avoided] = &[
    Avoided { phrase: "is no", write: "is not a", unless: NO, except: "" },
    Avoided { phrase: "is none of", write: "is not one of", unless: "there", except: "" },
    Avoided { phrase: "are none of", write: "are not", unless: "there", except: "" },
    Avoided { phrase: ", as <example>", write: "such as …", unless: "", except: "" },
    Avoided { phrase: "to be had", write: "available", unless: "", except: "" },
    Avoided { phrase: "of before", write: "earlier, or restored", unless: "", except: "" },
    Avoided { phrase: "in force", write: "active", unless: "", except: "" },
    Avoided { phrase: "for a time", write: "temporarily", unless: "", except: "" },
    Avoided { phrase: "lapse…", write: "expire", unless: "", except: "" },
    Avoided { phrase: "lapsing", write: "expiring", unless: "", except: "" },
    Avoided { phrase: "unlapsed", write: "not expired", unless: "", except: "" },
    Avoided { phrase: "octets", write: "bytes", unless: "", except: PROTOCOLS },
];

/// All breaches in what a file says. Literals of tests are the texts of others.
pub(super) fn check(path: &str, passages: &[Passage], before_tests: usize) -> Vec<Finding> {
    // What was decided and what has changed since are history.
    let is_history = path == "CHANGELOG.md" || path.starts_with("docs/adr/");
    // These files name the words themselves.
    let is_list = ["xtask/src/tidy/words.rs", "docs/reference/glossary.md"].contains(&path);
    if is_history || is_list {
        return Vec::new();
    }
    let is_prose = |passage: &&Passage| {
        let first = passage.words.first().map_or(0, |word| word.line);
        passage.is_comment || path.ends_with(".md") || first <= before_tests
    };
    passages.iter().filter(is_prose).flat_map(|passage| in_passage(path, &passage.words)).collect()
}

fn in_passage(path: &str, words: &[Word]) -> Vec<Finding> {
    let cites = words.iter().any(|word| word.text == "RFC");
    let mut findings = Vec::new();
    for Avoided { phrase, write, unless, except } in AVOIDED {
        let is_protocol = |except: &str| path.starts_with(except) || (cites && except == "RFC");
        if except.split_whitespace().any(is_protocol) {
            continue;
        }
        let wanted: Vec<_> = phrase.split(' ').collect();
        for (at, window) in words.windows(wanted.len()).enumerate() {
            let before = at.checked_sub(1).map(|at| &words[at]);
            let around = before.into_iter().chain(words.get(at + wanted.len()));
            let is_right = |word: &Word| {
                let word = word.text.to_lowercase();
                unless.split_whitespace().any(|right| right == word)
            };
            let is_hit = window.iter().zip(&wanted).all(|(word, wanted)| matches(word, wanted));
            if is_hit && !around.into_iter().any(is_right) {
                let message = format!("`{phrase}`: write {write}");
                let finding = Finding::error("words", path, window[0].line, message);
                findings.push(finding.known_as(*phrase));
            }
        }
    }
    findings
}

fn matches(word: &Word, wanted: &str) -> bool {
    let text = word.text.to_lowercase();
    match wanted.strip_suffix('…') {
        Some(start) => text.starts_with(start),
        None if wanted == "<example>" => {
            let is_name = |text: &str| text.contains('@') || text.contains("example.");
            let is_address = text.starts_with(|letter: char| letter.is_ascii_digit())
                && text.contains(['.', ':']);
            is_address || is_name(&text)
        }
        None => text == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::super::prose;
    use super::*;

    fn found(path: &str, text: &str) -> Vec<String> {
        let passages = if path.ends_with(".md") {
            prose::of_markdown(text)
        } else {
            prose::of_rust(text, text.parse().unwrap())
        };
        check(path, &passages, 10).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn words_to_avoid_are_told_with_what_to_write() {
        assert_eq!(
            found("a.rs", "// x\n// The old rule is\n// no answer."),
            ["a.rs:2: `is no`: write is not a"]
        );
        assert_eq!(
            found("a.rs", "const A: &str = \"rules in force\";"),
            ["a.rs:1: `in force`: write active"]
        );
        for text in [
            "It is none of these.",
            "`x` is not an address, as 192.0.2.1.",
            "That is not to be had.",
            "The entry lapsed.",
            "The blocks of before stay.",
            "Refused for a time.",
            "At most 512 octets.",
        ] {
            assert_eq!(found("docs/x.md", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn what_is_right_is_left_alone() {
        for text in [
            "There is no address, and it is no longer asked.",
            "There is none of them.",
            "Written once, as `x` is.",
            "The result, as 3 tests show.",
            "`in force`, and\n\n    in force\n",
            "RFC 5321 permits 512 octets.",
            "The time elapsed.",
        ] {
            assert_eq!(found("docs/x.md", text), [""; 0], "{text}");
        }
        assert!(found("filter-userspace/src/smtp/x.rs", "// octets").is_empty());
        assert!(found("docs/adr/0001-x.md", "in force").is_empty());
        let test = format!("{}// in force\nconst A: &str = \"in force\";", "\n".repeat(10));
        assert_eq!(found("a.rs", &test).len(), 1);
    }
}
