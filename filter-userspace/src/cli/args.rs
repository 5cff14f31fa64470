//! The arguments. The doc comments here are the text of the help and of the manual pages.

mod mail;
mod short;
mod traffic;
mod values;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use ipnet::IpNet;

pub(super) use self::mail::{Envelope, RelayCommand, SpfArguments};
pub(super) use self::short::with_add;
pub(super) use self::traffic::{Search, TopArguments, TrafficCommand};
pub(super) use self::values::Address;
use self::values::{parse_address, parse_prefix};
use super::error::CliError;
use super::time::{Lasts, parse_duration, parse_end};

/// Mail-edge filter: drops unwanted SMTP clients in the kernel, screens the rest
///
/// mxdp (MX + XDP) runs at the edge of a network, in front of mail servers. An XDP
/// program in the kernel decides on each TCP SYN to the protected ports, in this
/// order: approved address, blocked address, approved country, blocked country,
/// known spam source, temporary block, SYN rate limit. A SYN that none of them stops is
/// admitted, and an SMTP proxy screens the connection.
///
/// `mxdp run` is the daemon. Commands that show or change its state talk to it over a
/// Unix socket that only root can use; `check`, `spf`, `token`, and `lookup` and
/// `explain` without `--live`, need neither the daemon nor root. The packet filter
/// stays active when the daemon ends; `mxdp detach` removes it.
#[derive(Debug, Parser)]
#[command(name = "mxdp", version, max_term_width = 100, subcommand_required = true)]
pub(super) struct Arguments {
    /// Configuration file
    ///
    /// Default: /etc/mxdp/mxdp.toml. Commands that talk to a running daemon read only
    /// `control.socket` from a file that is given here.
    #[arg(short, long, value_name = "FILE", global = true, help_heading = "Global options")]
    pub(super) config: Option<PathBuf>,

    /// Control socket of the daemon
    ///
    /// Default: `control.socket` of the file that `--config` names, and without
    /// `--config` /run/mxdp/mxdp.sock.
    #[arg(long, value_name = "PATH", global = true, help_heading = "Global options")]
    pub(super) socket: Option<PathBuf>,

    /// Output JSON, one object per line
    ///
    /// The lists of `approve`, `block`, `temp` and `relay` are one array each. Errors,
    /// also those of the command line, go to standard error as
    /// {"error":{"kind":"…","message":"…"}}.
    #[arg(long, global = true, help_heading = "Global options")]
    pub(super) json: bool,

    #[command(subcommand)]
    pub(super) task: Task,
}

#[derive(Debug, Subcommand)]
pub(super) enum Task {
    /// Run the daemon: the packet filter and the SMTP proxy
    ///
    /// Checks the whole configuration before it changes anything, loads the lists
    /// into the kernel, attaches the filter to the interfaces and stays in the
    /// foreground. A filter that an earlier daemon left attached is adopted without a
    /// gap. SIGHUP, `mxdp reload` and changed files activate new lists; SIGINT and
    /// SIGTERM end the daemon. Needs root.
    Run,

    /// Run a trial with a built-in mail server that discards everything
    ///
    /// Works as `mxdp run` does, but replaces each backend by a small built-in one that
    /// prints a line for each message. Ctrl-C ends the trial and leaves nothing
    /// behind. Therefore `filter.persist` must be false, and `state.folder` and
    /// `record.folder` must be under /run. Needs root.
    Trial,

    /// Check the configuration and every list that it names
    ///
    /// Reads the configuration, the list files and the country database as the
    /// daemon would, and reports every error and warning with file and line on
    /// standard output. Warns of settings without effect and of harmful ones: a listener
    /// that the filter does not protect, an LDAP password that other users can read, a
    /// DNS list that does not answer public resolvers. Changes nothing, and needs
    /// neither root nor the daemon.
    Check {
        /// Also test the servers and ports that the configuration names
        ///
        /// Queries each name server, the test entries of each DNS list, each backend
        /// (EHLO, STARTTLS, XCLIENT) and each LDAP directory, and tries to bind each
        /// port that mxdp would listen on. The exit code is 1 if a test fails.
        #[arg(long)]
        online: bool,
    },

    /// Reload configuration and lists
    ///
    /// The new rule set replaces the active one at once: no packet is lost, and none
    /// is judged by a mix of both. If the configuration has an error, nothing changes,
    /// and the errors are printed. A list, database or file of recipients or senders
    /// that is invalid, or that has lost more than half of its entries, keeps its last
    /// good content and raises an alarm; everything else is loaded.
    Reload {
        /// Accept this file or folder, however few entries it has left
        ///
        /// For a file that was shortened on purpose. ldap:NAME accepts the answer of a
        /// directory, spf:DOMAIN the record of a domain in approved.spf. May be given
        /// several times; the acceptance is kept across restarts.
        #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::AnyPath)]
        accept: Vec<PathBuf>,
    },

    /// Show the state of the daemon: alarms, interfaces, lists, counters
    ///
    /// Alarms come first. Counters come in three groups: dropped SYNs, passed SYNs,
    /// and frames that passed without a check. Matches of a list that is only
    /// monitored are counted in addition to the verdict.
    Status {
        /// Refresh every second, with rates; Ctrl-C ends it
        ///
        /// With --json, prints one JSON object every second.
        #[arg(short, long)]
        watch: bool,

        /// Exit with code 6 if there is an alarm, for monitoring
        #[arg(long, conflicts_with = "watch")]
        exit_code: bool,
    },

    /// Show what happens to an address, and which list entry decides
    ///
    /// Reads the configuration and its lists, and needs neither root nor the
    /// daemon. Only the daemon knows managed entries and temporary blocks: use
    /// --live for them.
    ///
    /// With --json, each address gives one line with at least `ip`, `class`,
    /// `action`, `prefix`, `source` and `country`.
    Lookup {
        /// Query the daemon and the program in the kernel
        ///
        /// The daemon runs the attached program on a synthetic SYN, which changes no
        /// counter. If the kernel's verdict differs from the lists, an error is printed
        /// on standard error, and the exit code is 5.
        #[arg(short, long)]
        live: bool,

        /// IPv4 or IPv6 addresses, or `-` to read them from standard input
        ///
        /// Standard input has one address per line; empty lines and lines that
        /// begin with `#` are skipped. A line that is not an address is reported with
        /// its number, the other lines are answered, and the exit code is 1.
        #[arg(value_name = "IP", required = true, value_parser = parse_address)]
        addresses: Vec<Address>,
    },

    /// Show what would happen to a message, stage by stage
    ///
    /// Walks a hypothetical message through the SYN verdict and every stage of SMTP,
    /// and shows the result of each: the rule with file and line, and the reply. Reads
    /// the configuration and its files, queries name servers, and needs neither root
    /// nor the daemon. Only the daemon knows managed entries, temporary blocks, rates
    /// and replies of backends: use --live for them.
    Explain(Envelope),

    /// Evaluate SPF: may this client send for this domain?
    ///
    /// Prints every record and term that was evaluated as a tree, and the result
    /// (RFC 7208). Needs neither the daemon nor root. The name servers are those of
    /// --server, else those of the file that --config names, else the system's.
    Spf(SpfArguments),

    /// Add, remove or list approved networks (takes effect at once)
    ///
    /// A managed entry takes effect at once and is kept across restarts and
    /// reloads. An approved address stays approved even if a list blocks it.
    Approve {
        #[command(subcommand)]
        command: ApproveCommand,
    },

    /// Add, remove or list blocked networks (takes effect at once)
    ///
    /// A managed entry takes effect at once and is kept across restarts and
    /// reloads. An address that a list or a managed entry approves stays approved; one
    /// that only its country approves is blocked. `mxdp block 192.0.2.1` is short for
    /// `mxdp block add 192.0.2.1`; the same holds for `approve` and `temp`.
    Block {
        #[command(subcommand)]
        command: BlockCommand,
    },

    /// Block single addresses temporarily
    ///
    /// A temporary block decides only on addresses that no list approves or blocks: it
    /// has no effect on an approved address or country. Temporary blocks are in the
    /// kernel and expire by themselves, with or without the daemon. An IPv6 address
    /// stands for its /64.
    Temp {
        #[command(subcommand)]
        command: TempCommand,
    },

    /// List and resume suspended relay hosts
    ///
    /// A customer's host is suspended if it sends to too many recipients, to too many
    /// invalid ones, or with senders of too many domains. Until the suspension ends,
    /// its recipients get 450, and `mxdp status` shows an alarm.
    Relay {
        #[command(subcommand)]
        command: RelayCommand,
    },

    /// Search the mail log: what was blocked, and what was accepted
    ///
    /// Prints one line for each recipient that a client attempted, and for the dropped
    /// SYNs of each source, reason and minute; the newest first.
    Traffic {
        #[command(subcommand)]
        command: TrafficCommand,
    },

    /// Live view: verdicts, sessions, decisions, sources
    ///
    /// Fills the terminal and refreshes at an interval: `q` quits, the space bar
    /// pauses. Without a terminal, use --json: it prints one object per refresh, with
    /// the `status` and the `summary` of the window.
    Top(TopArguments),

    /// Show what operators changed, by whom and when
    Audit {
        /// Maximum number of changes, the newest first
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        limit: usize,
    },

    /// Remove the filter from every interface and end the daemon
    ///
    /// Leaves no program, link or map behind. Also works without a daemon, on the
    /// filter that an earlier one left attached. Needs root.
    Detach,

    /// Create a token for the web console and the API
    ///
    /// Prints the token, which is stored nowhere, and the table to add to the
    /// configuration, which holds only its SHA-256.
    Token {
        /// Name of its owner, for the audit trail
        name: String,

        /// Rights of the token
        #[arg(long, value_enum, default_value_t = TokenRights::Read)]
        rights: TokenRights,
    },

    /// Print a completion script for a shell
    Completions {
        /// Shell
        shell: Shell,
    },

    /// Print the manual page, or write all manual pages
    Man {
        /// Write the pages of mxdp and of every command into this folder
        ///
        /// The folder is created if it is missing. Without --dir, mxdp(1) is printed.
        /// The page of the configuration, mxdp.toml(5), is written too.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,

        /// Print the configuration reference as Markdown instead
        ///
        /// With --dir, write every generated page of the documentation.
        #[arg(long)]
        reference: bool,
    },
}

/// The rights of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum TokenRights {
    /// Read everything
    Read,
    /// Read everything and change lists
    Write,
}

#[derive(Debug, Subcommand)]
pub(super) enum ApproveCommand {
    /// Approve a network
    ///
    /// Replaces the managed approval of the same network, if there is one. Warns of
    /// blocked entries inside the network, which have no effect then.
    Add(Addition),

    /// Remove a managed approval
    ///
    /// Approvals in list files are not changed.
    Remove(Listed),

    /// List the managed approvals
    List,
}

#[derive(Debug, Subcommand)]
pub(super) enum BlockCommand {
    /// Block a network
    ///
    /// Replaces the managed block of the same network, if there is one.
    Add {
        #[command(flatten)]
        addition: Addition,

        /// Permit a very large block, or a block of an address that mail depends on
        ///
        /// Without --force, mxdp refuses a prefix shorter than /8 (IPv6: /16), and one
        /// that contains loopback or an address of this host, a backend,
        /// `listen.proxy_networks` or a customer; the error names what it would block.
        #[arg(long)]
        force: bool,
    },

    /// Remove a managed block
    ///
    /// Blocks in list files are not changed.
    Remove(Listed),

    /// List the managed blocks
    List,
}

/// A network to add to a list.
#[derive(Debug, Args)]
pub(super) struct Addition {
    /// Address, or network in CIDR notation
    ///
    /// Host bits are masked: 192.0.2.77/24 becomes 192.0.2.0/24.
    #[arg(value_parser = parse_prefix)]
    pub(super) prefix: IpNet,

    /// Note, at most 200 characters
    #[arg(long, value_name = "TEXT")]
    pub(super) note: Option<String>,

    /// Lifetime, such as 90s, 10m, 2h30m or 7d; `never` makes the entry permanent
    ///
    /// Default: a new entry is permanent, and an entry that exists already keeps its
    /// end.
    #[arg(long = "for", value_name = "TIME", value_parser = parse_end)]
    pub(super) lasts: Option<Lasts>,
}

/// A network that is on a list.
#[derive(Debug, Args)]
pub(super) struct Listed {
    /// Network, exactly as shown by `list`
    #[arg(value_parser = parse_prefix)]
    pub(super) prefix: IpNet,
}

#[derive(Debug, Subcommand)]
pub(super) enum TempCommand {
    /// Block an address temporarily
    ///
    /// Replaces the temporary block of the same address, if there is one.
    Add {
        /// Address; an IPv6 address stands for its /64
        address: IpAddr,

        /// Duration, such as 90s, 10m, 2h30m or 7d
        #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
        seconds: u64,

        /// Permit a block of an address that mail depends on
        ///
        /// Without --force, mxdp refuses to block loopback and addresses of this host,
        /// backends, `listen.proxy_networks` and customers.
        #[arg(long)]
        force: bool,
    },

    /// Lift a temporary block
    Remove {
        /// Address; for IPv6, any address of the /64
        address: IpAddr,
    },

    /// List the active temporary blocks
    List,
}

impl Arguments {
    /// Refuses an option that would otherwise be ignored in silence.
    pub(super) fn refuse_what_has_no_effect(&self) -> Result<(), CliError> {
        let (command, prints) = match &self.task {
            Task::Run => ("run", None),
            Task::Trial => ("trial", None),
            Task::Check { .. } => ("check", None),
            Task::Lookup { live: false, .. } => ("lookup without --live", None),
            Task::Explain(Envelope { live: false, .. }) => ("explain without --live", None),
            Task::Spf(_) => ("spf", None),
            Task::Token { .. } => ("token", None),
            Task::Completions { .. } => ("completions", Some("a script")),
            Task::Man { .. } => ("man", Some("roff")),
            _ => return self.refuse_mixed_addresses(),
        };
        if let Some(what) = prints {
            if self.json {
                return Err(CliError::usage(format!("{command} prints {what}; it has no --json")));
            }
            if self.config.is_some() {
                return Err(CliError::usage(format!(
                    "{command} reads no configuration; remove --config"
                )));
            }
        }
        if self.socket.is_some() {
            // `lookup without --live`: the option is meant, and another one is missing.
            let remedy = match command.strip_suffix(" without --live") {
                Some(command) => format!("--socket needs --live with {command}"),
                None => format!("{command} does not talk to the daemon; remove --socket"),
            };
            return Err(CliError::usage(remedy));
        }
        self.refuse_mixed_addresses()
    }

    fn refuse_mixed_addresses(&self) -> Result<(), CliError> {
        match &self.task {
            Task::Lookup { addresses, .. }
                if addresses.len() > 1 && addresses.contains(&Address::Stdin) =>
            {
                Err(CliError::usage("give either addresses or `-` for standard input, not both"))
            }
            _ => Ok(()),
        }
    }
}
