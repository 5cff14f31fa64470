//! The web console and the API: HTTP for people and scripts.
//!
//! [`server`] accepts connections and limits them; [`access`] determines the rights of a
//! caller. [`endpoints`] is the table of everything that a program may call, and [`openapi`]
//! describes its rows. [`api`] answers scripts and [`pages`] people, both by sending requests
//! to the daemon as the command line does ([`Site`]); [`metrics`] is for Prometheus. Nothing
//! here makes a decision, and no answer needs another host.

mod access;
mod api;
mod assets;
mod chart;
mod conflict;
mod endpoint;
mod endpoints;
mod error;
mod metrics;
mod openapi;
mod pages;
mod parts;
mod rules;
mod schema;
mod server;
mod site;

pub use self::access::{new_token, sha256_hex};
pub(crate) use self::endpoints::reference as endpoints_reference;
pub(crate) use self::metrics::sample as metrics_sample;
pub use self::rules::{Publisher, Rules};
pub use self::server::{Listeners, bind};
pub use self::site::Site;
