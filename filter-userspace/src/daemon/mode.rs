//! What the daemon is started for.

/// What the daemon is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To filter, until it is told to end.
    Run,
    /// To be tried out: as [`Mode::Run`], with a backend that keeps nothing in
    /// place of each configured one.
    Trial,
}
