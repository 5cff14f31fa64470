#![allow(missing_docs)]
use crate::smtp::address::Mailbox;
#[derive(Debug, Default)]
pub struct RecipientSet;
pub enum Found<'a> { Valid { source: &'a str, line: u32 }, Invalid, UnknownDomain }
impl RecipientSet { pub fn check(&self, _: &Mailbox, _: Option<char>) -> Found<'_> { Found::UnknownDomain } }
