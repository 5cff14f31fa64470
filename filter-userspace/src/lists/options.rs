//! How a list is read: what its addresses are for, and what a bad line does.

/// How a list is read.
#[derive(Clone, Copy, Debug)]
pub struct ParseOptions {
    /// What a line that is not an address does.
    pub on_bad_line: OnBadLine,
    /// What the addresses are for.
    pub purpose: Purpose,
    /// Whether networks that no mail from the Internet comes from are left out.
    pub leave_out_bogons: bool,
    /// The most entries.
    pub max_entries: usize,
}

/// What a list does with the addresses in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It approves them.
    Approve,
    /// It blocks them.
    Block {
        /// Whether it may block more than an IPv4 /8 or an IPv6 /16 at once.
        force: bool,
    },
    /// It says in which country they are.
    Country,
}

/// What a line that is not an address does to its file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadLine {
    /// The file is refused, with the line.
    #[default]
    Refuse,
    /// The line is skipped and counted: for feeds that others keep.
    Skip,
}
