//! The edges: kernel objects, files and clocks.
//!
//! Everything here is thin: it turns the outside world into values for the cores, and the cores'
//! values into system calls. Decisions are made elsewhere.

pub mod certificates;
pub mod chains;
pub mod clock;
pub mod descriptors;
pub mod dns;
pub mod files;
pub mod host;
pub mod kernel;
pub mod last_good;
pub mod ldap;
pub mod memory;
pub mod minimum_kernel;
pub mod networks;
pub mod offender_file;
pub mod pem;
pub mod places;
pub mod ports;
pub mod privilege;
pub mod runtime_file;
pub mod runtime_journal;
pub mod service_manager;
pub mod smtp;
pub mod spf;
pub mod state;
pub mod temporary_file;
pub mod timeline;
pub mod watch;
pub mod weighed;
pub mod workers;
