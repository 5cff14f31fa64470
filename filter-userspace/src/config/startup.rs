//! What is read at the start only, and stays as it was until mxdp is restarted.

use std::net::SocketAddr;

use serde::Serialize;

use super::flat::{self, Keys};
use super::keys::control::Control;
use super::keys::filter::FilterStartup;
use super::keys::log::Log;
use super::keys::record::RecordKeeping;
use super::keys::state::State;
use super::keys::syn_rate::SynRateStartup;
use super::keys::temporary::Temporary;
use super::keys::web::WebStartup;
use super::smtp::MailStartup;

/// The values of every key that only a restart changes. What it serializes to has the names
/// of the configuration file: so two of them say by themselves which keys differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Startup {
    /// How the filter is attached.
    pub filter: FilterStartup,
    /// Temporary blocks.
    pub temporary: Temporary,
    /// How many SYN rates are remembered.
    pub syn_rate: SynRateStartup,
    /// The control socket.
    pub control: Control,
    /// What is kept across restarts.
    pub state: State,
    /// The mail log.
    pub record: RecordKeeping,
    /// Logging.
    pub log: Log,
    /// Where the web console is; none without one.
    pub web: Option<WebStartup>,
    /// Where mail is accepted; none without an SMTP side.
    #[serde(flatten)]
    pub mail: Option<MailStartup>,
}

impl Startup {
    /// The keys and their values.
    pub(super) fn keys(&self) -> Keys {
        flat::of(self)
    }

    /// The keys whose values are others in `new`.
    #[must_use]
    pub fn changed_keys(&self, new: &Self) -> Vec<String> {
        let (old, new) = (self.keys(), new.keys());
        let mut keys: Vec<_> = old.keys().chain(new.keys()).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().filter(|key| old.get(*key) != new.get(*key)).cloned().collect()
    }

    /// The addresses where mail is accepted, each with the key that names it.
    pub fn mail_listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let relay = self.mail.iter().filter_map(|mail| mail.relay.as_ref());
        let listen = self.mail.iter().map(|mail| &mail.listen);
        let of = |key, addresses: &'_ Vec<SocketAddr>| -> Vec<(&'static str, SocketAddr)> {
            addresses.iter().map(|address| (key, *address)).collect()
        };
        let inbound = listen.flat_map(move |listen| {
            of("listen.smtp", &listen.smtp).into_iter().chain(of("listen.smtps", &listen.smtps))
        });
        let outgoing = relay.flat_map(move |relay| {
            let tls = of("relay.listen_tls", &relay.listen_tls);
            of("relay.listen", &relay.listen).into_iter().chain(tls)
        });
        inbound.chain(outgoing)
    }

    /// Every address that is listened on, with the key that names it.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        let web = self.web.iter().flat_map(|web| &web.listen);
        self.mail_listeners().chain(web.map(|address| ("web.listen", *address)))
    }
}
