//! Which addresses a configuration protects from blocks; see [`Protected`].

use std::net::IpAddr;

use crate::config::Config;
use crate::io::host;
use crate::lists::{Holder, Protected};

/// What a configuration protects: loopback, `listen.proxy_networks`, customers, and the
/// backends that it names by address.
#[must_use]
pub fn of_config(config: &Config) -> Protected {
    let mut protected = Protected::new();
    let Some(smtp) = &config.smtp else { return protected };
    for network in &smtp.listen.proxy_networks {
        protected.add(*network, Holder::Proxy);
    }
    for backend in &smtp.backends {
        for server in &backend.servers {
            let host = server.rsplit_once(':').map_or(server.as_str(), |(host, _)| host);
            if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
                protected.add(address.into(), Holder::Backend(backend.name.to_string()));
            }
        }
    }
    for customer in smtp.relay.iter().flat_map(|relay| &relay.policy.customers) {
        for network in &customer.networks {
            protected.add(*network, Holder::Customer(customer.name.to_string()));
        }
    }
    protected
}

/// The same, with the addresses of this host.
#[must_use]
pub fn on_this_host(config: &Config) -> Protected {
    let mut protected = of_config(config);
    match host::addresses() {
        Ok(own) => own.into_iter().for_each(|own| protected.add(own.into(), Holder::ThisHost)),
        Err(error) => tracing::error!("the addresses of this host are not known: {error}"),
    }
    protected
}
