//! The field Received-SPF (RFC 7208 section 9.1).

use super::evaluation::{Evaluation, Identity, Input, Outcome};

/// The longest value of a key, in characters, which bounds the line.
const VALUE: usize = 300;

impl Evaluation {
    /// The field `Received-SPF` with its last CRLF (RFC 7208 section 9.1).
    #[must_use]
    pub fn received_spf(&self, input: &Input<'_>) -> String {
        received_spf(self, input)
    }
}

fn received_spf(evaluation: &Evaluation, input: &Input<'_>) -> String {
    let Evaluation { outcome, client, domain, .. } = evaluation;
    let says = match outcome {
        Outcome::Pass => "designates",
        Outcome::Fail => "does not designate",
        Outcome::SoftFail => "probably does not designate",
        Outcome::Neutral => "says nothing of",
        Outcome::None => "has no record, and so does not speak of",
        Outcome::TempError => "could not be asked about",
        Outcome::PermError => "has a wrong record, and so does not speak of",
    };
    let receiver = comment(input.receiver);
    let mut field = format!(
        "Received-SPF: {} ({receiver}: {}\r\n\t{says} {client} as permitted sender)\r\n",
        outcome.name(),
        comment(domain)
    );
    let identity = match evaluation.identity {
        Identity::MailFrom => "mailfrom",
        Identity::Helo => "helo",
    };
    let from = input.sender.map(|(local, domain)| format!("{local}@{domain}"));
    let mut keys = vec![("receiver", value(input.receiver)), ("client-ip", client.to_string())];
    if let Some(from) = &from {
        keys.push(("envelope-from", quoted(from)));
    }
    keys.push(("helo", value(input.helo)));
    keys.push(("identity", identity.to_owned()));
    if let Some(mechanism) = &evaluation.mechanism {
        keys.push(("mechanism", quoted(mechanism)));
    }
    if let Some(problem) = &evaluation.problem {
        keys.push(("problem", quoted(problem)));
    }
    let keys: Vec<_> = keys.iter().map(|(key, value)| format!("\t{key}={value}")).collect();
    field.push_str(&keys.join(";\r\n"));
    field.push_str("\r\n");
    field
}

/// A dot-atom as it is, anything else quoted.
fn value(text: &str) -> String {
    let is_atom = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    let plain = !text.is_empty() && text.len() <= VALUE && text.bytes().all(is_atom);
    if plain { text.to_owned() } else { quoted(text) }
}

/// A quoted string (RFC 5322 section 3.2.4) of printable ASCII, whatever the text is.
fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for letter in text.chars().take(VALUE) {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            ' '..='~' => quoted.push(letter),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// A text as it may appear in a comment (RFC 5322 section 3.2.2).
fn comment(text: &str) -> String {
    let safe = |letter: char| match letter {
        '(' | ')' | '\\' => '?',
        '!'..='~' => letter,
        _ => '?',
    };
    text.chars().take(VALUE).map(safe).collect()
}
