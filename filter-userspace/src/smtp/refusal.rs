//! Why something is refused, and what the client is told: the one place where a
//! reason becomes a reply.
//!
//! The client is told which kind of list or limit it met, the address concerned and a reference;
//! the operator also sees the file and the line.

use std::fmt;

use super::meaning::{self, Meaning};
use super::reply::{CLIENT_LINE as LINE, Enhanced, Reply};

/// The octets of codes, separators and the line's end.
const FRAME: usize = 40;

macro_rules! stages {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal;)*) => {
        /// The stage of a session that decided.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Stage {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Stage {
            /// Every stage, in the order in which they decide.
            pub const ALL: [Self; [$(Self::$variant),*].len()] = [$(Self::$variant),*];

            /// Its name in the mail log, stable.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

stages! {
    /// Before the greeting.
    Greeting "greeting";
    /// The dialogue itself.
    Protocol "protocol";
    /// The peer's TLS policy.
    Tls "tls";
    /// The size that MAIL declares.
    Size "size";
    /// Approved and blocked senders.
    Sender "sender";
    /// Whether the recipient's domain is served here.
    Relay "relay";
    /// The verdict of the packet filter's lists on the client's address.
    Connection "connection";
    /// The verdict of DNS lists on the client's address.
    Reputation "reputation";
    /// Whether the recipient exists.
    Recipient "recipient";
    /// Whether the sender's domain names the client as its own (RFC 7208).
    Spf "spf";
    /// Messages and recipients a minute.
    Rate "rate";
    /// The message as it streams.
    Data "data";
    /// The mail system behind.
    Backend "backend";
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])* $variant:ident $name:literal $stage:ident $code:literal
       $class:literal.$subject:literal.$detail:literal $text:literal;)*) => {
        /// Why something is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason { $($(#[doc = $doc])* $variant,)* }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in records, stable.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it means, for the reference.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),*),)* }
            }

            /// The stage that gives it.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)* }
            }

            /// The code, the enhanced code and the text of the reply.
            const fn wire(self) -> (u16, Enhanced, &'static str) {
                match self {
                    $(Self::$variant => ($code, Enhanced($class, $subject, $detail), $text),)*
                }
            }
        }
    };
}

// The text follows the subject: an address, a size, or nothing.
reasons! {
    /// The client sent data before the greeting.
    EarlyTalker "early_talker" Greeting 554 5 . 5 . 1 "spoke before the greeting";
    /// The host has its maximum number of connections.
    TooManyConnections "too_many_connections" Greeting 421 4 . 3 . 2 "too many connections, try again later";
    /// The address has its maximum number of connections.
    TooManyFromAddress "too_many_from_address" Greeting 421 4 . 7 . 0 "has too many connections";
    /// mxdp is shutting down.
    Ending "ending" Greeting 421 4 . 3 . 2 "this service is restarting, try again";
    /// Commands that were sent too early.
    Pipelining "pipelining" Protocol 554 5 . 5 . 0 "commands were sent before the reply they must wait for";
    /// BDAT without a valid length.
    BadChunk "bad_chunk" Protocol 501 5 . 5 . 4 "the syntax is BDAT octets [LAST], without which the end of the chunk is unknown";
    /// A line that does not end with CRLF.
    BareNewline "bare_newline" Protocol 500 5 . 5 . 2 "a line must end with CR LF";
    /// A mail command with invalid syntax.
    BadSyntax "bad_syntax" Protocol 501 5 . 5 . 4 "the syntax is wrong";
    /// An invalid sender address.
    BadSender "bad_sender" Protocol 501 5 . 1 . 7 "invalid sender address";
    /// An invalid recipient address.
    BadRecipient "bad_recipient" Protocol 501 5 . 1 . 3 "invalid recipient address";
    /// A parameter of MAIL or RCPT that was not offered.
    BadParameter "bad_parameter" Protocol 555 5 . 5 . 4 "a parameter is not offered here";
    /// A non-ASCII address without SMTPUTF8.
    NotAscii "not_ascii" Protocol 553 5 . 6 . 7 "non-ASCII address without SMTPUTF8";
    /// More errors than a session may have.
    TooManyErrors "too_many_errors" Protocol 421 4 . 7 . 0 "too many errors";
    /// More refused or aborted recipients than a session may have.
    TooManyRefusals "too_many_refusals" Protocol 421 4 . 7 . 0 "too many recipients were refused";
    /// The client was silent for too long.
    TimedOut "timed_out" Protocol 421 4 . 4 . 2 "timed out waiting for input";
    /// No message followed the recipient.
    NoMessage "no_message" Protocol 421 4 . 4 . 2 "no message followed";
    /// The client disconnected within a message.
    ClientGone "client_gone" Protocol 421 4 . 4 . 2 "the connection was lost";
    /// The TLS handshake failed; the client gets no reply.
    TlsHandshake "tls_handshake" Tls 454 4 . 7 . 0 "the TLS handshake failed";
    /// The peer must use TLS.
    TlsRequired "tls_required" Tls 530 5 . 7 . 0 "must issue STARTTLS first";
    /// The TLS version is older than the peer must use.
    TlsTooOld "tls_too_old" Tls 550 5 . 7 . 10 "needs a newer version of TLS";
    /// The peer must present a valid certificate.
    NoCertificate "no_certificate" Tls 550 5 . 7 . 8 "needs a valid client certificate";
    /// The sender is on a list of blocked senders.
    BlockedSender "blocked_sender" Sender 550 5 . 7 . 1 "is on the list of blocked senders";
    /// The size that MAIL declares is too large.
    DeclaredSize "declared_size" Size 552 5 . 3 . 4 "bytes exceed the message size limit";
    /// The recipient's domain is not served here.
    RelayDenied "relay_denied" Relay 554 5 . 7 . 1 "relay access denied";
    /// The client is not a host of any customer.
    NotACustomer "not_a_customer" Relay 554 5 . 7 . 1 "may not send out through this host";
    /// The customer's host is suspended, because it appears to be compromised.
    RelaySuspended "relay_suspended" Relay 450 4 . 7 . 1 "is suspended after suspicious mail, ask your provider";
    /// The sender's domain does not belong to the customer.
    SenderNotRegistered "sender_not_registered" Sender 553 5 . 7 . 1 "sender domain not registered";
    /// The sender's domain is a customer's, and the client is not its host.
    ForgedSender "forged_sender" Sender 550 5 . 7 . 1 "forged sender";
    /// The recipient's domain does not exist, or has no host.
    NoSuchDomain "no_such_domain" Recipient 550 5 . 1 . 2 "there is no such domain";
    /// The recipient's domain does not accept mail.
    NullMx "null_mx" Recipient 556 5 . 1 . 10 "the domain does not accept mail";
    /// The recipient's domain cannot be looked up now.
    DomainUnknownNow "domain_unknown_now" Recipient 451 4 . 4 . 3 "the domain cannot be looked up now, try again later";
    /// The recipient does not exist.
    UnknownRecipient "unknown_recipient" Recipient 550 5 . 1 . 1 "no such recipient here";
    /// The client names mostly invalid recipients, and also delivers mail.
    Guessing "guessing_recipients" Recipient 450 4 . 7 . 1 "has named too many invalid recipients, try again later";
    /// More invalid recipients than a session may name.
    TooManyInvalid "too_many_invalid" Recipient 421 4 . 7 . 0 "too many invalid recipients";
    /// More invalid recipients of bounces (null sender) than a session may name.
    Backscatter "backscatter" Recipient 421 4 . 7 . 0 "too many invalid recipients";
    /// The client is on a list of blocked addresses.
    BlockedIp "blocked_ip" Connection 550 5 . 7 . 1 "is on the list of blocked addresses";
    /// The client is in a blocked country.
    BlockedCountry "blocked_country" Connection 550 5 . 7 . 1 "is in a country that is blocked";
    /// The client is on a list of known spam sources.
    KnownSpamSource "known_spam_source" Connection 550 5 . 7 . 1 "is on the list of known spam sources";
    /// The client is temporarily blocked.
    TemporaryBlock "temporary_block" Connection 450 4 . 7 . 1 "is temporarily blocked, try again later";
    /// Stable DNS lists name the client.
    StandardReputation "standard_reputation" Reputation 550 5 . 7 . 1 "is listed as a source of spam";
    /// Fast-moving DNS lists name the client.
    DynamicReputation "dynamic_reputation" Reputation 450 4 . 7 . 1 "is currently listed as a source of spam, try again later";
    /// SPF does not permit the client to send for the domain, and the result is set to `refuse`.
    SpfRefused "spf_refused" Spf 550 5 . 7 . 23 "may not send for this domain (SPF)";
    /// The result of SPF is set to `defer`.
    SpfDeferred "spf_deferred" Spf 451 4 . 7 . 24 "SPF check failed, try again later";
    /// More messages and recipients a minute than permitted.
    RateLimit "rate_limit" Rate 450 4 . 7 . 1 "rate limit, try again later";
    /// More recipients than a message may have.
    TooManyRecipients "too_many_recipients" Recipient 452 4 . 5 . 3 "too many recipients in one message";
    /// The recipient is on another mail server than the first one.
    OtherBackend "other_backend" Backend 452 4 . 5 . 3 "goes to another mail system, send it in another message";
    /// The message is larger than permitted.
    TooLarge "too_large" Data 552 5 . 3 . 4 "the message is larger than permitted";
    /// The message contains a bare CR or LF.
    BareNewlineInMessage "bare_newline_in_message" Data 550 5 . 5 . 2 "bare CR or LF is not allowed";
    /// The message contains a NUL byte.
    NulInMessage "nul_in_message" Data 550 5 . 6 . 0 "the message contains a NUL byte";
    /// The message has too many Received fields and is in a loop.
    TooManyHops "too_many_hops" Data 554 5 . 4 . 6 "too many hops, this message is in a loop";
    /// The message arrived too slowly.
    TooSlow "too_slow" Data 421 4 . 4 . 2 "the message arrives too slowly";
    /// There is not enough memory for another message.
    NoRoom "no_room" Data 451 4 . 3 . 1 "insufficient system storage for another message, try again later";
    /// The client network has its maximum number of connections to the mail server.
    TooManyAtOnce "too_many_at_once" Backend 451 4 . 3 . 2 "has too many connections to the mail system, try again later";
    /// The mail server cannot be reached.
    BackendDown "backend_down" Backend 451 4 . 4 . 1 "the mail system cannot be reached, try again later";
    /// The connection to the mail server broke.
    BackendLost "backend_lost" Backend 451 4 . 4 . 2 "the mail system does not answer, try again later";
    /// The mail server does not offer what the configuration requires, or has changed.
    BackendUnfit "backend_unfit" Backend 451 4 . 3 . 5 "the mail system is not ready for this message, try again later";
    /// The mail server does not support SMTPUTF8, which the message needs.
    NoSmtputf8 "no_smtputf8" Backend 553 5 . 6 . 7 "the recipient's mail system does not support internationalized mail (SMTPUTF8)";
    /// The mail server refused; its reply is passed on.
    BackendRefused "backend_refused" Backend 451 4 . 3 . 0 "the mail system refused";
}

impl Reason {
    /// Code of the reply.
    #[must_use]
    pub const fn code(self) -> u16 {
        self.wire().0
    }

    /// The enhanced code and the text of the reply, without subject and reference.
    #[must_use]
    pub const fn reply_text(self) -> (Enhanced, &'static str) {
        let (_, enhanced, text) = self.wire();
        (enhanced, text)
    }
}

/// The list entry that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The file.
    pub source: String,
    /// The line in it; 0 for a source without lines.
    pub line: u32,
    /// The entry itself.
    pub entry: String,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} ({})", self.source, self.entry),
            line => write!(f, "{}:{line} ({})", self.source, self.entry),
        }
    }
}

/// A refusal: the reason, its subject, and the rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// The subject: an address in the form it has in replies, or nothing.
    pub subject: String,
    /// The rule that decided, for the operator.
    pub rule: Option<Box<Rule>>,
    /// The backend's own reply, if that decided.
    pub passed: Option<Box<Reply>>,
    /// The meaning of that reply.
    pub meaning: Meaning,
    /// The operator's own reply in place of the usual one.
    pub own: Option<Box<Own>>,
}

/// An operator's own reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    /// The code, 400 to 599; 421 ends the session.
    pub code: Option<u16>,
    /// The text behind the subject.
    pub text: Option<String>,
    /// Further text behind it: the text of a DNS list.
    pub more: Option<String>,
}

impl Refusal {
    /// A refusal without a rule.
    #[must_use]
    pub fn new(reason: Reason, subject: impl fmt::Display) -> Self {
        let meaning = Meaning::default();
        Self { reason, subject: subject.to_string(), rule: None, passed: None, meaning, own: None }
    }

    /// A refusal by a rule.
    #[must_use]
    pub fn by(reason: Reason, subject: impl fmt::Display, rule: Option<Rule>) -> Self {
        Self { rule: rule.map(Box::new), ..Self::new(reason, subject) }
    }

    /// The backend's refusal. That the backend closes its connection (421) does not concern the
    /// client, which is told 451. A backend that asks for TLS or a login (530, RFC 3207 section 4
    /// and RFC 4954 section 6) means this host. A reply that is not a refusal came at the wrong
    /// time: its text is not passed on.
    #[must_use]
    pub fn passed(reply: Reply) -> Self {
        let code = match reply.code {
            530 => return Self::new(Reason::BackendUnfit, ""),
            421 => 451,
            400..=599 => reply.code,
            _ => return Self::new(Reason::BackendLost, ""),
        };
        let reply = Reply { code, ..reply }.with_enhanced();
        Self { passed: Some(Box::new(reply)), ..Self::new(Reason::BackendRefused, "") }
    }

    /// The backend's refusal of a recipient: its reply to RCPT.
    #[must_use]
    pub fn of_recipient(reply: Reply) -> Self {
        Self { meaning: meaning::of_recipient(&reply), ..Self::passed(reply) }
    }

    /// The backend's refusal of a whole message, for so many recipients.
    #[must_use]
    pub fn of_message(reply: Reply, recipients: usize) -> Self {
        Self { meaning: meaning::of_message(&reply, recipients), ..Self::passed(reply) }
    }

    /// Whether it means that there is no such recipient, whether a list or the backend decided so.
    #[must_use]
    pub fn is_unknown_recipient(&self) -> bool {
        let ours = [Reason::UnknownRecipient, Reason::TooManyInvalid, Reason::Backscatter];
        ours.contains(&self.reason) || self.meaning == Meaning::UnknownRecipient
    }

    /// Whether the recipient may exist: the client is to retry, or only SPF, which is evaluated
    /// last, refuses it.
    #[must_use]
    pub fn may_exist(&self) -> bool {
        self.is_deferral() || self.reason.stage() == Stage::Spf
    }

    /// Whether it leaves open whether the recipient exists: an earlier stage decided, or the mail
    /// system asks for a retry.
    #[must_use]
    pub fn is_deferral(&self) -> bool {
        match self.reason {
            Reason::RateLimit
            | Reason::TooManyRecipients
            | Reason::OtherBackend
            | Reason::NoRoom
            | Reason::TooManyAtOnce
            | Reason::BackendDown
            | Reason::BackendLost
            | Reason::BackendUnfit => true,
            Reason::BackendRefused => {
                self.passed.as_ref().is_some_and(|reply| reply.code / 100 == 4)
            }
            _ => false,
        }
    }

    /// The same refusal with the operator's own reply.
    #[must_use]
    pub fn saying(self, own: Own) -> Self {
        let own = (own != Own::default()).then(|| Box::new(own));
        Self { own, ..self }
    }

    /// The reply to the client; `reference` finds its mail log entry.
    #[must_use]
    pub fn reply(&self, reference: &str) -> Reply {
        if let Some(reply) = &self.passed {
            return (**reply).clone();
        }
        let (mut code, mut enhanced, mut text) = self.reason.wire();
        let mut more = String::new();
        if let Some(own) = &self.own {
            code = own.code.unwrap_or(code);
            text = own.text.as_deref().unwrap_or(text);
            // The texts of others must not make the line longer than a client has to accept.
            let taken = self.subject.len() + text.len() + reference.len() + FRAME;
            let room = LINE.saturating_sub(taken);
            more = own.more.as_ref().map_or_else(String::new, |more| {
                format!(": {}", more.chars().take(room).collect::<String>())
            });
            // Both codes must be of the same class (RFC 3463 section 3).
            enhanced.0 = if code < 500 { 4 } else { 5 };
        }
        let separator = if self.subject.is_empty() { "" } else { " " };
        let text = format!("{}{separator}{text}{more}; reference {reference}", self.subject);
        Reply::new(code, Some(enhanced), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_enhanced_codes_are_of_one_class() {
        for reason in Reason::ALL {
            let (code, enhanced, text) = reason.wire();
            assert_eq!(code / 100, u16::from(enhanced.0), "{}", reason.name());
            assert!(!text.is_empty() && text.len() < 100);
        }
    }

    #[test]
    fn the_client_gets_the_kind_the_address_and_a_reference() {
        let rule =
            Rule { source: "/etc/mxdp/senders".to_owned(), line: 7, entry: "*@b".to_owned() };
        let refusal = Refusal::by(Reason::BlockedSender, "<a@b>", Some(rule));
        assert_eq!(
            refusal.reply("X-1").to_string(),
            "550 5.7.1 <a@b> is on the list of blocked senders; reference X-1\r\n"
        );
    }

    #[test]
    fn operators_may_say_it_in_their_own_words() {
        let refusal = |own| Refusal::new(Reason::StandardReputation, "192.0.2.1").saying(own);
        let own = Own { code: Some(450), text: Some("no".to_owned()), more: Some("x".to_owned()) };
        assert_eq!(
            refusal(own).reply("R").to_string(),
            "450 4.7.1 192.0.2.1 no: x; reference R\r\n"
        );
        let long = Own { more: Some("x".repeat(1000)), ..Own::default() };
        let line = refusal(long).reply("R").to_string();
        assert!((400..=LINE).contains(&line.len()) && line.ends_with("; reference R\r\n"));
        assert_eq!(
            refusal(Own::default()).reply("R").to_string(),
            "550 5.7.1 192.0.2.1 is listed as a source of spam; reference R\r\n"
        );
    }

    #[test]
    fn a_closing_backend_is_a_temporary_failure() {
        let passed = |code| Refusal::passed(Reply::new(code, None, "x")).reply("").to_string();
        assert_eq!(passed(421), "451 4.0.0 x\r\n");
        assert_eq!(passed(554), "554 5.0.0 x\r\n");
        for code in [250, 354] {
            assert!(passed(code).starts_with("451 4.4.2 the mail system does not answer"));
        }
        assert!(passed(530).starts_with("451 4.3.5 the mail system is not ready"));
    }
}
