//! Commands of a client (RFC 5321 section 4.1, and the extensions offered).

use super::address::{AddressError, ForwardPath, Mailbox, ReversePath, path_end, without_route};

/// What separates words.
const SPACE: [char; 2] = [' ', '\t'];

/// The longest parameter of HELO and EHLO, in octets.
const HELO: usize = 255;

/// A command with parsed arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// HELO.
    Helo(Box<str>),
    /// EHLO.
    Ehlo(Box<str>),
    /// MAIL FROM.
    Mail(ReversePath, MailParameters),
    /// RCPT TO.
    Rcpt(ForwardPath, RcptParameters),
    /// DATA.
    Data,
    /// BDAT (RFC 3030).
    Bdat {
        /// The octets that follow.
        size: u64,
        /// Whether they are the last of the message.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// STARTTLS (RFC 3207).
    StartTls,
}

/// The parameters of MAIL FROM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// The size of the message in octets, as declared by the client (RFC 1870).
    pub size: Option<u64>,
    /// The type of the body (RFC 6152).
    pub body: Option<Body>,
    /// Whether addresses or header are internationalised (RFC 6531).
    pub smtputf8: bool,
    /// RET=, as it is passed on (RFC 3461).
    pub ret: Option<Ret>,
    /// ENVID=, in xtext as it came (RFC 3461).
    pub envid: Option<Box<str>>,
}

/// The type of a body (RFC 6152). BINARYMIME is not offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// BODY=7BIT.
    SevenBit,
    /// BODY=8BITMIME.
    EightBitMime,
}

/// How much of a message a delivery report returns (RFC 3461 section 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// RET=FULL.
    Full,
    /// RET=HDRS.
    Headers,
}

/// The parameters of RCPT TO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RcptParameters {
    /// NOTIFY=, as it came (RFC 3461 section 4.1).
    pub notify: Option<Box<str>>,
    /// ORCPT=, as it came (RFC 3461 section 4.2).
    pub orcpt: Option<Box<str>>,
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadCommand {
    /// No such verb.
    Unknown,
    /// The verb has wrong arguments; holds the right syntax.
    Syntax(&'static str),
    /// The path of MAIL is not an address.
    Sender,
    /// The path of RCPT is not an address.
    Recipient,
    /// A parameter of MAIL or RCPT that is not offered.
    Parameter,
    /// An address beyond ASCII without SMTPUTF8.
    NotAscii,
    /// BDAT without a valid size: whether a chunk or a command follows cannot be known.
    Chunk,
}

/// One row for each verb: its name, and the function that reads its arguments.
type Verb = (&'static str, fn(&str) -> Result<Command, BadCommand>);

const VERBS: &[Verb] = &[
    ("HELO", |rest| helo(rest, "HELO name").map(Command::Helo)),
    ("EHLO", |rest| helo(rest, "EHLO name").map(Command::Ehlo)),
    ("MAIL", mail),
    ("RCPT", rcpt),
    ("DATA", |rest| bare(rest, Command::Data, "DATA")),
    ("RSET", |rest| bare(rest, Command::Rset, "RSET")),
    ("NOOP", |_| Ok(Command::Noop)),
    ("QUIT", |rest| bare(rest, Command::Quit, "QUIT")),
    ("VRFY", |_| Ok(Command::Vrfy)),
    ("EXPN", |_| Ok(Command::Expn)),
    ("HELP", |_| Ok(Command::Help)),
    ("STARTTLS", |rest| bare(rest, Command::StartTls, "STARTTLS")),
];

impl Command {
    /// Reads a line without its CRLF.
    ///
    /// # Errors
    ///
    /// When it is not a command that is offered.
    pub fn parse(line: &[u8]) -> Result<Self, BadCommand> {
        if is_chunk(line) {
            return std::str::from_utf8(line).ok().and_then(bdat).ok_or(BadCommand::Chunk);
        }
        let Ok(text) = std::str::from_utf8(line) else {
            // SMTPUTF8 would help only with addresses.
            let name = line.split(|byte| *byte == b' ').next().unwrap_or_default();
            let is = |verb: &&Verb| name.eq_ignore_ascii_case(verb.0.as_bytes());
            return Err(match VERBS.iter().find(is) {
                Some(("MAIL" | "RCPT", _)) => BadCommand::NotAscii,
                Some((name, _)) => BadCommand::Syntax(name),
                None => BadCommand::Unknown,
            });
        };
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let row = VERBS.iter().find(|(name, _)| verb.eq_ignore_ascii_case(name));
        let (_, read) = row.ok_or(BadCommand::Unknown)?;
        read(rest.trim_matches([' ', '\t']))
    }
}

fn bare(rest: &str, command: Command, syntax: &'static str) -> Result<Command, BadCommand> {
    if rest.is_empty() { Ok(command) } else { Err(BadCommand::Syntax(syntax)) }
}

/// Clients send all kinds of names; this only requires one printable word.
fn helo(rest: &str, syntax: &'static str) -> Result<Box<str>, BadCommand> {
    let is_word =
        !rest.is_empty() && rest.len() <= HELO && rest.bytes().all(|b| b.is_ascii_graphic());
    if is_word { Ok(rest.into()) } else { Err(BadCommand::Syntax(syntax)) }
}

/// Whether a line is meant to announce a chunk, however it is written.
pub(super) fn is_chunk(line: &[u8]) -> bool {
    line.trim_ascii_start().get(..4).is_some_and(|verb| verb.eq_ignore_ascii_case(b"BDAT"))
}

fn bdat(line: &str) -> Option<Command> {
    // A line with white space before the verb is not an announcement.
    let (_, rest) = line.split_at_checked(4)?;
    let rest = rest.strip_prefix(' ')?.trim_matches([' ', '\t']);
    let mut words = rest.split_ascii_whitespace();
    let size = words.next().and_then(number)?;
    let last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return None,
    };
    words.next().is_none().then_some(Command::Bdat { size, last })
}

/// Digits only: no sign, at most 20 (RFC 1870 section 3).
fn number(text: &str) -> Option<u64> {
    let is_number = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    // A number that does not fit is larger than any limit.
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

fn mail(rest: &str) -> Result<Command, BadCommand> {
    let (path, parameters) =
        path(rest, "FROM:").ok_or(BadCommand::Syntax("MAIL FROM:<address> [parameters]"))?;
    let sender = sender(path).map_err(|_| BadCommand::Sender)?;
    let parameters = mail_parameters(parameters)?;
    let international = sender.mailbox().is_some_and(Mailbox::is_international);
    if international && !parameters.smtputf8 {
        return Err(BadCommand::NotAscii);
    }
    Ok(Command::Mail(sender, parameters))
}

/// A sender as people write it, with or without angle brackets, parsed as a session parses it.
///
/// # Errors
///
/// What is wrong with it.
pub fn written_sender(text: &str) -> Result<ReversePath, AddressError> {
    sender(plain(unbracketed(text)))
}

/// A recipient as people write it, parsed as a session parses it.
///
/// # Errors
///
/// What is wrong with it.
pub fn written_recipient(text: &str) -> Result<ForwardPath, AddressError> {
    recipient(plain(unbracketed(text)))
}

fn unbracketed(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text)
}

fn sender(path: &str) -> Result<ReversePath, AddressError> {
    match without_route(path)? {
        "" => Ok(ReversePath::Null),
        mailbox => Mailbox::parse(mailbox).map(ReversePath::Mailbox),
    }
}

/// The path of RCPT, without angle brackets.
pub(super) fn recipient(path: &str) -> Result<ForwardPath, AddressError> {
    match without_route(path)? {
        name if name.eq_ignore_ascii_case("postmaster") => Ok(ForwardPath::Postmaster),
        mailbox => Mailbox::parse(mailbox).map(ForwardPath::Mailbox),
    }
}

/// The sender or recipient of a MAIL or RCPT line that was refused, where it can be read.
#[must_use]
pub fn named(line: &[u8]) -> (Option<ReversePath>, Option<ForwardPath>) {
    let text = std::str::from_utf8(line).unwrap_or_default();
    let (verb, rest) = text.split_once(' ').unwrap_or_default();
    let path = |keyword| path(rest.trim_matches(SPACE), keyword).map(|(path, _)| path);
    match verb.to_ascii_uppercase().as_str() {
        "MAIL" => (path("FROM:").and_then(|path| sender(path).ok()), None),
        "RCPT" => (None, path("TO:").and_then(|path| recipient(path).ok())),
        _ => (None, None),
    }
}

fn mail_parameters(text: &str) -> Result<MailParameters, BadCommand> {
    const SYNTAX: BadCommand =
        BadCommand::Syntax("SIZE=octets, BODY=7BIT|8BITMIME, SMTPUTF8, RET=FULL|HDRS, ENVID=id");
    let mut parameters = MailParameters::default();
    for (key, value) in words(text) {
        // A parameter that comes twice is an error (RFC 5321 section 4.1.1.11).
        match (key.to_ascii_uppercase().as_str(), value) {
            ("SIZE", Some(value)) if parameters.size.is_none() => {
                parameters.size = Some(number(value).ok_or(SYNTAX)?);
            }
            ("BODY", Some(value)) if parameters.body.is_none() => {
                let body = match value.to_ascii_uppercase().as_str() {
                    "7BIT" => Body::SevenBit,
                    "8BITMIME" => Body::EightBitMime,
                    _ => return Err(SYNTAX),
                };
                parameters.body = Some(body);
            }
            ("SMTPUTF8", None) if !parameters.smtputf8 => parameters.smtputf8 = true,
            ("RET", Some(value)) if parameters.ret.is_none() => {
                let ret = match value.to_ascii_uppercase().as_str() {
                    "FULL" => Ret::Full,
                    "HDRS" => Ret::Headers,
                    _ => return Err(SYNTAX),
                };
                parameters.ret = Some(ret);
            }
            ("ENVID", Some(value)) if parameters.envid.is_none() && is_xtext(value, 100) => {
                parameters.envid = Some(value.into());
            }
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID", _) => return Err(SYNTAX),
            _ => return Err(BadCommand::Parameter),
        }
    }
    Ok(parameters)
}

fn rcpt(rest: &str) -> Result<Command, BadCommand> {
    let (path, parameters) =
        path(rest, "TO:").ok_or(BadCommand::Syntax("RCPT TO:<address> [parameters]"))?;
    let recipient = recipient(path).map_err(|_| BadCommand::Recipient)?;
    Ok(Command::Rcpt(recipient, rcpt_parameters(parameters)?))
}

fn rcpt_parameters(text: &str) -> Result<RcptParameters, BadCommand> {
    const SYNTAX: BadCommand =
        BadCommand::Syntax("NOTIFY=NEVER|SUCCESS,FAILURE,DELAY, ORCPT=type;address");
    let mut parameters = RcptParameters::default();
    for (key, value) in words(text) {
        match (key.to_ascii_uppercase().as_str(), value) {
            ("NOTIFY", Some(value)) if parameters.notify.is_none() && is_notify(value) => {
                parameters.notify = Some(value.into());
            }
            ("ORCPT", Some(value)) if parameters.orcpt.is_none() && is_orcpt(value) => {
                parameters.orcpt = Some(value.into());
            }
            ("NOTIFY" | "ORCPT", _) => return Err(SYNTAX),
            _ => return Err(BadCommand::Parameter),
        }
    }
    Ok(parameters)
}

/// The path behind `keyword`, and the parameters behind the path. Printers and controllers leave
/// the angle brackets out: a bare word is a path if it is an address.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let (head, tail) = rest.split_at_checked(keyword.len())?;
    if !head.eq_ignore_ascii_case(keyword) {
        return None;
    }
    // Many clients put a space behind the colon.
    let tail = tail.trim_start_matches(SPACE);
    let (path, parameters) = match tail.strip_prefix('<') {
        Some(tail) => {
            let end = path_end(tail, |byte| byte == b'>')?;
            // Some clients write spaces around it, or a domain with a final dot.
            (plain(&tail[..end]), &tail[end + 1..])
        }
        None => {
            let end = path_end(tail, |byte| b" \t".contains(&byte)).unwrap_or(tail.len());
            let word = plain(&tail[..end]);
            let is_postmaster = word.eq_ignore_ascii_case("postmaster") && keyword == "TO:";
            let is_address = without_route(word).and_then(Mailbox::parse).is_ok();
            (Some(word).filter(|_| is_postmaster || is_address)?, &tail[end..])
        }
    };
    let separated = parameters.is_empty() || parameters.starts_with(SPACE);
    separated.then_some((path, parameters))
}

/// A path without white space around it, and without the dot of the root behind its domain.
fn plain(path: &str) -> &str {
    let path = Some(path.trim_matches(SPACE)).filter(|path| !path.is_empty()).unwrap_or(path);
    match path.strip_suffix('.') {
        Some(name) if name.contains('@') && !name.ends_with('.') => name,
        _ => path,
    }
}

fn words(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    text.split_ascii_whitespace().map(|word| match word.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (word, None),
    })
}

/// RFC 3461 section 4: printable ASCII without `+` and `=`, or `+` and two
/// hexadecimal digits.
fn is_xtext(text: &str, longest: usize) -> bool {
    let bytes = text.as_bytes();
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        let is_digit = |at: usize| {
            bytes.get(at).is_some_and(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b))
        };
        index += match byte {
            b'+' if is_digit(index + 1) && is_digit(index + 2) => 3,
            b'+' | b'=' => return false,
            byte if byte.is_ascii_graphic() => 1,
            _ => return false,
        };
    }
    !text.is_empty() && text.len() <= longest
}

fn is_notify(text: &str) -> bool {
    let mut seen = Vec::new();
    let known = text.split(',').all(|word| {
        let word = word.to_ascii_uppercase();
        let new = !seen.contains(&word);
        let known = matches!(word.as_str(), "SUCCESS" | "FAILURE" | "DELAY") && new;
        seen.push(word);
        known
    });
    text.eq_ignore_ascii_case("NEVER") || known
}

/// `rfc822;` with xtext, or `utf-8;` with the forms of RFC 6533 section 3.
fn is_orcpt(text: &str) -> bool {
    let Some((kind, address)) = text.split_once(';') else { return false };
    let is_kind = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_utf8 = kind.eq_ignore_ascii_case("utf-8")
        && (1..=500).contains(&address.len())
        && address
            .chars()
            .all(|letter| !letter.is_control() && !letter.is_whitespace() && letter != '=');
    is_kind && (is_xtext(address, 500) || is_utf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(line: &str) -> Result<Command, BadCommand> {
        Command::parse(line.as_bytes())
    }

    #[test]
    fn mail_with_its_parameters() {
        let Ok(Command::Mail(sender, parameters)) = parse(
            "mail from: <@x.org:Bob@Example.org> SIZE=100 body=8bitmime SMTPUTF8 RET=HDRS ENVID=a+2Bb",
        ) else {
            panic!("a command");
        };
        assert_eq!(sender.to_string(), "Bob@Example.org");
        assert_eq!(
            parameters,
            MailParameters {
                size: Some(100),
                body: Some(Body::EightBitMime),
                smtputf8: true,
                ret: Some(Ret::Headers),
                envid: Some("a+2Bb".into()),
            }
        );
        assert_eq!(
            parse("MAIL FROM:<>"),
            Ok(Command::Mail(ReversePath::Null, MailParameters::default()))
        );
    }

    #[test]
    fn what_is_wrong_with_mail_and_rcpt_is_told_apart() {
        for (line, error) in [
            ("MAIL FROM:<a@b> AUTH=<>", BadCommand::Parameter),
            ("MAIL FROM:<a@b> BODY=BINARYMIME", parse("MAIL FROM:<a@b> SIZE=x").unwrap_err()),
            ("MAIL FROM:<a@b> SIZE=1 SIZE=1", parse("MAIL FROM:<a@b> SIZE=-1").unwrap_err()),
            ("MAIL FROM:<a b>", BadCommand::Sender),
            ("MAIL FROM:<用@b>", BadCommand::NotAscii),
            ("MAIL FROM:a", BadCommand::Syntax("MAIL FROM:<address> [parameters]")),
            ("MAIL FROM:", BadCommand::Syntax("MAIL FROM:<address> [parameters]")),
            ("MAIL FROM:postmaster", BadCommand::Syntax("MAIL FROM:<address> [parameters]")),
            ("MAIL FROM:<a@b", BadCommand::Syntax("MAIL FROM:<address> [parameters]")),
            ("MAIL FROM:a@b>", BadCommand::Syntax("MAIL FROM:<address> [parameters]")),
            ("MAIL FROM:a@b c@d", BadCommand::Parameter),
            ("MAIL FROM:用@b", BadCommand::NotAscii),
            ("RCPT TO:a b@c", BadCommand::Syntax("RCPT TO:<address> [parameters]")),
            ("MAIL FROM:<a@b>SIZE=1", BadCommand::Syntax("MAIL FROM:<address> [parameters]")),
            ("RCPT TO:<>", BadCommand::Recipient),
            ("RCPT TO:<a@???.com>", BadCommand::Recipient),
            ("RCPT TO:<a@b> SIZE=1", BadCommand::Parameter),
            ("RCPT TO:<a@b> NOTIFY=NEVER,DELAY", parse("RCPT TO:<a@b> ORCPT=a").unwrap_err()),
            (
                "RCPT TO:<a@b> NOTIFY=DELAY,DELAY",
                parse("RCPT TO:<a@b> ORCPT=rfc822;a=b").unwrap_err(),
            ),
            ("XCLIENT ADDR=1.2.3.4", BadCommand::Unknown),
            ("DATA now", BadCommand::Syntax("DATA")),
            ("EHLO", BadCommand::Syntax("EHLO name")),
            ("EHLO a b", BadCommand::Syntax("EHLO name")),
            ("", BadCommand::Unknown),
        ] {
            assert_eq!(parse(line), Err(error), "{line}");
        }
        assert_eq!(Command::parse(b"MAIL FROM:<\xff@b>"), Err(BadCommand::NotAscii));
    }

    #[test]
    fn the_rest() {
        let postmaster = Command::Rcpt(ForwardPath::Postmaster, RcptParameters::default());
        assert_eq!(parse("RCPT TO:<PostMaster>"), Ok(postmaster));
        assert_eq!(parse("bdat 12 last"), Ok(Command::Bdat { size: 12, last: true }));
        assert_eq!(
            parse("BDAT 99999999999999999999"),
            Ok(Command::Bdat { size: u64::MAX, last: false })
        );
        assert_eq!(parse("QUIT "), Ok(Command::Quit));
        let Ok(Command::Rcpt(_, parameters)) =
            parse("RCPT TO:<a@b> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+40b")
        else {
            panic!("a command");
        };
        assert_eq!(parameters.notify.as_deref(), Some("SUCCESS,DELAY"));
        assert_eq!(parameters.orcpt.as_deref(), Some("rfc822;a+40b"));
    }

    /// RFC 3030 section 2: a chunk follows BDAT, and only BDAT gives its length.
    #[test]
    fn bdat_is_told_from_every_other_command() {
        for line in [
            "BDAT",
            "BDAT ",
            "bdat LAST",
            "BDAT 5 FOO",
            "BDAT 1 2",
            "BDAT -1",
            "BDAT +5",
            "BDAT 0x5",
            "BDAT 5,LAST",
            "BDAT 5 LAST LAST",
            "BDAT LAST 5",
            "BDAT 123456789012345678901",
            "BDAT\t5",
            " BDAT 5",
            "BDAT5",
            "BDATA 5",
            "BDAT 5 用",
        ] {
            assert_eq!(parse(line), Err(BadCommand::Chunk), "{line}");
        }
        assert_eq!(Command::parse(b"BDAT 5 \xff"), Err(BadCommand::Chunk));
        assert_eq!(parse("BDAT  5\tLAST "), Ok(Command::Bdat { size: 5, last: true }));
        assert_eq!(parse("BDA 5"), Err(BadCommand::Unknown));
    }

    /// RFC 5321 section 4.1.1.2 requires brackets; devices leave them out.
    #[test]
    fn an_address_needs_no_brackets() {
        for (line, sender, size) in [
            ("MAIL FROM:a@example.com", "a@example.com", None),
            ("MAIL FROM: a@example.com", "a@example.com", None),
            ("mail from:\ta@example.com\tSIZE=5", "a@example.com", Some(5)),
            ("MAIL FROM: a@example.com  SIZE=5", "a@example.com", Some(5)),
            ("MAIL FROM:<a@example.com>\tSIZE=5", "a@example.com", Some(5)),
            ("MAIL FROM:\"a b>\"@example.com SIZE=5", "\"a b>\"@example.com", Some(5)),
            ("MAIL FROM:@x.example:a@example.com", "a@example.com", None),
        ] {
            let Ok(Command::Mail(path, parameters)) = parse(line) else { panic!("{line}") };
            assert_eq!((path.to_string().as_str(), parameters.size), (sender, size), "{line}");
        }
        for (line, recipient) in [
            ("RCPT TO:bob@example.org", "bob@example.org"),
            ("RCPT TO: bob@example.org NOTIFY=NEVER", "bob@example.org"),
            ("RCPT TO:postmaster", "postmaster"),
            ("RCPT TO:bob@[192.0.2.1]", "bob@[192.0.2.1]"),
        ] {
            let Ok(Command::Rcpt(path, _)) = parse(line) else { panic!("{line}") };
            assert_eq!(path.to_string(), recipient, "{line}");
        }
    }

    proptest! {
        /// Whatever is accepted can be written into a line again.
        #[test]
        fn nothing_taken_breaks_a_line(
            line in "(MAIL FROM:|RCPT TO:|EHLO )<?[a-c@.\"\\\\ \t\r\n\0<>=+;用\u{85}]{0,20}>?( [A-Z]{0,9}=?[a-c+;用]{0,4})?"
        ) {
            let written = match parse(&line) {
                Ok(Command::Mail(path, _)) => path.to_string(),
                Ok(Command::Rcpt(path, parameters)) => {
                    format!("{path}{}", parameters.orcpt.unwrap_or_default())
                }
                Ok(Command::Ehlo(name)) => name.into(),
                _ => return Ok(()),
            };
            prop_assert!(!written.chars().any(char::is_control), "{:?}", written);
        }
    }
}
