//! The arguments. The comments here are the help and the manual pages.

mod mail;
mod short;
mod traffic;
mod values;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use ipnet::IpNet;

pub(super) use self::mail::{Envelope, RelayVerb, SpfArguments};
pub(super) use self::short::with_add;
pub(super) use self::traffic::{Search, TopArguments, TrafficVerb};
pub(super) use self::values::Address;
use self::values::{parse_address, parse_prefix};
use super::error::CliError;
use super::time::{Lasts, parse_duration, parse_end};

/// Mail-edge filter: drops unwanted SMTP clients in the kernel, screens the rest
///
/// mxdp (MX + XDP) is the first thing an SMTP sender meets on a mail edge host.
/// A program in the kernel decides on each TCP SYN to the protected ports, in
/// this order: approved address, blocked address, approved country, blocked
/// country, known spam source, temporary block, SYN rate limit. Everything else
/// passes untouched.
///
/// `mxdp run` is the daemon. Commands that show or change what it does ask it over a
/// unix socket that only root can use; `check`, `spf`, `token`, and `lookup` and
/// `explain` without `--live`, need neither the daemon nor root. The filter outlives
/// the daemon: `mxdp detach` takes it off.
#[derive(Debug, Parser)]
#[command(name = "mxdp", version, max_term_width = 100, subcommand_required = true)]
pub(super) struct Arguments {
    /// The configuration file
    ///
    /// `run`, `trial`, `check`, `detach`, and `lookup` and `explain` without
    /// `--live`, read /etc/mxdp/mxdp.toml without it. Commands that talk to a
    /// running daemon read only `control.socket` from it.
    #[arg(short, long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,

    /// The daemon's control socket
    ///
    /// Without it, the socket that the file of `-c` names, and without `-c`
    /// /run/mxdp/mxdp.sock.
    #[arg(long, value_name = "PATH", global = true, help_heading = "Global options")]
    pub(super) socket: Option<PathBuf>,

    /// Print JSON, for scripts
    ///
    /// What is printed for people as tables and sentences is printed as one JSON
    /// object a line; the lists of `approve`, `block`, `temp` and `relay` as one array.
    /// Errors are printed on standard error as
    /// {"error":{"kind":"…","message":"…"}}, those of the command line too.
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the daemon: attach the filter and keep its lists
    ///
    /// Checks the configuration as a whole before anything is touched, loads
    /// the lists into the kernel, attaches to the interfaces and stays in the
    /// foreground. A filter that an earlier daemon left is taken over without a
    /// gap. SIGHUP, `mxdp reload` and changed files activate new lists;
    /// SIGINT and SIGTERM end the daemon. Needs root.
    Run,

    /// Run a trial with a built-in mail server that discards everything
    ///
    /// Does what the configuration says, but for its backends: in place of each
    /// stands a small one that prints a line for each message. Ctrl-C leaves nothing
    /// behind; so `filter.persist` must be false, and the folders of state and record
    /// must lie under /run. Needs root.
    Trial,

    /// Check the configuration and every list it names
    ///
    /// Reads the configuration, the list files and the country database as the
    /// daemon would, and reports every error and warning with file and line, on
    /// standard output. Warns of what has no effect and of what does harm: a listener
    /// that the filter does not protect, a directory's password that others can read, a
    /// DNS list that does not answer the name server. Touches nothing and needs neither
    /// root nor the daemon.
    Check {
        /// Ask what the configuration names on the network too
        ///
        /// Asks each name server, each DNS list about its test entries, each backend
        /// (EHLO, STARTTLS, XCLIENT), each LDAP directory, and tries each port that
        /// mxdp would listen on. The exit code is 1 when one of them fails.
        #[arg(long)]
        online: bool,
    },

    /// Reload configuration and lists
    ///
    /// The new lists replace the old ones at once: no packet is lost and none sees
    /// a mix. If the configuration has an error, nothing changes, and the errors are
    /// printed. A list, database or file of recipients or senders that is bad, or
    /// that has lost more than half of its entries, keeps its last good content,
    /// which is an alarm; everything else is loaded.
    Reload {
        /// Accept this file or folder however few entries it has left
        ///
        /// For one that was shortened on purpose. ldap:NAME accepts the answer of a
        /// directory, spf:DOMAIN the record of a domain of approved.spf. May be given
        /// several times; what was accepted stays so across restarts.
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
        accept: Vec<PathBuf>,
    },

    /// Show what the filter does: interfaces, lists, counters
    ///
    /// What needs attention stands first. Counters come in three groups: SYNs
    /// that were dropped, SYNs that were passed, and frames that were not
    /// judged. A list that is only monitored is counted beside the verdict.
    Status {
        /// Redraw every second, with rates; Ctrl-C ends it
        ///
        /// With --json, prints one JSON object every second.
        #[arg(short, long)]
        watch: bool,

        /// Exit with 6 when there is an alarm, for monitoring
        #[arg(long, conflicts_with = "watch")]
        exit_code: bool,
    },

    /// Show what happens to an address, and which list entry decides
    ///
    /// Reads the configuration and its lists, and needs neither root nor the
    /// daemon. Runtime entries and temporary blocks are known to the daemon
    /// only: use --live for them.
    ///
    /// With --json each address gives one line with at least `ip`, `class`,
    /// `action`, `prefix`, `source` and `country`.
    Lookup {
        /// Ask the daemon, and the program in the kernel itself
        ///
        /// The daemon runs the attached program on a SYN that it makes up; no
        /// counter moves. If the kernel does otherwise than the lists say, that
        /// is printed on standard error, and the exit code is 5.
        #[arg(short, long)]
        live: bool,

        /// IPv4 or IPv6 addresses, or `-` to read them from standard input
        ///
        /// Standard input has one address a line; empty lines and lines that
        /// begin with `#` are skipped. A line that is not an address is reported with
        /// its number, the others are answered, and the exit code is 1.
        #[arg(value_name = "IP", required = true, value_parser = parse_address)]
        addresses: Vec<Address>,
    },

    /// Say what would become of a message, stage by stage
    ///
    /// Walks a message that nobody sends through the SYN verdict and every stage
    /// of SMTP, and says what each finds, by which rule of which file and line,
    /// and with which reply. Reads the configuration and its files, asks name
    /// servers, and needs neither root nor the daemon. Runtime entries, temporary
    /// blocks, rates and what backends said are the daemon's alone: see --live.
    Explain(Envelope),

    /// Evaluate SPF: may this client send for this domain?
    ///
    /// Prints every record and term that was looked at as a tree, and the result
    /// (RFC 7208). Needs neither the daemon nor root. The name servers are those of
    /// --server, else those of the file of -c, else the system's.
    Spf(SpfArguments),

    /// Add, remove or list approved networks (takes effect at once)
    ///
    /// A runtime entry takes effect at once and is kept across restarts and
    /// reloads. An approved address stays approved, wherever it is blocked.
    Approve {
        #[command(subcommand)]
        verb: ApproveVerb,
    },

    /// Add, remove or list blocked networks (takes effect at once)
    ///
    /// A runtime entry takes effect at once and is kept across restarts and
    /// reloads. An address that is approved itself, anywhere, stays so; one that
    /// only its country approves does not. `mxdp block 192.0.2.1` is short for
    /// `mxdp block add 192.0.2.1`, here and for `approve` and `temp`.
    Block {
        #[command(subcommand)]
        verb: BlockVerb,
    },

    /// Block single addresses temporarily
    ///
    /// Temporary blocks are for addresses that no list decides: an approved
    /// address or country is never held up. They are kept in the kernel and expire
    /// by themselves, with or without the daemon. An IPv6 address stands for its
    /// /64.
    Temp {
        #[command(subcommand)]
        verb: TempVerb,
    },

    /// List and resume suspended relay hosts
    ///
    /// A customer's host is suspended when it names too many recipients, too many
    /// that are not valid, or senders of too many domains. It is told 450
    /// meanwhile, and an alarm stands in `mxdp status`.
    Relay {
        #[command(subcommand)]
        verb: RelayVerb,
    },

    /// Search the mail log: what was blocked, and what was accepted
    ///
    /// One line for each recipient that a client attempted, and for the dropped SYNs
    /// of each source, reason and minute; the newest first.
    Traffic {
        #[command(subcommand)]
        verb: TrafficVerb,
    },

    /// Watch it live: verdicts, sessions, decisions, sources
    ///
    /// A view of the whole terminal, redrawn as things happen: `q` ends it, the space
    /// bar holds it. Where there is no terminal, --json prints an object each time,
    /// with the `status` and the `summary` of the window.
    Top(TopArguments),

    /// Show what operators changed, by whom and when
    Audit {
        /// At most so many, the newest first
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
    },

    /// Take the filter off every interface and end the daemon
    ///
    /// Leaves no program, link or map behind. Works without a daemon too, on
    /// what one has left. Needs root.
    Detach,

    /// Make a token for the web console and the API
    ///
    /// Prints the token, which is kept nowhere, and what to write into the
    /// configuration: only its SHA-256 stands there.
    Token {
        /// Whose it is, for the record of changes
        name: String,

        /// What it permits
        #[arg(long, value_enum, default_value_t = TokenRights::Read)]
        rights: TokenRights,
    },

    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the manual page, or write all of them
    Man {
        /// Write the pages of mxdp and of every verb into this folder
        ///
        /// The folder is made if it is missing. Without it mxdp(1) is printed. The
        /// page of the configuration, mxdp.toml(5), is written too.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,

        /// Print the reference of the configuration instead, as Markdown
        ///
        /// With --dir, every generated page of the documentation is written.
        #[arg(long)]
        reference: bool,
    },
}

/// What a token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TokenRights {
    /// To look
    Read,
    /// To change lists too
    Write,
}

#[derive(Debug, Subcommand)]
pub(super) enum ApproveVerb {
    /// Approve a network
    ///
    /// Replaces the runtime approval of the same network, if there is one. Blocked
    /// entries inside the network have no effect then, which is a warning.
    Add(Addition),

    /// Remove a runtime approval
    ///
    /// The network must be given as it was added; approvals in list files are
    /// not touched.
    Remove(Listed),

    /// List the runtime approvals
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum BlockVerb {
    /// Block a network
    ///
    /// Replaces the runtime block of the same network, if there is one.
    Add {
        #[command(flatten)]
        addition: Addition,

        /// Permit a block of much, or of an address that mail depends on
        ///
        /// Without it, a prefix shorter than /8 (IPv6: /16) is refused, and one that
        /// holds an address of this host, loopback, a backend, `listen.proxy_networks` or
        /// a customer; the refusal names what would be hit.
        #[arg(long)]
        force: bool,
    },

    /// Remove a runtime block
    ///
    /// The network must be given as it was added; blocks in list files are not
    /// touched.
    Remove(Listed),

    /// List the runtime blocks
    List,
}

/// A network to be listed.
#[derive(Debug, Args)]
pub(super) struct Addition {
    /// An address or a network in CIDR notation
    ///
    /// Host bits are masked: 192.0.2.77/24 is 192.0.2.0/24.
    #[arg(value_parser = parse_prefix)]
    pub(super) prefix: IpNet,

    /// A note for people, at most 200 characters
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,

    /// For how long, such as 90s, 10m, 2h30m or 7d; `never` makes it permanent
    ///
    /// Without it, a network that is listed already keeps its end, and a new one is
    /// permanent.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_end)]
    pub(super) lasts: Option<Lasts>,
}

/// A network that is listed.
#[derive(Debug, Args)]
pub(super) struct Listed {
    /// Network, exactly as shown by `list`
    #[arg(value_parser = parse_prefix)]
    pub(super) prefix: IpNet,
}

#[derive(Debug, Subcommand)]
pub(super) enum TempVerb {
    /// Block an address temporarily
    ///
    /// Replaces the temporary block of the same address, if there is one.
    Add {
        /// The address; an IPv6 address stands for its /64
        address: IpAddr,

        /// For how long, such as 90s, 10m, 2h30m or 7d
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        seconds: u64,

        /// Permit to block an address that mail depends on
        ///
        /// Without it, an address of this host, loopback, a backend,
        /// `listen.proxy_networks` or a customer is refused.
        #[arg(long)]
        force: bool,
    },

    /// Lift a temporary block
    Remove {
        /// The address, or for IPv6 any address of its /64
        address: IpAddr,
    },

    /// List the active temporary blocks
    List,
}

impl Arguments {
    /// An option that would be passed over in silence is a mistake.
    pub(super) fn refuse_what_has_no_effect(&self) -> Result<(), CliError> {
        let (verb, prints) = match &self.verb {
            Verb::Run => ("run", None),
            Verb::Trial => ("trial", None),
            Verb::Check { .. } => ("check", None),
            Verb::Lookup { live: false, .. } => ("lookup without --live", None),
            Verb::Explain(Envelope { live: false, .. }) => ("explain without --live", None),
            Verb::Spf(_) => ("spf", None),
            Verb::Token { .. } => ("token", None),
            Verb::Completions { .. } => ("completions", Some("a script")),
            Verb::Man { .. } => ("man", Some("roff")),
            _ => return self.refuse_mixed_addresses(),
        };
        if let Some(what) = prints {
            if self.json {
                return Err(CliError::usage(format!("{verb} prints {what}, not JSON")));
            }
            if self.config.is_some() {
                return Err(CliError::usage(format!("{verb} reads no configuration")));
            }
        }
        if self.socket.is_some() {
            return Err(CliError::usage(format!(
                "{verb} does not ask the daemon, so --socket has no effect"
            )));
        }
        self.refuse_mixed_addresses()
    }

    fn refuse_mixed_addresses(&self) -> Result<(), CliError> {
        match &self.verb {
            Verb::Lookup { addresses, .. }
                if addresses.len() > 1 && addresses.contains(&Address::Stdin) =>
            {
                Err(CliError::usage("`-` stands alone: addresses or standard input, not both"))
            }
            _ => Ok(()),
        }
    }
}
