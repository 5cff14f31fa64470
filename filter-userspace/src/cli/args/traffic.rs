//! The arguments of `traffic`. The doc comments here are the text of the help and of the
//! manual pages.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::{Arg, Args, Command, Subcommand};

use super::super::time::parse_interval;
use crate::record::{direction_names, reason_names, stage_names, status_names};

/// Values that shells offer as completions. The daemon checks the value, which may be a list
/// separated by commas.
#[derive(Clone, Copy, Debug)]
struct Offered(fn() -> Vec<&'static str>);

impl TypedValueParser for Offered {
    type Value = String;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum TrafficCommand {
    /// Search what mxdp blocked, in the packet filter or in SMTP
    Blocked(Search),

    /// Search what mxdp passed to the backend, with the backend's reply
    Accepted(Search),

    /// Show all details of a reference or session
    ///
    /// A reply to a client ends with its reference; a session is a reference without
    /// its last number.
    Show {
        /// Reference or session
        reference: String,
    },
}

/// The filters of a search. Lists are separated by commas.
#[derive(Debug, Args)]
pub(in super::super) struct Search {
    /// Start: an age (24h, 7d) or a UTC date and time (2026-11-23, "2026-11-23 04:14")
    #[arg(long, value_name = "TIME")]
    pub(in super::super) since: Option<String>,

    /// End (exclusive), in the same forms
    #[arg(long, value_name = "TIME")]
    pub(in super::super) until: Option<String>,

    /// Envelope sender, with `*` for any text: "*@example.org"; "<>" is the null sender
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) sender: Option<String>,

    /// Envelope recipient, with `*` for any text
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) recipient: Option<String>,

    /// Client's address, or a network such as 192.0.2.0/24
    #[arg(long, value_name = "IP")]
    pub(in super::super) ip: Option<String>,

    /// Client's countries; `none` matches addresses without a country
    #[arg(long, value_name = "CODES")]
    pub(in super::super) country: Option<String>,

    /// Reasons, such as blocked_ip,spf_refused
    #[arg(long, value_name = "REASONS", hide_possible_values = true,
          value_parser = Offered(reason_names))]
    pub(in super::super) reason: Option<String>,

    /// Stages, such as syn,reputation
    #[arg(long, value_name = "STAGES", hide_possible_values = true,
          value_parser = Offered(stage_names))]
    pub(in super::super) stage: Option<String>,

    /// Status: temporary, permanent, dropped (before SMTP) or delivered
    #[arg(long, value_name = "STATUS", hide_possible_values = true,
          value_parser = Offered(status_names))]
    pub(in super::super) status: Option<String>,

    /// Direction: inbound or outgoing
    #[arg(long, value_name = "DIRECTION", hide_possible_values = true,
          value_parser = Offered(direction_names))]
    pub(in super::super) direction: Option<String>,

    /// Words in Subject or Message-ID
    #[arg(long, value_name = "WORDS")]
    pub(in super::super) text: Option<String>,

    /// Maximum number of rows
    #[arg(long, value_name = "NUMBER", default_value_t = 50, conflicts_with = "all")]
    pub(in super::super) limit: usize,

    /// No limit
    #[arg(long)]
    pub(in super::super) all: bool,

    /// Print CSV, for spreadsheets
    #[arg(long, conflicts_with = "json")]
    pub(in super::super) csv: bool,

    /// Follow: print new rows as they arrive; Ctrl-C ends it
    #[arg(short, long, conflicts_with = "all")]
    pub(in super::super) follow: bool,
}

impl Search {
    /// The names and values of the query.
    pub(in super::super) fn parts(&self, kind: &str) -> Vec<(String, String)> {
        let named = [
            ("since", &self.since),
            ("until", &self.until),
            ("sender", &self.sender),
            ("recipient", &self.recipient),
            ("ip", &self.ip),
            ("country", &self.country),
            ("reason", &self.reason),
            ("stage", &self.stage),
            ("status", &self.status),
            ("direction", &self.direction),
            ("text", &self.text),
        ];
        let named = named.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        let parts = named.chain([("type", kind)]);
        parts.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The options of the live view.
#[derive(Debug, Args)]
pub(in super::super) struct TopArguments {
    /// Refresh interval, in seconds or such as 5s
    #[arg(long, value_name = "TIME", default_value = "1", value_parser = parse_interval)]
    pub(in super::super) every: u64,

    /// Window for the sums of decisions, sources and countries
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub(in super::super) window: String,

    /// Exit after this number of refreshes
    #[arg(long, value_name = "NUMBER")]
    pub(in super::super) count: Option<u64>,
}
