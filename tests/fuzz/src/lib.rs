//! What is fuzzed, and nothing else: the rooms of mxdp that decide, and what the tests
//! do with them.
//!
//! These are the very files of `filter-userspace` and of `tests/src/fuzz`, compiled once
//! more as this crate: they need no runtime, no database and no eBPF program, so that
//! an instrumented build takes a minute and not ten. A room that begins to need an edge
//! does not compile here.
#![allow(dead_code, unused_imports, reason = "only what the targets reach is called")]

// The files say `mxdp::…` and `hickory_resolver::proto::…`.
extern crate self as hickory_resolver;
extern crate self as mxdp;
pub use hickory_proto as proto;

#[path = "../../../filter-userspace/src/config/mod.rs"]
pub mod config;
#[path = "../../../filter-userspace/src/dns.rs"]
pub mod dns;
#[path = "../../../filter-userspace/src/lists/mod.rs"]
pub mod lists;
#[path = "../../../filter-userspace/src/policy/mod.rs"]
pub mod policy;
#[path = "../../../filter-userspace/src/record/mod.rs"]
pub mod record;
#[path = "../../../filter-userspace/src/smtp/mod.rs"]
pub mod smtp;
#[path = "../../../filter-userspace/src/spf/mod.rs"]
pub mod spf;

#[path = "../../../filter-userspace/src/text.rs"]
pub mod text;

#[path = "../../../filter-userspace/src/io/dns/records.rs"]
mod dns_records;
#[path = "../../../filter-userspace/src/io/kernel/event.rs"]
mod kernel_event;
#[path = "../../../filter-userspace/src/io/smtp/proxy/header.rs"]
mod proxy_header;

/// Of the edges, what reads the bytes of strangers.
pub mod io {
    /// Answers of name servers.
    pub mod dns {
        pub use crate::dns_records::records;
    }
    /// Events of the packet filter.
    pub mod kernel {
        pub use crate::kernel_event::read_event;
    }
    /// The layers before a session.
    pub mod smtp {
        /// PROXY headers.
        pub mod proxy {
            pub use crate::proxy_header::{Begins, parse};
        }
    }
}

#[path = "../../src/frames.rs"]
pub mod frames;
#[path = "../../src/fuzz/mod.rs"]
pub mod fuzz;
#[path = "../../src/mmdb.rs"]
pub mod mmdb;
#[path = "../../src/random.rs"]
pub mod random;
#[path = "../../src/tables.rs"]
pub mod tables;
