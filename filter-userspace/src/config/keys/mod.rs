//! The keys of the configuration, a file for each section: what the section holds, and of each
//! key its type, its range, its default, what it means, and whether a reload or only a restart
//! changes it.

use super::section::key::Chapter;

pub(in crate::config) mod backend;
pub(in crate::config) mod control;
pub(in crate::config) mod countries;
pub(in crate::config) mod dns;
pub(in crate::config) mod domain;
pub(in crate::config) mod enforcement;
pub(in crate::config) mod escalation;
pub(in crate::config) mod filter;
pub(in crate::config) mod ldap;
pub(in crate::config) mod limits;
pub(in crate::config) mod listen;
pub(in crate::config) mod lists;
pub(in crate::config) mod log;
pub(in crate::config) mod rate;
pub mod record;
pub(in crate::config) mod relay;
pub(in crate::config) mod reload;
pub(in crate::config) mod reputation;
pub(in crate::config) mod senders;
pub(in crate::config) mod smtp;
pub(in crate::config) mod spf;
pub(in crate::config) mod state;
pub(in crate::config) mod syn_rate;
pub(in crate::config) mod temporary;
pub(in crate::config) mod tls;
pub mod web;

/// The chapters of the reference.
pub(in crate::config) const CHAPTERS: [Chapter; 26] = [
    filter::CHAPTER,
    enforcement::CHAPTER,
    lists::CHAPTER,
    countries::CHAPTER,
    temporary::CHAPTER,
    syn_rate::CHAPTER,
    control::CHAPTER,
    state::CHAPTER,
    record::CHAPTER,
    web::CHAPTER,
    reload::CHAPTER,
    limits::CHAPTER,
    log::CHAPTER,
    listen::CHAPTER,
    smtp::CHAPTER,
    domain::CHAPTER,
    backend::CHAPTER,
    ldap::CHAPTER,
    tls::CHAPTER,
    senders::CHAPTER,
    rate::CHAPTER,
    dns::CHAPTER,
    reputation::CHAPTER,
    spf::CHAPTER,
    relay::CHAPTER,
    escalation::CHAPTER,
];
