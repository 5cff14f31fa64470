//! What a file says to people: comments, string literals and documents, as words.

use proc_macro2::{TokenStream, TokenTree};

/// A word or a punctuation mark, with its line (from 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
}

/// A paragraph: a run of comment lines, a string literal, or a paragraph of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) words: Vec<Word>,
    pub(super) is_comment: bool,
}

/// Text with the line that it begins at.
struct Piece {
    line: usize,
    text: String,
    is_comment: bool,
}

/// The comments and string literals of a Rust file whose tokens are `stream`.
pub(super) fn of_rust(text: &str, stream: TokenStream) -> Vec<Passage> {
    let starts: Vec<usize> =
        std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let line = |at: usize| starts.partition_point(|start| *start <= at);
    let mut spans = Vec::new();
    flatten(stream, &mut spans);
    let mut pieces = Vec::new();
    let mut end = 0;
    for (range, is_literal) in spans.into_iter().chain([(text.len()..text.len(), false)]) {
        if range.start > end {
            comments(&text[end..range.start], line(end), &mut pieces);
        }
        if is_literal {
            let literal = &text[range.clone()];
            if literal.starts_with("//") || literal.starts_with("/*") {
                comments(literal, line(range.start), &mut pieces);
            } else if literal.contains('"') {
                let text = literal.replace("\\n", "  ").replace("\\\n", "\n").replace("\\\"", " ");
                pieces.push(Piece { line: line(range.start), text, is_comment: false });
            }
        }
        end = end.max(range.end);
    }
    joined(pieces)
}

/// The places of all tokens, and whether each is a literal.
fn flatten(stream: TokenStream, found: &mut Vec<(std::ops::Range<usize>, bool)>) {
    for tree in stream {
        match tree {
            TokenTree::Group(group) => {
                found.push((group.span_open().byte_range(), false));
                flatten(group.stream(), found);
                found.push((group.span_close().byte_range(), false));
            }
            TokenTree::Literal(literal) => found.push((literal.span().byte_range(), true)),
            TokenTree::Ident(word) => found.push((word.span().byte_range(), false)),
            TokenTree::Punct(mark) => found.push((mark.span().byte_range(), false)),
        }
    }
}

/// The lines of comments in what stands between two tokens.
fn comments(between: &str, first: usize, pieces: &mut Vec<Piece>) {
    for (index, line) in between.lines().enumerate() {
        let text = line.trim().trim_start_matches(['/', '!', '*']).to_owned();
        if line.trim_start().starts_with(['/', '*']) || between.trim_start().starts_with("/*") {
            pieces.push(Piece { line: first + index, text, is_comment: true });
        }
    }
}

/// Comments on lines that follow each other are one passage; an empty one ends it.
fn joined(pieces: Vec<Piece>) -> Vec<Passage> {
    let mut passages: Vec<Piece> = Vec::new();
    for piece in pieces {
        let follows = |last: &&mut Piece| {
            let lines = last.text.matches('\n').count();
            last.is_comment && piece.is_comment && last.line + lines + 1 == piece.line
        };
        match passages.last_mut().filter(follows) {
            Some(last) => {
                last.text.push('\n');
                last.text += &piece.text;
            }
            None => passages.push(piece),
        }
    }
    passages
        .iter()
        .flat_map(|piece| paragraphs(&piece.text, piece.line, piece.is_comment))
        .collect()
}

/// The paragraphs of a document in Markdown, without code.
pub(super) fn of_markdown(text: &str) -> Vec<Passage> {
    let mut is_code = false;
    let lines = text.lines().map(|line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        if is_code || is_fence || line.starts_with("    ") { "" } else { line }
    });
    // Each row of a table stands for itself.
    let lines: Vec<_> = lines.map(|line| line.replace('|', " | ")).collect();
    paragraphs(&lines.join("\n"), 1, false)
}

fn paragraphs(text: &str, first: usize, is_comment: bool) -> Vec<Passage> {
    let mut passages = vec![Passage { words: Vec::new(), is_comment }];
    let plain = without_quoted(text);
    for (index, line) in plain.lines().enumerate() {
        if line.trim().is_empty() {
            passages.push(Passage { words: Vec::new(), is_comment });
        }
        if let Some(passage) = passages.last_mut() {
            passage.words.extend(words(line, first + index));
        }
    }
    passages.retain(|passage| !passage.words.is_empty());
    passages
}

/// Names of the code, between backticks, and places that are filled in are not prose.
fn without_quoted(text: &str) -> String {
    let mut plain = String::new();
    let (mut is_quoted, mut depth) = (false, 0_usize);
    for letter in text.chars() {
        match letter {
            '`' => {
                is_quoted = !is_quoted;
                plain.push('`');
            }
            '{' if !is_quoted => depth += 1,
            '}' if !is_quoted && depth > 0 => {
                depth -= 1;
                plain.push('`');
            }
            '\n' => plain.push('\n'),
            _ if is_quoted || depth > 0 => {}
            _ => plain.push(letter),
        }
    }
    plain
}

/// Words and the marks around them.
fn words(line: &str, number: usize) -> Vec<Word> {
    let mut found = Vec::new();
    let mut push = |text: &str| found.push(Word { text: text.to_owned(), line: number });
    for part in line.split_whitespace() {
        let is_mark = |letter: char| !letter.is_alphanumeric() && !"`*_/§".contains(letter);
        let inner = part.trim_matches(is_mark);
        let Some(at) = part.find(inner).filter(|_| !inner.is_empty()) else {
            push(part);
            continue;
        };
        if at > 0 {
            push(&part[..at]);
        }
        push(inner);
        for mark in part[at + inner.len()..].chars() {
            push(mark.encode_utf8(&mut [0; 4]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(passages: &[Passage]) -> Vec<String> {
        let line = |passage: &Passage| {
            let words: Vec<_> = passage.words.iter().map(|word| word.text.as_str()).collect();
            format!("{}: {}", passage.words[0].line, words.join(" "))
        };
        passages.iter().map(line).collect()
    }

    #[test]
    fn comments_and_literals_are_prose_and_code_is_not() {
        let source = "//! One\n//! two, `three`.\n//!\n//! Four\nfn in_force() {\n    // five\n    \
                      g(\"six {seven} \\\n  eight\"); // nine\n}\n/* ten */ const A: char = 'x';\n";
        let passages = of_rust(source, source.parse().unwrap());
        let expected = [
            "1: One two , `` .",
            "4: Four",
            "6: five",
            "7: \" six ` eight \"",
            "8: nine",
            "10: ten */",
        ];
        assert_eq!(shown(&passages), expected);
    }

    #[test]
    fn code_of_a_document_is_not_prose() {
        let text = "# One\n\ntwo\nthree\n\n```sh\nfour\n```\n\n    five\n\n| a | b |\n";
        assert_eq!(shown(&of_markdown(text)), ["1: # One", "3: two three", "12: | a | b |"]);
    }
}
