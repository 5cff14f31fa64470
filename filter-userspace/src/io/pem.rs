//! PEM (RFC 7468), parsed so that no block is skipped silently: blocks whose lines were joined are
//! split, and an unreadable one is an error with its line.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const MARK: &str = "-----";

/// Base64 with or without its padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its label, such as `CERTIFICATE`.
    pub label: String,
    /// Its content.
    pub bytes: Vec<u8>,
    /// The line on which it begins.
    pub line: usize,
}

/// Whether a label is a private key's.
#[must_use]
pub fn is_key(label: &str) -> bool {
    label.ends_with("PRIVATE KEY")
}

struct Open {
    label: String,
    text: String,
    line: usize,
}

/// The blocks of a file. Text between them is ignored, since `openssl` writes explanations there.
///
/// # Errors
///
/// What is wrong, after `:line: ` if it has a line.
pub fn blocks(bytes: &[u8]) -> Result<Vec<Block>, String> {
    if bytes.starts_with(&[0x30, 0x82]) {
        return Err(": is DER, and PEM is expected: `openssl x509 -inform der` and `openssl pkey \
                    -inform der` convert it"
            .to_owned());
    }
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let mut rest = line;
        while let Some(at) = rest.find(MARK) {
            content(&rest[..at], number, open.as_mut())?;
            let inside = &rest[at + MARK.len()..];
            let Some(end) = inside.find(MARK) else {
                if let Some(open) = &open {
                    return Err(cut(open));
                }
                return Err(format!(":{number}: a line of dashes that has no end"));
            };
            let (name, after) = (&inside[..end], &inside[end + MARK.len()..]);
            rest = after;
            if let Some(label) = name.strip_prefix("BEGIN ") {
                if let Some(open) = &open {
                    let (label, line) = (&open.label, open.line);
                    return Err(format!(":{number}: begins within the {label} of line {line}"));
                }
                let label = label.trim().to_owned();
                open = Some(Open { label, text: String::new(), line: number });
            } else if let Some(label) = name.strip_prefix("END ") {
                match open.take() {
                    Some(open) if open.label == label.trim() => blocks.push(decoded(open)?),
                    _ => return Err(format!(":{number}: ends a {label} that did not begin")),
                }
            } else if open.is_some() {
                return Err(format!(":{number}: is not a line of base64"));
            }
        }
        content(rest, number, open.as_mut())?;
    }
    match open {
        Some(open) => Err(cut(&open)),
        None => Ok(blocks),
    }
}

fn cut(open: &Open) -> String {
    let Open { label, line, .. } = open;
    format!(":{line}: the {label} that begins here has no end: the file may be cut")
}

/// The content of a block.
fn content(text: &str, line: usize, open: Option<&mut Open>) -> Result<(), String> {
    let Some(open) = open else { return Ok(()) };
    let text = text.trim();
    if text.contains(':') {
        return Err(match text.starts_with("Proc-Type:") || text.starts_with("DEK-Info:") {
            true => encrypted(line),
            false => format!(":{line}: is not a line of base64"),
        });
    }
    open.text.push_str(text);
    Ok(())
}

fn encrypted(line: usize) -> String {
    format!(
        ":{line}: the private key is encrypted, and nobody is there to be asked for its \
         passphrase: `openssl pkey` takes it off"
    )
}

fn decoded(open: Open) -> Result<Block, String> {
    let Open { label, text, line } = open;
    if label == "ENCRYPTED PRIVATE KEY" {
        return Err(encrypted(line));
    }
    let bytes = BASE64
        .decode(text.replace([' ', '\t'], ""))
        .map_err(|error| format!(":{line}: the {label} that begins here is not base64: {error}"))?;
    Ok(Block { label, bytes, line })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Result<Vec<(String, usize)>, String> {
        let blocks = blocks(text.as_bytes())?;
        Ok(blocks.into_iter().map(|block| (block.label, block.line)).collect())
    }

    #[test]
    fn blocks_on_one_line_are_blocks() {
        let joined =
            "-----BEGIN A-----\nAQID\n-----END A----------BEGIN B-----\nAQID\n-----END B-----";
        let expected = vec![("A".to_owned(), 1), ("B".to_owned(), 3)];
        assert_eq!(labels(joined).unwrap(), expected);
        for all in [joined.replace('\n', ""), joined.replace("\n", " ")] {
            let found = labels(&all).unwrap();
            assert_eq!(found.len(), 2, "{all}");
        }
        assert_eq!(labels(&joined.replace('\n', "\r\n")).unwrap(), expected);
        assert_eq!(labels(&joined.replace('\n', "\r")).unwrap(), expected);
        assert_eq!(labels(&format!("\u{feff}{joined}")).unwrap(), expected);
        let blocks = blocks(format!("Bag: x\n{joined}\nsubject=x\n").as_bytes()).unwrap();
        assert_eq!(blocks[1].bytes, [1, 2, 3]);
    }

    #[test]
    fn what_cannot_be_read_has_its_line() {
        for (text, wrong) in [
            ("-----BEGIN A-----\nAQID\n", ":1: the A that begins here has no end"),
            ("-----BEGIN A-----\n-----BEGIN A-----\n", ":2: begins within the A of line 1"),
            ("x\n-----END A-----\n", ":2: ends a A that did not begin"),
            ("-----BEGIN A-----\nAQID\n-----END B-----\n", ":3: ends a B"),
            ("-----BEGIN A-----\n*\n-----END A-----\n", ":1: the A that begins here is not base64"),
            ("-----BEGIN A-----\nAQ-----\n", ":1: the A that begins here has no end"),
            ("-----BEGIN A----\nAQID", ":1: a line of dashes"),
            (
                "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
                ":2: the private key is encrypted",
            ),
            (
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----",
                ":1: the private key is encrypted",
            ),
        ] {
            let error = labels(text).unwrap_err();
            assert!(error.starts_with(wrong), "{text}: {error}");
        }
        assert!(blocks(&[0x30, 0x82, 1, 2]).unwrap_err().contains("is DER"));
        assert_eq!(labels("").unwrap(), Vec::new());
    }
}
