//! Files and directories of recipients, and lists of senders.
