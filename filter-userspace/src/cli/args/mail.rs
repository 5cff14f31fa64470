//! The arguments of verbs about mail. The comments here are the help and the manual
//! pages.

use std::net::{IpAddr, SocketAddr};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};

use super::super::time::parse_size;

/// A question to SPF.
#[derive(Debug, Args)]
pub(in super::super) struct SpfArguments {
    /// The client's address
    pub(in super::super) ip: IpAddr,

    /// What the client calls itself
    pub(in super::super) helo: String,

    /// The envelope sender, or its domain; "" is the null sender
    pub(in super::super) from: String,

    /// A name server, such as 192.0.2.53:53; may stand several times
    #[arg(long = "server", value_name = "ADDRESS:PORT")]
    pub(in super::super) servers: Vec<SocketAddr>,
}

/// A message that nobody sends.
#[derive(Debug, Args)]
pub(in super::super) struct Envelope {
    /// Ask the daemon
    #[arg(short, long)]
    pub(in super::super) live: bool,

    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) ip: IpAddr,

    /// What the client calls itself
    #[arg(long, value_name = "NAME")]
    pub(in super::super) helo: Option<String>,

    /// The envelope sender; "" is the null sender
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) from: String,

    /// The envelope recipient
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) rcpt: String,

    /// The size that MAIL declares, in bytes or such as 50MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(in super::super) size: Option<u64>,

    /// The version of TLS
    #[arg(long, value_name = "VERSION", default_value = "none",
          value_parser = PossibleValuesParser::new(["none", "1.2", "1.3"]).map(|text| tls_version(&text)))]
    pub(in super::super) tls: TlsVersion,

    /// The client shows a valid certificate
    #[arg(long)]
    pub(in super::super) certificate: bool,

    /// It is sent out, through the relay
    #[arg(long)]
    pub(in super::super) relay: bool,
}

/// The version of TLS, 12 or 13, or none.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct TlsVersion(pub(in super::super) Option<u8>);

/// The parser lets nothing else come here.
fn tls_version(text: &str) -> TlsVersion {
    TlsVersion(match text {
        "1.2" => Some(12),
        "1.3" => Some(13),
        _ => None,
    })
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum RelayVerb {
    /// List the hosts that may not send out
    List,

    /// Let hosts send out again
    Resume {
        /// The host, or for IPv6 any address of its /64
        #[arg(required_unless_present_any = ["customer", "all"])]
        address: Option<IpAddr>,

        /// All hosts of a customer; with a host, that one alone, of this customer alone
        #[arg(long, value_name = "NAME")]
        customer: Option<String>,

        /// All hosts
        #[arg(long, conflicts_with_all = ["address", "customer"])]
        all: bool,
    },
}
