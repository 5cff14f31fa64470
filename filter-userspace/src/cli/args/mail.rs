//! The arguments of commands about mail. The doc comments here are the text of the help
//! and of the manual pages.

use std::net::{IpAddr, SocketAddr};

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use clap::{Args, Subcommand};

use super::super::time::parse_size;

/// An evaluation of SPF.
#[derive(Debug, Args)]
pub(in super::super) struct SpfArguments {
    /// Client's address
    pub(in super::super) ip: IpAddr,

    /// Client's name in HELO or EHLO
    pub(in super::super) helo: String,

    /// Envelope sender, or its domain; "" is the null sender
    pub(in super::super) from: String,

    /// Name server, such as 192.0.2.53:53; may be given several times
    #[arg(long = "server", value_name = "ADDRESS:PORT")]
    pub(in super::super) servers: Vec<SocketAddr>,
}

/// The envelope of a hypothetical message.
#[derive(Debug, Args)]
pub(in super::super) struct Envelope {
    /// Query the daemon
    #[arg(short, long)]
    pub(in super::super) live: bool,

    /// Client's address
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) ip: IpAddr,

    /// Client's name in HELO or EHLO
    #[arg(long, value_name = "NAME")]
    pub(in super::super) helo: Option<String>,

    /// Envelope sender; "" is the null sender
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) from: String,

    /// Envelope recipient
    #[arg(long, value_name = "ADDRESS")]
    pub(in super::super) rcpt: String,

    /// Size that MAIL declares, in bytes or such as 50MB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub(in super::super) size: Option<u64>,

    /// TLS version of the connection
    #[arg(long, value_name = "VERSION", default_value = "none",
          value_parser = PossibleValuesParser::new(["none", "1.2", "1.3"]).map(|text| tls_version(&text)))]
    pub(in super::super) tls: TlsVersion,

    /// The client presents a valid certificate
    #[arg(long)]
    pub(in super::super) certificate: bool,

    /// The message is outgoing, through the relay
    #[arg(long)]
    pub(in super::super) relay: bool,
}

/// The version of TLS, 12 or 13; none without TLS.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct TlsVersion(pub(in super::super) Option<u8>);

/// The version of a value that the parser has accepted.
fn tls_version(text: &str) -> TlsVersion {
    TlsVersion(match text {
        "1.2" => Some(12),
        "1.3" => Some(13),
        _ => None,
    })
}

#[derive(Debug, Subcommand)]
pub(in super::super) enum RelayCommand {
    /// List suspended hosts
    List,

    /// Lift the suspension of hosts
    Resume {
        /// Address of the host; for IPv6, any address of its /64
        #[arg(required_unless_present_any = ["customer", "all"])]
        address: Option<IpAddr>,

        /// All hosts of this customer; with an address, only this customer's host
        #[arg(long, value_name = "NAME")]
        customer: Option<String>,

        /// All hosts
        #[arg(long, conflicts_with_all = ["address", "customer"])]
        all: bool,
    },
}
