//! What mxdp's cross-crate tests share: frames, namespaces, peers, daemons and
//! both ends of a mail's way.
//!
//! The tests run on real packets and real sockets and need root; a missing
//! privilege fails them. All they create has a unique name and is removed when
//! its owner is dropped, also when the test fails.

pub mod daemon;
pub mod dialogue;
pub mod edge;
pub mod files;
pub mod frames;
pub mod fuzz;
pub mod generator;
pub mod http;
pub mod limits;
pub mod mail;
pub mod mmdb;
pub mod netns;
pub mod pace;
pub mod peers;
pub mod programs;
pub mod random;
pub mod resources;
pub mod scene;
pub mod soak;
pub mod spf_suite;
pub mod systemd;
pub mod tables;
pub mod tls;
pub mod transcript;
pub mod wrong;
