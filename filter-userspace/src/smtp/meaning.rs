//! The meaning of a backend's refusal: it concerns the recipient, the sender, the client, or the
//! mailbox.
//!
//! One function for all callers: sessions, the watch over relay hosts, the memory of unknown
//! recipients and escalation. It is fair to senders: a reply that names another cause, or is
//! temporary, never means that a recipient does not exist.
//!
//! The enhanced code (RFC 3463) decides if it is specific; if it is general, wrong or missing, the
//! text does, without the addresses in it.

use super::reply::{Enhanced, Reply};

/// What a refusal concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Meaning {
    /// There is no such recipient.
    UnknownRecipient,
    /// The sender's address is refused.
    Sender,
    /// The client, or what it wants to do, is refused: policy, relaying, reputation.
    Policy,
    /// The recipient exists, and its mailbox accepts nothing.
    Mailbox,
    /// Something else, or unknown.
    #[default]
    Other,
}

/// Phrases about a sender.
const SENDER: &[&str] = &[
    "sender address",
    "address of sender",
    "sender verify",
    "sender verification",
    "sender rejected",
    "sender denied",
    "sender domain",
    "sender not",
    "envelope sender",
    "return path",
    "mail from",
    "invalid sender",
    "unknown sender",
    "bad sender",
    "sender unknown",
    "sender refused",
    "sender does not",
    "sender doesn t",
    "sending domain",
    "from address",
    "from domain",
    "callout verification",
    "no mx for",
    "domain of",
    "domain does not exist",
    "domain does not resolve",
    "domain not found",
    "unresolvable domain",
];

/// Phrases about a recipient that does not exist.
const UNKNOWN: &[&str] = &[
    "user unknown",
    "unknown user",
    "no such user",
    "no such recipient",
    "no such mailbox",
    "no such address",
    "no such person",
    "no such account",
    "no such local user",
    "no mailbox",
    "no user",
    "no account",
    "not our customer",
    "user not found",
    "user doesn t",
    "user does not",
    "recipient not found",
    "recipientnotfound",
    "recipnotfound",
    "recipient unknown",
    "unknown recipient",
    "unknown mailbox",
    "unknown address",
    "unknown local part",
    "unknown account",
    "address unknown",
    "address not found",
    "address does not exist",
    "mailbox not found",
    "mailbox unknown",
    "mailbox does not exist",
    "invalid recipient",
    "invalid mailbox",
    "not a valid mailbox",
    "no such member",
    "mailbox name not allowed",
    "not listed in public",
    "not listed in directory",
    "not listed in domino",
    "unrouteable address",
    "unroutable address",
];

/// Phrases about a mailbox that exists.
const MAILBOX: &[&str] = &[
    "quota",
    "mailbox full",
    "mailbox is full",
    "inbox is full",
    "storage",
    "disabled",
    "inactive",
    "suspended",
    "expired",
    "deactivated",
    "temporarily",
];

/// Phrases about a client, or about what it may do. "Access denied" is used for unknown recipients
/// too (see `EDGE_BLOCKED`).
const POLICY: &[&str] = &[
    "relay",
    "rcpthosts",
    "authenticat",
    "auth required",
    "not authorized",
    "not authorised",
    "unauthorized",
    "not permitted",
    "permission",
    "prohibit",
    "administrative",
    "policy",
    "spf",
    "dmarc",
    "dkim",
    "helo",
    "ehlo",
    "reverse dns",
    "rdns",
    "ptr record",
    "client",
    "servers without",
    "valid ptr",
    "tls",
    "encrypt",
    "from your",
    "your host",
    "your ip",
    "your server",
    "blacklist",
    "black list",
    "blocklist",
    "block list",
    "blocked",
    "dnsbl",
    "rbl",
    "spam",
    "reputation",
    "greylist",
    "access denied",
    "banned",
    "listed",
    "not allowed",
    "not accepted",
    "refuse mail",
    "refused mail",
    "message refused",
    "message rejected",
    "mail rejected",
    "mail is rejected",
    "connection",
    "rejected due",
    "rejected because",
    "content",
    "country",
    "dynamic",
    "members",
    "subscriber",
    "moderat",
    "closed list",
    "unsolicited",
    "abuse",
    "complain",
    "virus",
    "malware",
    "phish",
    "untrusted",
    "your domain",
    "your network",
    "your provider",
    "this host",
    "remote host",
    "sending host",
    "sending server",
    "http",
    "https",
];

/// Phrases about too many of something.
const LIMITS: &[&str] =
    &["too many", "too much", "too large", "too big", "rate", "limit", "try again"];

/// Exchange Online's phrase for recipients that do not exist (directory based edge blocking), with
/// 5.4.1.
const EDGE_BLOCKED: &str = "recipient address rejected access denied";

/// What a refusal of RCPT concerns.
#[must_use]
pub fn of_recipient(reply: &Reply) -> Meaning {
    if !reply.is_permanent() {
        return Meaning::Other;
    }
    let text = Words::of(reply);
    let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.say(phrase));
    match specific(code(reply), &text) {
        // Sender checks that are delayed until RCPT use the codes of recipients too.
        Some(Meaning::UnknownRecipient) if says(SENDER) && !text.say("recipient") => {
            return Meaning::Sender;
        }
        Some(meaning) => return meaning,
        None => {}
    }
    let is_about_mailboxes = matches!(reply.code, 550 | 551 | 553);
    if says(SENDER) {
        Meaning::Sender
    } else if says(UNKNOWN) || text.say(EDGE_BLOCKED) {
        Meaning::UnknownRecipient
    } else if says(MAILBOX) || reply.code == 552 {
        Meaning::Mailbox
    } else if says(POLICY) {
        Meaning::Policy
    } else if is_about_mailboxes && !says(LIMITS) {
        // These codes mean that the mailbox does not exist (RFC 5321 section 4.2.2), and nothing
        // else is named.
        Meaning::UnknownRecipient
    } else {
        Meaning::Other
    }
}

/// What the refusal of a whole message concerns, for a number of recipients. Some servers check
/// recipients only then; it can be believed only with a single recipient and an explicit text.
#[must_use]
pub fn of_message(reply: &Reply, recipients: usize) -> Meaning {
    let text = Words::of(reply);
    let is_explicit = matches!(specific(code(reply), &text), Some(Meaning::UnknownRecipient))
        || UNKNOWN.iter().any(|phrase| text.say(phrase));
    match of_recipient(reply) {
        Meaning::UnknownRecipient if recipients != 1 || !is_explicit => Meaning::Other,
        meaning => meaning,
    }
}

/// The meaning of an enhanced code by itself; none if it is general, or used for anything.
fn specific(code: Option<Enhanced>, text: &Words) -> Option<Meaning> {
    let Enhanced(class, subject, detail) = code?;
    if class != 5 {
        // It contradicts the reply's code.
        return None;
    }
    match (subject, detail) {
        (1, 1 | 2 | 3 | 6 | 10) => Some(Meaning::UnknownRecipient),
        (1, 7 | 8) => Some(Meaning::Sender),
        (2, _) => Some(Meaning::Mailbox),
        (7, _) => Some(Meaning::Policy),
        // Exchange Online's use; the standard means "no answer from host".
        (4, 1) if text.say("recipient") => None,
        (0, _) | (1, 0) | (5, 0 | 1) => None,
        _ => Some(Meaning::Other),
    }
}

/// The enhanced code: if the reply has none, one in its text, where older servers write it,
/// `(#5.1.1)`.
fn code(reply: &Reply) -> Option<Enhanced> {
    reply.enhanced.or_else(|| {
        let text = reply.text();
        let (_, behind) = text.split_once("(#")?;
        let (code, _) = behind.split_once(')')?;
        let mut parts = code.split('.').map(|part| part.parse::<u16>().ok());
        let (class, subject, detail) = (parts.next()??, parts.next()??, parts.next()??);
        let class = u8::try_from(class).ok()?;
        parts.next().is_none().then_some(Enhanced(class, subject, detail))
    })
}

/// The words of a reply in lower case, each with a space before it, without text that the client
/// may have written: addresses, and quoted text.
struct Words(String);

impl Words {
    fn of(reply: &Reply) -> Self {
        let mut own = String::new();
        let mut until = None;
        for letter in reply.text().chars() {
            match (until, letter) {
                (Some(end), letter) if letter == end => {
                    until = None;
                    own.push(' ');
                }
                (Some(_), _) => {}
                (None, '<') => until = Some('>'),
                (None, '"') => until = Some('"'),
                (None, letter) => own.push(letter.to_ascii_lowercase()),
            }
        }
        let tokens = own.split_whitespace().filter(|token| !token.contains('@'));
        let mut words = String::with_capacity(own.len());
        for word in tokens.flat_map(|token| token.split(|c: char| !c.is_ascii_alphanumeric())) {
            if !word.is_empty() {
                words.push(' ');
                words.push_str(word);
            }
        }
        Self(words)
    }

    /// Whether the text contains a phrase; its last word may continue.
    fn say(&self, phrase: &str) -> bool {
        self.0.match_indices(phrase).any(|(at, _)| self.0[..at].ends_with(' '))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::reply::Replies;

    fn reply(text: &str) -> Reply {
        let mut replies = Replies::default();
        replies.push(format!("{text}\r\n").as_bytes());
        replies.take().unwrap().unwrap()
    }

    fn of(text: &str) -> Meaning {
        of_recipient(&reply(text))
    }

    /// Replies of mail systems for recipients that do not exist: Postfix, Sendmail, Exim, qmail,
    /// Exchange, Exchange Online, Domino, hMailServer, MDaemon, Dovecot, Gmail.
    #[test]
    fn recipients_that_do_not_exist_are_told_by_every_mail_system() {
        for text in [
            "550 5.1.1 <bob@example.org>: Recipient address rejected: User unknown in local recipient table",
            "550 5.1.1 <bob@example.org>... User unknown",
            "550 Unrouteable address",
            "550 unknown user",
            "550 Unknown user",
            "550 sorry, no mailbox here by that name (#5.1.1)",
            "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [DB5EUR01FT012.eop-EUR01.prod.protection.outlook.com]",
            "550 5.4.1 [bob@example.org]: Recipient address rejected: Access denied",
            "550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP address lookup",
            "550 bob@example.org... No such user",
            "550 User bob (bob@example.org) not listed in public Name & Address Book",
            "553 Requested action not taken: mailbox name not allowed",
            "550 5.5.0 Requested action not taken: mailbox unavailable",
            "550 Requested action not taken: mailbox unavailable",
            "550 <bob@example.org>, Recipient unknown",
            "550-5.1.1 The email account that you tried to reach does not exist. Please try\r\n550 5.1.1 double-checking",
            "550 5.1.6 The mailbox has moved",
            "550 5.1.2 bad destination system",
            "551 User not local",
            "553 5.1.3 bad address syntax",
            "550 no",
            "550 5.0.0 <bob@example.org>... refused",
            "550 5.1.0 Address rejected",
            "554 5.0.0 delivery error: This user doesn't have an account; no such user",
            // Text that a client wrote cannot change the meaning.
            "550 5.1.1 <sender.address.rejected@example.org>: unknown",
            "550 \"mail from spam\"@example.org... No such user",
            "550 <\"sender address rejected\"@example.org> unknown user",
        ] {
            assert_eq!(of(text), Meaning::UnknownRecipient, "{text}");
        }
    }

    #[test]
    fn what_names_another_cause_is_not_about_the_recipient() {
        let cases = [
            (Meaning::Sender, "550 5.1.8 <a@b.example>: Sender address rejected: Domain not found"),
            (Meaning::Sender, "550 5.1.7 bad sender's mailbox address syntax"),
            (
                Meaning::Sender,
                "550 5.1.0 <a@b.example>: Sender address rejected: User unknown in virtual mailbox table",
            ),
            (Meaning::Sender, "550 5.1.1 Sender address rejected"),
            (Meaning::Sender, "553 5.1.8 Domain of sender address a@b.example does not exist"),
            (
                Meaning::Sender,
                "550-Verification failed for <a@b.example>\r\n550-No such user\r\n550 Sender verify failed",
            ),
            (Meaning::Sender, "550 Sender refused"),
            (Meaning::Sender, "550 5.1.0 Unknown sender"),
            (Meaning::Sender, "550 Bad sender"),
            (Meaning::Sender, "550 5.0.0 sender unknown"),
            (Meaning::Sender, "550 Sender does not exist"),
            (Meaning::Sender, "550 From address is not valid"),
            (Meaning::Sender, "550 Domain of a@x.example does not resolve"),
            (Meaning::Sender, "550 5.1.0 Domain does not exist: x.example"),
            (Meaning::Sender, "550 Callout verification failed"),
            (Meaning::Sender, "550 no MX for sending domain"),
            (Meaning::Policy, "550 Service unavailable; client [192.0.2.1] refused"),
            (
                Meaning::Policy,
                "550 Connections not accepted from servers without a valid PTR record",
            ),
            (Meaning::Policy, "550 TLS required"),
            (Meaning::Policy, "550 Access from your network is refused"),
            (Meaning::Policy, "550 5.7.1 Unable to relay"),
            (Meaning::Policy, "550 relay not permitted"),
            (
                Meaning::Policy,
                "550 5.7.1 <bob@example.org>: Recipient address rejected: User unknown",
            ),
            (
                Meaning::Policy,
                "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example",
            ),
            (Meaning::Policy, "550 rejected because 192.0.2.1 is in a black list at bl.example"),
            (Meaning::Policy, "550 Administrative prohibition"),
            (Meaning::Policy, "550 5.7.606 Access denied, banned sending IP [192.0.2.1]"),
            (Meaning::Policy, "550 Access denied"),
            (Meaning::Policy, "550 rejected: 198.51.100.30 is listed at list.example"),
            (Meaning::Policy, "550 Delivery is not allowed to this address."),
            (Meaning::Policy, "553 Dynamic IP Addresses See: http://www.example.org/lookup"),
            (Meaning::Policy, "550 Message refused"),
            (Meaning::Policy, "550 Members only"),
            (Meaning::Policy, "550 You are not allowed to post to this list"),
            (Meaning::Policy, "550 Rejected due to country"),
            (Meaning::Policy, "550 Content rejected"),
            (Meaning::Policy, "550 5.0.0 Not allowed"),
            (Meaning::Policy, "550 Connection not accepted from this host"),
            (Meaning::Policy, "550 Mail is rejected by recipients"),
            (Meaning::Policy, "550 see https://postmaster.example.org/"),
            (
                Meaning::Policy,
                "553 sorry, that domain isn't in my list of allowed rcpthosts (#5.7.1)",
            ),
            (Meaning::Mailbox, "550 5.2.1 The email account that you tried to reach is disabled"),
            (Meaning::Mailbox, "552 5.2.2 mailbox full"),
            (Meaning::Mailbox, "552 quota exceeded"),
            (Meaning::Mailbox, "550 mailbox over quota"),
            (
                Meaning::Other,
                "450 4.1.1 <bob@example.org>: Recipient address rejected: unverified address",
            ),
            (Meaning::Other, "451 4.3.0 try again"),
            (Meaning::Other, "452 4.5.3 too many recipients"),
            (Meaning::Other, "550 too many recipients"),
            (Meaning::Other, "550 5.4.1 no answer from host"),
            (Meaning::Other, "550 5.4.6 routing loop detected"),
            (Meaning::Other, "554 transaction failed"),
            (Meaning::Other, "503 bad sequence"),
            (Meaning::Policy, "530 5.7.0 Authentication required"),
        ];
        for (meaning, text) in cases {
            assert_eq!(of(text), meaning, "{text}");
        }
    }

    #[test]
    fn a_whole_message_says_it_of_one_recipient_and_in_so_many_words() {
        let found = reply("550 5.1.10 RESOLVER.ADR.RecipientNotFound");
        assert_eq!(of_message(&found, 1), Meaning::UnknownRecipient);
        assert_eq!(of_message(&found, 2), Meaning::Other);
        assert_eq!(of_message(&reply("550 no such user"), 1), Meaning::UnknownRecipient);
        assert_eq!(of_message(&reply("550 no"), 1), Meaning::Other);
        assert_eq!(of_message(&reply("554 5.7.1 spam"), 1), Meaning::Policy);
    }
}
